"""What a table is made of: columns, each one figure of one experiment in one cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.lab.experiments import Cell
from benchmarks.lab.working import Figure, Key, Results

NEVER = "never"
ABSENT = ""


@dataclass(frozen=True)
class Column:
    """A column: one figure of one experiment in one cell."""

    head: str
    experiment: str
    cell: Cell
    figure: str
    better: int = -1
    """-1: the lower the better; 1: the higher."""
    per_cent: bool = False
    harmless: float | None = None
    """No less is better than that."""

    def of(self, results: Results, system: str) -> Figure | None:
        """Return a system's figure, None if it was not measured."""
        return results.get(Key(self.experiment, self.cell, system, self.figure))

    def shown(self, figure: Figure | None) -> str:
        """Return it as text."""
        if figure is None:
            return ABSENT
        if figure.mean is None:
            return NEVER
        return f"{figure.mean:.0%}" if self.per_cent else number(figure.mean)

    def rank(self, figure: Figure | None) -> float:
        """Return by what it is compared: the higher the better."""
        if figure is None or figure.mean is None:
            return -math.inf
        if self.harmless is not None:
            return self.better * max(self.harmless, figure.mean)
        return self.better * figure.mean


@dataclass(frozen=True)
class Table:
    """A table and what it is about."""

    name: str
    title: str
    text: str
    columns: Sequence[Column]


def number(value: float) -> str:
    """Write a figure with two or three digits that mean something."""
    value = value + 0.0 if abs(value) >= 0.005 else 0.0
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
