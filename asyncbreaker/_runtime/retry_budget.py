"""How many tries may be made again, so that retries do not make things worse."""

from __future__ import annotations

import threading
from collections import deque
from typing import NoReturn

from asyncbreaker._core import checks
from asyncbreaker._core.windows import SUCCESS, TimeWindow
from asyncbreaker._runtime.backend import Clock
from asyncbreaker.trip import SHORTEST_BUCKET

ROUNDING = 1e-6  # a hundred times 0.29 is a little less than 29
BUCKETS = 10  # a tenth of the window's calls leaves at a time


class RetryBudget:
    """Bounds the retries of all calls to one dependency, whoever makes them.

    In any *window* seconds it allows ``floor * window + ratio * calls`` retries: with the
    defaults, ten a second and one for every ten calls. So a dependency that fails every
    call gets a tenth more of them, not three times as many. Share one budget among the
    retries of one dependency. (The rule of Finagle's ``RetryBudget`` and of the chapter
    "Handling Overload" in Google's book on site reliability.)

    Args:
        ratio: Retries per call, from 0 to 1.
        floor: Retries a second that are allowed besides, so that a client with few calls
            may retry at all.
        window: Seconds for which calls and retries count.
        clock: Monotonic seconds. Default: the clock of the retry or hedge that asks.

    Raises:
        TypeError, ValueError: A value is of the wrong type or out of range.
    """

    def __init__(
        self,
        ratio: float = 0.1,
        *,
        floor: float = 10.0,
        window: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        self._ratio = checks.share("ratio", ratio)
        self._always = checks.number("floor", floor) * checks.positive("window", window)
        if window < BUCKETS * SHORTEST_BUCKET:
            raise ValueError(f"window must be at least 10 microseconds, not {window!r}")
        if clock is not None:
            checks.function("clock", clock)
        self._clock = clock
        self._seconds = window
        self._calls = TimeWindow(window, BUCKETS)
        # Retries by their dates, so that no window has too many of them. The budget itself
        # bounds how many that are; of calls there may be more than one would keep.
        self._retries: deque[float] = deque()
        # Threads that ask at once must not both take the last one.
        self._lock = threading.Lock()

    def deposit(self, now: float) -> None:
        """Count a call; *now*: seconds by the caller's clock."""
        with self._lock:
            self._calls.count(SUCCESS, self._read(now))

    def withdraw(self, now: float) -> bool:
        """Take one retry; return whether there was one."""
        with self._lock:
            now = self._read(now)
            if self._left(now) < 1 - ROUNDING:
                return False
            self._retries.append(now)
            return True

    def balance(self, now: float) -> float:
        """Return how many retries are left; takes none."""
        with self._lock:
            return max(0.0, self._left(self._read(now)))

    def _left(self, now: float) -> float:
        retries = self._retries
        while retries and retries[0] <= now - self._seconds:
            retries.popleft()
        return self._always + self._ratio * self._calls.totals(now).calls - len(retries)

    def _read(self, now: float) -> float:
        return now if self._clock is None else self._clock()

    def __repr__(self) -> str:
        return f"<RetryBudget ratio={self._ratio:g}, always {self._always:g} per window>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle or copy {self!r}: it keeps what this process has seen")
