"""What users see of types: read by mypy and pyright, never run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, assert_type

from asyncbreaker import (
    CallRejected,
    CallSettled,
    CircuitBreaker,
    CircuitOpenError,
    Counts,
    Event,
    FailureSummary,
    Guard,
    Reason,
    Registry,
    Snapshot,
    State,
    StateChanged,
    TripRule,
    consecutive_failures,
    exponential,
    failure_lead,
    failure_rate,
    probing,
    slow_rate,
    spread,
)
from asyncbreaker.testing import ManualClock, force_state, record

breaker = CircuitBreaker("db", slow=0.5)


class Row: ...


async def fetch(key: str, *, limit: int = 10) -> list[Row]:
    return [Row()] * limit


@breaker
async def guarded(key: str, *, limit: int = 10) -> list[Row]:
    return [Row()] * limit


@breaker
async def stream(key: str) -> AsyncGenerator[Row, int]:
    yield Row()


@breaker
async def iterate(key: str) -> AsyncIterator[Row]:
    yield Row()


class Repository:
    @breaker
    async def find(self, key: str) -> Row:
        return Row()

    @classmethod
    @breaker
    async def make(cls, key: str) -> Row:
        return Row()

    @staticmethod
    @breaker
    async def ping() -> bool:
        return True

    async def plain(self, key: str) -> Row:
        return Row()

    async def __call__(self, key: int) -> bytes:
        return b""


class Connection: ...


class Pool:
    def acquire(self, *, timeout: float = 1.0) -> AbstractAsyncContextManager[Connection]:
        raise NotImplementedError


async def connect(url: str) -> AbstractAsyncContextManager[Connection]:
    raise NotImplementedError


async def calls(repository: Repository, pool: Pool) -> None:
    assert_type(await breaker.call(fetch, "a", limit=3), list[Row])
    assert_type(await breaker.call(partial(fetch, "a")), list[Row])
    assert_type(await breaker.call(repository.plain, "a"), Row)
    assert_type(await breaker.call(repository, 1), bytes)
    await breaker.call(fetch, 1)  # type: ignore[arg-type]  # pyright: ignore
    await breaker.call(fetch, "a", limits=3)  # type: ignore[call-arg]  # pyright: ignore

    assert_type(await guarded("a", limit=3), list[Row])
    assert_type(guarded.breaker, CircuitBreaker)
    await guarded(1)  # type: ignore[arg-type]  # pyright: ignore
    task = asyncio.create_task(guarded("a"))
    assert_type(await task, list[Row])
    made: Coroutine[Any, Any, list[Row]] = guarded("a")
    made.close()
    function: Callable[[str], Awaitable[list[Row]]] = guarded
    await function("a")

    assert_type(await repository.find("a"), Row)
    assert_type(await Repository.make("a"), Row)
    assert_type(await Repository.ping(), bool)
    await repository.find(1)  # type: ignore[arg-type]  # pyright: ignore

    assert_type(stream("a"), AsyncGenerator[Row, int])
    assert_type(iterate("a"), AsyncIterator[Row])
    async for row in iterate("a"):
        assert_type(row, Row)

    async with breaker as nothing:
        assert_type(nothing, None)
    async with breaker.guard() as permit:
        assert_type(permit, Guard)
        permit.failure(retry_after=3.0)
    async with breaker.entering(pool.acquire, timeout=2.0) as connection:
        assert_type(connection, Connection)
    async with breaker.entering(connect, "db://") as connection:
        assert_type(connection, Connection)
    breaker.entering(pool.acquire, timeouts=2.0)  # type: ignore[call-overload]  # pyright: ignore


def refused() -> None:
    @breaker  # type: ignore[type-var]  # pyright: ignore
    def plain() -> int:
        return 1

    CircuitBreaker(slow="1")  # type: ignore[arg-type]  # pyright: ignore
    CircuitBreaker(fail_on=1)  # type: ignore[arg-type]  # pyright: ignore
    breaker.configure(name="x")  # type: ignore[call-arg]  # pyright: ignore


def on_change(event: StateChanged) -> None: ...
def on_event(event: Event) -> None: ...
def on_settled(event: CallSettled) -> None: ...


async def looks() -> None:
    assert_type(breaker.state, State)
    assert_type(breaker.snapshot(), Snapshot)
    assert_type(breaker.snapshot().counts, Counts)
    assert_type(breaker.snapshot().last_failure, FailureSummary | None)
    assert_type(breaker.add_listener(on_change), Callable[[], None])
    breaker.add_listener(on_event, StateChanged, CallRejected, CallSettled)
    breaker.add_listener(on_settled, CallSettled)
    breaker.add_listener(on_settled)  # type: ignore[arg-type]  # pyright: ignore
    async with breaker.events() as changes:
        async for change in changes:
            assert_type(change, StateChanged)
    async with breaker.events(CallRejected) as rejections:
        async for rejection in rejections:
            assert_type(rejection, CallRejected)
    breaker.configure(slow=None, trip=failure_lead(3), listeners=[on_change, on_event])
    try:
        await guarded("a")
    except CircuitOpenError as error:
        assert_type(error.reason, Reason)
        assert_type(error.retry_after, float | None)


def rules(counts: Counts) -> None:
    def mine(seen: Counts) -> bool:
        return seen.failures > 3

    combined: TripRule = mine | (consecutive_failures(5) & failure_rate(0.5)) | slow_rate()
    assert_type(combined(counts), bool)
    CircuitBreaker(trip=combined, backoff=spread(exponential(1.0)), recovery=probing(2))
    registry = Registry(CircuitBreaker)
    assert_type(registry["a"], CircuitBreaker)
    clock = ManualClock()
    with record(CircuitBreaker(clock=clock)) as events:
        assert_type(events, list[Event])
    force_state(breaker, State.OPEN)
