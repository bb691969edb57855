"""Commands around training: networks for other programs, and the examples to start from."""
