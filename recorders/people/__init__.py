"""Records the replays of people: files, tables and archives of them, played on all cores."""
