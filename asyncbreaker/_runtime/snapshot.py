"""What a breaker says of itself when asked, and what it keeps of the last failure."""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

from asyncbreaker._core.states import State
from asyncbreaker._core.windows import Counts
from asyncbreaker.errors import FailureSummary

LONGEST_MESSAGE = 300  # characters of an exception's text
LONGEST_TEXT = 2000  # ... that are looked through for secrets, before the rest is cut off
RECENT = 20  # failures whose types are remembered for the log

# Tokens travel in the query or before the host of a URL: neither is repeated.
_SECRETS = re.compile(r"(?<=://)[^\s/]+(?=@)|(?<=\?)[^\s'\"<>)]+")
_CUT_URL = re.compile(r"(?<=://)\S*\Z")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent look at a breaker, which changes nothing."""

    name: str
    state: State
    seconds_in_state: float
    reason: str
    """The rule that opened it, or the operator's words."""
    attempt: int
    """How many openings in a row; 1 while closed."""
    retry_after: float | None
    """Seconds until the wait is over; None unless open."""
    counts: Counts
    """Those of the leftmost rule with a window, else lead and run; while open, those
    at the opening."""
    in_flight: int | None
    """Places taken; half-open only."""
    window: float | None
    """Calls in flight that are allowed; half-open under ``slow_start`` only."""
    last_failure: FailureSummary | None

    succeeded: int
    """Since creation, like all that follow."""
    failed: int
    ignored: int
    slow: int
    stale: int
    """Calls that ended after the circuit had moved on; in none of the figures above."""
    rejected: int
    opened: int
    """Openings from CLOSED."""
    reopened: int
    """Openings from HALF_OPEN."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        plain = asdict(self)
        plain["counts"] = self.counts._asdict()
        plain["last_failure"] = self.last_failure and self.last_failure._asdict()
        return plain


class Failures:
    """What is remembered of the dependency's failures: text and names, no objects."""

    def __init__(self) -> None:
        self._recent: deque[str] = deque(maxlen=RECENT)
        self._message = ""
        self._at = 0.0

    def add(self, error: BaseException | str, now: float) -> None:
        """Remember a failure: an exception, or the words of one that raised none."""
        if isinstance(error, str):
            kind, message = "Failure", error
        else:
            kind, message = type(error).__name__, _text(error)
        self._recent.append(kind)
        self._message, self._at = message, now

    def last(self, now: float) -> FailureSummary | None:
        """Return the last one; None if there was none."""
        if not self._recent:
            return None
        message = _without_secrets(self._message)
        return FailureSummary(self._recent[-1], message, max(0.0, now - self._at))

    def types(self) -> str:
        """Name the types of the last failures, the commonest first: ``TimeoutError x3``."""
        return ", ".join(f"{kind} x{n}" for kind, n in Counter(self._recent).most_common(3))


def message_of(error: BaseException) -> str:
    """Return the text of *error*, shortened, without what a URL may give away."""
    return _without_secrets(_text(error))


def _without_secrets(text: str) -> str:
    return _SECRETS.sub("...", text)[:LONGEST_MESSAGE]


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # a broken __str__ must not take the error's place
        return "(its text cannot be read)"
    # Of a URL that is cut in two the "@" may be missing that tells its password.
    return text if len(text) <= LONGEST_TEXT else _CUT_URL.sub("...", text[:LONGEST_TEXT])
