"""One breaker made at import, several event loops after each other."""

from __future__ import annotations

import asyncio

import trio

from asyncbreaker import CircuitBreaker, CircuitOpenError, State, consecutive_failures, probing
from asyncbreaker.testing import ManualClock
from tests.runtime.calls import answer, attempt, fail

CLOCK = ManualClock(100.0)


async def check() -> None:
    """Be well."""


BREAKER = CircuitBreaker(
    "module-level",
    trip=consecutive_failures(2),
    backoff=10.0,
    recovery=probing(),
    health_check=check,
    clock=CLOCK,
)


def test_a_module_level_breaker_carries_its_state_through_four_event_loops() -> None:
    """
    It belongs to none, and what one has learned holds in the next.
    """
    rejected = 0

    async def caller() -> None:
        nonlocal rejected
        rejected += isinstance(await attempt(lambda: BREAKER.call(answer)), CircuitOpenError)

    async def opens() -> None:
        await asyncio.gather(*(attempt(lambda: BREAKER.call(fail)) for _ in range(10)))

    async def rejects() -> None:
        await asyncio.gather(*(caller() for _ in range(10)))

    async def probes() -> None:
        CLOCK.advance(10.0)
        await asyncio.gather(*(caller() for _ in range(10)), BREAKER.wait_closed())

    async def goes_on() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(caller)
        for _ in range(2):
            await attempt(lambda: BREAKER.call(fail))
        CLOCK.advance(10.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(BREAKER.wait_closed)
            nursery.start_soon(caller)

    asyncio.run(opens())
    assert State.OPEN is BREAKER.state
    asyncio.run(rejects())
    assert (State.OPEN, 10) == (BREAKER.state, rejected)
    asyncio.run(probes())
    assert State.CLOSED is BREAKER.state
    trio.run(goes_on)
    assert (State.CLOSED, 2) == (BREAKER.state, BREAKER.snapshot().opened)
