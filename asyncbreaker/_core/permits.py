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

    __slots__ = ("began", "blocks", "done", "last_bad", "lead", "run", "since", "succeeded")

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
        self.blocks = 0  # blocks that were entered on it without a record, and not left yet
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
    succeeded = blocks = 0  # of the era; here so that both kinds have them
    done = False  # settled
    entries: list[tuple[Window, float]] | None = None  # in the windows, once marked slow
    answered: float | None = None  # seconds until the answer began: that is its duration
    told = False  # a probe: its answer has been taken
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
        """For how long it has run, until its answer began; None if it is not timed."""
        if self.answered is None and self.timed:
            return now - self.started
        return self.answered

    def is_slow(self, now: float) -> bool:
        """Tell whether it has become slow; one whose answer has begun no more does."""
        return now >= self.due and self.answered is None


class Line:
    """The running calls of one limit of slowness, oldest first."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.calls: deque[Permit] = deque()


class Running:
    """The calls that are watched for slowness, and the limit for those to come."""

    def __init__(self, limit: float | None) -> None:
        self.look_at = math.inf  # no call becomes slow before
        self._older: list[Line] = []  # with calls that came under another limit
        self._line = None if limit is None else Line(limit)

    @property
    def watches(self) -> bool:
        """Whether calls must be entered here, or are still watched under an older limit."""
        return self._line is not None or bool(self._older)

    def set_limit(self, limit: float | None) -> None:
        """Watch calls that come from now on for *limit* seconds; None: not at all."""
        if self._line is not None:
            self._older.append(self._line)
        self._line = None if limit is None else Line(limit)

    def enter(self, era: Era, now: float) -> Permit:
        """Return the permit of a call that *era* has admitted, timed from now on."""
        permit = Permit()
        permit.era = era
        permit.started = now
        line = self._line
        if line is not None:
            permit.due = now + line.limit
            calls = line.calls
            calls.append(permit)
            # Out with one that has ended for one that comes: so memory follows the
            # calls that run, unless one of them holds up the line until it is due.
            if calls[0].done:
                calls.popleft()
            if permit.due < self.look_at:
                self.look_at = permit.due
        return permit

    def overdue(self, now: float) -> Permit | None:
        """Take out the next call that has become slow and still runs, to be marked."""
        lines = [*self._older, self._line] if self._line is not None else self._older
        for line in lines:
            if (permit := _take_overdue(line.calls, now)) is not None:
                return permit
        self._older = [line for line in self._older if line.calls]
        self.look_at = min((line.calls[0].due for line in lines if line.calls), default=math.inf)
        return None

    def __len__(self) -> int:
        """How many calls are kept, ended ones that wait to be dropped included."""
        lines = [*self._older, self._line] if self._line is not None else self._older
        return sum(len(line.calls) for line in lines)


def _take_overdue(calls: deque[Permit], now: float) -> Permit | None:
    # No lock: of two threads that look at once one finds the line empty or has
    # taken what it did not look at, and puts that back.
    try:
        while (permit := calls[0]).done or now >= permit.due:
            if (taken := calls.popleft()) is not permit:
                calls.appendleft(taken)
            elif not permit.done and permit.answered is None:
                return permit
    except IndexError:
        pass  # empty
    return None
