"""How long to pause, as a backoff or a dependency says, whatever it says."""

from __future__ import annotations

from asyncbreaker._runtime.matching import Complain
from asyncbreaker.backoff import Backoff, Wait, as_callable, as_wait

LONGEST_PAUSE = 300.0  # seconds; a dependency may not silence its callers for longer


def ask(backoff: Backoff | float, attempt: int, default: Backoff, complain: Complain) -> Wait:
    """Ask the backoff; what is no answer means what *default* says."""
    try:
        return as_wait(as_callable(backoff)(attempt))
    except Exception as error:
        complain(backoff, error)
    return as_wait(default(attempt))


def asked_for(retry_after: object, *, longest: float = LONGEST_PAUSE) -> float | None:
    """Return the seconds that were asked for, *longest* at most; None for what is no number."""
    if isinstance(retry_after, bool) or not isinstance(retry_after, (int, float)):
        return None
    return float(min(retry_after, longest)) if retry_after >= 0 else None  # NaN: None
