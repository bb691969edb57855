"""Computes what players observe: tensors, masks, fog memory and potentials."""
