"""The README's table of orders, row by row: what it says of each order happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from asyncbreaker import (
    Bulkhead,
    BulkheadFullError,
    CircuitBreaker,
    CircuitOpenError,
    Fallback,
    Hedge,
    LastGood,
    Pipeline,
    Retry,
    State,
    Timeout,
    answer_age,
    consecutive_failures,
)
from asyncbreaker.testing import ManualClock, force_state
from tests.runtime.support import answer, fail, settled
from tests.test_readme import between

pytestmark = pytest.mark.anyio

Row = Callable[[ManualClock], Awaitable[None]]


class Calls:
    """A dependency that hangs, fails or answers, and counts who asks."""

    def __init__(self, *ends: str) -> None:
        self.ends = list(ends)
        self.made = 0
        self.running = 0

    async def __call__(self) -> int:
        self.made += 1
        end = self.ends.pop(0) if self.ends else "answer"
        if end == "fail":
            raise ConnectionError("refused")
        if end == "hang":
            self.running += 1
            try:
                await anyio.sleep_forever()
            finally:
                self.running -= 1
        return self.made


def breaker(clock: ManualClock, failures: int = 3) -> CircuitBreaker:
    return CircuitBreaker(trip=consecutive_failures(failures), backoff=60.0, clock=clock)


async def caught(fn: Callable[[], Awaitable[Any]]) -> Exception | None:
    """Return what ``fn()`` raises."""
    try:
        await fn()
    except Exception as error:
        return error
    return None


async def ends(
    clock: ManualClock, pipeline: Pipeline[Any], fn: Callable[[], Awaitable[Any]], *steps: float
) -> Exception | None:
    """Call *fn*, move the clock on step by step while it sleeps; return what it raised."""
    raised: list[Exception | None] = []

    async def call() -> None:
        raised.append(await caught(lambda: pipeline.call(fn)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        for seconds in steps:
            await settled()
            clock.advance(seconds)
    return raised[0]


async def retry_breaker(clock: ManualClock) -> None:
    calls, guard = Calls(*["fail"] * 9), breaker(clock, failures=2)
    error = await ends(clock, Pipeline(Retry(5, backoff=1.0, clock=clock), guard), calls, 1.0, 1.0)

    assert (2, 2) == (calls.made, guard.snapshot().failed)
    assert isinstance(error, CircuitOpenError)


async def breaker_retry(clock: ManualClock) -> None:
    calls, guard = Calls(*["fail"] * 9), breaker(clock)
    pipeline = Pipeline(guard, Retry(3, backoff=1.0, clock=clock))
    for _ in range(3):
        assert State.CLOSED is guard.state
        await ends(clock, pipeline, calls, 1.0, 1.0)

    assert (9, 3, State.OPEN) == (calls.made, guard.snapshot().failed, guard.state)


async def breaker_timeout(clock: ManualClock) -> None:
    guard = breaker(clock)
    error = await ends(clock, Pipeline(guard, Timeout(1.0, clock=clock)), Calls("hang"), 1.0)

    assert isinstance(error, TimeoutError)
    assert 1 == guard.snapshot().failed


async def timeout_breaker(clock: ManualClock) -> None:
    guard = breaker(clock, failures=1)
    error = await ends(clock, Pipeline(Timeout(1.0, clock=clock), guard), Calls("hang"), 1.0)

    assert isinstance(error, TimeoutError)
    assert (0, 1, State.CLOSED) == (guard.snapshot().failed, guard.snapshot().ignored, guard.state)

    noticing = CircuitBreaker(slow=1.0, clock=clock)
    await ends(clock, Pipeline(Timeout(1.0, clock=clock), noticing), Calls("hang"), 1.0)
    assert 1 == noticing.snapshot().slow


async def retry_timeout(clock: ManualClock) -> None:
    calls = Calls("hang", "hang")
    pipeline = Pipeline(Retry(2, backoff=0.5, clock=clock), Timeout(1.0, clock=clock))
    began = clock()
    error = await ends(clock, pipeline, calls, 1.0, 0.5, 1.0)

    assert isinstance(error, TimeoutError)
    assert (2, began + 2.5) == (calls.made, clock())


async def timeout_retry(clock: ManualClock) -> None:
    calls = Calls("fail", "fail", "fail")
    pipeline = Pipeline(Timeout(1.0, clock=clock), Retry(9, backoff=0.4, clock=clock))
    error = await ends(clock, pipeline, calls, 0.4, 0.4)

    assert isinstance(error, ConnectionError)
    assert 3 == calls.made


async def breaker_bulkhead(clock: ManualClock) -> None:
    guard, places = breaker(clock), Bulkhead(1, clock=clock)
    pipeline = Pipeline(guard, places)
    async with places:
        full = await caught(lambda: pipeline.call(answer))
    assert isinstance(full, BulkheadFullError)
    assert (1, 0) == (guard.snapshot().ignored, guard.snapshot().failed)

    force_state(guard, State.OPEN)
    async with places:
        refused = await caught(lambda: pipeline.call(answer))
    assert isinstance(refused, CircuitOpenError)


async def bulkhead_breaker(clock: ManualClock) -> None:
    guard, places = breaker(clock), Bulkhead(1, waiting=1, clock=clock)
    pipeline = Pipeline(places, guard)
    force_state(guard, State.OPEN)
    async with anyio.create_task_group() as tasks, places:
        tasks.start_soon(caught, lambda: pipeline.call(answer))
        await settled()
        assert (1, 0) == (places.waiting, guard.snapshot().rejected)
        full = await caught(lambda: pipeline.call(answer))

    assert isinstance(full, BulkheadFullError)
    assert 1 == guard.snapshot().rejected


async def retry_bulkhead(clock: ManualClock) -> None:
    calls, places = Calls("fail", "fail"), Bulkhead(1, clock=clock)
    pipeline = Pipeline(Retry(3, backoff=1.0, clock=clock), places)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caught, lambda: pipeline.call(calls))
        await clock.slept_on()
        assert (1, 0) == (calls.made, places.running)
        clock.advance(1.0)
        await settled()
        async with places:
            clock.advance(1.0)
            await settled()

    assert 2 == calls.made


async def bulkhead_retry(clock: ManualClock) -> None:
    calls, places = Calls("fail"), Bulkhead(1, clock=clock)
    pipeline = Pipeline(places, Retry(3, backoff=1.0, clock=clock))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pipeline.call, calls)
        await clock.slept_on()
        assert 1 == places.running
        clock.advance(1.0)

    assert (2, 0) == (calls.made, places.running)


async def bulkhead_timeout(clock: ManualClock) -> None:
    places = Bulkhead(1, waiting=1, clock=clock)
    pipeline = Pipeline(places, Timeout(1.0, clock=clock))
    async with anyio.create_task_group() as tasks, places:
        tasks.start_soon(caught, lambda: pipeline.call(answer))
        await settled()
        clock.advance(100.0)
        await settled()
        assert 1 == places.waiting


async def timeout_bulkhead(clock: ManualClock) -> None:
    places = Bulkhead(1, waiting=1, clock=clock)
    async with places:
        error = await ends(clock, Pipeline(Timeout(1.0, clock=clock), places), answer, 1.0)

    assert isinstance(error, TimeoutError)
    assert 0 == places.waiting


async def fallback_last_good(clock: ManualClock) -> None:
    substitute: Fallback[int] = Fallback(value=0, on=ConnectionError)
    pipeline = Pipeline(substitute, LastGood(on=ConnectionError, clock=clock))
    calls = Calls("answer", "fail")
    assert 1 == await pipeline.call(calls)
    clock.advance(5.0)

    assert (1, 5.0) == (await pipeline.call(calls), answer_age())
    assert (0, None) == (await pipeline.call(fail), answer_age())


async def hedge_breaker(clock: ManualClock) -> None:
    guard = breaker(clock, failures=1)
    calls = Calls("hang", "answer")
    error = await ends(clock, Pipeline(Hedge(1.0, clock=clock), guard), calls, 1.0)

    look = guard.snapshot()
    assert (None, 1, 1) == (error, look.succeeded, look.ignored)


async def breaker_hedge(clock: ManualClock) -> None:
    guard = breaker(clock)
    calls = Calls("hang", "answer")
    error = await ends(clock, Pipeline(guard, Hedge(1.0, clock=clock)), calls, 1.0)

    look = guard.snapshot()
    assert (None, 2, 1, 0) == (error, calls.made, look.succeeded, look.ignored)


async def retry_retry(clock: ManualClock) -> None:
    calls = Calls(*["fail"] * 20)
    pipeline = Pipeline(Retry(3, backoff=0.0, clock=clock), Retry(3, backoff=0.0, clock=clock))
    with suppress(ConnectionError):
        await pipeline.call(calls)

    assert 9 == calls.made


ROWS: dict[str, Row] = {
    "Retry, breaker": retry_breaker,
    "breaker, Retry": breaker_retry,
    "breaker, Timeout": breaker_timeout,
    "Timeout, breaker": timeout_breaker,
    "Retry, Timeout": retry_timeout,
    "Timeout, Retry": timeout_retry,
    "breaker, Bulkhead": breaker_bulkhead,
    "Bulkhead, breaker": bulkhead_breaker,
    "Retry, Bulkhead": retry_bulkhead,
    "Bulkhead, Retry": bulkhead_retry,
    "Bulkhead, Timeout": bulkhead_timeout,
    "Timeout, Bulkhead": timeout_bulkhead,
    "Fallback, LastGood": fallback_last_good,
    "Hedge, breaker": hedge_breaker,
    "breaker, Hedge": breaker_hedge,
    "Retry, Retry": retry_retry,
}


@pytest.mark.parametrize("order", ROWS)
async def test_a_row_of_the_table_is_true(order: str, clock: ManualClock) -> None:
    """
    An order means what the README says of it.
    """
    await ROWS[order](clock)


def test_every_row_is_tested() -> None:
    """
    The table and this file have the same rows.
    """
    rows = [line.split("|")[1].strip(" `") for line in between("orders").splitlines()[2:]]

    assert list(ROWS) == rows
