"""Measurements, beside what there is to compare with, in the same run: ``python -m benchmarks <area>``."""
