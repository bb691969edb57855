"""Replay buffers: experience in memory or spilled to disk, drawn at random or in order."""
