"""``configure``: other settings at run time, with state, timer and history kept."""

from __future__ import annotations

from random import Random
from typing import Any

import anyio
import pytest

from asyncbreaker import (
    CircuitBreaker,
    Counts,
    LastCalls,
    LastSeconds,
    State,
    StateChanged,
    Wait,
    consecutive_failures,
    exponential,
    failure_count,
    failure_lead,
    failure_rate,
    hasten,
    probing,
    slow_start,
    spread,
)
from asyncbreaker.testing import ManualClock, record
from tests.runtime.support import answer, fail, failing_call, fragile, rejected_call

pytestmark = pytest.mark.anyio


async def test_an_unknown_name_is_refused_and_nothing_changes(clock: ManualClock) -> None:
    """
    All or nothing: one wrong name, and the good ones do not hold either.
    """
    breaker = fragile(clock)
    for wrong in ("name", "clock", "tripp"):
        with pytest.raises(TypeError, match=wrong):
            breaker.configure(backoff=3.0, **{wrong: 5})  # type: ignore[misc]
    await failing_call(breaker)

    assert 10.0 == breaker.snapshot().retry_after


async def test_one_bad_value_keeps_all_as_it_was(clock: ManualClock) -> None:
    """
    All or nothing: one bad value, and the good ones do not hold either.
    """
    breaker = fragile(clock)
    with pytest.raises(ValueError, match="slow"):
        breaker.configure(backoff=3.0, shadow=True, trip=failure_lead(), slow=-1.0)
    await failing_call(breaker)

    assert 10.0 == breaker.snapshot().retry_after
    await rejected_call(breaker)


async def test_it_tells_and_moves_nothing(clock: ManualClock) -> None:
    """
    State and events are untouched, in every state.
    """
    breaker = fragile(clock)
    for state in (State.CLOSED, State.OPEN):
        with record(breaker) as events:
            breaker.configure(
                trip=consecutive_failures(1), backoff=10.0, recovery=probing(), shadow=False
            )
            breaker.configure()
        assert ([], state) == (events, breaker.state)
        await failing_call(breaker) if state is State.CLOSED else None


async def test_an_open_timer_goes_on(clock: ManualClock) -> None:
    """
    A wait that runs ends as it was drawn; the new backoff is asked at the next opening.
    """
    breaker = fragile(clock)
    await failing_call(breaker)
    clock.advance(4.0)
    breaker.configure(backoff=100.0)
    assert 6.0 == breaker.snapshot().retry_after
    clock.advance(6.0)
    await failing_call(breaker)

    assert 100.0 == breaker.snapshot().retry_after


async def test_the_newest_calls_are_kept(clock: ManualClock) -> None:
    """
    A smaller window of calls keeps its newest, a larger one all.
    """
    breaker = fragile(clock, trip=failure_rate(1.0, minimum=4, window=LastCalls(4)))
    for fails in (True, True, False, True):
        await (failing_call if fails else breaker.call)(*([breaker] if fails else [answer]))
    breaker.configure(trip=failure_rate(1.0, minimum=2, window=LastCalls(2)))
    assert (2, 1) == breaker.snapshot().counts[:1] + breaker.snapshot().counts[2:3]

    breaker.configure(trip=failure_count(5, window=LastCalls(10)))
    assert (2, 1) == breaker.snapshot().counts[:1] + breaker.snapshot().counts[2:3]


async def test_the_newest_seconds_are_kept(clock: ManualClock) -> None:
    """
    A shorter window of seconds keeps what it still covers.
    """
    breaker = fragile(clock, trip=failure_count(50, window=LastSeconds(60)))
    await failing_call(breaker)
    clock.advance(30.0)
    await failing_call(breaker)
    breaker.configure(trip=failure_count(50, window=LastSeconds(20)))

    assert 1 == breaker.snapshot().counts.failures


