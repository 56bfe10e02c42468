"""How many are let in while nobody knows whether the dependency is back."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import anyio
import pytest

from asyncbreaker import CircuitBreaker, CircuitOpenError, Reason, State, probing, slow_start
from asyncbreaker.testing import ManualClock, force_state
from tests.runtime.calls import WAYS, Fn, Pending, answer, attempt, fail, half_open, make

pytestmark = pytest.mark.anyio

Way = Callable[[CircuitBreaker, Fn], Awaitable[None]]


class Stampede:
    """Callers that arrive at once; those that start wait for the gate."""

    def __init__(self, breaker: CircuitBreaker, group: anyio.abc.TaskGroup) -> None:
        self.breaker = breaker
        self.group = group
        self.started = 0
        self.rejections: list[CircuitOpenError] = []
        self.gate = anyio.Event()

    async def work(self) -> None:
        self.started += 1
        await self.gate.wait()

    async def caller(self) -> None:
        try:
            await self.breaker.call(self.work)
        except CircuitOpenError as rejection:
            self.rejections.append(rejection)

    async def arrive(self, callers: int) -> None:
        for _ in range(callers):
            self.group.start_soon(self.caller)
        await anyio.wait_all_tasks_blocked()


@pytest.mark.parametrize("places", [1, 3])
async def test_of_100_callers_at_the_instant_of_recovery_only_the_probes_start(
    clock: ManualClock, places: int
) -> None:
    """
    A herd that has waited for the end of the wait must not run over the dependency.
    """
    breaker = make(clock, recovery=probing(probes=places, successes=places))
    force_state(breaker, State.OPEN)
    clock.advance(10.0)
    async with anyio.create_task_group() as group:
        herd = Stampede(breaker, group)
        await herd.arrive(100)

        assert places == herd.started == breaker.snapshot().in_flight
        assert 100 - places == len(herd.rejections)
        assert {(Reason.HALF_OPEN, None)} == {(e.reason, e.retry_after) for e in herd.rejections}
        herd.gate.set()

    assert State.CLOSED is breaker.state


async def test_slow_start_lets_one_of_100_in_first_and_then_never_more_than_its_window(
    clock: ManualClock,
) -> None:
    """
    Each round of fast answers widens the window; at no time are more calls in flight.
    """
    breaker = make(clock, recovery=slow_start())
    force_state(breaker, State.OPEN)
    clock.advance(10.0)
    rounds = []
    for _ in range(4):
        async with anyio.create_task_group() as group:
            herd = Stampede(breaker, group)
            window = breaker.snapshot().window or 1.0
            await herd.arrive(100)
            rounds.append(herd.started)
            assert int(window) == herd.started
            clock.advance(0.1)
            herd.gate.set()

    assert 1 == rounds[0]
    assert sorted(set(rounds)) == rounds


async def test_a_probe_that_hangs_loses_its_place_to_another_after_its_lease(
    clock: ManualClock,
) -> None:
    """
    A place is leased: one lost call must not keep the circuit half-open for ever.
    """
    breaker = half_open(clock, recovery=probing(lease=60.0))
    hung = Pending()
    async with anyio.create_task_group() as group:
        group.start_soon(breaker.call, hung)
        await hung.entered.wait()
        clock.advance(59.9)
        with pytest.raises(CircuitOpenError):
            await breaker.call(answer)
        clock.advance(0.1)

        assert 42 == await breaker.call(answer)
        assert State.CLOSED is breaker.state
        hung.gate.set()
    assert (1, 1) == (breaker.snapshot().succeeded, breaker.snapshot().stale)


async def test_a_probe_that_has_lost_its_place_still_answers_in_the_same_half_open(
    clock: ManualClock,
) -> None:
    """
    The lease bounds the place, not the worth of a late answer.
    """
    breaker = half_open(clock, recovery=probing(successes=2, lease=60.0))
    hung = Pending()
    async with anyio.create_task_group() as group:
        group.start_soon(breaker.call, hung)
        await hung.entered.wait()
        clock.advance(60.0)
        await breaker.call(answer)
        assert State.HALF_OPEN is breaker.state
        hung.gate.set()

    assert (State.CLOSED, 0) == (breaker.state, breaker.snapshot().stale)


async def test_a_late_end_does_not_free_the_place_of_another(clock: ManualClock) -> None:
    """
    Each place is given back once, by its own probe.
    """
    breaker = half_open(clock, recovery=probing(successes=9, lease=60.0))
    first, second = Pending(), Pending()
    async with anyio.create_task_group() as group:
        group.start_soon(breaker.call, first)
        await first.entered.wait()
        clock.advance(60.0)
        group.start_soon(breaker.call, second)
        await second.entered.wait()
        first.gate.set()
        await anyio.wait_all_tasks_blocked()

        assert 1 == breaker.snapshot().in_flight
        assert isinstance(await attempt(lambda: breaker.call(answer)), CircuitOpenError)
        second.gate.set()


async def test_slow_start_asks_again_when_its_probe_hangs(clock: ManualClock) -> None:
    """
    One hung probe costs a backoff, not a whole lease.
    """
    breaker = half_open(clock, recovery=slow_start(), backoff=10.0)
    hung = Pending()
    async with anyio.create_task_group() as group:
        group.start_soon(breaker.call, hung)
        await hung.entered.wait()
        with pytest.raises(CircuitOpenError):
            await breaker.call(answer)
        clock.advance(10.0)

        assert 42 == await breaker.call(answer)
        assert 1.0 < (breaker.snapshot().window or 0.0)
        hung.gate.set()


async def test_a_failed_probe_opens_for_the_next_attempt(clock: ManualClock) -> None:
    """
    The prober gets its own error, and the wait is that of the next attempt.
    """
    breaker = half_open(clock, backoff=lambda attempt: 10.0 * attempt)
    with pytest.raises(ConnectionError):
        await breaker.call(fail)

    look = breaker.snapshot()
    assert (State.OPEN, 2, 20.0) == (look.state, look.attempt, look.retry_after)


async def test_nothing_half_opens_but_a_call(clock: ManualClock) -> None:
    """
    No timer runs and looking changes nothing.
    """
    breaker = make(clock)
    force_state(breaker, State.OPEN)
    clock.advance(1e6)
    repr(breaker)

    assert (State.OPEN, 0.0) == (breaker.state, breaker.snapshot().retry_after)
    assert 42 == await breaker.call(answer)


async def test_the_wait_ends_at_its_last_instant_and_not_before(clock: ManualClock) -> None:
    """
    What ``retry_after`` says is enough, and less is not.
    """
    breaker = make(clock, backoff=0.1)
    clock.advance(0.7)
    force_state(breaker, State.OPEN)
    with pytest.raises(CircuitOpenError) as rejected:
        await breaker.call(answer)
    assert rejected.value.retry_after is not None
    clock.advance(rejected.value.retry_after)

    assert 42 == await breaker.call(answer)


async def test_inside_a_probe_the_same_breaker_rejects(clock: ManualClock) -> None:
    """
    An inner call of the probe's own task is a call like any other; the probe ends well.
    """
    breaker = half_open(clock)

    async def outer() -> str:
        with contextlib.suppress(CircuitOpenError):
            await breaker.call(answer)
            return "inner admitted"
        return "inner rejected"

    assert "inner rejected" == await breaker.call(outer)
    assert State.CLOSED is breaker.state


@pytest.mark.parametrize("way", WAYS)
async def test_whoever_comes_first_asks_the_health_check(clock: ManualClock, way: Way) -> None:
    """
    By whichever way in; its call then goes on.
    """
    asked = []

    async def check() -> None:
        asked.append(1)

    breaker = make(clock, health_check=check, recovery=slow_start())
    force_state(breaker, State.OPEN)
    clock.advance(10.0)
    await way(breaker, answer)

    assert ([1], 1) == (asked, breaker.snapshot().succeeded)
