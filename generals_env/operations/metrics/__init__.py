"""Measures recording, storage and streams, and publishes the figures for Prometheus."""