async def test_another_kind_of_window_starts_empty(clock: ManualClock) -> None:
    """
    From calls to seconds nothing fits but the run and the lead, which always stay.
    """
    breaker = fragile(clock, trip=failure_count(50, window=LastSeconds(60)))
    await failing_call(breaker)
    await failing_call(breaker)
    breaker.configure(trip=failure_count(50, window=LastCalls(60)))
    assert Counts(consecutive_failures=2, lead=2) == breaker.snapshot().counts

    breaker.configure(trip=consecutive_failures(3))
    await failing_call(breaker)
    assert State.OPEN is breaker.state


async def test_the_new_rule_is_asked_by_the_next_bad_call(clock: ManualClock) -> None:
    """
    A rule that would say yes already opens at the next bad call, not by itself.
    """
    breaker = fragile(clock, trip=consecutive_failures(100))
    for _ in range(5):
        await failing_call(breaker)
    breaker.configure(trip=consecutive_failures(3))
    assert State.CLOSED is breaker.state
    await failing_call(breaker)

    assert State.OPEN is breaker.state


async def test_listeners_replace_just_the_constructors(clock: ManualClock) -> None:
    """
    Those that were added otherwise stay; without ``listeners=`` all stay.
    """
    first: list[StateChanged] = []
    second: list[StateChanged] = []
    added: list[StateChanged] = []
    breaker = fragile(clock, listeners=[first.append])
    breaker.add_listener(added.append)

    breaker.configure(shadow=True)
    breaker.force_open()
    assert (1, 0, 1) == (len(first), len(second), len(added))
    breaker.configure(listeners=(second.append for _ in range(1)))
    breaker.reset()
    assert (1, 1, 2) == (len(first), len(second), len(added))
    breaker.configure(listeners=[])
    breaker.force_open()
    assert (1, 1, 3) == (len(first), len(second), len(added))


async def test_slow_holds_for_calls_that_come_later(clock: ManualClock) -> None:
    """
    A call in flight keeps the limit it was admitted under.
    """
    breaker = CircuitBreaker(clock=clock, slow=10.0)
    old = breaker.guard()
    await old.__aenter__()
    breaker.configure(slow=1.0)
    new = breaker.guard()
    await new.__aenter__()
    clock.advance(5.0)
    old.success()
    new.success()
    assert 1 == breaker.snapshot().slow

    breaker.configure(slow=None)
    unlimited = breaker.guard()
    await unlimited.__aenter__()
    clock.advance(1000.0)
    unlimited.success()
    assert (1, 3) == (breaker.snapshot().slow, breaker.snapshot().succeeded)


async def test_a_hung_call_under_the_old_limit_is_still_marked(clock: ManualClock) -> None:
    """
    Switching ``slow`` off does not let go of calls that run under it.
    """
    breaker = CircuitBreaker(clock=clock, slow=10.0)
    hung = breaker.guard()
    await hung.__aenter__()
    breaker.configure(slow=None)
    clock.advance(10.0)
    await breaker.call(answer)

    assert 1 == breaker.snapshot().slow
    hung.success()
    await breaker.call(answer)
    assert (1, 3) == (breaker.snapshot().slow, breaker.snapshot().succeeded)


async def test_recovery_holds_from_the_next_half_open(clock: ManualClock) -> None:
    """
    A half-open that lasts goes on under the old recovery.
    """
    breaker = fragile(clock, recovery=probing(successes=2))
    await failing_call(breaker)
    clock.advance(10.0)
    await breaker.call(answer)
    breaker.configure(recovery=slow_start())
    assert breaker.snapshot().window is None
    await breaker.call(answer)
    assert State.CLOSED is breaker.state

    await failing_call(breaker)
    clock.advance(10.0)
    await breaker.call(answer)
    assert (State.HALF_OPEN, 2.0) == (breaker.state, breaker.snapshot().window)


async def test_matchers_hold_at_once(clock: ManualClock) -> None:
    """
    A call is judged by the matchers of the moment it ends.
    """
    breaker = fragile(clock)
    breaker.configure(fail_on=LookupError, succeed_on=ConnectionError)
    await failing_call(breaker)
    breaker.configure(fail_on_result=lambda result: result == 42)
    await breaker.call(answer)

    assert (1, 1) == (breaker.snapshot().succeeded, breaker.snapshot().failed)
    assert State.OPEN is breaker.state


