"""Encodes batches as bytes, as Arrow columns and as records of their own, and decodes them."""
