"""Bulkhead: how many calls may run at once."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

from asyncbreaker._core import checks
from asyncbreaker._runtime.backend import Clock, Signal, wait_until
from asyncbreaker._runtime.blocks import SingleUse
from asyncbreaker._runtime.bulletin import Bulletin
from asyncbreaker._runtime.misuse import explain_misuse, refuse
from asyncbreaker._runtime.policy import Around
from asyncbreaker.errors import BulkheadFullError
from asyncbreaker.events import BulkheadRejected

P = ParamSpec("P")
R = TypeVar("R")


class _Waiter:
    """A call in the line."""

    __slots__ = ("granted", "signal")

    def __init__(self) -> None:
        self.signal = Signal()
        self.granted = False  # a place has been handed over


class Bulkhead(Around):
    """Lets at most *limit* calls run at once, so that one dependency cannot take all there is.

    Who finds no place waits in a line, first come first served, if one of the *waiting*
    places there is free, and is rejected otherwise. A place that is given back goes to the
    head of the line at once; nobody overtakes. ``async with bulkhead:`` takes a place for a
    block. It belongs to no event loop, and may be shared by threads.

    Args:
        limit: Calls that may run at once.
        waiting: Calls that may wait for a place; 0: who finds none is rejected at once.
        max_wait: Seconds that a call waits at most. Default: until its caller gives up.
        name: Stands in errors, events and the log. Default: unique ("bulkhead-1").
        clock: Monotonic seconds; may have ``sleep_until``, as ``ManualClock`` does.

    Raises:
        TypeError, ValueError: A value is of the wrong type or out of range.
    """

    _word = "bulkhead"
    _kinds = (BulkheadRejected,)

    def __init__(
        self,
        limit: int,
        *,
        waiting: int = 0,
        max_wait: float | None = None,
        name: str | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(name, clock)
        self._limit = checks.count("limit", limit)
        self._places = checks.count("waiting", waiting, least=0)
        if max_wait is not None:
            checks.positive("max_wait", max_wait)
            if not waiting:
                raise ValueError(f"max_wait={max_wait!r} has no effect with waiting=0")
        self._max_wait = max_wait
        self._running = 0
        # In order. While anybody waits all places are taken: one that is given back is
        # handed over, never put back.
        self._line: OrderedDict[_Waiter, None] = OrderedDict()
        # Guards both against other threads; never held over an await. Re-entrant, since
        # the garbage collector may end a forgotten call in the middle of a guarded section.
        self._lock = threading.RLock()
        self._full = Bulletin(self._word, self._name, logging.WARNING)

    @property
    def limit(self) -> int:
        """Calls that may run at once."""
        return self._limit

    @property
    def running(self) -> int:
        """Calls that run now."""
        return self._running

    @property
    def waiting(self) -> int:
        """Calls that wait for a place now."""
        return len(self._line)

    async def call(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``await fn(*args, **kwargs)``, once there is a place.

        Raises:
            BulkheadFullError: *fn* was not called: no place, and none to wait for one.
        """
        if not callable(fn):
            refuse(fn)
        if not self._take():
            await self._wait()
        try:
            return await fn(*args, **kwargs)
        except TypeError as error:
            explain_misuse(fn, error)
            raise
        finally:
            self._give_back()

    def guard(self) -> BulkheadBlock:
        """Return a block that takes a place, and may be left from another task."""
        return BulkheadBlock(self)

    async def __aenter__(self) -> None:
        if not self._take():
            await self._wait()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._give_back()

    def _take(self) -> bool:
        with self._lock:
            free = self._running < self._limit
            self._running += free
        return free

    async def _wait(self) -> None:
        """Wait in the line until a place is handed over, or raise."""
        began = self._clock()
        waiter = self._stand_in_line()
        if waiter is None:
            raise self._reject(began, began)
        until = None if self._max_wait is None else began + self._max_wait
        try:
            await wait_until(waiter.signal, self._clock, until)
        except BaseException:
            # Cancelled. A place that was handed over at the same moment goes to the next.
            if not self._leave_line(waiter):
                self._give_back()
            raise
        if self._leave_line(waiter):
            raise self._reject(began, self._clock())

    def _stand_in_line(self) -> _Waiter | None:
        waiter = _Waiter()
        with self._lock:
            # Read first: a place that the collector gives back here must not be overlooked.
            has_room = len(self._line) < self._places
            if self._running < self._limit:  # given back since
                self._running += 1
                waiter.granted = True
                waiter.signal.wake()
            elif has_room:
                self._line[waiter] = None
            else:
                return None
        return waiter

    def _leave_line(self, waiter: _Waiter) -> bool:
        """Leave without a place; return false if one has been handed over."""
        with self._lock:
            if waiter.granted:
                return False
            self._line.pop(waiter, None)  # it has been passed over if its loop has ended
            return True

    def _give_back(self) -> None:
        """Hand a place over to the head of the line, or put it back."""
        with self._lock:
            while self._line:
                waiter, _ = self._line.popitem(last=False)
                waiter.granted = True
                if waiter.signal.wake():
                    return
                waiter.granted = False  # its event loop has ended without it: the next one
            self._running -= 1

    def _reject(self, began: float, now: float) -> BulkheadFullError:
        waited, waiting = now - began, len(self._line)
        self._full.add(now, "is full: %d running, %d waiting", self._limit, waiting)
        if self._wants(BulkheadRejected):
            self._tell(BulkheadRejected(self._name, self._running, waiting, waited, now))
        return BulkheadFullError(self._name, self._limit, waiting, waited)


class BulkheadBlock(SingleUse):
    """One block that has a place in a ``Bulkhead``."""

    __slots__ = ("_bulkhead", "_held")

    def __init__(self, bulkhead: Bulkhead) -> None:
        super().__init__()
        self._bulkhead = bulkhead
        self._held = False

    async def __aenter__(self) -> None:
        self._use()
        await self._bulkhead.__aenter__()
        self._held = True

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._held:
            self._held = False
            await self._bulkhead.__aexit__(exc_type, exc, traceback)
