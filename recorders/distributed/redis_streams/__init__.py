"""Writes and reads streams of Redis: ``sink`` and ``source`` are the two ends, ``parts`` shows a stream as a dataset."""
