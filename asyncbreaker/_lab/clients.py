"""A client of the lab: what stands between its calls and the dependency, if anything does."""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol

from asyncbreaker import CircuitBreaker, CircuitOpenError, State, StateChanged

Call = Coroutine[Any, Any, object]
"""A call in flight, suspended until the lab says how it ends."""


class Client(Protocol):
    """Whatever admits calls and hears how they end."""

    openings: list[float]
    """When it opened, from CLOSED or again."""
    trips: list[float]
    """When it opened from CLOSED."""

    def admit(self, now: float) -> Any:
        """Return what stands for a call that is let through; None: it is rejected."""

    def settle(self, call: Any, good: bool, now: float) -> None:
        """Take the end of a call."""


class Clock:
    """The virtual clock: the lab sets ``now``."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FailedError(Exception):
    """What the modelled dependency raises."""


class WaitedError(Exception):
    """A breaker awaited something of its own, for which there is no event loop here."""


@types.coroutine
def answer() -> Generator[object, None, None]:
    """Be the guarded function: suspended until the lab says how it ends."""
    yield answer


class Unguarded:
    """A client without a breaker."""

    def __init__(self) -> None:
        self.openings: list[float] = []
        self.trips: list[float] = []

    def admit(self, now: float) -> Any:
        return self

    def settle(self, call: Any, good: bool, now: float) -> None:
        """Nothing learns from it."""


class Awaited:
    """A client whose real breaker is awaited by hand, one step into a call and one out of it.

    No event loop takes part: so a million calls take seconds, and nothing happens at
    any other time than the lab's.
    """

    def __init__(
        self,
        call: Callable[[Callable[[], Any]], Call],
        rejection: type[Exception] | tuple[type[Exception], ...],
    ) -> None:
        self.openings: list[float] = []
        self.trips: list[float] = []
        self._call = call
        self._rejection = rejection

    def admit(self, now: float) -> Call | None:
        call = self._call(answer)
        try:
            awaited = call.send(None)
        except self._rejection:
            return None
        if awaited is not answer:
            raise WaitedError(f"it awaits {awaited!r}, not the call")
        return call

    def settle(self, call: Call, good: bool, now: float) -> None:
        try:
            if good:
                call.send(None)
            else:
                call.throw(FailedError)
        except (StopIteration, FailedError):
            pass
        else:
            raise WaitedError("it awaits something after the call")


class Guarded(Awaited):
    """A client with a breaker of ours."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        super().__init__(breaker.call, CircuitOpenError)
        self.breaker = breaker
        self.moves: list[StateChanged] = []
        breaker.add_listener(self._hear)

    def _hear(self, move: StateChanged) -> None:
        self.moves.append(move)
        if move.new is State.OPEN:
            self.openings.append(move.at)
            if move.old is State.CLOSED:
                self.trips.append(move.at)
