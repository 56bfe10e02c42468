"""Waiting for a breaker: until it is closed, or until the next call would be admitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from asyncbreaker._runtime.backend import Clock, LoopLock, Signal, wait_until

PACE = 0.05  # seconds; who has passed and does not call holds up the line no longer


class _Pass(NamedTuple):
    """The last waiter that was told to go ahead."""

    at: float
    arrivals: int  # calls that had arrived at the breaker by then


class Waiting:
    """Everybody who waits for one breaker."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Guards the line of ``wait_ready``: its head alone watches the circuit, the
        # others queue for the lock, first come first served, and no more of them are
        # let go than can be admitted.
        self._line = LoopLock()
        self.watching: set[Signal] = set()
        self._for_closed: set[Signal] = set()
        self._last_pass = _Pass(-float("inf"), -1)
        self.arrivals = 0

    def stirred(self) -> None:
        """Wake the heads of the lines: a call has arrived or ended, or the state has moved."""
        for signal in tuple(self.watching):
            signal.wake()

    def closed(self) -> None:
        """Wake those who wait for the end of the trouble."""
        for signal in tuple(self._for_closed):
            signal.wake()

    async def until_closed(self, is_closed: Callable[[], bool]) -> None:
        """Wait for ``closed``, unless *is_closed* says that it is so already."""
        signal = Signal()
        self._for_closed.add(signal)
        try:
            if not is_closed():
                await signal.wait()
        finally:
            self._for_closed.discard(signal)

    async def until_ready(
        self, ready_at: Callable[[float], float | None], is_open_to_all: Callable[[], bool]
    ) -> None:
        """Wait in the line until *ready_at* says that a call would be admitted now."""
        async with self._line.here():
            while not await self._passes(ready_at, is_open_to_all):
                pass

    async def _passes(
        self, ready_at: Callable[[float], float | None], is_open_to_all: Callable[[], bool]
    ) -> bool:
        """Tell whether the head of the line may go; if not, first wait for a change."""
        # Watches before it looks: what changes in between, in another thread, wakes it.
        signal = Signal()
        self.watching.add(signal)
        try:
            if is_open_to_all():
                return True
            now = self._clock()
            when = ready_at(now)
            if when is not None:
                when = max(when, self._next_pass())
                if when <= now:
                    self._last_pass = _Pass(now, self.arrivals)
                    return True
            await wait_until(signal, self._clock, when)
            return False
        finally:
            self.watching.discard(signal)

    def _next_pass(self) -> float:
        """When the next waiter may pass: at once if a call has come since the last one did."""
        at, arrivals = self._last_pass
        return at + PACE if arrivals == self.arrivals else at
