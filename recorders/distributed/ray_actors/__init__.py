"""Plays rollouts on actors of Ray, and keeps their experience in one."""
