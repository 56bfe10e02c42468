"""What is told in the log of calls that go wrong, without a line for each of them."""

from __future__ import annotations

import logging
import math

EVERY = 60.0  # seconds between two lines about the same

log = logging.getLogger("asyncbreaker")


class Complaints:
    """Logs that user code raised: an ERROR the first time of each, DEBUG from then on."""

    def __init__(self, kind: str, name: str, field: str) -> None:
        self._kind = kind
        self._name = name
        self._extra = {field: name}
        self._known: set[int] = set()

    def add(self, culprit: object, error: Exception) -> None:
        """Log that *culprit* has raised *error*."""
        level = logging.DEBUG if id(culprit) in self._known else logging.ERROR
        self._known.add(id(culprit))
        log.log(
            level,
            "%s %r: %r raised, or answered nonsense, and is passed over",
            self._kind,
            self._name,
            culprit,
            exc_info=error,
            extra=self._extra,
        )


class Bulletin:
    """Logs that something happens to calls: when it begins, then once a minute at most.

    What begins with a WARNING goes on with INFO, what begins with INFO with DEBUG. A minute
    without it, and it begins anew.
    """

    def __init__(self, kind: str, name: str, level: int) -> None:
        self._kind = kind
        self._name = name
        self._level = level
        self._last = -math.inf
        self._due = math.inf
        self._count = 0  # since the last line

    def add(self, now: float, text: str, *values: object) -> None:
        """Log ``text % values``, or count it for the next line."""
        begins, self._last = now - self._last > EVERY, now
        later = self._level - 10 if now >= self._due else logging.DEBUG
        level = self._level if begins else later
        self._count = 1 if begins else self._count + 1
        if not begins:
            text, values = text + " (%d times since it was last said)", (*values, self._count)
        log.log(
            level,
            "%s %r " + text,
            self._kind,
            self._name,
            *values,
            extra={"policy": self._name},
        )
        if begins or now >= self._due:
            self._due, self._count = now + EVERY, 0
