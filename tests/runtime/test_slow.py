"""Calls that are slow, also those that never end."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest

from asyncbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    LastCalls,
    State,
    consecutive_failures,
    failure_count,
    failure_rate,
    probing,
    slow_rate,
)
from asyncbreaker.testing import ManualClock, force_state
from tests.runtime.calls import WAYS, Pending, answer, attempt, make

pytestmark = pytest.mark.anyio

RATE = slow_rate(0.5, minimum=5, window=LastCalls(10))


def slow_breaker(clock: ManualClock, **settings: Any) -> CircuitBreaker:
    return make(clock, **{"trip": RATE, "slow": 1.0, **settings})


@pytest.mark.parametrize("way", WAYS)
async def test_20_calls_that_hang_open_it_before_any_has_ended(
    clock: ManualClock, way: Any
) -> None:
    """
    The next arrival notices them, without a timer.
    """
    breaker = CircuitBreaker(slow=1.0, clock=clock)
    gate = anyio.Event()
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(way, breaker, gate.wait)
        await anyio.wait_all_tasks_blocked()
        clock.advance(1.0)
        assert State.CLOSED is breaker.state
        error = await attempt(lambda: breaker.call(answer))

        assert isinstance(error, CircuitOpenError)
        assert (State.OPEN, 20, 0) == (
            breaker.state,
            breaker.snapshot().slow,
            breaker.snapshot().succeeded,
        )
        gate.set()


@pytest.mark.parametrize(("seconds", "slow"), [(0.999, 0), (1.0, 1), (5.0, 1)])
@pytest.mark.parametrize("error", [None, ConnectionError()], ids=["success", "failure"])
async def test_a_call_is_slow_from_the_limit_on(
    clock: ManualClock, seconds: float, slow: int, error: Exception | None
) -> None:
    """
    Whether it succeeds or fails.
    """
    breaker = slow_breaker(clock)

    async def work() -> None:
        clock.advance(seconds)
        if error is not None:
            raise error

    await attempt(lambda: breaker.call(work))

    counts = breaker.snapshot().counts
    assert (1, slow, error is not None) == (counts.calls, counts.slow, counts.failures)
    assert slow == breaker.snapshot().slow


@pytest.mark.parametrize("error", [None, ConnectionError()], ids=["success", "failure"])
async def test_a_marked_call_is_counted_once(clock: ManualClock, error: Exception | None) -> None:
    """
    Its end amends its entry: in the meantime it is neither success nor failure.
    """
    breaker = slow_breaker(clock)
    pending = Pending(error)
    async with anyio.create_task_group() as group:
        group.start_soon(attempt, lambda: breaker.call(pending))
        await pending.entered.wait()
        clock.advance(1.0)
        await breaker.call(answer)
        counts = breaker.snapshot().counts
        assert (2, 1, 1, 0) == (counts.calls, counts.slow, counts.successes, counts.failures)
        lead = counts.lead
        pending.gate.set()

    counts = breaker.snapshot().counts
    assert (2, 1, 2) == (counts.calls, counts.slow, counts.successes + counts.failures)
    assert (error is not None, lead) == (counts.failures, counts.lead)
    assert 1 == breaker.snapshot().slow


async def test_a_mark_does_not_touch_the_run_and_a_slow_success_ends_it(
    clock: ManualClock,
) -> None:
    """
    Only how a call ends says whether it failed.
    """
    breaker = slow_breaker(clock, trip=consecutive_failures(5) | slow_rate(window=LastCalls(100)))
    pending = Pending()

    async def refuse() -> None:
        raise ConnectionError

    async with anyio.create_task_group() as group:
        group.start_soon(breaker.call, pending)
        await pending.entered.wait()
        for _ in range(3):
            await attempt(lambda: breaker.call(refuse))
        clock.advance(1.0)
        await attempt(lambda: breaker.call(refuse))
        assert 4 == breaker.snapshot().counts.consecutive_failures
        pending.gate.set()

    assert 0 == breaker.snapshot().counts.consecutive_failures


async def test_the_end_of_a_marked_failure_asks_the_rule(clock: ManualClock) -> None:
    """
    It may be what was still missing.
    """
    breaker = slow_breaker(
        clock, trip=failure_rate(0.5, minimum=2, window=LastCalls(10)) | slow_rate()
    )
    pending = [Pending(ConnectionError()) for _ in range(2)]
    async with anyio.create_task_group() as group:
        for call in pending:
            group.start_soon(attempt, lambda call=call: breaker.call(call))
        await anyio.wait_all_tasks_blocked()
        clock.advance(1.0)
        await breaker.call(answer)
        pending[0].gate.set()
        await anyio.wait_all_tasks_blocked()
        assert State.CLOSED is breaker.state
        pending[1].gate.set()

    assert State.OPEN is breaker.state


async def test_a_slow_probe_is_a_bad_answer_while_it_runs(clock: ManualClock) -> None:
    """
    Its own end then gives back its place, and nothing else.
    """
    breaker = slow_breaker(clock)
    force_state(breaker, State.HALF_OPEN)
    pending = Pending()
    async with anyio.create_task_group() as group:
        group.start_soon(breaker.call, pending)
        await pending.entered.wait()
        clock.advance(1.0)
        assert isinstance(await attempt(lambda: breaker.call(answer)), CircuitOpenError)
        assert (State.OPEN, 2) == (breaker.state, breaker.snapshot().attempt)
        pending.gate.set()

    assert (State.OPEN, 1) == (breaker.state, breaker.snapshot().stale)


async def test_a_slow_success_does_not_close(clock: ManualClock) -> None:
    """
    A probe that succeeds too late is a bad one.
    """
    breaker = slow_breaker(clock, recovery=probing())
    force_state(breaker, State.HALF_OPEN)

    async def late() -> None:
        clock.advance(2.0)

    await breaker.call(late)

    assert State.OPEN is breaker.state


async def test_slow_may_be_changed_while_calls_run(clock: ManualClock) -> None:
    """
    A call keeps the limit that it was admitted under.
    """
    breaker = slow_breaker(clock)
    old, new = Pending(), Pending()
    async with anyio.create_task_group() as group:
        group.start_soon(breaker.call, old)
        await old.entered.wait()
        breaker.configure(slow=5.0)
        group.start_soon(breaker.call, new)
        await new.entered.wait()
        clock.advance(1.0)
        await breaker.call(answer)
        assert 1 == breaker.snapshot().slow
        clock.advance(4.0)
        await breaker.call(answer)
        assert 2 == breaker.snapshot().slow
        old.gate.set()
        new.gate.set()
        breaker.configure(slow=None)
    await breaker.call(answer)

    assert 2 == breaker.snapshot().slow


@pytest.mark.parametrize(
    "rule",
    [
        consecutive_failures(5),
        failure_rate(),
        failure_count(5, window=LastCalls(10)),
        consecutive_failures(5) | failure_rate(),
        consecutive_failures(5) & failure_rate(),
    ],
)
def test_slow_with_a_rule_that_does_not_see_it_is_refused(rule: Any) -> None:
    """
    It would measure every call for nothing.
    """
    with pytest.raises(ValueError, match="slow"):
        CircuitBreaker(trip=rule, slow=1.0)


@pytest.mark.parametrize("rule", [consecutive_failures(5) | slow_rate(), lambda counts: False])
def test_slow_with_a_rule_that_may_see_it_is_taken(rule: Any) -> None:
    """
    One part is enough, and any plain function may look.
    """
    assert State.CLOSED is CircuitBreaker(trip=rule, slow=1.0).state


@pytest.mark.parametrize("slow", [-1.0, math.nan, True, "1"])
def test_slow_must_be_seconds(slow: Any) -> None:
    """
    The message names the parameter.
    """
    with pytest.raises((TypeError, ValueError), match="slow"):
        CircuitBreaker(slow=slow)
