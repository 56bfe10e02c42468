"""An operator's orders: ``force_open``, ``disable``, ``reset``."""

from __future__ import annotations

from typing import Any

import pytest

from asyncbreaker import CallSettled, CircuitBreaker, Counts, Reason, State
from asyncbreaker.testing import ManualClock, force_state, record
from tests.runtime.support import answer, failing_call, fragile, rejected_call

pytestmark = pytest.mark.anyio

ORDERS = {
    "force_open": State.FORCED_OPEN,
    "disable": State.DISABLED,
    "reset": State.CLOSED,
}


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize(("order", "after"), ORDERS.items())
async def test_orders_work_from_every_state(
    order: str, after: State, before: State, clock: ManualClock
) -> None:
    """
    Each order leads to its state, with its reason, and is told unless nothing moved.
    """
    breaker = fragile(clock)
    force_state(breaker, before)

    with record(breaker) as events:
        getattr(breaker, order)("incident 7")

    look = breaker.snapshot()
    assert (after, "incident 7", 1) == (look.state, look.reason, look.attempt)
    assert [(before, after)] * (before is not after) == [
        (event.old, event.new)  # type: ignore[union-attr]
        for event in events
    ]


@pytest.mark.parametrize("order", ["force_open", "disable"])
async def test_a_repeated_order_only_updates_the_reason(order: str, clock: ManualClock) -> None:
    """
    Giving an order again tells nothing and restarts nothing.
    """
    breaker = fragile(clock)
    getattr(breaker, order)("first")
    clock.advance(5.0)
    with record(breaker) as events:
        getattr(breaker, order)("second")

    assert [] == events
    assert ("second", 5.0) == (breaker.snapshot().reason, breaker.snapshot().seconds_in_state)


@pytest.mark.parametrize("order", ["force_open", "disable", "reset"])
@pytest.mark.parametrize("reason", [None, 5, b"x"])
async def test_a_reason_is_a_string(order: str, reason: Any, clock: ManualClock) -> None:
    """
    A reason that is no string is refused, and nothing moves.
    """
    breaker = fragile(clock)
    with pytest.raises(TypeError, match=f"reason must be a string, not {reason!r}"):
        getattr(breaker, order)(reason)
    assert State.CLOSED is breaker.state


async def test_forced_open_rejects_and_is_never_left_by_itself(clock: ManualClock) -> None:
    """
    However long it takes, a forced circuit rejects, without a time to come back at.
    """
    breaker = fragile(clock)
    breaker.force_open()
    for seconds in (0.0, 10.0, 1e9):
        clock.advance(seconds)
        error = await rejected_call(breaker)
        assert (Reason.FORCED, None) == (error.reason, error.retry_after)

    assert State.FORCED_OPEN is breaker.state
    assert 3 == breaker.snapshot().rejected


async def test_disabled_admits_all_and_records_nothing(clock: ManualClock) -> None:
    """
    A disabled breaker lets every call through: no counts, no totals, no event, no opening.
    """
    breaker = fragile(clock)
    breaker.disable("migration")
    with record(breaker) as events:
        for _ in range(10):
            await failing_call(breaker)
            assert 42 == await breaker.call(answer)
            async with breaker:
                pass
            async with breaker.guard() as permit:
                permit.failure(retry_after=60.0)
        clock.advance(1e9)
        await failing_call(breaker)

    look = breaker.snapshot()
    assert [] == events
    assert State.DISABLED is look.state
    assert (0, 0, 0, 0, 0) == (look.succeeded, look.failed, look.ignored, look.stale, look.rejected)
    assert (Counts(), None) == (look.counts, look.last_failure)


@pytest.mark.parametrize("order", ["force_open", "disable", "reset"])
async def test_calls_in_flight_at_an_order_are_stale(order: str, clock: ManualClock) -> None:
    """
    What was admitted before an order and fails after it changes nothing but a count.
    """
    breaker = fragile(clock)
    guards = [breaker.guard() for _ in range(3)]
    with record(breaker) as events:
        for guard in guards:
            await guard.__aenter__()
        getattr(breaker, order)()
        state = breaker.state
        for guard in guards:
            guard.failure()

    assert state is breaker.state
    assert (3, 0) == (breaker.snapshot().stale, breaker.snapshot().failed)
    assert [True] * 3 == [event.stale for event in events if isinstance(event, CallSettled)]


async def test_reset_makes_it_as_new(clock: ManualClock) -> None:
    """
    After a reset counts, run and lead are empty and attempts start at one.
    """
    asked: list[int] = []

    def backoff(attempt: int) -> float:
        asked.append(attempt)
        return 10.0

    breaker = fragile(clock, backoff=backoff)
    await failing_call(breaker)
    clock.advance(10.0)
    await failing_call(breaker)
    breaker.reset()
    assert Counts() == breaker.snapshot().counts
    await failing_call(breaker)

    assert [1, 2, 1] == asked


async def test_reset_while_closed_starts_a_new_count(clock: ManualClock) -> None:
    """
    In CLOSED a reset forgets what was counted, and tells nothing.
    """
    from asyncbreaker import consecutive_failures

    breaker = fragile(clock, trip=consecutive_failures(2))
    await failing_call(breaker)
    with record(breaker) as events:
        breaker.reset()
    await failing_call(breaker)

    assert [] == events
    assert State.CLOSED is breaker.state


async def test_an_order_during_a_probe_stands(clock: ManualClock) -> None:
    """
    A probe that ends well after ``force_open`` does not close the circuit.
    """
    breaker = fragile(clock)
    await failing_call(breaker)
    clock.advance(10.0)

    async def probe() -> None:
        breaker.force_open("stop")

    await breaker.call(probe)

    assert State.FORCED_OPEN is breaker.state


def test_default_names_are_unique_and_readable() -> None:
    """
    Breakers without a name are numbered.
    """
    names = [CircuitBreaker().name for _ in range(5)]
    assert 5 == len(set(names))
    assert all(name.startswith("breaker-") and name[8:].isdigit() for name in names)
