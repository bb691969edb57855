"""The gRPC server of experience: sources, subscriptions, submissions, statistics, health, security."""
