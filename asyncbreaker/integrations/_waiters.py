"""Who waits for a connection when the circuit opens is refused then, not when his time is up."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from asyncbreaker import CircuitBreaker, Guard, State, StateChanged

T = TypeVar("T")

_REFUSING = (State.OPEN, State.FORCED_OPEN)


class Waiters:
    """The tasks that wait for a connection of one pool under asyncio."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker
        # With the loop of each: the circuit may be opened from another thread.
        self._waiting: dict[anyio.CancelScope, asyncio.AbstractEventLoop] = {}
        # The breaker may outlive many pools: it must not keep their waiters alive.
        alive = weakref.WeakSet([self])

        def tell(event: StateChanged) -> None:
            for waiters in alive:
                waiters.moved(event)

        weakref.finalize(self, breaker.add_listener(tell))

    async def acquire(self, get: Callable[[Guard], Awaitable[T]]) -> T:
        """Return ``await get(permit)``, one call of the breaker, which *get* may judge.

        Raises:
            CircuitOpenError: The circuit is open, or has opened meanwhile.
        """
        async with self._breaker.guard() as permit:
            return await self.waiting(lambda: get(permit))

    async def waiting(self, get: Callable[[], Awaitable[T]]) -> T:
        """Return ``await get()``, within a call that has been admitted.

        Raises:
            CircuitOpenError: The circuit has opened meanwhile.
        """
        while True:
            with anyio.CancelScope() as scope:
                self._waiting[scope] = asyncio.get_running_loop()
                try:
                    return await get()
                finally:
                    del self._waiting[scope]
            # The wait was ended from here. In shadow mode nobody is refused: wait again.
            async with self._breaker.guard() as permit:
                permit.ignore()

    def moved(self, event: StateChanged) -> None:
        """End the waits if the circuit has opened."""
        if event.new not in _REFUSING:
            return
        for scope, loop in list(self._waiting.items()):
            with contextlib.suppress(RuntimeError):  # its loop was closed with it still waiting
                loop.call_soon_threadsafe(scope.cancel)
