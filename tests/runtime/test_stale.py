"""Results of calls that were admitted before the circuit moved on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import pytest

from asyncbreaker import (
    CallSettled,
    Cause,
    CircuitBreaker,
    Snapshot,
    State,
    StateChanged,
    probing,
)
from asyncbreaker.testing import ManualClock, force_state
from tests.runtime.calls import WAYS, Fn, Pending, answer, attempt, fail, make

pytestmark = pytest.mark.anyio

Way = Callable[[CircuitBreaker, Fn], Awaitable[None]]
MOVED = ("stale", "seconds_in_state")


def essence(look: Snapshot) -> dict[str, object]:
    """Return what a stale result must not move."""
    return {key: value for key, value in look.as_dict().items() if key not in MOVED}


async def bring(breaker: CircuitBreaker, clock: ManualClock, state: str) -> None:
    force_state(breaker, State.OPEN)
    if state == "open":
        return
    clock.advance(10.0)
    force_state(breaker, State.HALF_OPEN)
    if state == "closed again":
        await breaker.call(answer)
        assert State.CLOSED is breaker.state
        await attempt(lambda: breaker.call(fail))  # one more, and the rule would say yes


@pytest.mark.parametrize("told", [False, True], ids=["untold", "told"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("state", ["open", "half-open", "closed again"])
@pytest.mark.parametrize("error", [None, ConnectionError("late")], ids=["success", "failure"])
async def test_a_late_result_moves_nothing(
    clock: ManualClock, state: str, error: Exception | None, way: Way, told: bool
) -> None:
    """
    State, window, timer, attempt and last failure stay; only the stale are counted.
    """
    breaker = make(clock)
    settled: list[CallSettled] = []
    if told:
        breaker.add_listener(settled.append, CallSettled)
    late = Pending(error)

    async def run() -> None:
        with suppress(ConnectionError):
            await way(breaker, late)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await late.entered.wait()
        await bring(breaker, clock, state)
        clock.advance(1.0)
        before, settled_before = breaker.snapshot(), len(settled)
        late.gate.set()
        await anyio.wait_all_tasks_blocked()
        after = breaker.snapshot()

    assert essence(before) == essence(after)
    assert before.stale + 1 == after.stale
    assert [True] * told == [event.stale for event in settled[settled_before:]]


@pytest.mark.parametrize("error", [None, ConnectionError("late")], ids=["success", "failure"])
async def test_a_late_probe_says_nothing_in_the_next_round(
    clock: ManualClock, error: Exception | None
) -> None:
    """
    A probe of one half-open must neither close nor open the next.
    """
    breaker = make(clock, recovery=probing(probes=2))
    force_state(breaker, State.HALF_OPEN)
    late = Pending(error)
    async with anyio.create_task_group() as group:
        group.start_soon(attempt, lambda: breaker.call(late))
        await late.entered.wait()
        await attempt(lambda: breaker.call(fail))
        assert State.OPEN is breaker.state
        clock.advance(10.0)
        force_state(breaker, State.HALF_OPEN)
        before = breaker.snapshot()
        late.gate.set()
        await anyio.wait_all_tasks_blocked()
        after = breaker.snapshot()

    assert (State.HALF_OPEN, essence(before)) == (after.state, essence(after))
    assert before.stale + 1 == after.stale


async def test_failures_while_open_move_neither_timer_nor_attempt(clock: ManualClock) -> None:
    """
    Calls that fail late must not push recovery away.
    """
    breaker = make(clock)
    late = [Pending(ConnectionError()) for _ in range(20)]
    async with anyio.create_task_group() as group:
        for call in late:
            group.start_soon(attempt, lambda call=call: breaker.call(call))
        await anyio.wait_all_tasks_blocked()
        force_state(breaker, State.OPEN)
        clock.advance(4.0)
        for call in late:
            call.gate.set()
    look = breaker.snapshot()

    assert (6.0, 1, 1, 20) == (look.retry_after, look.attempt, look.opened, look.stale)
    clock.advance(6.0)
    assert 42 == await breaker.call(answer)


async def test_1000_failing_tasks_open_it_once(clock: ManualClock) -> None:
    """
    One move is told once, however many calls fail together.
    """
    breaker = make(clock)
    moves: list[StateChanged] = []
    breaker.add_listener(moves.append)
    gate = anyio.Event()

    async def refuse() -> None:
        await gate.wait()
        raise ConnectionError

    async with anyio.create_task_group() as group:
        for _ in range(1000):
            group.start_soon(attempt, lambda: breaker.call(refuse))
        await anyio.wait_all_tasks_blocked()
        gate.set()

    assert [(State.CLOSED, State.OPEN, Cause.TRIPPED)] == [(m.old, m.new, m.cause) for m in moves]
    assert (2, 998, 1) == (
        breaker.snapshot().failed,
        breaker.snapshot().stale,
        breaker.snapshot().opened,
    )


async def test_a_call_that_a_reset_has_overtaken_is_stale(clock: ManualClock) -> None:
    """
    ``reset`` starts anew: what ran before it counts no more.
    """
    breaker = make(clock)
    late = Pending(ConnectionError())
    async with anyio.create_task_group() as group:
        group.start_soon(attempt, lambda: breaker.call(late))
        await late.entered.wait()
        breaker.reset()
        late.gate.set()

    look = breaker.snapshot()
    assert (0, 1, 0) == (look.failed, look.stale, look.counts.consecutive_failures)


async def test_a_verdict_from_an_earlier_era_opens_nothing(clock: ManualClock) -> None:
    """
    Neither does the pause it asks for.
    """
    breaker = make(clock)
    async with breaker.guard() as permit:
        breaker.reset()
        permit.failure(retry_after=60.0)

    assert (State.CLOSED, 1) == (breaker.state, breaker.snapshot().stale)
