"""Waiting under ``asyncio.wait_for``, which cancels what it waits for."""

from __future__ import annotations

import asyncio

import pytest

from asyncbreaker import State, probing
from asyncbreaker.testing import ManualClock
from tests.runtime.support import answer, failing_call, fragile

pytestmark = pytest.mark.asyncio


async def test_a_hundred_waiters_with_a_timeout_and_one_place(clock: ManualClock) -> None:
    """
    Under ``wait_for`` a hundred waiters take turns at the one place, and none is rejected.
    """
    breaker = fragile(clock, recovery=probing(successes=1000))
    await failing_call(breaker)
    done: list[int] = []

    async def caller(number: int) -> None:
        await asyncio.wait_for(breaker.wait_ready(), timeout=60.0)
        async with breaker.guard():
            await asyncio.sleep(0)
        done.append(number)

    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(caller(number)) for number in range(100)]
        for _ in range(20):
            await asyncio.sleep(0)
        clock.advance(10.0)
        while not all(task.done() for task in callers):
            await asyncio.sleep(0)
            # ``wait_for`` runs the wait in a task of its own on 3.11, so that the
            # pass and the call are apart; the pace lets the next one go.
            clock.advance(0.001)

    assert (100, 0) == (len(done), breaker.snapshot().rejected)


async def test_a_wait_that_times_out_leaves_the_line(clock: ManualClock) -> None:
    """
    Waiters that gave up, at the head or behind, do not hold up those who stay.
    """
    breaker = fragile(clock)
    breaker.force_open()

    impatient = [asyncio.wait_for(breaker.wait_ready(), timeout=0.001) for _ in range(3)]
    patient = asyncio.ensure_future(breaker.wait_ready())
    results = await asyncio.gather(*impatient, return_exceptions=True)
    assert not patient.done()
    breaker.reset()
    await patient

    assert [TimeoutError] * 3 == [type(result) for result in results]
    assert State.CLOSED is breaker.state
    assert 42 == await breaker.call(answer)


async def test_a_wait_for_closing_may_time_out(clock: ManualClock) -> None:
    """
    ``wait_closed`` under a timeout ends with it and wakes nobody else.
    """
    breaker = fragile(clock)
    breaker.force_open()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(breaker.wait_closed(), timeout=0.001)
    breaker.reset()
    await asyncio.wait_for(breaker.wait_closed(), timeout=5.0)
