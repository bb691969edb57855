"""Writes, indexes, reads and exports datasets: folders of experience files."""
