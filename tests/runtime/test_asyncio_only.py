"""What only asyncio has: its own timeouts, task groups, ``task.cancel``, eager tasks."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from asyncbreaker import CircuitBreaker, State
from asyncbreaker.testing import ManualClock
from tests.runtime.calls import WAYS, Pending, answer, attempt, fail, half_open, make

pytestmark = pytest.mark.asyncio

STARTS = pytest.mark.parametrize("start", [make, half_open], ids=["closed", "half-open"])
ALL_WAYS = pytest.mark.parametrize("way", WAYS)


@STARTS
@ALL_WAYS
async def test_a_task_that_is_cancelled_gives_its_place_back(
    clock: ManualClock, start: Callable[..., CircuitBreaker], way: Any
) -> None:
    """
    The same exception object arrives, and asyncio's count of cancellations is untouched.
    """
    breaker = start(clock)
    state = breaker.state
    seen: list[BaseException] = []
    cancelling: list[int] = []
    entered = asyncio.Event()

    async def hang() -> None:
        entered.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError as error:
            seen.append(error)
            raise

    async def caller() -> None:
        try:
            await way(breaker, hang)
        except asyncio.CancelledError as error:
            seen.append(error)
            task = asyncio.current_task()
            assert task is not None
            cancelling.append(task.cancelling())
            raise

    task = asyncio.create_task(caller())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert seen[0] is seen[1]
    assert [1] == cancelling
    assert (state, 1) == (breaker.state, breaker.snapshot().ignored)
    assert not breaker.snapshot().in_flight
    assert 42 == await breaker.call(answer)


@STARTS
@ALL_WAYS
async def test_asyncio_timeout_outside_is_a_cancellation(
    clock: ManualClock, start: Callable[..., CircuitBreaker], way: Any
) -> None:
    """
    The caller gets its ``TimeoutError``; nothing is learned and no place is lost.
    """
    breaker = start(clock)
    state = breaker.state
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await way(breaker, Pending())

    task = asyncio.current_task()
    assert task is not None
    assert 0 == task.cancelling()
    assert (state, 1) == (breaker.state, breaker.snapshot().ignored)
    assert not breaker.snapshot().in_flight


async def test_wait_for_outside_is_a_cancellation(clock: ManualClock) -> None:
    """
    Also where 3.11 runs it in a task of its own.
    """
    breaker = half_open(clock)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(breaker.call(Pending()), 0.001)

    assert (State.HALF_OPEN, 0) == (breaker.state, breaker.snapshot().in_flight)


async def test_asyncio_timeout_inside_is_a_failure(clock: ManualClock) -> None:
    """
    That is where to put it.
    """
    breaker = make(clock)

    async def timed() -> None:
        async with asyncio.timeout(0):
            await asyncio.get_running_loop().create_future()

    for _ in range(2):
        assert isinstance(await attempt(lambda: breaker.call(timed)), TimeoutError)

    assert State.OPEN is breaker.state


async def test_a_cancellation_that_meets_a_timeout_inside_is_not_swallowed(
    clock: ManualClock,
) -> None:
    """
    Whoever cancels from outside at the same moment is heard.
    """
    breaker = make(clock)
    entered = asyncio.Event()

    async def timed() -> None:
        async with asyncio.timeout(None) as timeout:
            entered.set()
            timeout.reschedule(asyncio.get_running_loop().time())
            task.cancel()
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(breaker.call(timed))
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (1, 0) == (breaker.snapshot().ignored, breaker.snapshot().failed)


@ALL_WAYS
async def test_12_calls_cut_by_the_caller_s_deadline_open_it(clock: ManualClock, way: Any) -> None:
    """
    With ``slow`` set, a dependency that hangs is noticed by whoever has waited for it.
    """
    breaker = CircuitBreaker(slow=1.0, clock=clock)
    outcomes = []

    async def cut() -> None:
        async with asyncio.timeout(None) as timeout:

            async def hang() -> None:
                clock.advance(3.0)
                timeout.reschedule(asyncio.get_running_loop().time())
                await asyncio.get_running_loop().create_future()

            await way(breaker, hang)

    for _ in range(12):
        outcomes.append(type(await attempt(cut)).__name__)

    assert ["TimeoutError"] * 5 + ["CircuitOpenError"] * 7 == outcomes
    assert State.OPEN is breaker.state


async def test_a_task_group_that_fails_inside_is_judged_by_its_errors(clock: ManualClock) -> None:
    """
    And one that is cancelled says nothing.
    """
    breaker = make(clock)

    async def fan_out() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            group.create_task(asyncio.sleep(3600))

    error = await attempt(lambda: breaker.call(fan_out))

    assert isinstance(error, ExceptionGroup)
    assert (1, 0) == (breaker.snapshot().failed, breaker.snapshot().ignored)


async def test_siblings_that_a_task_group_cancels_teach_nothing(clock: ManualClock) -> None:
    """
    One failure is one failure, whoever else was waiting.
    """
    breaker = make(clock)

    async def race() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(breaker.call(Pending()))
            await asyncio.sleep(0)
            group.create_task(breaker.call(fail))

    assert isinstance(await attempt(race), ExceptionGroup)
    assert (1, 10) == (breaker.snapshot().failed, breaker.snapshot().ignored)


async def test_a_future_that_fails_with_a_type_error_is_a_failure(clock: ManualClock) -> None:
    """
    It was awaitable: its error is its own.
    """
    breaker = make(clock)
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(TypeError("its own"))
    with pytest.raises(TypeError, match="its own"):
        await breaker.call(lambda: future)

    assert 1 == breaker.snapshot().failed


async def test_a_guarded_coroutine_is_a_task_s_coroutine(clock: ManualClock) -> None:
    """
    ``create_task`` and ``gather`` take it.
    """
    breaker = make(clock)
    guarded = breaker(answer)

    assert 42 == await asyncio.create_task(guarded())
    assert [42, 42] == await asyncio.gather(guarded(), breaker.call(answer))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks come with 3.12")
@ALL_WAYS
async def test_eager_tasks_settle_as_others(clock: ManualClock, way: Any) -> None:
    """
    Where a call ends before its task was ever scheduled.
    """
    breaker = half_open(clock)
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    await asyncio.create_task(way(breaker, answer))

    assert not breaker.snapshot().in_flight
    assert State.CLOSED is breaker.state
