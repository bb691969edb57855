"""Plays rollouts and holds them as packed boards, with the advantages of their actions."""
