"""The counts of a machine, by how much of the past they cover; O(1) per call."""

from __future__ import annotations

from collections import deque
from math import exp

from benchmarks.lab.peers.settings import Window


class Whole:
    """Everything since the counts were last cleared."""

    __slots__ = ("bad_run", "excluded", "failures", "good_run", "requests", "successes")

    def __init__(self) -> None:
        self.clear(0.0)

    def clear(self, now: float) -> None:
        """Start anew."""
        self.requests = self.successes = self.failures = self.excluded = 0
        self.good_run = self.bad_run = 0

    def roll(self, now: float) -> None:
        """Forget what is too old."""

    def begin(self, now: float) -> int:
        """Count a call that begins; return the mark to end it with."""
        self.requests += 1
        return 0

    def succeed(self, mark: int, now: float) -> None:
        """Count a success."""
        self.successes += 1
        self.good_run += 1
        self.bad_run = 0

    def fail(self, mark: int, now: float) -> None:
        """Count a failure."""
        self.failures += 1
        self.bad_run += 1
        self.good_run = 0

    def exclude(self, mark: int, now: float) -> None:
        """Count a call that says nothing."""
        self.excluded += 1

    def bad_share(self, calls: int) -> float:
        """Return which share of so many calls has failed."""
        return self.failures / calls


class Last(Whole):
    """The last results, so many of them; the other figures are those of `Whole`."""

    __slots__ = ("_results",)

    def __init__(self, size: int) -> None:
        self._results: deque[bool] = deque(maxlen=size)
        super().__init__()

    def clear(self, now: float) -> None:
        super().clear(now)
        self._results.clear()

    def succeed(self, mark: int, now: float) -> None:
        super().succeed(mark, now)
        self._push(True)

    def fail(self, mark: int, now: float) -> None:
        super().fail(mark, now)
        self._push(False)

    def _push(self, good: bool) -> None:
        """Add a result, in place of the oldest one."""
        results = self._results
        if len(results) == results.maxlen:
            if results[0]:
                self.successes -= 1
            else:
                self.failures -= 1
        results.append(good)


class Bucket:
    """What one bucket holds."""

    __slots__ = ("excluded", "failures", "number", "requests", "start", "successes")

    def __init__(self, number: int, start: float) -> None:
        self.number, self.start = number, start
        self.requests = self.successes = self.failures = self.excluded = 0


class Buckets(Whole):
    """The last seconds, forgotten a bucket at a time."""

    __slots__ = (
        "_at_start",
        "_buckets",
        "_lazy",
        "_next",
        "_number",
        "_seconds",
        "_since",
        "_width",
    )

    def __init__(self, window: Window) -> None:
        self._seconds = window.seconds
        self._number = window.buckets
        self._width = window.seconds / window.buckets
        self._lazy = window.align == "lazy"
        self._at_start = window.credit == "start"
        self._buckets: deque[Bucket] = deque()
        super().__init__()

    def clear(self, now: float) -> None:
        super().clear(now)
        self._since = now
        self._buckets.clear()
        self._buckets.append(Bucket(0, now))
        self._next = now + self._width

    def roll(self, now: float) -> None:
        if now >= self._next:
            self._turn(now)

    def begin(self, now: float) -> int:
        if now >= self._next:
            self._turn(now)
        self.requests += 1
        newest = self._buckets[-1]
        newest.requests += 1
        return newest.number

    def succeed(self, mark: int, now: float) -> None:
        bucket = self._credited(mark, now)
        if bucket:
            bucket.successes += 1
            super().succeed(mark, now)

    def fail(self, mark: int, now: float) -> None:
        bucket = self._credited(mark, now)
        if bucket:
            bucket.failures += 1
            super().fail(mark, now)

    def exclude(self, mark: int, now: float) -> None:
        bucket = self._credited(mark, now)
        if bucket:
            bucket.excluded += 1
            super().exclude(mark, now)

    def _credited(self, mark: int, now: float) -> Bucket | None:
        """Return the bucket of a result; None: it has been forgotten."""
        if now >= self._next:
            self._turn(now)
        if not self._at_start:
            return self._buckets[-1]
        return next((bucket for bucket in self._buckets if bucket.number == mark), None)

    def _turn(self, now: float) -> None:
        """Go on to the bucket of *now*, and drop those that are too old."""
        (self._turn_lazily if self._lazy else self._turn_in_step)(now)

    def _turn_in_step(self, now: float) -> None:
        """Turn buckets that follow one another from the start."""
        number = int((now - self._since) / self._width)
        self._buckets.append(Bucket(number, now))
        self._next = self._since + (number + 1) * self._width
        while self._buckets[0].number <= number - self._number:
            self._drop()

    def _turn_lazily(self, now: float) -> None:
        """Turn buckets that begin with the first call that finds the last one full."""
        newest = self._buckets[-1]
        if now >= newest.start + self._width:
            newest = Bucket(newest.number + 1, now)
            self._buckets.append(newest)
        while now >= self._buckets[0].start + self._seconds:
            self._drop()
        self._next = min(newest.start + self._width, self._buckets[0].start + self._seconds)

    def _drop(self) -> None:
        """Forget the oldest bucket."""
        gone = self._buckets.popleft()
        self.requests -= gone.requests
        self.successes -= gone.successes
        self.failures -= gone.failures
        self.excluded -= gone.excluded
        # A run that reached into the bucket is all that is left of its kind.
        self.good_run = min(self.good_run, self.successes)
        self.bad_run = min(self.bad_run, self.failures)


class Moving(Buckets):
    """A success rate that forgets exponentially, over the number of calls in buckets."""

    __slots__ = ("_average", "_stamp")

    def clear(self, now: float) -> None:
        super().clear(now)
        self._average = 1.0
        self._stamp = 0  # milliseconds: in one of them only the first result tells

    def succeed(self, mark: int, now: float) -> None:
        super().succeed(mark, now)
        self._add(1.0, now)

    def fail(self, mark: int, now: float) -> None:
        super().fail(mark, now)
        self._add(0.0, now)

    def bad_share(self, calls: int) -> float:
        if self._stamp < self._seconds * 1000:
            return 0.0  # too early to say
        return 1.0 - self._average

    def _add(self, result: float, now: float) -> None:
        """Move the average towards a result, the more the later it comes."""
        stamp = int((now - self._since) * 1000)
        weight = exp((self._stamp - stamp) / (self._seconds * 1000))
        self._average = result * (1.0 - weight) + self._average * weight
        self._stamp = stamp


def counts(window: Window) -> Whole:
    """Return what counts in *window*; the machine itself empties a tumbling one."""
    match window.type:
        case "count":
            return Last(window.size)
        case "bucketed":
            return Buckets(window)
        case "moving":
            return Moving(window)
        case "none" | "tumbling":
            return Whole()
