"""Files and folders: atomic writes, locks, free space, stores on disk and S3. Nothing here knows a game."""
