"""Several threads, each with an event loop of its own: nothing raises, wedges, or overfills."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
import trio

from asyncbreaker import (
    CallSettled,
    CircuitBreaker,
    CircuitOpenError,
    State,
    StateChanged,
    consecutive_failures,
    failure_rate,
    probing,
    slow_start,
)
from tests.runtime.support import answer, fail

Main = Callable[[], Coroutine[Any, Any, None]]


def in_asyncio(main: Main) -> None:
    asyncio.run(main())


def in_trio(main: Main) -> None:
    trio.run(main)


def in_threads(main: Main, number: int = 6, *, during: Callable[[], None] | None = None) -> None:
    """Run *main* in so many threads, asyncio and trio in turn; pass on the first error."""
    errors: list[BaseException] = []
    together = threading.Barrier(number)

    def work(run: Callable[[Main], None]) -> None:
        try:
            together.wait(10.0)
            run(main)
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=[in_trio if number % 2 else in_asyncio], daemon=True)
        for number in range(number)
    ]
    for thread in threads:
        thread.start()
    if during is not None:
        during()
    for thread in threads:
        thread.join(20.0)
    assert [] == errors
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("wait", ["wait_closed", "wait_ready"])
def test_waiters_of_every_loop_are_woken(wait: str) -> None:
    """
    A reset in the main thread wakes those who wait in asyncio and trio loops elsewhere.
    """
    breaker = CircuitBreaker("api")
    breaker.force_open()
    waiting = breaker._runner.waiting
    places = {"wait_closed": waiting._for_closed, "wait_ready": waiting.watching}

    async def main() -> None:
        await getattr(breaker, wait)()

    def reset() -> None:
        while len(places[wait]) < 6:
            time.sleep(0.001)
        breaker.reset()

    in_threads(main, during=reset)
    assert set() == places[wait]


def test_a_stream_of_events_is_fed_from_other_threads() -> None:
    """
    Events of calls in other threads reach a consumer in its own loop, in order.
    """
    breaker = CircuitBreaker("api")
    ready = threading.Event()

    async def main() -> None:
        async with breaker.events() as stream:
            entered.append(1)
            if len(entered) == 6:
                ready.set()
            for number in range(200):
                event = await anext(stream)
                expected = State.FORCED_OPEN if number % 2 == 0 else State.CLOSED
                assert expected is event.new

    def orders() -> None:
        assert ready.wait(10.0)
        for _ in range(100):
            breaker.force_open()
            breaker.reset()

    entered: list[int] = []
    in_threads(main, during=orders)


def test_places_are_never_exceeded() -> None:
    """
    At most so many probes run at once, over all threads together.
    """
    breaker = CircuitBreaker(
        "api",
        trip=consecutive_failures(1),
        backoff=0.0,
        recovery=probing(probes=2, successes=10**9),
    )
    guard = threading.Lock()
    running: list[int] = []
    most = [0]
    made: list[int] = []

    async def probe() -> None:
        with guard:
            running.append(1)
            most[0] = max(most[0], len(running))
        await anyio.sleep(0.0001)
        with guard:
            running.pop()
            made.append(1)

    async def main() -> None:
        for _ in range(300):
            try:
                await breaker.call(probe)
            except CircuitOpenError:
                await anyio.sleep(0.00005)

    asyncio.run(_trip(breaker))
    in_threads(main)
    assert 1 <= most[0] <= 2
    assert 0 == breaker.snapshot().in_flight
    assert len(made) > 100


async def _trip(breaker: CircuitBreaker) -> None:
    with pytest.raises(ConnectionError):
        await breaker.call(fail)


@pytest.mark.parametrize(
    "settings",
    [
        {"trip": consecutive_failures(3), "recovery": slow_start()},
        {"trip": failure_rate(0.5, minimum=5), "recovery": probing(2, 2)},
        {"slow": 0.0001, "recovery": probing()},
    ],
)
def test_any_mix_of_calls_and_orders_neither_raises_nor_wedges(settings: dict[str, Any]) -> None:
    """
    Calls, blocks, looks and orders from six loops at once leave a breaker that works.
    """
    breaker = CircuitBreaker("api", backoff=0.0, **settings)
    told: list[StateChanged] = []
    breaker.add_listener(told.append)
    remove = breaker.add_listener(lambda event: None, CallSettled)

    async def main() -> None:
        for step in range(400):
            try:
                if step % 3 == 0:
                    await breaker.call(fail if step % 2 else answer)
                elif step % 3 == 1:
                    async with breaker:
                        pass
                else:
                    async with breaker.guard() as permit:
                        permit.failure() if step % 5 else permit.success()
            except (ConnectionError, CircuitOpenError):
                pass
            if step % 50 == 0:
                breaker.reset()
            if step % 70 == 0:
                breaker.snapshot()
                breaker.configure(backoff=0.0)

    in_threads(main)
    remove()
    assert [State.CLOSED, *[event.new for event in told]] == [
        *[event.old for event in told],
        breaker.state,
    ]
    breaker.reset()
    asyncio.run(_answers(breaker))


async def _answers(breaker: CircuitBreaker) -> None:
    assert 42 == await breaker.call(answer)


def test_one_breaker_through_several_loops_one_after_the_other() -> None:
    """
    A breaker made at import works in three ``asyncio.run`` and a ``trio.run``, state kept.
    """
    breaker = CircuitBreaker("api", trip=consecutive_failures(3), backoff=0.0)

    async def main() -> None:
        await breaker.wait_ready()
        await breaker.wait_closed()
        with pytest.raises(ConnectionError):
            await breaker.call(fail)

    asyncio.run(main())
    trio.run(main)
    asyncio.run(main())
    assert State.OPEN is breaker.state

    async def recover() -> None:
        await breaker.wait_ready()
        assert 42 == await breaker.call(answer)

    asyncio.run(recover())
    assert State.OPEN is not breaker.state
