"""Built-in opponents as kernels."""
