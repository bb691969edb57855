"""Shows results of the arena as one self-contained page."""

from generals_env.arena.page.report import write_report

__all__ = ["write_report"]
