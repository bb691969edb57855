"""Places for files, and what is kept in them."""
