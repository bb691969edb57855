"""Handles files and folders: atomic writes, locks, free space, retries, stores on disk and S3."""
