"""Measures speed and memory, beside other libraries in the same run: ``python -m benchmarks AREA``."""
