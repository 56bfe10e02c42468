"""Which errors are worth another try: one predicate for every retry library."""

from __future__ import annotations

from asyncbreaker._core import checks
from asyncbreaker._runtime.matching import leaves
from asyncbreaker.errors import CircuitOpenError, RejectedError


def retryable(error: BaseException, *, wait_open: float = 0.0) -> bool:
    """Tell whether a call that raised *error* may be worth another try.

    A rejection is not, nor is what was raised from one (an SDK's own error around it), nor
    a group that holds one; nor are cancellation and interrupts. Every other exception may
    be: narrow that down to what your dependency raises.

    Args:
        error: What the call has raised.
        wait_open: Seconds that the retry is willing to sleep for an open circuit. A
            ``CircuitOpenError`` is then worth a try if its ``retry_after`` is no longer,
            or not known; sleep for that long, and bound the whole.

    Raises:
        TypeError, ValueError: *wait_open* is no number, negative or NaN.
    """
    checks.number("wait_open", wait_open, finite=False)
    if any(not isinstance(leaf, Exception) for leaf in leaves(error)):
        return False
    return all(_waited_for(rejection, wait_open) for rejection in _rejections(error))


def _waited_for(rejection: RejectedError, wait_open: float) -> bool:
    if not isinstance(rejection, CircuitOpenError) or not wait_open:
        return False
    return rejection.retry_after is None or rejection.retry_after <= wait_open


def _rejections(error: BaseException) -> list[RejectedError]:
    """Find the rejections in *error*, in its leaves, and in what each was raised from."""
    found: list[RejectedError] = []
    seen: set[int] = set()
    waiting = list(leaves(error))
    while waiting:
        here = waiting.pop()
        if id(here) in seen:
            continue  # a chain may be a circle
        seen.add(id(here))
        if isinstance(here, RejectedError):
            found.append(here)
        elif (cause := here.__cause__) is not None:
            waiting.extend(leaves(cause))
    return found
