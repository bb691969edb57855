"""Files of experience, one module a format."""
