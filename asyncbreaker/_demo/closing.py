"""The closing table, and one sentence that says what was seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from asyncbreaker._demo import answers
from asyncbreaker._demo.findings import Findings, findings
from asyncbreaker._demo.modes import PIPELINE
from asyncbreaker._demo.run import Run
from asyncbreaker._demo.words import detection, milliseconds, since_back

STILL_HALF_OPEN = (
    " (It still says half-open: it closes when the service has been well "
    "for as long as it was ill. The calls pass all the same.)"
)

Rows = Mapping[str, Callable[[Findings], str]]

ROWS: Rows = {
    "callers": lambda side: f"{side.callers}",
    "calls sent to the service": lambda side: f"{side.sent}",
    "answered": lambda side: f"{side.answered}",
    "failed": lambda side: f"{side.failed}",
    "rejected (not sent)": lambda side: f"{side.rejected}",
}
OF_BOTH: Rows = {
    "calls wasted (sent while dead)": lambda side: f"{side.wasted}",
    "time to detect the trouble": lambda side: detection(side.detected),
    "time to recover, once back": lambda side: since_back(side.recovered),
    "slowest call": lambda side: milliseconds(side.slowest),
    "mean wait in trouble": lambda side: milliseconds(side.waited),
}


def conclude(run: Run, console: Console) -> None:
    """Print what came out."""
    without, guarded = findings(run, run.without), findings(run, run.guarded)
    rows, sentence = (answers.ROWS, answers.sentence) if run.mode is PIPELINE else (ROWS, compared)
    console.print(table(run.mode.names, {**rows, **OF_BOTH}, without, guarded))
    text = sentence(without, guarded)
    if run.guarded.state == "half-open" and guarded.recovered is not None:
        text += STILL_HALF_OPEN
    console.print(text, markup=False, highlight=False, width=78)


def table(names: Iterable[str], rows: Rows, *sides: Findings) -> Table:
    """Set the figures of both sides side by side."""
    drawn = Table(box=SIMPLE_HEAD)
    drawn.add_column("what happened")
    for name in names:
        drawn.add_column(name, justify="right")
    for what, figure in rows.items():
        drawn.add_row(what, *map(figure, sides))
    return drawn


def compared(without: Findings, guarded: Findings) -> str:
    """Say in plain words what was seen; true whatever it was."""
    return (
        f"While the service was dead, {without.wasted} calls were sent to it without a breaker "
        f"and {guarded.wasted} with one; from its return until nine callers in ten were answered "
        f"for good it took {since_back(without.recovered)} without and "
        f"{since_back(guarded.recovered)} with it."
    )
