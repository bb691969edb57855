"""Experience over gRPC."""
