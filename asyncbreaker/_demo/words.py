"""How figures and phases are put into words, the same in the live picture and in lines."""

from __future__ import annotations

from asyncbreaker._demo.script import Phase

MEANING = {
    Phase.HEALTHY: "answers at once",
    Phase.SLOW: "can answer a third of the calls",
    Phase.DEAD: "answers none, refuses when its queue is full",
    Phase.RECOVERING: "back with cold caches, warming up",
}


def milliseconds(seconds: float | None) -> str:
    """Say how long a call took; "-" when there was none."""
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"


def since_back(seconds: float | None) -> str:
    """Say how long after its return the service answered at full rate."""
    return "more than this run" if seconds is None else f"{seconds:.1f} s"


def detection(seconds: float | None) -> str:
    """Say when the breaker opened; "-" when none did."""
    return "-" if seconds is None else f"{seconds:.1f} s"
