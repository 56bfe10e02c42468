"""What one call is given, and the era it belongs to.

In CLOSED the permit *is* the era. A call that must be told from others (it is
timed, or holds a place in HALF_OPEN) gets a ``Permit`` of its own.
"""

from __future__ import annotations

import math
from collections import deque

from asyncbreaker._core.windows import Window


class Era:
    """One stay in one state, with what was counted in it."""

    __slots__ = ("began", "done", "last_bad", "lead", "run", "since", "succeeded")

    # Only a permit of its own has these.
    check = False
    due = math.inf
    entries = None

    def __init__(self, began: float | None) -> None:
        self.began = began  # None: the clock could not be read yet
        # A dead era keeps a lead of 1, so that a late success takes the same
        # branch as one that has something to make good: ``if permit.lead``.
        self.lead = 0
        self.run = 0  # failures since the last success; above 0 only while the lead is
        self.since = 0.0  # when the lead last left 0
        self.last_bad = 0.0
        self.succeeded = 0
        self.done = False

    @property
    def era(self) -> Era:
        """Itself: in CLOSED the permit is the era."""
        return self


class Permit:
    """The right to make one admitted call."""

    # Set by whoever makes one: an __init__ would cost as much as all else it takes.
    era: Era
    started: float
    due = math.inf  # from when on it is slow

    lead = 1  # never the short path: see Era.lead
    succeeded = 0  # of the era; here so that both kinds have it
    done = False  # settled
    entries: list[tuple[Window, float]] | None = None  # in the windows, once marked slow
    answered: float | None = None  # a stream: seconds to its first item
    window: float | None = None  # a probe: calls in flight that were allowed when it came
    check = False  # a probe: the health check is asked first
    timed = True

    @staticmethod
    def of(era: Era, started: float) -> Permit:
        """Return a permit of *era*, timed from *started* on."""
        permit = Permit()
        permit.era, permit.started = era, started
        return permit

    def seconds(self, now: float) -> float | None:
        """For how long it has run, a stream until its first item; None if it is not timed."""
        if self.answered is None and self.timed:
            return now - self.started
        return self.answered

    def is_slow(self, now: float) -> bool:
        """Tell whether it has become slow; a stream whose first item is there no more does."""
        return now >= self.due and self.answered is None


class Running:
    """The calls that are watched for slowness, and the limit for those to come."""

    def __init__(self, limit: float | None) -> None:
        self.limit = limit  # seconds; None: they are not watched
        self.look_at = math.inf  # no call becomes slow before
        self._lines: dict[float, deque[Permit]] = {}  # oldest first, by limit

    @property
    def watches(self) -> bool:
        """Whether calls must be entered here, or are still watched under an older limit."""
        return self.limit is not None or bool(self._lines)

    def enter(self, era: Era, now: float) -> Permit:
        """Return the permit of a call that *era* has admitted, timed from now on."""
        permit = Permit()
        permit.era = era
        permit.started = now
        limit = self.limit
        if limit is None:
            return permit
        permit.due = now + limit
        try:
            self._lines[limit].append(permit)
        except KeyError:
            self._lines[limit] = deque((permit,))
        if permit.due < self.look_at:
            self.look_at = now + limit / 8  # to sweep out what has ended
        return permit

    def overdue(self, now: float) -> Permit | None:
        """Take out the next call that has become slow and still runs, to be marked."""
        for line in tuple(self._lines.values()):
            if (permit := _take_overdue(line, now)) is not None:
                return permit
        self._sweep(now)
        return None

    def _sweep(self, now: float) -> None:
        # At most eight times per limit: so the price per call is constant, and memory
        # follows the calls that run.
        lines = {
            limit: deque(permit for permit in tuple(line) if not permit.done)
            for limit, line in tuple(self._lines.items())
        }
        self._lines = {limit: line for limit, line in lines.items() if line}
        self.look_at = min(
            (min(line[0].due, now + limit / 8) for limit, line in self._lines.items()),
            default=math.inf,
        )

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())


def _take_overdue(line: deque[Permit], now: float) -> Permit | None:
    # No lock: of two threads that look at once one finds the line empty or has
    # taken what it did not look at, and puts that back.
    try:
        while (permit := line[0]).done or now >= permit.due:
            if (taken := line.popleft()) is not permit:
                line.appendleft(taken)
            elif not permit.done and permit.answered is None:
                return permit
    except IndexError:
        pass  # empty
    return None
