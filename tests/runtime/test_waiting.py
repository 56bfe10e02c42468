"""Waiting for a breaker: ``wait_closed`` and ``wait_ready``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncbreaker import CircuitBreaker, State, probing
from asyncbreaker.testing import ManualClock, force_state
from tests.runtime.support import answer, fail, failing_call, fragile, settled

pytestmark = pytest.mark.anyio


class Queue:
    """Tasks that wait, and the order in which they pass."""

    def __init__(self, wait: Callable[[], Awaitable[None]]) -> None:
        self._wait = wait
        self.passed: list[int] = []
        self.scopes: dict[int, anyio.CancelScope] = {}

    async def wait(self, number: int) -> None:
        with anyio.CancelScope() as self.scopes[number]:
            await self._wait()
            self.passed.append(number)

    async def line_up(self, group: Any, numbers: range) -> None:
        for number in numbers:
            group.start_soon(self.wait, number)
            await settled()


@pytest.mark.parametrize("state", [State.CLOSED, State.DISABLED])
async def test_wait_closed_returns_at_once_when_all_is_well(
    state: State, clock: ManualClock
) -> None:
    """
    Closed and disabled circuits admit every call: nothing to wait for.
    """
    breaker = fragile(clock)
    force_state(breaker, state)
    await breaker.wait_closed()


async def test_wait_closed_returns_when_somebodys_call_closes_it(clock: ManualClock) -> None:
    """
    All waiters go on at the moment a probe closes the circuit, and not before.
    """
    breaker = fragile(clock)
    await failing_call(breaker)
    queue = Queue(breaker.wait_closed)
    async with anyio.create_task_group() as group:
        await queue.line_up(group, range(5))
        clock.advance(1000.0)
        await settled()
        assert ([], State.OPEN) == (queue.passed, breaker.state)
        await breaker.call(answer)

    assert {0, 1, 2, 3, 4} == set(queue.passed)


@pytest.mark.parametrize("order", ["reset", "disable"])
async def test_wait_closed_returns_after_an_order(order: str, clock: ManualClock) -> None:
    """
    An operator ends the wait too.
    """
    breaker = fragile(clock)
    breaker.force_open()
    queue = Queue(breaker.wait_closed)
    async with anyio.create_task_group() as group:
        await queue.line_up(group, range(3))
        getattr(breaker, order)()

    assert 3 == len(queue.passed)


async def test_a_cancelled_wait_closed_leaves_nothing(clock: ManualClock) -> None:
    """
    Cancelling one waiter disturbs neither the breaker nor the others.
    """
    breaker = fragile(clock)
    breaker.force_open()
    queue = Queue(breaker.wait_closed)
    async with anyio.create_task_group() as group:
        await queue.line_up(group, range(2))
        queue.scopes[0].cancel()
        await settled()
        breaker.reset()

    assert [1] == queue.passed


@pytest.mark.parametrize("wait", ["wait_closed", "wait_ready"])
async def test_waiting_is_a_checkpoint(wait: str, clock: ManualClock) -> None:
    """
    Also when there is nothing to wait for, a cancelled task ends here.
    """
    breaker = fragile(clock)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await getattr(breaker, wait)()
    assert scope.cancelled_caught


async def test_wait_ready_returns_at_once_while_all_calls_are_admitted(clock: ManualClock) -> None:
    """
    In CLOSED and DISABLED any number passes, at no pace.
    """
    breaker = fragile(clock)
    for _ in range(100):
        await breaker.wait_ready()
    breaker.disable()
    for _ in range(100):
        await breaker.wait_ready()


async def test_wait_ready_returns_when_the_wait_is_over(clock: ManualClock) -> None:
    """
    It looks only: the state is still open when it returns, and the call half-opens.
    """
    breaker = fragile(clock)
    await failing_call(breaker)
    queue = Queue(breaker.wait_ready)
    async with anyio.create_task_group() as group:
        await queue.line_up(group, range(1))
        clock.advance(9.9)
        await settled()
        assert [] == queue.passed
        clock.advance(0.1)

    assert ([0], State.OPEN) == (queue.passed, breaker.state)
    assert 42 == await breaker.call(answer)


async def test_a_hundred_waiters_and_one_place(clock: ManualClock) -> None:
    """
    A hundred that wait and then call: one at a time reaches the service, none is rejected.
    """
    breaker = fragile(clock, recovery=probing(successes=1000))
    await failing_call(breaker)
    in_flight = most = done = 0

    async def probe() -> None:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        in_flight -= 1

    async def caller() -> None:
        nonlocal done
        await breaker.wait_ready()
        await breaker.call(probe)
        done += 1

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(caller)
        await settled()
        clock.advance(10.0)

    assert (100, 1, 0) == (done, most, breaker.snapshot().rejected)


async def test_waiters_pass_first_come_first_served(clock: ManualClock) -> None:
    """
    The line keeps its order.
    """
    breaker = fragile(clock, recovery=probing(successes=1000))
    await failing_call(breaker)
    queue = Queue(breaker.wait_ready)
    async with anyio.create_task_group() as group:
        await queue.line_up(group, range(10))
        clock.advance(10.0)
        for _ in range(10):
            await settled()
            await breaker.call(answer)

    assert list(range(10)) == queue.passed


async def test_the_next_passes_when_a_call_has_arrived(clock: ManualClock) -> None:
    """
    One passes; the next only once a call has come, and a place is free.
    """
    breaker = fragile(clock, recovery=probing(successes=1000))
    await failing_call(breaker)
    queue = Queue(breaker.wait_ready)
    async with anyio.create_task_group() as group:
        await queue.line_up(group, range(3))
        clock.advance(10.0)
        await settled()
        assert [0] == queue.passed
        async with breaker.guard():
            await settled()
            assert [0] == queue.passed
        await settled()
        assert [0, 1] == queue.passed
        group.cancel_scope.cancel()


async def test_one_that_passes_and_does_not_call_holds_up_nobody(clock: ManualClock) -> None:
    """
    The next passes 50 ms later although no call has come.
    """
    breaker = fragile(clock, recovery=probing(successes=1000))
    await failing_call(breaker)
    queue = Queue(breaker.wait_ready)
    async with anyio.create_task_group() as group:
        await queue.line_up(group, range(3))
        clock.advance(10.0)
        for passed in ([0], [0, 1], [0, 1, 2]):
            await settled()
            assert passed == queue.passed
            clock.advance(0.049)
            await settled()
            assert passed == queue.passed
            clock.advance(0.0011)


async def test_a_waiter_cancelled_in_the_line_is_left_out(clock: ManualClock) -> None:
    """
    Whether at the head, in the middle or at the end, the others keep their order.
    """
    breaker = fragile(clock, recovery=probing(successes=1000))
    await failing_call(breaker)
    queue = Queue(breaker.wait_ready)
    async with anyio.create_task_group() as group:
        await queue.line_up(group, range(6))
        for number in (0, 3, 5):
            queue.scopes[number].cancel()
        await settled()
        clock.advance(10.0)
        for _ in range(3):
            await settled()
            await breaker.call(answer)

    assert [1, 2, 4] == queue.passed


async def test_a_forced_circuit_is_waited_for_until_the_reset(clock: ManualClock) -> None:
    """
    A circuit that is forced open while they wait keeps them; the reset lets all go.
    """
    breaker = fragile(clock)
    await failing_call(breaker)
    queue = Queue(breaker.wait_ready)
    async with anyio.create_task_group() as group:
        await queue.line_up(group, range(5))
        breaker.force_open()
        clock.advance(1000.0)
        await settled()
        assert [] == queue.passed
        breaker.reset()

    assert [0, 1, 2, 3, 4] == queue.passed


async def test_a_probe_that_fails_prolongs_the_wait(clock: ManualClock) -> None:
    """
    Waiters in half-open wait for the next open time when the probe fails.
    """
    breaker = fragile(clock)
    await failing_call(breaker)
    clock.advance(10.0)
    queue = Queue(breaker.wait_ready)
    async with anyio.create_task_group() as group:
        guard = breaker.guard()
        await guard.__aenter__()
        await queue.line_up(group, range(1))
        guard.failure()
        clock.advance(9.0)
        await settled()
        assert [] == queue.passed
        clock.advance(1.0)

    assert [0] == queue.passed


async def test_a_probe_that_hangs_is_waited_for_until_its_lease_ends(clock: ManualClock) -> None:
    """
    When the place's lease is over the next waiter passes.
    """
    breaker = fragile(clock, recovery=probing(lease=5.0))
    await failing_call(breaker)
    clock.advance(10.0)
    queue = Queue(breaker.wait_ready)
    async with anyio.create_task_group() as group:
        await breaker.guard().__aenter__()
        await queue.line_up(group, range(1))
        clock.advance(4.0)
        await settled()
        assert [] == queue.passed
        clock.advance(1.0)

    assert [0] == queue.passed


async def test_the_early_end_of_a_wait_is_noticed(clock: ManualClock) -> None:
    """
    Rejections that end the open time early wake the waiter.
    """
    from asyncbreaker import Wait

    breaker = fragile(clock, backoff=lambda attempt: Wait(1000.0, rejections=3))
    await failing_call(breaker)
    queue = Queue(breaker.wait_ready)
    async with anyio.create_task_group() as group:
        await queue.line_up(group, range(1))
        for passed in ([], [], [0]):
            with pytest.raises(Exception, match="is open"):
                await breaker.call(fail)
            await settled()
            assert passed == queue.passed


async def test_a_clock_that_cannot_be_slept_on_is_slept_beside(anyio_backend: Any) -> None:
    """
    With an ordinary clock the wait ends by the event loop's own time.
    """
    breaker = CircuitBreaker(trip=lambda counts: True, backoff=0.005)
    await failing_call(breaker)
    await breaker.wait_ready()

    assert State.OPEN is breaker.state
    assert 42 == await breaker.call(answer)


async def test_a_clock_that_lags_behind_is_asked_again(anyio_backend: Any) -> None:
    """
    Waking too early by the breaker's clock is no reason to pass.
    """
    now = [0.0]

    def clock() -> float:
        now[0] += 0.002  # each look at it moves it a little
        return now[0]

    breaker = CircuitBreaker(trip=lambda counts: True, backoff=0.02, clock=clock)
    await failing_call(breaker)
    await breaker.wait_ready()

    assert 42 == await breaker.call(answer)
