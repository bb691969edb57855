"""Clients of the stream: consumers that resume, shard, cache and read in the background."""
