"""Windows: how much of the past counts, and what was counted in it.

Both kinds add, amend and read in constant time, and expire on reading.
"""

from __future__ import annotations

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

    def count(self, bits: int, now: float) -> float:
        """Add an entry, given as bits."""
        ...

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


# What is known of an entry, as bits; calls are counted by what is known of them.
SUCCESS, FAILURE, SLOW = 1, 2, 4
KINDS = 8


def _totals(counted: list[int]) -> Totals:
    unjudged, success, failure, _, slow, slow_success, slow_failure, _ = counted
    slow_calls = slow + slow_success + slow_failure
    return Totals(
        unjudged + success + failure + slow_calls,
        success + slow_success,
        failure + slow_failure,
        slow_calls,
    )


class CallWindow:
    """The last *size* calls; an entry is named by its number."""

    def __init__(self, size: int, *, added: int = 0) -> None:
        self._size = size
        self._base = self._added = added  # numbers go on where an older window ended
        # Grows up to the size and is then a ring: memory follows the traffic.
        self._entries = bytearray()
        self._counted = [0] * KINDS

    def amend(self, entry: float, *, failure: bool, now: float) -> None:
        if entry >= self._added - len(self._entries):  # else it has left the window
            place = self._place(int(entry))
            self._counted[self._entries[place]] -= 1
            self._entries[place] |= FAILURE if failure else SUCCESS
            self._counted[self._entries[place]] += 1

    def totals(self, now: float) -> Totals:
        return _totals(self._counted)

    def resize(self, size: int) -> None:
        """Keep the newest entries, under their numbers."""
        oldest = self._added - min(size, len(self._entries))
        other = CallWindow(size, added=oldest)
        for entry in range(oldest, self._added):
            other.count(self._entries[self._place(entry)], 0.0)
        vars(self).update(vars(other))

    def count(self, bits: int, now: float) -> int:
        entry, self._added = self._added, self._added + 1
        entries, counted = self._entries, self._counted
        if len(entries) < self._size:
            entries.append(bits)
        else:
            place = (entry - self._base) % self._size
            counted[entries[place]] -= 1
            entries[place] = bits
        counted[bits] += 1
        return entry

    def _place(self, entry: int) -> int:
        return (entry - self._base) % self._size


class TimeWindow:
    """The calls of the last *seconds*, less up to one bucket; an entry is named by its date.

    Bucket ``i`` holds what ended from ``i * width`` on, for one width.
    """

    def __init__(self, seconds: float, buckets: int) -> None:
        self._width = seconds / buckets
        self._newest: int | None = None  # index of the newest bucket
        self._buckets = [[0] * KINDS for _ in range(buckets)]
        self._sums = [0] * KINDS

    def count(self, bits: int, now: float) -> float:
        self._buckets[self._expire(now) % len(self._buckets)][bits] += 1
        self._sums[bits] += 1
        return now

    def amend(self, entry: float, *, failure: bool, now: float) -> None:
        newest, size = self._expire(now), len(self._buckets)
        bits = SLOW | (FAILURE if failure else SUCCESS)
        # Down from its date: a resize files what it keeps under an earlier one.
        for index in range(min(floor(entry / self._width), newest), newest - size, -1):
            bucket = self._buckets[index % size]
            if bucket[SLOW]:
                for counted in (bucket, self._sums):
                    counted[SLOW] -= 1
                    counted[bits] += 1
                return

    def totals(self, now: float) -> Totals:
        self._expire(now)
        return _totals(self._sums)

    def resize(self, seconds: float, buckets: int, now: float) -> None:
        """Keep the buckets that the new size covers, each under the date at which it began."""
        newest = self._expire(now)
        other = TimeWindow(seconds, buckets)
        last = other._expire(now)
        for index in range(newest - len(self._buckets) + 1, newest + 1):
            # By its beginning: so what counts is never older than the window says.
            filed = min(floor(index * self._width / other._width), last)
            if filed > last - buckets:
                other._add(filed, self._buckets[index % len(self._buckets)])
        vars(self).update(vars(other))

    def _expire(self, now: float) -> int:
        """Empty the buckets that *now* has left behind; return the newest index."""
        index, newest = floor(now / self._width), self._newest
        if newest is not None and index <= newest:
            return newest  # a clock that runs backwards finds nothing to do either
        size = len(self._buckets)
        for passed in range(index if newest is None else max(newest, index - size) + 1, index + 1):
            self._empty(self._buckets[passed % size])
        self._newest = index
        return index

    def _add(self, index: int, counted: list[int]) -> None:
        bucket = self._buckets[index % len(self._buckets)]
        for kind in range(KINDS):
            bucket[kind] += counted[kind]
            self._sums[kind] += counted[kind]

    def _empty(self, bucket: list[int]) -> None:
        for kind in range(KINDS):
            self._sums[kind] -= bucket[kind]
            bucket[kind] = 0
