"""Draws boards as text, images, films and windows."""
