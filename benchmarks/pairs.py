"""Keeps what was measured in turn, and makes tables of medians, spreads and ratios of pairs."""

from __future__ import annotations

import statistics
from typing import TypeVar

from rich.table import Table

Item = TypeVar("Item")

#: Values by row and column of a table, one of each round.
Figures = dict[str, dict[str, list[float]]]


def keep(figures: Figures, row: str, column: str, value: float) -> None:
    """Append the value of a round."""
    figures.setdefault(row, {}).setdefault(column, []).append(value)


def in_turn(measured: list[Item], number: int) -> list[Item]:
    """Return what is measured in the order of a round: every second round the other way round, so that none is always first."""
    return measured[::-1] if number % 2 else measured


def cell(values: list[float]) -> str:
    """Return median, minimum and maximum as text, ``-`` without values."""
    if not values:
        return "-"
    form = "{:,.0f}" if statistics.median(values) >= 100 else "{:.2f}"
    middle, low, high = (form.format(find(values)) for find in (statistics.median, min, max))
    return f"{middle} ({low} - {high})"


def ratios(one: list[float], other: list[float]) -> str:
    """Return median, minimum and maximum of the ratios of each round, ``-`` if one has no values."""
    if not one or not other:
        return "-"
    return cell([a / b for a, b in zip(one, other, strict=True)])


def table_of_pairs(title: str, figures: Figures, columns: list[str]) -> Table:
    """Return a table of all rows with these columns, and with the ratio of the last of them to each other one."""
    *others, last = columns
    table = Table(title, *columns, *(f"{last} / {other}" for other in others))
    for row, values in figures.items():
        listed = [values.get(column, []) for column in columns]
        table.add_row(row, *map(cell, listed), *(ratios(listed[-1], other) for other in listed[:-1]))
    return table
