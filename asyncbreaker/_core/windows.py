"""Windows: how much of the past counts, and what was counted in it.

Both kinds add, amend and read in constant time, and expire on reading.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import floor
from typing import NamedTuple, Protocol, runtime_checkable


class Counts(NamedTuple):
    """What a trip rule is asked about.

    ``calls`` is ``successes + failures`` plus the slow calls that have not been
    judged (they still run, or were cancelled).
    """

    calls: int = 0
    """Calls in the window."""
    successes: int = 0
    """Successes in the window, slow ones included."""
    failures: int = 0
    """Failures in the window, slow ones included."""
    slow: int = 0
    """Slow calls in the window."""
    consecutive_failures: int = 0
    """Failures since the last success, bound to no window."""
    lead: int = 0
    """By how many calls the bad ones lead the good ones, never below 0."""
    lead_seconds: float = 0.0
    """For how many seconds the lead has been above 0."""

    @property
    def failure_rate(self) -> float:
        """Failures per call, from 0 to 1; 0 without calls."""
        return self.failures / self.calls if self.calls else 0.0

    @property
    def slow_rate(self) -> float:
        """Slow calls per call, from 0 to 1; 0 without calls."""
        return self.slow / self.calls if self.calls else 0.0


class Totals(NamedTuple):
    """What a window holds now."""

    calls: int
    successes: int
    failures: int
    slow: int


class Window(Protocol):
    """A running window. An entry is named by what ``add`` returned."""

    def add(self, *, success: bool, failure: bool, slow: bool, now: float) -> float: ...
    def amend(self, entry: float, *, failure: bool, now: float) -> None: ...
    def totals(self, now: float) -> Totals: ...


@runtime_checkable
class WindowSpec(Protocol):
    """What a rule asks for; hashable, so that equal ones share one running window."""

    def start(self) -> Window:
        """Return an empty window."""
        ...

    def refit(self, window: Window, now: float) -> bool:
        """Bring *window* to this size, with what still fits; false if it is of another kind."""
        ...


SUCCESS, FAILURE, SLOW = 1, 2, 4  # what is known of an entry, as bits


class CallWindow:
    """The last *size* calls; an entry is named by its number."""

    def __init__(self, size: int, *, added: int = 0) -> None:
        self._size = size
        self._base = self._added = added  # numbers go on where an older window ended
        # Grows up to the size and is then a ring: memory follows the traffic.
        self._entries = bytearray()
        self._counted = [0, 0, 0]  # successes, failures, slow

    def add(self, *, success: bool, failure: bool, slow: bool, now: float) -> int:
        return self._push(SUCCESS * success | FAILURE * failure | SLOW * slow)

    def amend(self, entry: float, *, failure: bool, now: float) -> None:
        if entry < self._added - len(self._entries):
            return  # it has left the window
        bits = FAILURE if failure else SUCCESS
        self._entries[self._place(int(entry))] |= bits
        self._count(bits, +1)

    def totals(self, now: float) -> Totals:
        return Totals(len(self._entries), *self._counted)

    def resize(self, size: int) -> None:
        """Keep the newest entries, under their numbers."""
        oldest = self._added - min(size, len(self._entries))
        other = CallWindow(size, added=oldest)
        for entry in range(oldest, self._added):
            other._push(self._entries[self._place(entry)])
        vars(self).update(vars(other))

    def _push(self, bits: int) -> int:
        entry, self._added = self._added, self._added + 1
        if len(self._entries) < self._size:
            self._entries.append(bits)
        else:
            place = self._place(entry)
            self._count(self._entries[place], -1)
            self._entries[place] = bits
        self._count(bits, +1)
        return entry

    def _place(self, entry: int) -> int:
        return (entry - self._base) % self._size

    def _count(self, bits: int, sign: int) -> None:
        counted = self._counted
        if bits & SUCCESS:
            counted[0] += sign
        if bits & FAILURE:
            counted[1] += sign
        if bits & SLOW:
            counted[2] += sign


class TimeWindow:
    """The calls of the last *seconds*, less up to one bucket; an entry is named by its date.

    Bucket ``i`` holds what ended from ``i * width`` on, for one width.
    """

    def __init__(self, seconds: float, buckets: int) -> None:
        self._width = seconds / buckets
        self._newest: int | None = None  # index of the newest bucket
        self._buckets = [[0, 0, 0, 0] for _ in range(buckets)]  # calls, successes, failures, slow
        self._sums = [0, 0, 0, 0]

    def add(self, *, success: bool, failure: bool, slow: bool, now: float) -> float:
        self._count(self._expire(now), (1, success, failure, slow))
        return now

    def amend(self, entry: float, *, failure: bool, now: float) -> None:
        newest = self._expire(now)
        latest, size = min(floor(entry / self._width), newest), len(self._buckets)
        # Down from its date: a resize files what it keeps under an earlier one.
        for index in range(latest, newest - size, -1):
            calls, successes, failures, _ = self._buckets[index % size]
            if calls > successes + failures:
                self._count(index, (0, not failure, failure, 0))
                return

    def totals(self, now: float) -> Totals:
        self._expire(now)
        return Totals(*self._sums)

    def resize(self, seconds: float, buckets: int, now: float) -> None:
        """Keep the buckets that the new size covers, each under the date at which it began."""
        newest = self._expire(now)
        other = TimeWindow(seconds, buckets)
        last = other._expire(now)
        for index in range(newest - len(self._buckets) + 1, newest + 1):
            # By its beginning: so what counts is never older than the window says.
            filed = min(floor(index * self._width / other._width), last)
            if filed > last - buckets:
                other._count(filed, self._buckets[index % len(self._buckets)])
        vars(self).update(vars(other))

    def _expire(self, now: float) -> int:
        """Empty the buckets that *now* has left behind; return the newest index."""
        index, size = floor(now / self._width), len(self._buckets)
        if self._newest is None:
            self._newest = index
        # A clock that runs backwards finds nothing to do here: the newest stays.
        for passed in range(max(self._newest, index - size) + 1, index + 1):
            self._uncount(self._buckets[passed % size])
        self._newest = max(self._newest, index)
        return self._newest

    def _count(self, index: int, added: Iterable[int]) -> None:
        bucket = self._buckets[index % len(self._buckets)]
        for kind, number in enumerate(added):
            bucket[kind] += number
            self._sums[kind] += number

    def _uncount(self, bucket: list[int]) -> None:
        for kind in range(4):
            self._sums[kind] -= bucket[kind]
            bucket[kind] = 0
