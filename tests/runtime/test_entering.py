"""``breaker.entering(...)``: only the acquiring is judged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from asyncbreaker import CircuitOpenError, State
from asyncbreaker.testing import ManualClock
from tests.runtime.calls import Resource, answer, attempt, fail, half_open, make

pytestmark = pytest.mark.anyio


async def resource(fn: Any) -> Resource:
    return Resource(fn)


@pytest.mark.parametrize("make_resource", [Resource, resource], ids=["direct", "awaited"])
@pytest.mark.parametrize("start", [make, half_open], ids=["closed", "half-open"])
async def test_the_body_gets_what_was_entered(
    clock: ManualClock, make_resource: Any, start: Any
) -> None:
    """
    From an async context manager, or from an awaitable that gives one.
    """
    breaker = start(clock)
    async with breaker.entering(make_resource, answer) as number:
        assert 7 == number
        assert 1 == breaker.snapshot().succeeded
        assert State.CLOSED is breaker.state


async def test_the_body_and_the_end_pass_unjudged(clock: ManualClock) -> None:
    """
    The connection was there: what is done with it is another matter.
    """
    breaker = make(clock)

    class Leaves(Resource):
        async def __aexit__(self, *exc_info: object) -> None:
            raise OSError("at the end")

    async def body() -> None:
        async with breaker.entering(Resource, answer):
            raise ValueError("in the body")

    async def end() -> None:
        async with breaker.entering(Leaves, answer):
            pass

    for _ in range(5):
        assert isinstance(await attempt(body), ValueError)
        assert isinstance(await attempt(end), OSError)

    assert (State.CLOSED, 10, 0) == (
        breaker.state,
        breaker.snapshot().succeeded,
        breaker.snapshot().failed,
    )


@pytest.mark.parametrize("make_resource", [Resource, resource], ids=["direct", "awaited"])
async def test_failing_to_enter_opens_it(clock: ManualClock, make_resource: Any) -> None:
    """
    The body does not run, neither then nor when rejected.
    """
    breaker = make(clock)
    made: list[int] = []

    def acquire() -> Any:
        made.append(1)
        return make_resource(fail)

    async def use() -> None:
        async with breaker.entering(acquire):
            raise AssertionError("the body ran")

    errors = [await attempt(use) for _ in range(4)]

    assert [ConnectionError] * 2 + [CircuitOpenError] * 2 == [type(e) for e in errors]
    assert 2 == len(made)


async def test_the_manager_may_swallow_what_the_body_raises(clock: ManualClock) -> None:
    """
    It behaves as it does unguarded.
    """
    breaker = make(clock)

    @asynccontextmanager
    async def forgiving(name: str, *, size: int) -> AsyncIterator[tuple[str, int]]:
        with suppress(ValueError):
            yield name, size

    async with breaker.entering(forgiving, "pool", size=3) as got:
        assert ("pool", 3) == got
        raise ValueError

    assert 1 == breaker.snapshot().succeeded


async def test_what_was_not_entered_is_not_left(clock: ManualClock) -> None:
    """
    The misuse is named.
    """
    block = make(clock).entering(Resource, answer)
    with pytest.raises(RuntimeError, match="enter the block first"):
        await block.__aexit__(None, None, None)


async def test_it_is_entered_once(clock: ManualClock) -> None:
    """
    Two blocks would leave one resource twice.
    """
    block = make(clock).entering(Resource, answer)
    async with block:
        with pytest.raises(RuntimeError, match="entered before"):
            await block.__aenter__()


async def test_what_fails_to_enter_may_be_tried_again(clock: ManualClock) -> None:
    """
    A block that was never entered is still unused.
    """
    results = iter([OSError(), None])

    async def second_time() -> None:
        error = next(results)
        if error is not None:
            raise error

    block = make(clock).entering(Resource, second_time)
    assert isinstance(await attempt(block.__aenter__), OSError)
    async with block as number:
        assert 7 == number
