"""What users see of types: read by mypy and pyright, never run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, ParamSpec, TypeVar, assert_type

from asyncbreaker import (
    Bulkhead,
    BulkheadFullError,
    BulkheadRejected,
    CallRejected,
    CallSettled,
    CircuitBreaker,
    CircuitOpenError,
    Counts,
    Event,
    EventStream,
    FailureSummary,
    Fallback,
    FallbackFailed,
    FallbackUsed,
    GaveUp,
    Guard,
    Hedge,
    HedgeStarted,
    HedgeWithheld,
    HedgeWon,
    LastGood,
    LastGoodUsed,
    Pipeline,
    Policy,
    PolicyEvent,
    Reason,
    Registry,
    RetriesExhausted,
    Retry,
    RetryBudget,
    RetryScheduled,
    Snapshot,
    State,
    StateChanged,
    TimedOut,
    Timeout,
    TripRule,
    answer_age,
    consecutive_failures,
    current_attempt,
    exponential,
    failure_lead,
    failure_rate,
    full_jitter,
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


P = ParamSpec("P")
R = TypeVar("R")


def key_of(key: str, limit: int = 10) -> tuple[str, int]:
    return key, limit


budget = RetryBudget(0.1, floor=10.0, window=10.0, clock=ManualClock())
retry = Retry(
    3, on=OSError, backoff=full_jitter(exponential(0.1)), within=5.0, budget=budget, wait_open=1.0
)
timeout = Timeout(1.0, name="second")
bulkhead = Bulkhead(5, waiting=2, max_wait=0.5)
cache = LastGood(key=key_of, maximum=10, max_age=60.0, on=(OSError, TimeoutError))
hedge = Hedge(0.3, extra=2, budget=budget)
plain = Pipeline(cache, retry, hedge, breaker, bulkhead, timeout)


class Mine:
    async def call(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await fn(*args, **kwargs)


class Defaulting:
    async def call(
        self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R | bool:
        return await fn(*args, **kwargs)


class Synchronous:
    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return fn(*args, **kwargs)


def substitute(error: Exception) -> str:
    return str(error)


async def slow_substitute(error: Exception) -> bytes:
    return b""


@retry
async def retried(key: str, *, limit: int = 10) -> list[Row]:
    return [Row()] * limit


@plain
async def piped(key: str, *, limit: int = 10) -> list[Row]:
    return [Row()] * limit


@Fallback(value=None)
async def substituted(key: str, *, limit: int = 10) -> list[Row]:
    return [Row()] * limit


@Pipeline(Fallback(value=None), breaker)
async def answered(key: str, *, limit: int = 10) -> list[Row]:
    return [Row()] * limit


class Service:
    @retry
    async def tried(self, key: str) -> Row:
        return Row()

    @plain
    async def piped(self, key: str) -> Row:
        return Row()

    @Pipeline(Fallback(value=None), retry)
    async def answered(self, key: str) -> Row:
        return Row()

    @classmethod
    @timeout
    async def made(cls, key: str) -> Row:
        return Row()

    @classmethod
    @Pipeline(Fallback(using=substitute), retry)
    async def made_or_text(cls, key: str) -> Row:
        return Row()

    @staticmethod
    @bulkhead
    async def ping() -> bool:
        return True


async def calls_of_policies(repository: Repository) -> None:
    assert_type(await retry.call(fetch, "a", limit=3), list[Row])
    assert_type(await timeout.call(partial(fetch, "a")), list[Row])
    assert_type(await bulkhead.call(repository.plain, "a"), Row)
    assert_type(await cache.call(repository, 1), bytes)
    assert_type(await hedge.call(fetch, "a"), list[Row])
    assert_type(await plain.call(fetch, "a", limit=3), list[Row])
    await retry.call(fetch, 1)  # type: ignore[arg-type]  # pyright: ignore
    await timeout.call(fetch, "a", limits=3)  # type: ignore[call-arg]  # pyright: ignore
    await plain.call(fetch)  # type: ignore[call-arg]  # pyright: ignore
    await plain.call(fetch, 1)  # type: ignore[arg-type]  # pyright: ignore

    assert_type(await retried("a", limit=3), list[Row])
    assert_type(await piped("a", limit=3), list[Row])
    assert_type(await timeout(fetch)("a"), list[Row])
    assert_type(await bulkhead(fetch)("a"), list[Row])
    assert_type(await cache(fetch)("a"), list[Row])
    assert_type(await hedge(fetch)("a"), list[Row])
    await retried(1)  # type: ignore[arg-type]  # pyright: ignore
    await piped("a", limits=3)  # type: ignore[call-arg]  # pyright: ignore
    task = asyncio.create_task(piped("a"))
    assert_type(await task, list[Row])
    made: Coroutine[Any, Any, list[Row]] = retried("a")
    made.close()


async def methods_under_policies(service: Service) -> None:
    assert_type(await service.tried("a"), Row)
    assert_type(await service.piped("a"), Row)
    assert_type(await service.answered("a"), Row | None)
    assert_type(await Service.made("a"), Row)
    assert_type(await Service.made_or_text("a"), Row | str)
    assert_type(await Service.ping(), bool)
    await service.tried(1)  # type: ignore[arg-type]  # pyright: ignore
    await service.piped("a", "b")  # type: ignore[call-arg]  # pyright: ignore
    await Service.made()  # type: ignore[call-arg]  # pyright: ignore


async def substitutes() -> None:
    nothing = Fallback(value=None)
    text = Fallback(using=substitute, on=OSError)
    blob = Fallback(using=slow_substitute, on=lambda error: True)
    assert_type(nothing, Fallback[None])
    assert_type(text, Fallback[str])
    assert_type(blob, Fallback[bytes])

    assert_type(await nothing.call(fetch, "a"), list[Row] | None)
    assert_type(await text.call(fetch, "a", limit=3), list[Row] | str)
    assert_type(await blob.call(fetch, "a"), list[Row] | bytes)
    assert_type(await Fallback(value=list[Row]()).call(fetch, "a"), list[Row])
    assert_type(await substituted("a", limit=3), list[Row] | None)
    assert_type(await answered("a", limit=3), list[Row] | None)
    assert_type(await text(fetch)("a"), list[Row] | str)
    await nothing.call(fetch, 1)  # type: ignore[arg-type]  # pyright: ignore
    await substituted(1)  # type: ignore[arg-type]  # pyright: ignore

    assert_type(await Pipeline(nothing, cache, retry, breaker).call(fetch, "a"), list[Row] | None)
    assert_type(await Pipeline(text, retry).call(fetch, "a"), list[Row] | str)
    assert_type(await Pipeline(retry, blob)(fetch)("a"), list[Row] | bytes)
    assert_type(await Pipeline(breaker).call(fetch, "a"), list[Row])
    await Pipeline(nothing, breaker).call(fetch, 1)  # type: ignore[arg-type]  # pyright: ignore


async def pipelines_nest() -> None:
    inner = Pipeline(Fallback(value=None), cache)
    assert_type(await Pipeline(inner, breaker).call(fetch, "a"), list[Row] | None)
    assert_type(await Pipeline(Pipeline(inner), retry).call(fetch, "a"), list[Row] | None)
    assert_type(await Pipeline(Pipeline(retry), breaker).call(fetch, "a"), list[Row])
    assert_type(await Pipeline(plain, timeout)(fetch)("a"), list[Row])

    assert_type(await Pipeline(Mine(), breaker).call(fetch, "a"), list[Row])
    assert_type(await Pipeline(Mine(), Fallback(value=None)).call(fetch, "a"), list[Row] | None)
    own: Policy[bool] = Defaulting()
    assert_type(await Pipeline(own).call(fetch, "a"), list[Row] | bool)

    async with Pipeline(breaker, bulkhead, timeout) as nothing:
        assert_type(nothing, None)
    async with plain.guard(), timeout.guard(), bulkhead.guard():
        pass
    async with bulkhead as no_place, timeout as no_limit:
        assert_type(no_place, None)
        assert_type(no_limit, None)
    assert_type(plain.policies, tuple[object, ...])


def needs(policy: Policy) -> None: ...
def needs_text(policy: Policy[str | None]) -> None: ...


def is_a_policy() -> list[Policy]:
    needs(Mine())
    needs(breaker)
    needs(plain)
    needs(timeout)
    needs_text(Fallback(value=None))
    needs_text(Fallback(using=substitute))
    needs_text(Pipeline(Fallback(using=substitute), breaker))
    needs_text(retry)
    needs(Fallback(value=None))  # type: ignore[arg-type]  # pyright: ignore
    needs(Defaulting())  # type: ignore[arg-type]  # pyright: ignore
    needs(Synchronous())  # type: ignore[arg-type]  # pyright: ignore
    needs_text(Fallback(using=slow_substitute))  # type: ignore[arg-type]  # pyright: ignore
    return [Mine(), retry, timeout, bulkhead, cache, hedge]


def refused_policies() -> None:
    @retry  # type: ignore[arg-type]  # pyright: ignore
    def synchronous() -> int:
        return 1

    @plain  # type: ignore[arg-type]  # pyright: ignore
    async def streaming() -> AsyncIterator[int]:
        yield 1

    Pipeline(fetch)  # type: ignore[call-overload]  # pyright: ignore
    Pipeline(retry, Synchronous())  # type: ignore[call-overload]  # pyright: ignore
    Pipeline(retry, Retry)  # type: ignore[call-overload]  # pyright: ignore
    Pipeline(None)  # type: ignore[call-overload]  # pyright: ignore
    Fallback()  # type: ignore[call-overload]  # pyright: ignore
    Fallback(value=1, using=substitute)  # type: ignore[call-overload]  # pyright: ignore
    Retry(on=1)  # type: ignore[arg-type]  # pyright: ignore
    Retry(budget=0.1)  # type: ignore[arg-type]  # pyright: ignore
    Timeout()  # type: ignore[call-arg]  # pyright: ignore
    Timeout("1")  # type: ignore[arg-type]  # pyright: ignore
    Bulkhead(5, 2)  # type: ignore[call-arg]  # pyright: ignore
    LastGood(key="key")  # type: ignore[arg-type]  # pyright: ignore
    Hedge(0.3, budget=retry)  # type: ignore[arg-type]  # pyright: ignore


def on_policy_event(event: PolicyEvent) -> None: ...
def on_scheduled(event: RetryScheduled) -> None: ...


async def policies_tell() -> None:
    assert_type(retry.add_listener(on_policy_event), Callable[[], None])
    assert_type(retry.add_listener(on_scheduled, RetryScheduled), Callable[[], None])
    retry.add_listener(on_policy_event, RetryScheduled, RetriesExhausted)
    retry.add_listener(on_scheduled)  # type: ignore[arg-type]  # pyright: ignore
    retry.add_listener(on_scheduled, RetriesExhausted)  # type: ignore[arg-type]  # pyright: ignore
    retry.add_listener(on_policy_event, StateChanged)  # type: ignore[arg-type, type-var]  # pyright: ignore

    assert_type(timeout.events(), EventStream[PolicyEvent])
    async with retry.events() as everything:
        async for event in everything:
            assert_type(event, PolicyEvent)
    async with retry.events(RetriesExhausted) as ends:
        async for end in ends:
            assert_type(end, RetriesExhausted)
            assert_type(end.reason, GaveUp)
            assert_type(end.seconds, float)
    async with hedge.events(HedgeWon) as races:
        assert_type(await anext(races), HedgeWon)
    hedge.events(HedgeStarted, HedgeWithheld)
    hedge.events(CallSettled)  # type: ignore[type-var]  # pyright: ignore
    assert_type(retry.name, str)
    assert_type(timeout.seconds, float)
    assert_type((bulkhead.limit, bulkhead.running, bulkhead.waiting), tuple[int, int, int])
    assert_type(len(cache), int)


def told(event: PolicyEvent) -> float:
    match event:
        case RetryScheduled() | RetriesExhausted() | TimedOut() | LastGoodUsed():
            return event.at
        case BulkheadRejected():
            return event.waited
        case FallbackUsed() | FallbackFailed():
            assert_type(event.message, str)
            return event.at
        case HedgeStarted() | HedgeWithheld() | HedgeWon():
            assert_type(event.policy, str)
            return event.at


async def looks_at_a_call() -> None:
    assert_type(answer_age(), float | None)
    assert_type(current_attempt(), int)
    assert_type(budget.balance(0.0), float)
    try:
        await piped("a")
    except BulkheadFullError as error:
        assert_type(error.bulkhead, str)
        assert_type((error.limit, error.waiting), tuple[int, int])
        assert_type(error.waited, float)


def recording() -> None:
    with record(breaker) as moves:
        assert_type(moves, list[Event])
    with record(retry) as told:
        assert_type(told, list[Event | PolicyEvent])
    with record(plain) as told:
        assert_type(told, list[Event | PolicyEvent])
    with record(Pipeline(Fallback(value=None), breaker)) as told:
        assert_type(told, list[Event | PolicyEvent])
    with record(breaker, retry, plain) as told:
        assert_type(told, list[Event | PolicyEvent])
    with record(retry, breaker) as told:
        assert_type(told, list[Event | PolicyEvent])
    record(Mine())  # type: ignore[call-overload]  # pyright: ignore
    record(fetch)  # type: ignore[call-overload]  # pyright: ignore
    record()  # type: ignore[call-overload]  # pyright: ignore
