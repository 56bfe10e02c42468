"""Timeout: how long a call may take."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

from asyncbreaker._core import checks
from asyncbreaker._runtime.backend import Clock, Limit
from asyncbreaker._runtime.blocks import SingleUse, Statement
from asyncbreaker._runtime.misuse import explain_misuse, refuse
from asyncbreaker._runtime.policy import Around
from asyncbreaker.errors import figure
from asyncbreaker.events import TimedOut

P = ParamSpec("P")
R = TypeVar("R")


class TimeoutBlock(SingleUse):
    """One block under a ``Timeout``."""

    __slots__ = ("_limit", "_ran_out")

    def __init__(self, limit: Limit, ran_out: Callable[[], TimeoutError]) -> None:
        super().__init__()
        self._limit = limit
        self._ran_out = ran_out

    async def __aenter__(self) -> None:
        self._use()
        await self._limit.__aenter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if await self._limit.__aexit__(exc_type, exc, traceback):
            # From the cancellation, whose traceback shows where the time went.
            raise self._ran_out() from exc


class Timeout(Statement, Around):
    """Cancels a call that takes longer than *seconds*, and raises ``TimeoutError``.

    Inside of a breaker that is a failure of the dependency. An outer deadline that comes
    first is not converted: its cancellation passes as it is. ``async with timeout:`` limits
    a block, which must be left in the task that entered it.

    Args:
        seconds: From the beginning of the call.
        name: Stands in the error, in events and the log. Default: unique ("timeout-1").
        clock: Monotonic seconds; only one with ``sleep_until``, such as ``ManualClock``,
            is asked. Otherwise the event loop's clock decides.

    Raises:
        TypeError, ValueError: A value is of the wrong type or out of range.
    """

    _word = "timeout"
    _kinds = (TimedOut,)

    def __init__(
        self, seconds: float, *, name: str | None = None, clock: Clock = time.monotonic
    ) -> None:
        Statement.__init__(self)
        Around.__init__(self, name, clock)
        self.seconds = checks.positive("seconds", seconds)

    async def call(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``await fn(*args, **kwargs)``, which runs in the caller's own task.

        Raises:
            TimeoutError: It took longer than ``seconds``, and has been cancelled.
        """
        if not callable(fn):
            refuse(fn)
        try:
            async with self.guard():
                return await fn(*args, **kwargs)
        except TypeError as error:
            explain_misuse(fn, error)
            raise

    def guard(self) -> TimeoutBlock:
        """Return a block that may take ``seconds``."""
        return TimeoutBlock(Limit(self.seconds, self._clock), self._ran_out)

    def _ran_out(self) -> TimeoutError:
        self._debug("ended a call after %s s", figure(self.seconds))
        if self._wants(TimedOut):
            self._tell(TimedOut(self._name, self.seconds, self._clock()))
        return TimeoutError(f"{self._name}: no answer within {figure(self.seconds)} s")
