"""What one call is given, and the era it belongs to.

In CLOSED the permit *is* the era. A call that must be told from others (it is
timed, or holds a place in HALF_OPEN) gets a ``Permit`` of its own.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import takewhile

from asyncbreaker._core.windows import Window


class Era:
    """One stay in one state, with what was counted in it."""

    __slots__ = ("began", "blocks", "last_bad", "lead", "run", "since", "succeeded")

    check = False  # only a permit of its own may be the health check's

    def __init__(self, began: float | None) -> None:
        self.began = began  # None: the clock could not be read yet
        # A dead era keeps a lead of 1, so that a late success takes the same
        # branch as one that has something to make good: ``if permit.lead``.
        self.lead = 0
        self.run = 0  # failures since the last success; above 0 only while the lead is
        self.since = 0.0  # when the lead last left 0
        self.last_bad = 0.0
        self.succeeded = 0
        self.blocks = 0  # blocks entered on the short path and not left yet

    @property
    def era(self) -> Era:
        """Itself: in CLOSED the permit is the era."""
        return self


class Permit:
    """The right to make one admitted call."""

    # Most calls leave these alone, so that making a permit sets three fields.
    lead = 1  # never the short path: see Era.lead
    succeeded = 0  # of the era; here so that both kinds have it
    done = False  # settled
    entries: list[tuple[Window, float]] | None = None  # in the windows, once marked slow
    answered: float | None = None  # a stream: seconds to its first item
    alone = False  # a probe: it came while one call in flight was allowed
    check = False  # a probe: the health check is asked first
    timed = True

    def __init__(self, era: Era, started: float, due: float = math.inf) -> None:
        self.era = era
        self.started = started
        self.due = due  # from when on it is slow

    def seconds(self, now: float) -> float | None:
        """For how long it has run, a stream until its first item; None if it is not timed."""
        if self.answered is None and self.timed:
            return now - self.started
        return self.answered

    def is_slow(self, now: float) -> bool:
        """Tell whether it has become slow; a stream whose first item is there no more does."""
        return now >= self.due and self.answered is None


class Running:
    """The calls that run under one limit of slowness, oldest first."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.due = math.inf  # nothing becomes slow before
        self._calls: deque[Permit] = deque()
        self._room = 64

    def enter(self, era: Era, now: float) -> Permit:
        """Return the permit of a call that begins now."""
        permit = Permit(era, now, now + self.limit)
        self._calls.append(permit)
        if permit.due < self.due:
            self.due = permit.due
        if len(self._calls) > self._room:  # sweeps out what has ended, at a constant price
            self._calls = deque(call for call in self._calls.copy() if not call.done)
            self._room = max(64, 2 * len(self._calls))
        return permit

    def overdue(self, now: float) -> Permit | None:
        """Take out the oldest call that has become slow and still runs."""
        # No lock: of two threads that look at once one finds the queue empty or
        # has taken what it did not look at, and puts that back.
        calls = self._calls
        try:
            while (permit := calls[0]).done or now >= permit.due:
                if (taken := calls.popleft()) is not permit:
                    calls.appendleft(taken)
                elif not permit.done and permit.answered is None:
                    return permit
        except IndexError:
            self.due = math.inf
        else:
            self.due = permit.due
        return None

    def __len__(self) -> int:
        return len(self._calls)


class Places:
    """Who holds a place in HALF_OPEN, oldest first. A place is leased, not given."""

    def __init__(self, lease: float) -> None:
        self.lease = lease
        self._held: OrderedDict[Permit, None] = OrderedDict()

    def take(self, permit: Permit) -> None:
        self._held[permit] = None

    def give_back(self, permit: Permit) -> None:
        """Free its place, if the lease has not done so before."""
        self._held.pop(permit, None)

    def holds(self, permit: Permit) -> bool:
        return permit in self._held

    def expire(self, now: float) -> None:
        """Free the places whose lease is over."""
        while self._held and next(iter(self._held)).started + self.lease <= now:
            self._held.popitem(last=False)

    def next_end(self, now: float) -> float | None:
        """When the next of the running leases ends; None when none runs."""
        return next((end for end in self._ends() if end > now), None)

    def taken(self, now: float) -> int:
        """How many leases run; changes nothing."""
        return len(self._held) - sum(1 for _ in takewhile(now.__ge__, self._ends()))

    def _ends(self) -> Iterator[float]:
        return (permit.started + self.lease for permit in self._held)

    def __len__(self) -> int:
        return len(self._held)
