"""Datasets: folders of experience files, written, indexed, read back, exported."""
