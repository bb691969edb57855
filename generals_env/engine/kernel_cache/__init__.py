"""Keeps compiled kernels between processes."""
