"""Observations for learners: other dtypes, packed boards, and torch tensors."""
