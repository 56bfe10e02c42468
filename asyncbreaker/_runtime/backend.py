"""The event loop, whichever it is: the only file that names asyncio or trio.

Nothing in here is kept by a breaker beyond the running loop, so that a breaker made
at import works through several ``asyncio.run`` and ``trio.run``, and in several threads.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, cast
from weakref import WeakKeyDictionary

import anyio
import anyio.lowlevel

if TYPE_CHECKING:
    import trio

Clock = Callable[[], float]
"""Monotonic seconds. May have ``async sleep_until(when)``, as ``ManualClock`` does."""


class SleepUntil(Protocol):
    """How a clock that is not the loop's lets a task sleep."""

    async def __call__(self, when: float, /) -> None: ...


def current_task() -> object:
    """Return the running task; None outside of any, as in a block closed by the collector."""
    if _trio_runs():
        return sys.modules["trio"].lowlevel.current_task()
    with suppress(RuntimeError):
        return asyncio.current_task()
    return None


def _trio_runs() -> bool:
    # Asked first: in trio's guest mode an asyncio loop runs as well. Trio is not
    # imported for this: where nobody has imported it, it does not run.
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_task()


def _current_loop() -> object:
    if _trio_runs():
        return sys.modules["trio"].lowlevel.current_trio_token()
    return asyncio.get_running_loop()


class Signal:
    """Wakes the task that made it, from any thread."""

    def __init__(self) -> None:
        self._loop = _current_loop()
        self._event = anyio.Event()

    async def wait(self) -> None:
        """Wait until somebody has called ``wake``."""
        await self._event.wait()

    def wake(self) -> None:
        """Wake the task; to be called once or often, from anywhere."""
        with suppress(RuntimeError):  # no loop runs here
            if _current_loop() is self._loop:
                self._event.set()
                return
        with suppress(RuntimeError):  # its loop has ended: nobody waits any more
            if isinstance(self._loop, asyncio.AbstractEventLoop):
                self._loop.call_soon_threadsafe(self._event.set)
            else:
                cast("trio.lowlevel.TrioToken", self._loop).run_sync_soon(self._event.set)


class LoopLock:
    """An ``asyncio.Lock``, trio's under trio: one per loop, made when it is first needed."""

    def __init__(self) -> None:
        self._locks: WeakKeyDictionary[object, asyncio.Lock | trio.Lock] = WeakKeyDictionary()
        self._guard = threading.Lock()  # loops in several threads may ask at once

    def here(self) -> asyncio.Lock | trio.Lock:
        """Return the running loop's lock."""
        loop = _current_loop()
        with self._guard:
            lock = self._locks.get(loop)
            if lock is None:
                self._forget_closed()
                lock = self._locks[loop] = _new_lock()
        return lock

    def _forget_closed(self) -> None:
        # A lock that was waited for holds its loop, so the weak key does not do.
        for loop in list(self._locks):
            if isinstance(loop, asyncio.AbstractEventLoop) and loop.is_closed():
                del self._locks[loop]


def _new_lock() -> asyncio.Lock | trio.Lock:
    if _trio_runs():
        return cast("trio.Lock", sys.modules["trio"].Lock())
    return asyncio.Lock()


async def checkpoint() -> None:
    """Let other tasks run, and a cancelled one end here."""
    await anyio.lowlevel.checkpoint()


async def wait_until(signal: Signal, clock: Clock, when: float | None) -> None:
    """Wait for *signal*, at most until *when* on *clock*."""
    sleep_until: SleepUntil | None = getattr(clock, "sleep_until", None)
    if when is None:
        await signal.wait()
    elif sleep_until is None:
        with anyio.move_on_after(when - clock()):
            await signal.wait()
    else:
        async with anyio.create_task_group() as sleepers:
            sleepers.start_soon(_wake_at, sleep_until, when, signal)
            await signal.wait()
            sleepers.cancel_scope.cancel()


async def _wake_at(sleep_until: SleepUntil, when: float, signal: Signal) -> None:
    await sleep_until(when)
    signal.wake()


async def ask_within(
    seconds: float, clock: Clock, ask: Callable[[], Awaitable[object]]
) -> Exception | None:
    """Await ``ask()`` in this task; return what it raised, a ``TimeoutError`` when it was cut."""
    sleep_until: SleepUntil | None = getattr(clock, "sleep_until", None)
    error: Exception | None = None
    if sleep_until is None:
        with anyio.move_on_after(seconds) as scope:
            error = await _answer(ask)
    else:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as sleepers:
                sleepers.start_soon(_cancel_at, sleep_until, clock() + seconds, scope)
                error = await _answer(ask)
                sleepers.cancel_scope.cancel()
    if scope.cancel_called:  # caught or swallowed by what was asked
        return TimeoutError(f"no answer within {seconds:g} s")
    return error


async def _cancel_at(sleep_until: SleepUntil, when: float, scope: anyio.CancelScope) -> None:
    await sleep_until(when)
    scope.cancel()


async def _answer(ask: Callable[[], Awaitable[object]]) -> Exception | None:
    try:
        await ask()
    except Exception as error:
        return error
    return None
