"""Connects programs to games: the line protocol of the bot competition, matches of programs, archives to enter."""
