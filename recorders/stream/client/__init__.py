"""Contains the clients: consumers that resume, read several shards, cache in a log, and read in the background."""
