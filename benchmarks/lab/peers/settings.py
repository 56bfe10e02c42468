"""What a circuit breaker can be set to: the words of the traces in ``tests/traces``.

Nothing is here that neither a peer's defaults nor one of those traces needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

Random = Callable[[], float]
"""Draws from 0 up to 1."""

Backoff = Callable[[int, Random], float]
"""Attempt (0: the first opening since the last close) -> seconds to stay open."""

AtChange = Literal["clear", "keep"]
"""What becomes of the counts when the state changes."""


class State(Enum):
    """Where a machine stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Trip:
    """When to open."""

    type: Literal["consecutive_failures", "failure_rate", "any_of"]
    threshold: float = 0.0
    """A number of failures, or a share from 0 to 1."""
    op: Literal[">=", ">"] = ">="
    min_calls: int = 0
    evaluate_on: Literal["failure", "any"] = "failure"
    denominator: Literal["completed", "started"] = "completed"
    """Of a rate: the calls that have ended, or all that began; without excluded ones."""
    every: float | None = None
    """Seconds between looks at the counts; None: every result is looked at."""
    of: tuple[Trip, ...] = ()
    """Of ``any_of``."""


@dataclass(frozen=True, slots=True)
class Window:
    """How much of the past counts."""

    type: Literal["none", "count", "tumbling", "bucketed", "moving"] = "none"
    """``moving`` is an exponential average over ``seconds``; the number of calls is
    bucketed. Nothing trips by its rate until it is ``seconds`` old."""
    size: int = 0
    seconds: float = 0.0
    """``tumbling``: when they have passed, everything is forgotten, and calls begun
    before are stale."""
    buckets: int = 1
    align: Literal["start", "lazy"] = "start"
    """Buckets follow one another from the start; or the first call that finds the
    last one full begins a new one."""
    credit: Literal["start", "completion"] = "completion"
    """Which moment puts a call into a bucket."""


@dataclass(frozen=True, slots=True)
class Open:
    """How long to stay open."""

    seconds: float
    backoff: Backoff | None = None
    """Wins over ``seconds``."""
    boundary: Literal["inclusive", "exclusive"] = "inclusive"
    """Whether the end itself is still open (exclusive) or not any more."""
    transition: Literal["lazy_call", "lazy_read", "timer"] = "lazy_call"
    """Left by a call; by looking, too; or by itself."""
    anchor: Literal["opening", "last_failure"] = "opening"
    """From when the time runs: a late failure may start it anew."""
    late_success: Literal["nothing", "closes"] = "nothing"
    sweep: float | None = None
    """Left only by a look that comes once in so many seconds, from a moment of chance on."""
    forget: float | None = None
    """One attempt is forgotten per so many seconds closed; None: all of them at once."""


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """Who may try, and what decides. Whoever finds no place is rejected."""

    admission: Literal["concurrent", "total", "unbounded"]
    """``limit`` calls in flight; in all, though an excluded one gives its place back; or
    no limit."""
    limit: int = 1
    successes: int = 1
    """So many close, and any failure opens, unless there is a ``rate``."""
    rate: float | None = None
    """One verdict when ``calls`` results are in: this share of failures opens."""
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole circuit breaker."""

    trip: Trip
    open: Open
    half_open: HalfOpen | None
    """None: from open straight to closed."""
    window: Window = Window()
    excluded: Literal["neutral", "success"] = "neutral"
    stale: Literal["ignore", "apply", "as_admitted"] = "ignore"
    """A result from before the last change of state: nothing; like any other; or what
    it would have been in the state that admitted the call."""
    on_open: AtChange = "clear"
    on_half_open: AtChange = "clear"
    on_close: AtChange = "clear"
    raises_on_trip: Literal["original", "breaker_error"] = "original"
    """What the caller sees whose failure opens."""
    initial_state: State = State.CLOSED
