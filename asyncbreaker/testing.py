"""Help for your tests: a clock that obeys, a recorder of events, a forced state."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import anyio

from asyncbreaker import (
    CallRejected,
    CallSettled,
    CircuitBreaker,
    Event,
    State,
    StateChanged,
)

__all__ = ["ManualClock", "force_state", "record"]


class ManualClock:
    """A clock that moves when told to: ``CircuitBreaker(clock=ManualClock())``.

    Belongs to one event loop; it is not for several threads.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, anyio.Event]] = []

    def __call__(self) -> float:
        return self._now

    def __repr__(self) -> str:
        return f"ManualClock({self._now!r})"

    def advance(self, seconds: float) -> None:
        """Move on by *seconds*, and wake what waits on this clock until then.

        Raises:
            ValueError: *seconds* is negative or not a number: the clock is monotonic.
        """
        if not seconds >= 0:
            raise ValueError(f"seconds must be a number, at least 0, not {seconds!r}")
        self._now += seconds
        due = [event for when, event in self._sleepers if when <= self._now]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self._now]
        for event in due:
            event.set()

    async def sleep_until(self, when: float) -> None:
        """Sleep until the clock shows *when*."""
        if when <= self._now:
            return
        sleeper = (when, anyio.Event())
        self._sleepers.append(sleeper)
        try:
            await sleeper[1].wait()
        finally:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)


@contextmanager
def record(breaker: CircuitBreaker) -> Generator[list[Event]]:
    """Collect every event of *breaker*, of all kinds, in a list."""
    events: list[Event] = []
    remove = breaker.add_listener(events.append, StateChanged, CallRejected, CallSettled)
    try:
        yield events
    finally:
        remove()


def force_state(breaker: CircuitBreaker, state: State) -> None:
    """Bring *breaker* into *state*, by moves that also happen by themselves.

    OPEN asks the backoff, as every opening does; HALF_OPEN has no probe in flight yet.
    Nothing happens if it is in that state.
    """
    breaker._runner.force_state(State(state))  # pyright: ignore[reportPrivateUsage]  # no user has a use for it
