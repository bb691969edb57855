"""Shows results of the arena as one self-contained page."""
