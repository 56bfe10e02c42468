"""What is told: to listeners, which are plain functions, and to ``events()`` of who tells it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from asyncbreaker._core.states import Cause, Outcome, Reason, State
from asyncbreaker._core.windows import Counts

__all__ = [
    "BulkheadRejected",
    "CallRejected",
    "CallSettled",
    "Cause",
    "Event",
    "FallbackFailed",
    "FallbackUsed",
    "GaveUp",
    "HedgeStarted",
    "HedgeWithheld",
    "HedgeWon",
    "LastGoodUsed",
    "Listener",
    "Outcome",
    "PolicyEvent",
    "RetriesExhausted",
    "RetryScheduled",
    "StateChanged",
    "TimedOut",
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


@dataclass(frozen=True, slots=True)
class RetryScheduled:
    """A try has failed, or was rejected; another one follows after a pause."""

    policy: str
    """Name of the retry."""
    attempt: int
    """Number of the try that follows, from 2; a try that was rejected keeps its number."""
    wait: float
    """Seconds of the pause."""
    error_type: str
    """Name of the class of what ended the last try."""
    at: float
    """Seconds, by the policy's clock."""


class GaveUp(StrEnum):
    """Why a retry lets an error pass."""

    ATTEMPTS = "attempts"  # all have been made
    CANCELLED = "cancelled"  # the caller has been, and the function made an error of that
    WITHIN = "within"  # the pause would end after ``within``
    DEADLINE = "deadline"  # ... after the deadline around the call
    BUDGET = "budget"  # the retry budget is spent
    WAIT_OPEN = "wait_open"  # the circuit stays open for longer than the caller waits


@dataclass(frozen=True, slots=True)
class RetriesExhausted:
    """An error that would be worth another try reaches the caller."""

    policy: str
    """Name of the retry."""
    attempts: int
    """Tries that were made."""
    reason: GaveUp
    seconds: float
    """From the first try on."""
    error_type: str
    """Name of the class of the last error."""
    at: float
    """Seconds, by the policy's clock."""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """A call was cancelled because it took too long."""

    policy: str
    """Name of the timeout."""
    seconds: float
    """The limit."""
    at: float
    """Seconds, by the policy's clock."""


@dataclass(frozen=True, slots=True)
class BulkheadRejected:
    """A call found no place."""

    policy: str
    """Name of the bulkhead."""
    running: int
    """Calls that were running."""
    waiting: int
    """Calls that were waiting for a place."""
    waited: float
    """Seconds that this call has waited for one."""
    at: float
    """Seconds, by the policy's clock."""


@dataclass(frozen=True, slots=True)
class FallbackUsed:
    """A caller was answered with the substitute."""

    policy: str
    """Name of the fallback."""
    error_type: str
    """Name of the class of the error that it took the place of."""
    message: str
    """That error's text, shortened; the query and the password of a URL are left out."""
    at: float
    """Seconds, by the policy's clock."""


@dataclass(frozen=True, slots=True)
class FallbackFailed:
    """The function that makes the substitute has raised, and its error reaches the caller."""

    policy: str
    """Name of the fallback."""
    error_type: str
    """Name of the class of the error that the substitute was to take the place of."""
    message: str
    """That error's text, shortened; the query and the password of a URL are left out."""
    failure_type: str
    """Name of the class of what the function has raised."""
    at: float
    """Seconds, by the policy's clock."""


@dataclass(frozen=True, slots=True)
class LastGoodUsed:
    """A caller was answered with a remembered answer."""

    policy: str
    """Name of the cache."""
    age: float
    """Seconds since that answer came."""
    error_type: str
    """Name of the class of the error that it took the place of."""
    message: str
    """That error's text, shortened; the query and the password of a URL are left out."""
    at: float
    """Seconds, by the policy's clock."""


@dataclass(frozen=True, slots=True)
class HedgeStarted:
    """A call is slow: another try of it runs beside."""

    policy: str
    """Name of the hedge."""
    attempt: int
    """Number of the try, from 2."""
    at: float
    """Seconds, by the policy's clock."""


@dataclass(frozen=True, slots=True)
class HedgeWithheld:
    """A call is slow, but the budget for another try is spent."""

    policy: str
    """Name of the hedge."""
    at: float
    """Seconds, by the policy's clock."""


@dataclass(frozen=True, slots=True)
class HedgeWon:
    """Of several tries that ran at once one has answered; the others are cancelled."""

    policy: str
    """Name of the hedge."""
    attempt: int
    """Number of the try that answered; 1: the extra ones were in vain."""
    tries: int
    """How many were made."""
    at: float
    """Seconds, by the policy's clock."""


Event = StateChanged | CallRejected | CallSettled
"""What a breaker tells."""

PolicyEvent = (
    RetryScheduled
    | RetriesExhausted
    | TimedOut
    | BulkheadRejected
    | FallbackUsed
    | FallbackFailed
    | LastGoodUsed
    | HedgeStarted
    | HedgeWithheld
    | HedgeWon
)
"""What the policies around a call tell."""

Listener = Callable[[StateChanged], object]
"""A plain function. It may call any method of the breaker; what it raises is logged."""
