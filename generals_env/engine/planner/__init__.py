"""Searches for actions: samples hidden states and plays candidates forward."""
