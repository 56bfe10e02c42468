"""Waiting for a connection of a pool while the circuit moves."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable

import pytest

from asyncbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    Guard,
    Reason,
    State,
)
from asyncbreaker.integrations._waiters import Waiters
from asyncbreaker.testing import ManualClock, force_state
from tests.integrations.support import breaker_of
from tests.runtime.support import settled


class Line:
    """A pool without a free connection; counts who waits and what it has handed out."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.waiting = self.came = 0

    async def get(self, permit: Guard) -> str:
        self.came += 1
        self.waiting += 1
        try:
            await self.free.wait()
        finally:
            self.waiting -= 1
        return "connection"


@pytest.mark.asyncio
async def test_what_is_acquired_is_returned(clock: ManualClock) -> None:
    """
    Who waits and gets a connection has made one call.
    """
    breaker, line = breaker_of(clock), Line()
    line.free.set()

    assert "connection" == await Waiters(breaker).acquire(line.get)
    assert 1 == breaker.snapshot().succeeded


@pytest.mark.asyncio
async def test_who_waits_is_refused_when_the_circuit_opens(clock: ManualClock) -> None:
    """
    A hundred tasks in the line learn at once that the circuit has opened, and nobody stays.
    """
    breaker, line = breaker_of(clock), Line()
    waiters = Waiters(breaker)
    tasks = [asyncio.create_task(waiters.acquire(line.get)) for _ in range(100)]
    await settled()
    assert 100 == line.waiting

    force_state(breaker, State.OPEN)
    async with asyncio.timeout(10):
        found = await asyncio.gather(*tasks, return_exceptions=True)

    assert {CircuitOpenError} == {type(error) for error in found}
    assert (0, 100) == (line.waiting, line.came)
    assert 100 == breaker.snapshot().rejected


@pytest.mark.asyncio
async def test_who_waits_is_refused_by_an_operator_too(clock: ManualClock) -> None:
    """
    Forcing the circuit open empties the line as well.
    """
    breaker, line = breaker_of(clock), Line()
    task = asyncio.create_task(Waiters(breaker).acquire(line.get))
    await settled()

    breaker.force_open("maintenance")
    with pytest.raises(CircuitOpenError) as caught:
        async with asyncio.timeout(10):
            await task

    assert Reason.FORCED is caught.value.reason


@pytest.mark.asyncio
async def test_other_moves_disturb_nobody(clock: ManualClock) -> None:
    """
    Who waits goes on waiting while the circuit closes or is disabled.
    """
    breaker, line = breaker_of(clock), Line()
    task = asyncio.create_task(Waiters(breaker).acquire(line.get))
    await settled()

    breaker.disable()
    breaker.reset()
    await settled()
    assert (1, 1) == (line.waiting, line.came)
    line.free.set()

    assert "connection" == await task


@pytest.mark.asyncio
async def test_in_shadow_mode_nobody_is_refused(clock: ManualClock) -> None:
    """
    A circuit that only pretends to open lets the waiters wait on.
    """
    breaker, line = breaker_of(clock, shadow=True), Line()
    task = asyncio.create_task(Waiters(breaker).acquire(line.get))
    await settled()

    force_state(breaker, State.OPEN)
    await settled()
    line.free.set()

    assert "connection" == await task


@pytest.mark.asyncio
async def test_what_the_pool_raises_passes(clock: ManualClock) -> None:
    """
    An error of the pool is the very object that the caller gets, and it is judged.
    """
    breaker, error = breaker_of(clock), ConnectionError("refused")

    async def get(permit: Guard) -> str:
        raise error

    with pytest.raises(ConnectionError) as caught:
        await Waiters(breaker).acquire(get)

    assert error is caught.value
    assert State.OPEN is breaker.state


@pytest.mark.asyncio
async def test_a_cancelled_waiter_stays_cancelled(clock: ManualClock) -> None:
    """
    A cancellation from outside is no rejection, and proves nothing.
    """
    breaker, line = breaker_of(clock), Line()
    task = asyncio.create_task(Waiters(breaker).acquire(line.get))
    await settled()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (1, 0) == (breaker.snapshot().ignored, line.waiting)


@pytest.mark.asyncio
async def test_a_cancellation_and_an_opening_at_once(clock: ManualClock) -> None:
    """
    A task that is cancelled in the moment in which the circuit opens does not live on.
    """
    breaker, line = breaker_of(clock), Line()
    task = asyncio.create_task(Waiters(breaker).acquire(line.get))
    await settled()

    force_state(breaker, State.OPEN)
    task.cancel()
    with pytest.raises((asyncio.CancelledError, CircuitOpenError)):
        await task

    assert 0 == line.waiting


@pytest.mark.asyncio
async def test_a_connection_that_comes_while_the_circuit_opens_is_handed_out(
    clock: ManualClock,
) -> None:
    """
    What the pool gave in that moment is not lost: its taker has it, and may give it back.
    """
    breaker, line = breaker_of(clock), Line()
    task = asyncio.create_task(Waiters(breaker).acquire(line.get))
    await settled()

    line.free.set()
    await asyncio.sleep(0)
    force_state(breaker, State.OPEN)

    assert "connection" == await task


@pytest.mark.asyncio
async def test_another_thread_may_open_the_circuit(clock: ManualClock) -> None:
    """
    A pool's waiters are refused in their own loop, whoever has opened the circuit.
    """
    breaker, line = breaker_of(clock), Line()
    task = asyncio.create_task(Waiters(breaker).acquire(line.get))
    await settled()

    thread = threading.Thread(target=breaker.force_open)
    thread.start()
    with pytest.raises(CircuitOpenError):
        async with asyncio.timeout(10):
            await task
    thread.join()


def test_a_waiter_of_a_loop_that_has_ended_is_passed_over(clock: ManualClock) -> None:
    """
    A loop that was closed under a waiter spoils no opening.
    """
    breaker, line = breaker_of(clock), Line()
    waiters = Waiters(breaker)
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(waiters.acquire(line.get))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    breaker.force_open()

    assert State.FORCED_OPEN is breaker.state
    assert not waiting.done()


@pytest.mark.asyncio
async def test_a_breaker_forgets_pools_that_are_gone(clock: ManualClock) -> None:
    """
    A long-lived breaker does not collect the listeners of pools that came and went.
    """
    removed: list[bool] = []
    breaker = breaker_of(clock)
    add = breaker.add_listener

    class Watched(CircuitBreaker):
        def add_listener(
            self, listener: Callable[..., object], *kinds: object
        ) -> Callable[[], None]:  # type: ignore[override]
            remove = add(listener)

            def counted() -> None:
                removed.append(True)
                remove()

            return counted

    waiters = Waiters(Watched())
    assert [] == removed
    del waiters
    gc.collect()

    assert [True] == removed
