"""What is told: to listeners, which are plain functions, and to ``breaker.events()``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from asyncbreaker._core.states import Cause, Outcome, Reason, State
from asyncbreaker._core.windows import Counts

__all__ = [
    "CallRejected",
    "CallSettled",
    "Cause",
    "Event",
    "Listener",
    "Outcome",
    "StateChanged",
]


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A circuit has moved. Told in the order of the moves: each ``old`` is the last ``new``."""

    breaker: str
    """Name of the breaker."""
    old: State
    new: State
    cause: Cause
    reason: str
    """The rule that said yes, or the operator's words; empty where the cause says it all."""
    counts: Counts
    """What counted before the move."""
    at: float
    """Seconds, by the breaker's clock."""


@dataclass(frozen=True, slots=True)
class CallRejected:
    """A call was not admitted."""

    breaker: str
    """Name of the breaker."""
    reason: Reason
    retry_after: float | None
    """Seconds until a call may be admitted; None where nobody knows."""
    shadow: bool
    """It was made all the same: the breaker only watches."""
    at: float
    """Seconds, by the breaker's clock."""


@dataclass(frozen=True, slots=True)
class CallSettled:
    """A call has ended."""

    breaker: str
    """Name of the breaker."""
    outcome: Outcome
    slow: bool
    """It ran for ``slow=`` seconds or longer."""
    stale: bool
    """The circuit had moved on since it was admitted: it changed nothing."""
    seconds: float
    """How long it ran; a stream until its first item."""
    error_type: str | None
    """Name of the class of what it raised."""
    at: float
    """Seconds, by the breaker's clock."""


Event = StateChanged | CallRejected | CallSettled

Listener = Callable[[StateChanged], object]
"""A plain function. It may call any method of the breaker; what it raises is logged."""
