"""Telling: listeners, their order, and the stream of events for async consumers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar

from asyncbreaker._core import checks
from asyncbreaker._runtime.backend import Signal
from asyncbreaker._runtime.matching import Complain
from asyncbreaker.events import CallRejected, CallSettled, Event, PolicyEvent, StateChanged

KINDS: tuple[type[Event], ...] = (StateChanged, CallRejected, CallSettled)
BUFFER = 1000  # events that a stream keeps for a consumer that sleeps

E = TypeVar("E", bound=Event | PolicyEvent)


def check_listener(name: str, listener: object) -> None:
    """Refuse what is no plain function."""
    if checks.is_async(listener):
        raise TypeError(
            f"{name} must be plain functions, not the coroutine function {listener!r}: "
            "a call that has ended must not wait for a listener; "
            "for async code use `async with breaker.events() as stream`"
        )
    checks.function(name, listener)


def check_kinds(
    kinds: tuple[object, ...], told: tuple[type[Any], ...], default: tuple[type[Any], ...]
) -> tuple[type[Any], ...]:
    """Return those of the *told* kinds of events that are asked for, *default* for none."""
    for kind in kinds:
        if not any(kind is known for known in told):
            names = ", ".join(known.__name__ for known in told)
            raise TypeError(f"kinds must be event classes ({names}), not {kind!r}")
    return tuple(kind for kind in told if kind in kinds) or default


class Telling:
    """Tells events to listeners, one at a time, in the order in which they were queued."""

    def __init__(self, complain: Complain) -> None:
        self._complain = complain
        self._listeners: dict[type[Any], tuple[partial[object], ...]] = {}
        self._queue: deque[Event | PolicyEvent] = deque()
        self._telling = threading.Lock()  # one tells at a time, also of several threads

    def add(
        self, listener: Callable[[Any], object], kinds: tuple[type[Any], ...]
    ) -> Callable[[], None]:
        """Tell *listener* events of these kinds; return what takes it off again."""

        # An object of its own: the same listener may be added twice, and each
        # remover takes off its own.
        entry = partial(listener)
        for kind in kinds:
            self._listeners[kind] = (*self._listeners.get(kind, ()), entry)

        def remove() -> None:
            for kind in kinds:
                left = tuple(other for other in self._listeners.get(kind, ()) if other is not entry)
                self._listeners[kind] = left

        return remove

    def wants(self, kind: type[Any]) -> bool:
        """Tell whether anybody listens: if not, the event need not be built."""
        return bool(self._listeners.get(kind))

    def queue(self, event: Event | PolicyEvent) -> None:
        """Put *event* in the line; ``drain`` tells it."""
        self._queue.append(event)

    def drain(self) -> None:
        """Tell what is in the line. What listeners cause by that is told after."""
        # Looks again when it has ended: what was queued meanwhile, by a thread that
        # found the lock taken, must not stay behind.
        while self._queue and self._telling.acquire(blocking=False):
            try:
                while self._queue:
                    self._tell(self._queue.popleft())
            finally:
                self._telling.release()

    def _tell(self, event: Event | PolicyEvent) -> None:
        for listener in self._listeners.get(type(event), ()):
            try:
                listener(event)
            except Exception as error:
                self._complain(listener.func, error)


class EventStream(Generic[E]):
    """An async iterator over the events of one breaker or policy: see ``events`` there."""

    def __init__(self, subscribe: Callable[[Callable[[E], object]], Callable[[], None]]) -> None:
        self._subscribe = subscribe
        self._unsubscribe: Callable[[], None] | None = None
        self._closed = False
        self._events: deque[E] = deque()
        self._sleepers: list[Signal] = []
        self.dropped = 0
        """Events that were lost, the oldest first, because the buffer of 1000 was full."""

    async def __aenter__(self) -> EventStream[E]:
        if self._unsubscribe is not None:
            raise RuntimeError("this stream of events has been entered before; ask for another")
        self._unsubscribe = self._subscribe(self._take)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed = True
        if self._unsubscribe is not None:
            self._unsubscribe()
        self._wake()

    def __aiter__(self) -> EventStream[E]:
        return self

    async def __anext__(self) -> E:
        if self._unsubscribe is None:
            raise RuntimeError("enter the stream first: async with breaker.events() as stream")
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            await self._sleep()
        return self._events.popleft()

    async def _sleep(self) -> None:
        signal = Signal()
        self._sleepers.append(signal)
        try:
            # Looks once more: another thread may have told something in between.
            if not self._events and not self._closed:
                await signal.wait()
        finally:
            with suppress(ValueError):  # it has been woken
                self._sleepers.remove(signal)

    def _take(self, event: E) -> None:
        if len(self._events) >= BUFFER:
            self._events.popleft()
            self.dropped += 1
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        sleepers, self._sleepers = self._sleepers, []
        for signal in sleepers:
            signal.wake()
