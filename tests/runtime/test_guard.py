"""``breaker.guard()``: a permit in hand."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import anyio
import pytest

from asyncbreaker import (
    CallSettled,
    CircuitBreaker,
    CircuitOpenError,
    Guard,
    State,
    consecutive_failures,
    probing,
)
from asyncbreaker.testing import ManualClock, force_state, record
from tests.runtime.calls import answer, attempt, half_open, make
from tests.runtime.support import fragile, rejected_call

pytestmark = pytest.mark.anyio

TOTALS = {"success": "succeeded", "failure": "failed", "ignore": "ignored"}


@pytest.mark.parametrize("start", [make, half_open], ids=["closed", "half-open"])
@pytest.mark.parametrize("first", TOTALS)
@pytest.mark.parametrize("second", TOTALS)
@pytest.mark.parametrize("error", [None, ValueError("after")], ids=["returns", "raises"])
async def test_the_first_verdict_counts(
    clock: ManualClock, start: Any, first: str, second: str, error: Exception | None
) -> None:
    """
    Neither a second one nor what the block raises afterwards changes anything.
    """
    breaker = start(clock)

    async def judged() -> None:
        async with breaker.guard() as permit:
            getattr(permit, first)()
            assert not breaker.snapshot().in_flight
            before = breaker.snapshot()
            getattr(permit, second)()
            assert before == breaker.snapshot()
            if error is not None:
                raise error

    assert error is await attempt(judged)
    look = breaker.snapshot()
    assert (1, 1) == (
        getattr(look, TOTALS[first]),
        look.succeeded + look.failed + look.ignored + look.stale,
    )


async def test_code_that_must_swallow_errors_can_report_them(clock: ManualClock) -> None:
    """
    A failure that no one raises is a failure all the same.
    """
    breaker = make(clock)
    for _ in range(2):
        async with breaker.guard() as permit:
            permit.failure()

    assert State.OPEN is breaker.state
    error = await attempt(lambda: breaker.call(answer))
    assert isinstance(error, CircuitOpenError)
    assert error.last_failure is not None
    assert "permit.failure()" in error.last_failure.message


@pytest.mark.parametrize(
    ("asked", "pause"),
    [
        (60.0, 60.0),
        (60, 60.0),
        (5.0, 10.0),
        (0, 10.0),
        (1e9, 300.0),
        (10**400, 300.0),
        (math.inf, 300.0),
    ],
)
@pytest.mark.parametrize("start", [make, half_open], ids=["closed", "half-open"])
async def test_a_pause_that_was_asked_for_opens_at_once(
    clock: ManualClock, start: Any, asked: float, pause: float
) -> None:
    """
    For as long as was asked, 300 s at most, or as the backoff says if that is longer.
    """
    breaker = start(clock)
    async with breaker.guard() as permit:
        permit.failure(retry_after=asked)

    assert (State.OPEN, pause) == (breaker.state, breaker.snapshot().retry_after)
    clock.advance(pause)
    assert 42 == await breaker.call(answer)


@pytest.mark.parametrize(
    "garbage", [None, math.nan, -1, -math.inf, True, "60", b"60", Decimal(60), object(), [], 1j]
)
async def test_what_is_no_pause_is_an_ordinary_failure(clock: ManualClock, garbage: Any) -> None:
    """
    A server that sends nonsense must not raise in its client.
    """
    breaker = make(clock)
    async with breaker.guard() as permit:
        permit.failure(retry_after=garbage)

    assert (State.CLOSED, 1) == (breaker.state, breaker.snapshot().failed)


async def test_a_pause_does_not_outlast_its_opening(clock: ManualClock) -> None:
    """
    The next opening waits as its own backoff says.
    """
    breaker = make(clock)
    async with breaker.guard() as permit:
        permit.failure(retry_after=60.0)
    clock.advance(60.0)
    async with breaker.guard() as permit:
        permit.failure()

    assert (State.OPEN, 10.0) == (breaker.state, breaker.snapshot().retry_after)


@pytest.mark.parametrize("start", [make, half_open], ids=["closed", "half-open"])
async def test_it_may_be_left_from_another_task(clock: ManualClock, start: Any) -> None:
    """
    The permit lives in the guard, not in a task.
    """
    breaker = start(clock)
    guard = breaker.guard()

    async def enter() -> None:
        await guard.__aenter__()

    async def leave() -> None:
        await guard.__aexit__(None, None, None)

    for step in (enter, leave):
        async with anyio.create_task_group() as group:
            group.start_soon(step)

    assert (State.CLOSED, 1) == (breaker.state, breaker.snapshot().succeeded)
    assert not breaker.snapshot().in_flight


async def test_overlapping_guards_keep_their_own_permits(clock: ManualClock) -> None:
    """
    In one task too, left in any order.
    """
    breaker = half_open(clock, recovery=probing(probes=3, successes=3))
    guards = [breaker.guard() for _ in range(3)]
    for guard in guards:
        await guard.__aenter__()
    await guards[1].__aexit__(None, None, None)
    await guards[0].__aexit__(None, None, None)
    assert (State.HALF_OPEN, 1) == (breaker.state, breaker.snapshot().in_flight)
    await guards[2].__aexit__(None, None, None)

    assert State.CLOSED is breaker.state


async def test_leaving_twice_settles_once(clock: ManualClock) -> None:
    """
    As a framework may do that is not sure.
    """
    breaker = make(clock)
    guard = breaker.guard()
    await guard.__aenter__()
    await guard.__aexit__(None, None, None)
    await guard.__aexit__(None, ValueError(), None)

    assert (1, 0) == (breaker.snapshot().succeeded, breaker.snapshot().failed)


async def test_a_guard_is_entered_once(clock: ManualClock) -> None:
    """
    A second block needs a permit of its own.
    """
    breaker = make(clock)
    async with breaker.guard() as permit:
        assert isinstance(permit, Guard)
        with pytest.raises(RuntimeError, match="ask for another"):
            await permit.__aenter__()


def test_a_verdict_needs_an_entered_guard(clock: ManualClock) -> None:
    """
    Forgetting ``async with`` is said at once, not passed over.
    """
    with pytest.raises(RuntimeError, match="enter the guard first"):
        make(clock).guard().failure()


async def test_a_rejected_guard_holds_nothing(clock: ManualClock) -> None:
    """
    The body does not run.
    """
    breaker = make(clock)
    breaker.force_open()
    guard = breaker.guard()
    with pytest.raises(CircuitOpenError):
        async with guard:
            raise AssertionError("the body ran")
    breaker.reset()

    async with guard as permit:
        permit.success()
    assert 1 == breaker.snapshot().succeeded


async def test_looking_changes_nothing(clock: ManualClock) -> None:
    """
    ``state`` and ``snapshot()`` take no place and half-open nothing.
    """
    breaker = half_open(clock)
    for _ in range(100):
        assert State.HALF_OPEN is breaker.state
        breaker.snapshot()

    assert 42 == await breaker.call(answer)


async def test_the_words_of_a_failure_are_kept(clock: ManualClock) -> None:
    """
    What happened stands in the summary of the last failure, be it words or an error.
    """
    breaker = fragile(clock, trip=consecutive_failures(10))
    for error, kind, message in (
        ("HTTP 503", "Failure", "HTTP 503"),
        (LookupError("no row"), "LookupError", "no row"),
        (None, "Failure", "reported by permit.failure()"),
    ):
        with record(breaker) as events:
            async with breaker.guard() as permit:
                permit.failure(error=error)
        last = breaker.snapshot().last_failure
        assert last is not None
        assert (kind, message) == (last.type, last.message)
        (settled_call,) = [event for event in events if isinstance(event, CallSettled)]
        expected = type(error).__name__ if isinstance(error, Exception) else None
        assert expected == settled_call.error_type


async def test_an_answer_that_has_begun_is_not_slow(clock: ManualClock) -> None:
    """
    From then on the call may take as long as it likes; it is told with the time until then.
    """
    breaker = CircuitBreaker(slow=1.0, clock=clock)
    with record(breaker) as events:
        async with breaker.guard() as permit:
            clock.advance(0.5)
            permit.answered()
            clock.advance(5.0)
            permit.answered()  # the first one counts
            async with breaker:  # an arrival looks for what has become slow
                pass
    slow = [(event.slow, event.seconds) for event in events if isinstance(event, CallSettled)]

    assert [(False, 0.0), (False, 0.5)] == slow
    assert (2, 0) == (breaker.snapshot().succeeded, breaker.snapshot().slow)


async def test_an_answer_that_begins_too_late_is_slow(clock: ManualClock) -> None:
    """
    It is marked when it begins, and its end only completes that.
    """
    breaker = CircuitBreaker(slow=1.0, clock=clock)
    async with breaker.guard() as permit:
        clock.advance(1.0)
        permit.answered()
        assert 1 == breaker.snapshot().slow
    look = breaker.snapshot()

    assert (1, 1, 1) == (look.succeeded, look.slow, look.counts.lead)


@pytest.mark.parametrize("good", [True, False])
async def test_a_probe_that_has_begun_to_answer_keeps_its_place(
    clock: ManualClock, good: bool
) -> None:
    """
    In half-open the end of the call is its answer, not the beginning.
    """
    breaker = fragile(clock)
    force_state(breaker, State.OPEN)
    clock.advance(10.0)
    async with breaker.guard() as permit:
        permit.answered()
        assert (State.HALF_OPEN, 1) == (breaker.state, breaker.snapshot().in_flight)
        await rejected_call(breaker)
        if not good:
            permit.failure()

    assert (State.CLOSED if good else State.OPEN) is breaker.state


async def test_an_answer_begins_only_in_a_call(clock: ManualClock) -> None:
    """
    Before the guard is entered that is a mistake; after a verdict there is nothing left to say.
    """
    breaker = fragile(clock)
    guard = breaker.guard()
    with pytest.raises(RuntimeError, match="enter the guard first"):
        guard.answered()
    async with guard as permit:
        permit.success()
        permit.answered()

    assert 1 == breaker.snapshot().succeeded
