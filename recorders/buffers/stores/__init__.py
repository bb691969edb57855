"""Stores that replay buffers keep experiences in: as packed boards, as games to resimulate, or as compressed chunks."""
