"""Help for tests: ``ManualClock``, ``record``, ``force_state``, ``live_breakers``."""

from __future__ import annotations

import gc
import math
from typing import Any

import anyio
import pytest

from asyncbreaker import (
    CallRejected,
    CallSettled,
    CircuitBreaker,
    State,
    StateChanged,
    live_breakers,
)
from asyncbreaker.testing import ManualClock, force_state, record
from tests.runtime.support import answer, failing_call, fragile, rejected_call, settled

pytestmark = pytest.mark.anyio


async def test_the_clock_moves_when_told_to() -> None:
    """
    It shows what it started with, plus what it was advanced by.
    """
    clock = ManualClock(5.0)
    clock.advance(2.5)
    clock.advance(0)

    assert (7.5, "ManualClock(7.5)", 0.0) == (clock(), repr(clock), ManualClock()())


@pytest.mark.parametrize("seconds", [-1, math.nan])
async def test_the_clock_is_monotonic(seconds: float, clock: ManualClock) -> None:
    """
    It cannot be moved back.
    """
    with pytest.raises(ValueError, match=f"seconds must be a number, at least 0, not {seconds}"):
        clock.advance(seconds)
    assert 100.0 == clock()


async def test_sleepers_are_woken_at_their_time(clock: ManualClock) -> None:
    """
    ``advance`` wakes those whose time has come, and no others.
    """
    woken: list[float] = []

    async def sleep(when: float) -> None:
        await clock.sleep_until(when)
        woken.append(when)

    async with anyio.create_task_group() as group:
        for when in (99.0, 100.0, 101.0, 102.0, 103.0):
            group.start_soon(sleep, when)
        await settled()
        assert {99.0, 100.0} == set(woken)
        clock.advance(2.0)
        await settled()
        assert {99.0, 100.0, 101.0, 102.0} == set(woken)
        clock.advance(5.0)

    assert 5 == len(woken)


async def test_a_cancelled_sleeper_is_forgotten(clock: ManualClock) -> None:
    """
    Nothing is kept of a sleep that was cancelled.
    """
    with anyio.move_on_after(0):
        await clock.sleep_until(1000.0)
    clock.advance(1000.0)

    assert [] == clock._sleepers


async def test_record_collects_every_kind(clock: ManualClock) -> None:
    """
    The list has moves, rejections and ends of calls, in order, and stops with the block.
    """
    breaker = fragile(clock)
    with record(breaker) as events:
        await failing_call(breaker)
        await rejected_call(breaker)
    breaker.reset()

    assert [CallSettled, StateChanged, CallRejected] == [type(event) for event in events]


async def test_record_ends_when_its_block_raises(clock: ManualClock) -> None:
    """
    A test that fails leaves no recorder behind.
    """
    breaker = fragile(clock)
    with pytest.raises(LookupError), record(breaker) as events:
        raise LookupError
    breaker.force_open()

    assert [] == events


@pytest.mark.parametrize("after", State)
@pytest.mark.parametrize("before", State)
async def test_any_state_can_be_forced(before: State, after: State, clock: ManualClock) -> None:
    """
    From every state to every state, by moves that form one chain; to the same one by none.
    """
    breaker = fragile(clock)
    force_state(breaker, before)
    with record(breaker) as events:
        force_state(breaker, after)

    moves = [event for event in events if isinstance(event, StateChanged)]
    assert after is breaker.state
    assert [before, *[move.new for move in moves]] == [*[move.old for move in moves], after]
    assert (before is after) == (not moves)


async def test_a_state_may_be_named_by_its_value(clock: ManualClock) -> None:
    """
    A string will do, and one that is no state is refused.
    """
    breaker = fragile(clock)
    force_state(breaker, "open")  # type: ignore[arg-type]
    assert State.OPEN is breaker.state
    with pytest.raises(ValueError, match="'ajar' is not a valid State"):
        force_state(breaker, "ajar")  # type: ignore[arg-type]


async def test_a_forced_opening_asks_the_backoff(clock: ManualClock) -> None:
    """
    It opens for as long as it would by itself.
    """
    breaker = fragile(clock)
    force_state(breaker, State.OPEN)
    assert 10.0 == (await rejected_call(breaker)).retry_after


async def test_a_forced_half_open_has_its_place_free(clock: ManualClock) -> None:
    """
    The next call is the first probe.
    """
    breaker = fragile(clock)
    force_state(breaker, State.HALF_OPEN)
    assert 0 == breaker.snapshot().in_flight
    assert 42 == await breaker.call(answer)
    assert State.CLOSED is breaker.state


async def test_the_whole_life_without_a_sleep(clock: ManualClock) -> None:
    """
    Open, wait, probe, close, with the default settings, in no time.
    """
    breaker = CircuitBreaker(clock=clock)
    for _ in range(20):
        await failing_call(breaker)
    assert State.OPEN is breaker.state
    clock.advance(1.0)
    while breaker.state is not State.CLOSED:
        await breaker.call(answer)
        clock.advance(0.1)

    assert 0 == breaker.snapshot().rejected


async def test_live_breakers_are_those_that_somebody_holds() -> None:
    """
    A breaker that is gone is not kept alive by the list of all.
    """
    breaker: Any = CircuitBreaker("held")
    assert breaker in live_breakers()
    name = CircuitBreaker("dropped").name
    gc.collect()

    assert name not in [alive.name for alive in live_breakers()]
