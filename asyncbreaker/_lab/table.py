"""The lab's table: a row per configuration, and what each column means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asyncbreaker._lab.configurations import Configuration
from asyncbreaker._lab.trial import Figures
from asyncbreaker._lab.words import amount, paragraph

Row = tuple[Configuration, Figures]
GAP = "  "
ROOMY = 60  # characters: in narrower lines an entry's text goes below its name


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of each row."""

    heading: tuple[str, str]
    """Two lines."""
    meaning: str
    """With its unit."""
    cell: Callable[[Figures, bool], str]
    """Puts it into words; told whether there is a breaker."""

    @property
    def name(self) -> str:
        """The heading in one line."""
        return " ".join(self.heading).replace("- ", "")


def columns(quiet_calls: int, *, partly_well: bool) -> list[Column]:
    """Return all columns; what is answered in the outage only where anything can be."""
    answered = Column(
        ("answ-", "ered"),
        "share of the calls that were answered during the outage, percent",
        lambda figures, guarded: f"{figures.answered * 100:.0f}%",
    )
    return [*_during(), *([answered] if partly_well else []), *_after(), *_always(quiet_calls)]


def _during() -> list[Column]:
    return [
        Column(
            ("opens", "after"),
            "seconds from the beginning of the outage until it opens; in brackets: in so many "
            "of the cases, if not in all",
            lambda figures, guarded: _opens(figures) if guarded else "-",
        ),
        Column(
            ("calls", "wasted"),
            "calls sent in the outage before it opens",
            lambda figures, guarded: amount(figures.wasted),
        ),
        Column(
            ("sent", "/min"),
            "calls sent per minute in the rest of the outage",
            lambda figures, guarded: "-" if figures.sent is None else amount(figures.sent),
        ),
        Column(
            ("sunk", "s"),
            "caller-seconds: the time that callers spent in the outage in calls that failed",
            lambda figures, guarded: amount(figures.sunk),
        ),
    ]


def _after() -> list[Column]:
    return [
        Column(
            ("full", "after"),
            "seconds from the end of the outage until callers are answered as before it",
            lambda figures, guarded: _full(figures),
        ),
        Column(
            ("lost", "s"),
            "goodput lost after the outage, in seconds of the full load",
            lambda figures, guarded: amount(figures.lost),
        ),
        Column(
            ("peak", "load"),
            "the most sent in any second after an outage, as a multiple of the capacity then",
            lambda figures, guarded: amount(figures.peak),
        ),
    ]


def _always(quiet_calls: int) -> list[Column]:
    return [
        Column(
            ("false", "opens"),
            "how often it opened before the outages, in all",
            lambda figures, guarded: str(figures.false_before) if guarded else "-",
        ),
        Column(
            ("per", "million"),
            "how often it opens per million calls sent while all is well; none: not once in the "
            f"{quiet_calls:,} calls that were made to see",
            lambda figures, guarded: _false(figures) if guarded else "-",
        ),
    ]


def _opens(figures: Figures) -> str:
    if figures.opens_after is None:
        return "never"
    cases = "" if figures.opened == 1 else f" ({min(0.99, figures.opened):.0%})"
    return f"{amount(figures.opens_after)}{cases}"


def _full(figures: Figures) -> str:
    if figures.full_after is None:
        return "-"
    return f"{'' if figures.full_always else '>'}{amount(figures.full_after)}"


def _false(figures: Figures) -> str:
    return amount(figures.false_per_million) if figures.false_quiet else "none"


def table(rows: Sequence[Row], shown: Sequence[Column], width: int) -> str:
    """Draw the rows, side by side where there is room, else one under the other."""
    drawn = _wide(rows, shown)
    return drawn if max(map(len, drawn.splitlines())) <= width else _narrow(rows, shown)


def _wide(rows: Sequence[Row], shown: Sequence[Column]) -> str:
    lines = [["", *(each.heading[line] for each in shown)] for line in (0, 1)]
    lines += [[row[0].name, *_cells(row, shown)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_line(cells, widths) for cells in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *figures = cells
    right = (cell.rjust(width) for cell, width in zip(figures, widths[1:], strict=True))
    return GAP.join((name.ljust(widths[0]), *right))


def _narrow(rows: Sequence[Row], shown: Sequence[Column]) -> str:
    lines: list[str] = []
    for row in rows:
        lines.append(row[0].name)
        for column, cell in zip(shown, _cells(row, shown), strict=True):
            lines.append(f"  {column.name:<14}{cell:>8}")
    return "\n".join(lines)


def _cells(row: Row, shown: Sequence[Column]) -> list[str]:
    return [column.cell(row[1], row[0].setup is not None) for column in shown]


def key(rows: Sequence[Row], width: int) -> str:
    """Say what the names of the rows stand for."""
    return _entries([(each.name, each.spelled) for each, _ in rows], width)


def legend(shown: Sequence[Column], width: int) -> str:
    """Say what the columns mean."""
    return _entries([(each.name, each.meaning) for each in shown], width)


def _entries(entries: Sequence[tuple[str, str]], width: int) -> str:
    left = max(len(name) for name, _ in entries) + 2
    rest = " " * left if width >= ROOMY else "  "
    return "\n".join(
        paragraph(text, width, first=name.ljust(left), rest=rest) for name, text in entries
    )
