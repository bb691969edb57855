"""Batches as bytes and as Arrow columns, and back."""
