"""Contains the gRPC server: sources, subscriptions, submissions, statistics, health and security."""
