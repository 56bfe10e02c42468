"""The service behind the demo's server: a queue that is emptied at a limited rate.

Rule: it reads no clock and awaits nothing; who drives it says what time it is. A
call whose caller has given up is served like any other, since a real server does
not notice either: that is how a queue outlives the trouble that made it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from asyncbreaker._demo.script import Phase

Answer = Callable[[int], object]
"""Takes the HTTP status."""

CAPACITY = 100.0  # calls per second when healthy
SHARES = {Phase.HEALTHY: 1.0, Phase.SLOW: 0.2, Phase.DEAD: 0.0}  # of it that are left
COLD_SHARE = 0.1  # with cold caches, at first
ROOM = 200  # calls that may wait, two seconds of work; more are refused


class Backend:
    """One service with a queue of its own, healthy at first."""

    def __init__(self, warming: float) -> None:
        self._warming = warming
        self._waiting: deque[Answer] = deque()
        self._phase = Phase.HEALTHY
        self._since = 0.0
        self._now = 0.0
        self._credit = 0.0  # calls that may be served at once

    def enter(self, phase: Phase, now: float) -> None:
        """Be well or ill from now on."""
        self._phase, self._since = phase, now

    def arrive(self, answer: Answer) -> None:
        """Take a call, which waits for its turn, or refuse it when too many wait."""
        if len(self._waiting) < ROOM:
            self._waiting.append(answer)
        else:
            answer(503)

    def served(self, now: float) -> Iterator[Answer]:
        """Yield the calls whose turn has come since it was asked last."""
        passed, self._now = now - self._now, now
        # An idle service saves up no more than one call: it cannot work in advance.
        self._credit = min(self._credit + passed * self.capacity(now), 1.0 + len(self._waiting))
        while self._waiting and self._credit >= 1.0:
            self._credit -= 1.0
            yield self._waiting.popleft()

    def capacity(self, now: float) -> float:
        """Calls per second that it can serve now."""
        if self._phase is Phase.RECOVERING:
            warm = (now - self._since) / self._warming
            return CAPACITY * min(1.0, COLD_SHARE + (1.0 - COLD_SHARE) * warm)
        return CAPACITY * SHARES[self._phase]
