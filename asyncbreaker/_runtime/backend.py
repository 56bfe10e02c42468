"""The event loop, whichever it is: the only file that names asyncio or trio.

Nothing in here is kept by a breaker beyond the running loop, so that a breaker made
at import works through several ``asyncio.run`` and ``trio.run``, and in several threads.
"""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, cast
from weakref import WeakKeyDictionary

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

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


def cancel_requests() -> int:
    """How often ``task.cancel()`` has been called on the running task and not been taken back."""
    if _trio_runs():
        return 0
    try:  # not ``suppress``: a retry asks before every call
        task = asyncio.current_task()
    except RuntimeError:
        return 0
    return 0 if task is None else task.cancelling()


def is_cancelled(since: int) -> bool:
    """Tell whether the running task is cancelled, by a scope or by more than *since* requests."""
    return anyio.current_effective_deadline() == -math.inf or cancel_requests() > since


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

    def wake(self) -> bool:
        """Wake the task; to be called once or often, from anywhere.

        Returns whether its loop still runs: else nobody waits any more.
        """
        with suppress(RuntimeError):  # no loop runs here
            if _current_loop() is self._loop:
                # On asyncio not at once: the garbage collector may call this in the middle
                # of the wait, between its look at the event and its standing in line.
                if isinstance(self._loop, asyncio.AbstractEventLoop):
                    self._loop.call_soon(self._event.set)
                else:
                    self._event.set()
                return True
        with suppress(RuntimeError):  # its loop has ended
            if isinstance(self._loop, asyncio.AbstractEventLoop):
                self._loop.call_soon_threadsafe(self._event.set)
            else:
                cast("trio.lowlevel.TrioToken", self._loop).run_sync_soon(self._event.set)
            return True
        return False


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


TICK = 0.001  # seconds


async def checkpoint() -> None:
    """Let other tasks run, and a cancelled one end here."""
    await anyio.lowlevel.checkpoint()


async def wait_until(signal: Signal, clock: Clock, when: float | None) -> None:
    """Wait for *signal*, at most until *when* on *clock*."""
    if when is None:
        await signal.wait()
    else:
        async with Limit(when - clock(), clock):
            await signal.wait()


async def sleep(seconds: float, clock: Clock) -> None:
    """Sleep by *clock*; others run and a cancelled task ends here in any case."""
    sleep_until: SleepUntil | None = getattr(clock, "sleep_until", None)
    when = clock() + seconds
    if sleep_until is None:
        await anyio.sleep(seconds)
        if 0 < when - clock() < TICK:  # uvloop rounds to milliseconds, so it may wake too early
            await anyio.sleep(TICK)
    else:
        await checkpoint()
        await sleep_until(when)


class Limit:
    """A block that is cancelled after so many seconds: ``async with Limit(1.0, clock):``.

    It swallows that cancellation and no other; ``ran_out`` tells of it. It is entered and
    left in one task.
    """

    __slots__ = ("_clock", "_outer", "_scope", "_seconds", "_sleepers", "_when", "ran_out")

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._sleepers: TaskGroup | None = None
        self.ran_out = False

    async def __aenter__(self) -> Limit:
        sleep_until: SleepUntil | None = getattr(self._clock, "sleep_until", None)
        if sleep_until is None:
            self._scope = anyio.CancelScope(deadline=anyio.current_time() + self._seconds)
            self._scope.__enter__()
        else:
            await self._enter_by(sleep_until)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        try:
            if self._sleepers is not None:
                await self._leave_sleepers(self._sleepers, exc)
        except BaseException as error:  # cancelled here: the scope must hear of that
            if self._end(error):
                return False  # it ran out when the block had ended, which stands
            raise
        return self._end(exc)

    def _end(self, exc: BaseException | None) -> bool:
        traceback = None if exc is None else exc.__traceback__
        swallowed = self._scope.__exit__(None if exc is None else type(exc), exc, traceback)
        self.ran_out = self._scope.cancel_called
        return exc is not None and bool(swallowed)  # trio's says yes to nothing, too

    # The clock is not the loop's: a task of its own must sleep on it, and what else asks
    # for the deadline finds it in a context variable, since no scope has it.

    async def _enter_by(self, sleep_until: SleepUntil) -> None:
        when = self._clock() + self._seconds
        self._scope = anyio.CancelScope()
        self._scope.__enter__()
        self._sleepers = anyio.create_task_group()
        await self._sleepers.__aenter__()
        self._sleepers.start_soon(_cancel_at, sleep_until, when, self._scope)
        self._when, self._outer = when, _limits.get()
        _limits.set((*self._outer, self))

    async def _leave_sleepers(self, sleepers: TaskGroup, exc: BaseException | None) -> None:
        self._when = math.inf  # a task that was started inside may live on, and know of it
        _limits.set(self._outer)
        sleepers.cancel_scope.cancel()
        try:
            # Not told what the block raised, which would come back in a group.
            await sleepers.__aexit__(None, None, None)
        except anyio.get_cancelled_exc_class():
            if exc is None or isinstance(exc, Exception):
                raise
            # It ends by a cancellation or an interrupt already, which goes on.

    def left(self, clock: Clock) -> float:
        """Seconds until it ends, if it is by *clock* and no scope tells it."""
        return self._when - clock() if clock is self._clock else math.inf


_limits: ContextVar[tuple[Limit, ...]] = ContextVar("_limits", default=())


def seconds_left(clock: Clock) -> float:
    """Seconds until the nearest deadline around this task, of anyio, trio or a ``Limit``."""
    left = anyio.current_effective_deadline() - anyio.current_time()
    return min([left, *(limit.left(clock) for limit in _limits.get())])


async def ask_within(
    seconds: float, clock: Clock, ask: Callable[[], Awaitable[object]]
) -> Exception | None:
    """Await ``ask()`` in this task; return what it raised, a ``TimeoutError`` when it was cut."""
    error: Exception | None = None
    async with Limit(seconds, clock) as limit:
        error = await _answer(ask)
    if limit.ran_out:  # caught or swallowed by what was asked
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
