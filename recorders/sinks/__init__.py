"""Sinks around other sinks: they buffer, validate, deduplicate, retry, or write to several at once."""
