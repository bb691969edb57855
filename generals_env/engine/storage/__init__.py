"""Storage of experiences in compiled code: a ring of boards, segments of games, a sum tree and a hash set."""
