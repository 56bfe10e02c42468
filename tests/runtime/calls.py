"""Calls to guard, and every way to guard them."""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from typing import Any

import anyio

from asyncbreaker import CircuitBreaker, State, consecutive_failures, probing
from asyncbreaker.testing import ManualClock, force_state

Fn = Callable[[], Awaitable[Any]]


async def answer() -> int:
    return 42


async def fail() -> None:
    raise ConnectionError("refused")


@types.coroutine
def suspend() -> Generator[None, Any, Any]:
    """Suspend outside of any event loop."""
    return (yield)


class Pending:
    """A call that is in flight until it is let go."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.entered = anyio.Event()
        self.gate = anyio.Event()
        self.error = error

    async def __call__(self) -> int:
        self.entered.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return 42


class Resource:
    """An async context manager that calls *fn* when it is entered."""

    def __init__(self, fn: Fn) -> None:
        self.fn = fn

    async def __aenter__(self) -> int:
        await self.fn()
        return 7

    async def __aexit__(self, *exc_info: object) -> None:
        pass


def make(clock: ManualClock, **settings: Any) -> CircuitBreaker:
    """Return a classic breaker: opens at the second failure in a row, for 10 s, one probe."""
    classic = {"trip": consecutive_failures(2), "backoff": 10.0, "recovery": probing()}
    return CircuitBreaker("db", clock=clock, **{**classic, **settings})


def half_open(clock: ManualClock, **settings: Any) -> CircuitBreaker:
    """Return a breaker that is half-open, with every place free."""
    breaker = make(clock, **settings)
    force_state(breaker, State.HALF_OPEN)
    return breaker


async def attempt(fn: Callable[[], Awaitable[Any]]) -> BaseException | None:
    """Await ``fn()`` and return what it raised."""
    try:
        await fn()
    except Exception as error:
        return error
    return None


async def by_call(breaker: CircuitBreaker, fn: Fn) -> None:
    await breaker.call(fn)


async def by_decorator(breaker: CircuitBreaker, fn: Fn) -> None:
    @breaker
    async def guarded() -> None:
        await fn()

    await guarded()


async def by_block(breaker: CircuitBreaker, fn: Fn) -> None:
    async with breaker:
        await fn()


async def by_stack(breaker: CircuitBreaker, fn: Fn) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(breaker)
        await fn()


async def by_guard(breaker: CircuitBreaker, fn: Fn) -> None:
    async with breaker.guard():
        await fn()


async def by_entering(breaker: CircuitBreaker, fn: Fn) -> None:
    async with breaker.entering(Resource, fn):
        pass


async def by_stream(breaker: CircuitBreaker, fn: Fn) -> None:
    @breaker
    async def stream() -> AsyncIterator[int]:
        await fn()
        yield 1

    async for _ in stream():
        pass


WAYS = [by_call, by_decorator, by_block, by_stack, by_guard, by_entering, by_stream]
