"""What is raised: one class per reaction of the caller.

    AsyncBreakerError
    ├── RejectedError             the call was not made: answer without the dependency
    │   ├── CircuitOpenError      ... because its circuit is open
    │   └── BulkheadFullError     ... because too many others are running
    └── RegistryFullError         no room for another breaker: a limit of your own

Whatever the guarded function raises is not in here: it reaches the caller as it is.
"""

from __future__ import annotations

from typing import NamedTuple

from asyncbreaker._core.states import Reason

__all__ = [
    "AsyncBreakerError",
    "BulkheadFullError",
    "CircuitOpenError",
    "FailureSummary",
    "Reason",
    "RegistryFullError",
    "RejectedError",
]


def figure(seconds: float) -> str:
    """Three digits, but no exponent: an outage of an hour reads 3600."""
    if 0 < seconds < 0.0001:
        return f"{seconds:.6f}"
    return f"{seconds:.3g}" if seconds < 100 else f"{seconds:.0f}"


class FailureSummary(NamedTuple):
    """What is kept of a failure: no exception object, so no traceback and no frames."""

    type: str
    """Name of the exception's class."""
    message: str
    """Its text, shortened; the query and the password of a URL are left out."""
    seconds_ago: float
    """Seconds from the failure to the rejection or snapshot that tells of it."""


class AsyncBreakerError(Exception):
    """Base of every error of this library."""


class RejectedError(AsyncBreakerError):
    """The guarded function was not called. Never a failure of the dependency."""


class CircuitOpenError(RejectedError):
    """The circuit did not admit the call. A new object for each rejection; can be pickled."""

    breaker: str
    """Name of the breaker."""
    reason: Reason
    """``OPEN``, ``HALF_OPEN`` (no place is free for another probe) or ``FORCED``."""
    retry_after: float | None
    """Seconds until a call may be admitted, at least 0; None under ``HALF_OPEN`` and
    ``FORCED``, where nobody knows: ``await breaker.wait_ready()``."""
    last_failure: FailureSummary | None
    """The dependency's last failure, None where there was none."""

    def __init__(
        self,
        breaker: str,
        reason: Reason,
        retry_after: float | None = None,
        last_failure: FailureSummary | None = None,
    ) -> None:
        # The text is made only when somebody reads it: most rejections are not read.
        self.breaker = breaker
        self.reason = reason
        self.retry_after = retry_after
        self.last_failure = last_failure

    def __reduce__(self) -> tuple[type[CircuitOpenError], tuple[object, ...], dict[str, object]]:
        arguments = self.breaker, self.reason, self.retry_after, self.last_failure
        return type(self), arguments, self.__dict__

    def __str__(self) -> str:
        match self.reason:
            case Reason.FORCED:
                text = f"circuit {self.breaker!r} is held open by hand"
            case Reason.HALF_OPEN:
                text = f"circuit {self.breaker!r} is half-open and has no place free"
            case _:
                text = f"circuit {self.breaker!r} is open"
        if self.retry_after is not None:
            text += f"; retry in {figure(self.retry_after)} s"
        if self.last_failure is not None:
            kind, message, ago = self.last_failure
            first_line = next(iter(message.splitlines()), "")
            text += f"; last failure {figure(ago)} s ago: {kind}"
            text += f": {first_line}" if first_line else ""
        return text


class BulkheadFullError(RejectedError):
    """A bulkhead had no place free. A new object for each rejection; can be pickled."""

    bulkhead: str
    """Name of the bulkhead."""
    limit: int
    """Calls that may run at once."""
    waiting: int
    """Calls that waited for a place at that moment."""
    waited: float
    """Seconds that this call has waited for one; 0 if it was rejected at once."""

    def __init__(self, bulkhead: str, limit: int, waiting: int = 0, waited: float = 0.0) -> None:
        super().__init__(bulkhead, limit, waiting, waited)
        self.bulkhead = bulkhead
        self.limit = limit
        self.waiting = waiting
        self.waited = waited

    def __str__(self) -> str:
        text = f"bulkhead {self.bulkhead!r} is full: {self.limit} running, {self.waiting} waiting"
        return text + (f"; gave up after {figure(self.waited)} s" if self.waited else "")


class RegistryFullError(AsyncBreakerError):
    """A registry holds its maximum, and only breakers that an operator has forced or disabled."""

    key: str
    """The key for which there was no room."""
    maximum: int
    """Breakers that the registry holds at most."""

    def __init__(self, key: str, maximum: int) -> None:
        super().__init__(key, maximum)
        self.key = key
        self.maximum = maximum

    def __str__(self) -> str:
        return (
            f"no room for a breaker {self.key!r}: all {self.maximum} in the registry are "
            "forced open or disabled by hand"
        )
