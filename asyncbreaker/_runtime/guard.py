"""Blocks with a permit in hand: ``guard()`` and ``entering()``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from asyncbreaker._core.permits import Era, Permit
from asyncbreaker._core.states import Outcome
from asyncbreaker._runtime.pauses import asked_for

if TYPE_CHECKING:
    from asyncbreaker._runtime.runner import Runner

T_co = TypeVar("T_co", covariant=True)


class Guard:
    """One guarded block that holds its own permit, and may judge it from inside.

    ``async with breaker.guard() as permit:``. Without a verdict the end of the block
    judges, as ``async with breaker`` does; a verdict settles at once, the first one
    counts, and what the block raises afterwards changes nothing. It may be left from
    another task than it was entered from.
    """

    __slots__ = ("_breaker", "_permit", "_runner")

    def __init__(self, runner: Runner, breaker: object) -> None:
        self._runner = runner
        self._breaker = breaker  # kept alive: a registry must find it while it is in use
        # The permit lives here, not on the breaker and not in a context variable:
        # the block may be left from another task.
        self._permit: Era | Permit | None = None

    async def __aenter__(self) -> Guard:
        if self._permit is not None:
            raise RuntimeError("this guard has been entered before; ask for another")
        permit = self._runner.short or self._runner.admit()
        if permit.check:
            permit = await self._runner.check_health(permit)
        self._permit = permit
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        permit, self._permit = self._permit, _SETTLED
        if permit is not _SETTLED and permit is not None:
            if exc is not None or permit.lead:
                self._runner.leave(permit, exc)
            else:
                permit.succeeded += 1

    def success(self) -> None:
        """Settle the call as a success, now."""
        self._judge(Outcome.SUCCESS)

    def failure(
        self, retry_after: float | None = None, *, error: BaseException | str | None = None
    ) -> None:
        """Settle the call as a failure, now.

        Args:
            retry_after: Seconds for which the dependency asked to be left alone (a
                ``Retry-After`` header). The circuit opens at once, for that long (at
                most 300 s) or for what the backoff says, whichever is longer. What is
                no such number is passed over: it never raises.
            error: What happened, for ``last_failure`` and the log: an exception, or
                words such as "HTTP 503".
        """
        self._judge(Outcome.FAILURE, asked_for(retry_after), error)

    def ignore(self) -> None:
        """Settle the call as one from which nothing is learned, now."""
        self._judge(Outcome.IGNORED)

    def answered(self) -> None:
        """Say that the answer has begun: the call's duration ends here, the call does not.

        What follows (a body, rows) may take as long as it likes without being slow; how
        the call ended is judged at its end, and so long it keeps its place in half-open.
        """
        permit = self._entered()
        if permit is not _SETTLED:
            self._runner.answer(permit, proves=False)

    def _judge(
        self,
        outcome: Outcome,
        pause: float | None = None,
        error: BaseException | str | None = None,
    ) -> None:
        permit, self._permit = self._entered(), _SETTLED
        if permit is not _SETTLED:
            self._runner.settle(permit, outcome, error or "reported by permit.failure()", pause)

    def _entered(self) -> Era | Permit:
        if self._permit is None:
            raise RuntimeError("enter the guard first: async with breaker.guard() as permit")
        return self._permit


_SETTLED = Era(None)  # stands where the permit of a guard was: it is settled exactly once


class Entering(Generic[T_co]):
    """Guards the entering of an async context manager; its body and its end are unjudged."""

    __slots__ = ("_call", "_make", "_manager")

    def __init__(
        self,
        call: Callable[[Callable[[], Awaitable[T_co]]], Awaitable[T_co]],
        make: Callable[
            [],
            AbstractAsyncContextManager[T_co, Any]
            | Awaitable[AbstractAsyncContextManager[T_co, Any]],
        ],
    ) -> None:
        self._call = call
        self._make = make
        self._manager: AbstractAsyncContextManager[T_co, Any] | None = None

    async def __aenter__(self) -> T_co:
        if self._manager is not None:
            raise RuntimeError("this block has been entered before; call entering() again")
        return await self._call(self._enter)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if self._manager is None:
            raise RuntimeError("enter the block first: async with breaker.entering(...)")
        ended: bool | None = await self._manager.__aexit__(exc_type, exc, traceback)
        return ended

    async def _enter(self) -> T_co:
        made = self._make()
        manager = made if isinstance(made, AbstractAsyncContextManager) else await made
        entered = await manager.__aenter__()
        # Kept only now: what was never entered must not be left.
        self._manager = manager
        return entered
