"""Clients: the breaker awaited by hand decides as it does on an event loop."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import anyio
import pytest

from asyncbreaker import CircuitBreaker, CircuitOpenError, State
from asyncbreaker._lab import scenarios
from asyncbreaker._lab.clients import (
    Awaited,
    Clock,
    FailedError,
    Guarded,
    Unguarded,
    WaitedError,
)
from asyncbreaker._lab.configurations import Setup
from asyncbreaker._lab.dependency import Phase
from asyncbreaker._lab.engine import Simulation
from asyncbreaker._lab.scenarios import Scenario
from tests.lab.support import Diary, guarded

SHORTLY = (Phase(25.0),)
TROUBLES = {
    "hard": replace(scenarios.hard_outage(20.0), after=SHORTLY),
    "hanging": replace(scenarios.hanging_outage(20.0), after=SHORTLY),
    "cold": scenarios.cold_caches(20.0),
    "brown-out": replace(scenarios.brown_out(20.0), after=SHORTLY),
    "flapping": scenarios.flapping(4),
    "partial": replace(scenarios.partial_outage(20.0), after=SHORTLY),
}


class Replay:
    """Makes the calls of a diary on an event loop, each in a task of its own."""

    def __init__(self, breaker: CircuitBreaker, clock: Clock) -> None:
        self.breaker = breaker
        self.clock = clock
        self.decisions: list[object] = []
        self.ends: dict[int, tuple[anyio.Event, list[bool]]] = {}

    async def call(self, number: int) -> None:
        async def work() -> None:
            self.decisions.append("sent")
            await event.wait()
            if not how[0]:
                raise FailedError

        event, how = self.ends[number] = anyio.Event(), []
        try:
            await self.breaker.call(work)
        except CircuitOpenError:
            self.decisions.append("rejected")
        except FailedError:
            pass

    async def run(self, entries: list[tuple[float, int, object]]) -> None:
        async with anyio.create_task_group() as tasks:
            for at, number, what in entries:
                self.clock.now = at
                if isinstance(what, bool):
                    event, how = self.ends[number]
                    how.append(what)
                    event.set()
                else:
                    tasks.start_soon(self.call, number)
                await anyio.wait_all_tasks_blocked()


@pytest.mark.anyio
@pytest.mark.parametrize("slow", [None, 0.3])
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_by_hand_and_on_a_loop_the_same_decisions(trouble: str, slow: float | None) -> None:
    """
    What the lab shows is what the awaiting breaker does: the same trace of calls, made in
    tasks on an event loop, is admitted, rejected and moves the circuit just so.
    """
    scenario, setup = TROUBLES[trouble], Setup(slow=slow)
    clock = Clock()
    by_hand = guarded(clock, setup)
    diary = Diary(by_hand)
    Simulation(scenario, [diary], rate=6.0, clock=clock, seed=3).run()

    other = Clock()
    on_loop = guarded(other, setup)
    replay = Replay(on_loop.breaker, other)
    await replay.run(diary.entries)

    assert by_hand.openings
    assert [what for _, _, what in diary.entries if isinstance(what, str)] == replay.decisions
    said = [(move.old, move.new, move.cause, move.at) for move in by_hand.moves]
    assert said == [(move.old, move.new, move.cause, move.at) for move in on_loop.moves]
    assert totals(by_hand) == totals(on_loop)


def totals(client: Guarded) -> tuple[int, ...]:
    seen = client.breaker.snapshot()
    return (seen.succeeded, seen.failed, seen.slow, seen.stale, seen.rejected, seen.opened)


def test_openings_and_trips() -> None:
    """
    A failed probe opens again, but that is no trip.
    """
    clock = Clock()
    client = guarded(clock)
    for _ in range(20):
        client.settle(client.admit(clock.now), False, clock.now)
    clock.now = 100.0
    client.settle(client.admit(clock.now), False, clock.now)

    assert client.openings == [0.0, 100.0]
    assert client.trips == [0.0]
    assert client.breaker.state is State.OPEN
    assert client.admit(clock.now) is None


def test_without_a_breaker_everything_is_sent() -> None:
    client = Unguarded()
    for _ in range(100):
        call = client.admit(0.0)
        assert call is not None
        client.settle(call, False, 0.0)

    assert client.openings == client.trips == []


async def waits_before(fn: Any) -> None:
    await asyncio.sleep(0)
    await fn()


async def waits_after(fn: Any) -> None:
    await fn()
    await asyncio.sleep(0)


def test_a_breaker_that_awaits_something_of_its_own_is_told() -> None:
    """
    Where a breaker needs an event loop, the lab says so instead of measuring nonsense.
    """
    with pytest.raises(WaitedError, match="not the call"):
        Awaited(waits_before, CircuitOpenError).admit(0.0)

    client = Awaited(waits_after, CircuitOpenError)
    call = client.admit(0.0)
    assert call is not None
    with pytest.raises(WaitedError, match="after the call"):
        client.settle(call, True, 0.0)
    call.close()


def test_simulation_is_the_same_for_the_same_seed() -> None:
    def course(seed: int) -> list[object]:
        clock = Clock()
        diary = Diary(guarded(clock))
        scenario: Scenario = scenarios.cold_caches(10.0)
        Simulation(scenario, [diary], rate=5.0, clock=clock, seed=seed).run()
        return list(diary.entries)

    assert course(1) == course(1)
    assert course(1) != course(2)
