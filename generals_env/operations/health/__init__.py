"""Reports over HTTP whether a run works, and what its processes do."""
