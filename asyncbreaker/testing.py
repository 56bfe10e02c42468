"""Help for your tests: a clock that obeys, a recorder of events, a forced state."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol, cast, overload

import anyio

from asyncbreaker import (
    CallRejected,
    CallSettled,
    CircuitBreaker,
    Event,
    Pipeline,
    PolicyEvent,
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
        self._watchers: list[tuple[int, anyio.Event]] = []

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
        for count, event in self._watchers:
            if len(self._sleepers) >= count:
                event.set()
        try:
            await sleeper[1].wait()
        finally:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)

    async def slept_on(self, count: int = 1) -> None:
        """Return when at least *count* tasks sleep on this clock: now ``advance`` wakes them.

        A pause of a retry is one sleeper; a timeout that runs is one too.
        """
        if len(self._sleepers) >= count:
            return
        watcher = (count, anyio.Event())
        self._watchers.append(watcher)
        try:
            await watcher[1].wait()
        finally:
            self._watchers.remove(watcher)


class Source(Protocol):
    """Tells events: every policy of ours."""

    def add_listener(self, listener: Callable[[PolicyEvent], object], /) -> Callable[[], None]:
        """Call *listener* with each event; return what ends that."""
        ...


@overload
def record(breaker: CircuitBreaker, /) -> AbstractContextManager[list[Event]]: ...
@overload
def record(
    policy: Pipeline[object] | Source, /, *more: CircuitBreaker | Pipeline[object] | Source
) -> AbstractContextManager[list[Event | PolicyEvent]]: ...
@overload
def record(
    breaker: CircuitBreaker,
    other: CircuitBreaker | Pipeline[object] | Source,
    /,
    *more: CircuitBreaker | Pipeline[object] | Source,
) -> AbstractContextManager[list[Event | PolicyEvent]]: ...
def record(*sources: Any) -> AbstractContextManager[list[Any]]:
    """Collect every event of *sources*, of all kinds, in one list, in the order of the telling.

    Args:
        sources: Breakers, policies, and pipelines, of which all members are listened to.
    """
    return _record(sources)


@contextmanager
def _record(sources: tuple[object, ...]) -> Generator[list[Any]]:
    events: list[Any] = []
    with ExitStack() as listening:
        # By identity: one in two pipelines is heard once, and two that are equal are two.
        for teller in {id(teller): teller for teller in _tellers(sources)}.values():
            listening.callback(_listen(teller, events.append))
        yield events


def _tellers(sources: Iterable[object]) -> Iterator[CircuitBreaker | Source]:
    for source in sources:
        if isinstance(source, Pipeline):
            members: tuple[object, ...] = source.policies
            yield from _tellers(member for member in members if _tells(member))
        elif isinstance(source, CircuitBreaker) or _tells(source):
            yield cast("CircuitBreaker | Source", source)
        else:
            raise TypeError(f"record() needs a breaker, a policy or a pipeline, not {source!r}")


def _tells(source: object) -> bool:
    """Whether it tells events; a policy of a user's own need not."""
    return isinstance(source, Pipeline) or callable(getattr(source, "add_listener", None))


def _listen(
    teller: CircuitBreaker | Source, listener: Callable[[Any], object]
) -> Callable[[], None]:
    if isinstance(teller, CircuitBreaker):
        return teller.add_listener(listener, StateChanged, CallRejected, CallSettled)
    return teller.add_listener(listener)


def force_state(breaker: CircuitBreaker, state: State) -> None:
    """Bring *breaker* into *state*, by moves that also happen by themselves.

    OPEN asks the backoff, as every opening does; HALF_OPEN has no probe in flight yet.
    Nothing happens if it is in that state.
    """
    breaker._runner.force_state(State(state))  # pyright: ignore[reportPrivateUsage]  # no user has a use for it