async def test_shadow_may_be_switched(clock: ManualClock) -> None:
    """
    A breaker that was watched for a while may be put in charge, in any state.
    """
    breaker = fragile(clock, shadow=True)
    await failing_call(breaker)
    assert 42 == await breaker.call(answer)
    breaker.configure(shadow=False)
    await rejected_call(breaker)
    breaker.configure(shadow=True)
    assert 42 == await breaker.call(answer)


async def test_a_health_check_may_come_and_go(clock: ManualClock) -> None:
    """
    A check that is set is asked from the next half-open; one that is unset never again.
    """
    asked: list[int] = []

    async def check() -> None:
        asked.append(1)

    breaker = fragile(clock)
    breaker.configure(health_check=check)
    for checks in (None, check):
        await failing_call(breaker)
        clock.advance(1000.0)
        await breaker.call(answer)
        breaker.configure(health_check=checks)

    assert [1] == asked


async def test_switching_off_a_check_that_is_due_lets_calls_through(clock: ManualClock) -> None:
    """
    A half-open that waits for its check is not wedged when the check is taken away.
    """

    breaker = fragile(clock, health_check=anyio.sleep_forever)
    await failing_call(breaker)
    clock.advance(10.0)
    with anyio.move_on_after(0):
        await breaker.call(answer)
    assert State.HALF_OPEN is breaker.state
    breaker.configure(health_check=None)

    assert 42 == await breaker.call(answer)
    assert State.CLOSED is breaker.state


async def test_a_rule_that_cannot_be_compared_changes_nothing(clock: ManualClock) -> None:
    """
    All or nothing, also when comparing the rules raises.
    """

    class Odd:
        def __call__(self, counts: Counts) -> bool:
            return False

        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

        __hash__ = None  # type: ignore[assignment]

    breaker = fragile(clock)
    before = breaker._runner.settings
    with pytest.raises(ZeroDivisionError):
        breaker.configure(trip=Odd(), shadow=True)
    assert before is breaker._runner.settings


async def test_the_backoff_is_asked_once_per_opening(clock: ManualClock) -> None:
    """
    Looking and being rejected draw no new wait.
    """
    asked: list[int] = []

    def backoff(attempt: int) -> Wait:
        asked.append(attempt)
        return Wait(10.0)

    breaker = fragile(clock, backoff=backoff)
    await failing_call(breaker)
    for _ in range(50):
        await rejected_call(breaker)
        breaker.snapshot()
    assert [1] == asked


@pytest.mark.parametrize("seeded", [True, False])
async def test_a_hundred_breakers_come_back_spread_out(seeded: bool, clock: ManualClock) -> None:
    """
    Breakers that opened at the same instant do not ask again at the same instant.
    """
    settings: dict[str, Any] = {}
    if seeded:
        wait = hasten(exponential(0.5, maximum=10.0))
        settings["backoff"] = spread(wait, random=Random(5).random)
    breakers = [
        CircuitBreaker(trip=consecutive_failures(1), clock=clock, **settings) for _ in range(100)
    ]
    for breaker in breakers:
        with pytest.raises(ConnectionError):
            await breaker.call(fail)

    waits = sorted(breaker.snapshot().retry_after or 0.0 for breaker in breakers)
    assert 0.25 <= waits[0] < waits[-1] <= 0.75
    assert len(set(waits)) > 95
    if seeded:
        tenths = [int((wait - 0.25) / 0.05) for wait in waits]
        assert max(tenths.count(tenth) for tenth in range(10)) <= 25
        assert min(tenths.count(tenth) for tenth in range(10)) >= 2


def test_what_cannot_be_changed_is_named() -> None:
    """
    Name and clock are fixed, and the error says which names it refuses.
    """
    with pytest.raises(TypeError, match=r"configure\(\) cannot change clock, name"):
        CircuitBreaker().configure(name="x", clock=None)  # type: ignore[call-arg]
