"""Draws the tables of a match."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from generals_env.bridge.match.match_game import GameResult
from generals_env.bridge.match.match_summary import FAULTS, MatchSummary

__all__ = ["failures_text", "games_table", "times_table"]

SHOWN = 3  # failures that are shown for each program

ENDINGS = {
    "captured": "by a captured or touched general",
    "draw": "drawn by both",
    "turns": "at the last turn",
    "forfeit": "by a forfeit",
}


def games_table(summary: MatchSummary) -> Table:
    """Return the results of both programs, in all and from each seat."""
    table = Table(
        "", "program", "seat", "won", "lost", "drawn", "forfeits", "faults", "illegal", title=f"{summary.games} games"
    )
    for letter, program in zip("AB", summary.programs, strict=True):
        forfeits = ", ".join(f"{count} ({reason})" for reason, count in program.forfeits.items()) or "0"
        faults = ", ".join(f"{count} {kind}" for kind, count in program.faults.items()) or "0"
        counts = (program.wins, program.losses, program.draws)
        table.add_row(
            letter,
            escape(program.command),
            "both",
            *(str(sum(pair)) for pair in counts),
            escape(forfeits),
            faults,
            str(program.illegal),
        )
        for seat in range(2):
            table.add_row("", "", f"player {seat}", *(str(pair[seat]) for pair in counts), "", "")
        table.add_section()
    table.caption = ", ".join(f"{count} {ENDINGS[end]}" for end, count in summary.endings.items())
    return table


def times_table(summary: MatchSummary) -> Table:
    """Return the times of the programs' moves and the share of the runner."""
    table = Table("", "moves", "first move, maximum", "median", "99%", "maximum", "memory", title="time of a move, ms")
    for letter, program in zip("AB", summary.programs, strict=True):
        times = (program.first_ms, program.median_ms, program.p99_ms, program.max_ms)
        shown = ("" if value is None else f"{value:,.2f}" for value in times)
        memory = f"{program.memory / 10**6:,.0f} MB" if program.memory else ""
        table.add_row(letter, f"{program.moves:,}", *shown, memory)
    table.caption = (
        f"{summary.turns:,} turns in {summary.seconds:,.1f} s; "
        f"the runner's own share is {summary.own_us:,.0f} microseconds of CPU a move"
    )
    return table


def failures_text(summary: MatchSummary, results: Sequence[GameResult]) -> str:
    """Return what programs with forfeits and faults wrote to their standard error, some games of each."""
    lines = []
    for index, program in enumerate(summary.programs):
        failed = [result for result in results if result.sides[index].forfeit or result.sides[index].faults]
        for result in failed[:SHOWN]:
            side = result.sides[index]
            faults = ", ".join(f"{count} {kind} ({FAULTS[kind]})" for kind, count in side.faults.items())
            place = f"{'AB'[index]} on map {result.seed}, turn {result.turns}"
            lines.append(f"{place}: {side.forfeit or 'played on'}; {faults or 'no faults'}")
            if side.errors:
                lines += [f"    {line}" for line in side.errors.splitlines()[-10:]]
        if len(failed) > SHOWN:
            lines.append(f"{'AB'[index]}: and {len(failed) - SHOWN} other games with faults or forfeits of {program.command}")
    return "\n".join(lines)
