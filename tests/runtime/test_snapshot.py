"""Looking: ``snapshot``, ``state`` and ``repr`` change nothing and say everything."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import FrozenInstanceError, asdict
from typing import Any

import pytest
import trio

from asyncbreaker import CircuitBreaker, Counts, Snapshot, State, failure_rate, slow_start
from asyncbreaker.testing import ManualClock, force_state
from tests.runtime.support import answer, failing_call, fragile, rejected_call

pytestmark = pytest.mark.anyio


async def test_a_new_breaker(clock: ManualClock) -> None:
    """
    All is zero, and nothing has failed.
    """
    expected = Snapshot(
        name="api",
        state=State.CLOSED,
        seconds_in_state=0.0,
        reason="",
        attempt=1,
        retry_after=None,
        counts=Counts(),
        in_flight=None,
        window=None,
        last_failure=None,
        succeeded=0,
        failed=0,
        ignored=0,
        slow=0,
        stale=0,
        rejected=0,
        opened=0,
        reopened=0,
    )
    assert expected == fragile(clock).snapshot()


async def test_an_open_breaker(clock: ManualClock) -> None:
    """
    It tells the rule, the counts at the opening, the time left and the last failure.
    """
    breaker = fragile(clock)
    await breaker.call(answer)
    await failing_call(breaker)
    clock.advance(4.0)
    await rejected_call(breaker)

    look = breaker.snapshot()
    assert (State.OPEN, 4.0, "consecutive_failures(count=1)", 1, 6.0) == (
        look.state,
        look.seconds_in_state,
        look.reason,
        look.attempt,
        look.retry_after,
    )
    assert Counts(consecutive_failures=1, lead=1) == look.counts
    assert ("ConnectionError", "refused", 4.0) == look.last_failure
    assert (1, 1, 1, 1, 0) == (
        look.succeeded,
        look.failed,
        look.rejected,
        look.opened,
        look.reopened,
    )


async def test_a_half_open_breaker(clock: ManualClock) -> None:
    """
    It tells the places taken and, under ``slow_start``, the window.
    """
    breaker = fragile(clock, recovery=slow_start())
    await failing_call(breaker)
    clock.advance(10.0)
    async with breaker.guard():
        look = breaker.snapshot()

    assert (State.HALF_OPEN, 1, 1.0, None) == (
        look.state,
        look.in_flight,
        look.window,
        look.retry_after,
    )


async def test_counts_are_those_of_the_window(clock: ManualClock) -> None:
    """
    With a rule that has a window its counts are shown, and they expire as it does.
    """
    breaker = fragile(clock, trip=failure_rate())
    await failing_call(breaker)
    await breaker.call(answer)
    assert (2, 1, 1) == breaker.snapshot().counts[:3]
    clock.advance(31.0)
    assert (0, 0, 0) == breaker.snapshot().counts[:3]


async def test_totals_last_over_all_states(clock: ManualClock) -> None:
    """
    What was counted since creation survives openings and orders.
    """
    breaker = fragile(clock)
    for _ in range(3):
        await breaker.call(answer)
        await failing_call(breaker)
        clock.advance(10.0)
        await failing_call(breaker)
        breaker.reset()

    look = breaker.snapshot()
    assert (3, 6, 3, 3) == (look.succeeded, look.failed, look.opened, look.reopened)


@pytest.mark.parametrize("state", State)
async def test_it_is_plain_json(state: State, clock: ManualClock) -> None:
    """
    ``as_dict`` goes through JSON and back unchanged, in every state.
    """
    breaker = fragile(clock, recovery=slow_start())
    await failing_call(breaker)
    force_state(breaker, state)
    plain = breaker.snapshot().as_dict()

    text = json.dumps(plain, allow_nan=False)
    assert plain == json.loads(text)
    assert state.value == plain["state"]
    assert {"calls", "lead"} <= set(plain["counts"])
    assert "ConnectionError" == plain["last_failure"]["type"]
    assert set(asdict(breaker.snapshot())) == set(plain)


async def test_without_a_failure_it_is_json_too(clock: ManualClock) -> None:
    """
    No last failure is a null.
    """
    assert fragile(clock).snapshot().as_dict()["last_failure"] is None


async def test_it_cannot_be_changed(clock: ManualClock) -> None:
    """
    A snapshot is frozen, and later calls do not show in it.
    """
    breaker = fragile(clock)
    look = breaker.snapshot()
    await failing_call(breaker)

    assert (State.CLOSED, 0) == (look.state, look.failed)
    with pytest.raises(FrozenInstanceError):
        look.failed = 5  # type: ignore[misc]


async def test_looking_half_opens_nothing(clock: ManualClock) -> None:
    """
    However long the wait is over and however often one looks, only a call half-opens.
    """
    breaker = fragile(clock)
    await failing_call(breaker)
    clock.advance(1000.0)
    for _ in range(10):
        assert (State.OPEN, 0.0) == (breaker.state, breaker.snapshot().retry_after)
        repr(breaker)

    assert 0 == breaker.snapshot().rejected


async def test_it_survives_pickle_and_copy(clock: ManualClock) -> None:
    """
    A snapshot may be sent to another process.
    """
    breaker = fragile(clock)
    await failing_call(breaker)
    look = breaker.snapshot()

    assert look == pickle.loads(pickle.dumps(look)) == copy.deepcopy(look)


async def test_repr_shows_name_state_and_counts(clock: ManualClock) -> None:
    """
    A breaker in a log line or a debugger says how it stands.
    """
    breaker = fragile(clock)
    await failing_call(breaker)

    assert repr(breaker).startswith("<CircuitBreaker 'api': open, Counts(calls=0,")
    assert "lead=1" in repr(breaker)


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_breaker_can_be_neither_pickled_nor_copied(duplicate: Any) -> None:
    """
    Two objects would see half of the calls each, so this is refused with the reason.
    """
    with pytest.raises(TypeError, match="cannot pickle or copy <CircuitBreaker 'api'"):
        duplicate(CircuitBreaker("api"))


def test_commands_and_looks_work_where_the_clock_cannot_be_read() -> None:
    """
    Trio's clock runs only inside ``trio.run``: outside one may still make, order and look.
    """
    breaker = CircuitBreaker("api", clock=trio.current_time)
    for _ in range(2):
        breaker.configure(backoff=1.0)
        breaker.force_open("at import")
        assert (State.FORCED_OPEN, 0.0) == (breaker.state, breaker.snapshot().seconds_in_state)
        breaker.reset()
        assert "closed" in repr(breaker)

        async def main() -> None:
            breaker.reset()
            assert 42 == await breaker.call(answer)
            assert 0.0 <= breaker.snapshot().seconds_in_state < 60.0

        trio.run(main)
