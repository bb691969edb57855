"""Sinks around other sinks: they validate, deduplicate, retry, or write to several at once."""
