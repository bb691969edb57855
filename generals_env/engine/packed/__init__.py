"""Packed boards, two bytes a tile: packing, gathering, expansion to tensors, and recording of games."""
