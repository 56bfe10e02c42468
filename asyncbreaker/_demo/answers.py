"""What the closing of ``--full`` says: how the callers were answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from asyncbreaker._demo.findings import Findings
from asyncbreaker._demo.sides import ANSWERS, ERRORS, End
from asyncbreaker._demo.words import since_back


def cached(side: Findings) -> str:
    """Say how many answers were remembered ones, and how old."""
    return f"{side.cached}" if side.age is None else f"{side.cached} ({side.age:.1f} s)"


ROWS: Mapping[str, Callable[[Findings], str]] = {
    "callers": lambda side: f"{side.callers}",
    "answered fresh": lambda side: f"{side.answered}",
    "answered from memory (median age)": cached,
    "answered with the substitute": lambda side: f"{side.substituted}",
    "error": lambda side: f"{side.failed + side.rejected}",
    "  of these at once, not sent": lambda side: f"{side.rejected}",
    "calls sent to the service": lambda side: f"{side.sent}",
    "  of these retries": lambda side: f"{side.retries}",
}


def sentence(bare: Findings, guarded: Findings) -> str:
    """Say in plain words what was seen; true whatever it was."""
    ends = guarded.ends_in_trouble
    return (
        f"While the service was slow or dead, {answered(bare)} of the bare client were answered, "
        f"and {answered(guarded)} of the pipeline: {ends[End.ANSWERED]} fresh, "
        f"{ends[End.CACHED]} from memory, {ends[End.SUBSTITUTED]} with the substitute; "
        f"{total(guarded, ERRORS)} got an error. From its return until nine callers in ten were "
        f"answered fresh for good it took {since_back(bare.recovered)} with the bare client and "
        f"{since_back(guarded.recovered)} with the pipeline."
    )


def answered(side: Findings) -> str:
    """Say how many of its callers in trouble a side has answered, in whatever way."""
    return f"{total(side, ANSWERS)} of {side.ends_in_trouble.total()} callers"


def total(side: Findings, ends: tuple[End, ...]) -> int:
    """How many of the callers in trouble came to one of these ends."""
    return sum(side.ends_in_trouble[end] for end in ends)
