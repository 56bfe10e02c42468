"""The closing table, and one sentence that says what was seen."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from asyncbreaker._demo.findings import Findings, findings
from asyncbreaker._demo.run import Run
from asyncbreaker._demo.words import milliseconds, since_back

STILL_HALF_OPEN = (
    " (It still says half-open: it closes when the service has been well "
    "for as long as it was ill. The calls pass all the same.)"
)


def conclude(run: Run, console: Console) -> None:
    """Print what came out."""
    without, guarded = findings(run, run.without), findings(run, run.guarded)
    console.print(table(without, guarded))
    text = sentence(without, guarded)
    if run.guarded.state == "half-open" and guarded.recovered is not None:
        text += STILL_HALF_OPEN
    console.print(text, markup=False, highlight=False, width=78)


def table(without: Findings, guarded: Findings) -> Table:
    """Set the figures of both sides side by side."""
    both = (without, guarded)
    drawn = Table(box=SIMPLE_HEAD)
    drawn.add_column("what happened")
    for heading in ("without a breaker", "with a breaker"):
        drawn.add_column(heading, justify="right")
    drawn.add_row("callers", *(str(side.callers) for side in both))
    drawn.add_row("calls sent to the service", *(str(side.sent) for side in both))
    drawn.add_row("answered", *(str(side.answered) for side in both))
    drawn.add_row("failed", *(str(side.failed) for side in both))
    drawn.add_row("rejected (not sent)", *(str(side.rejected) for side in both))
    drawn.add_row("calls wasted (sent while dead)", *(str(side.wasted) for side in both))
    drawn.add_row("time to detect the trouble", *(detection(side.detected) for side in both))
    drawn.add_row("time to recover, once back", *(since_back(side.recovered) for side in both))
    drawn.add_row("slowest call", *(milliseconds(side.slowest) for side in both))
    drawn.add_row("mean wait in trouble", *(milliseconds(side.waited) for side in both))
    return drawn


def detection(seconds: float | None) -> str:
    """Say when the breaker opened; "-" when none did."""
    return "-" if seconds is None else f"{seconds:.1f} s"


def sentence(without: Findings, guarded: Findings) -> str:
    """Say in plain words what was seen; true whatever it was."""
    return (
        f"While the service was dead, {without.wasted} calls were sent to it without a breaker "
        f"and {guarded.wasted} with one; from its return until nine callers in ten were answered "
        f"for good it took {since_back(without.recovered)} without and "
        f"{since_back(guarded.recovered)} with it."
    )
