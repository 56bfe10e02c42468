"""Shadow mode: decides and tells everything, rejects nothing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, replace
from random import Random
from typing import Any

import anyio
import pytest

from asyncbreaker import (
    CallRejected,
    CircuitBreaker,
    CircuitOpenError,
    Event,
    Guard,
    Reason,
    State,
    consecutive_failures,
    exponential,
    failure_lead,
    failure_rate,
    probing,
    slow_start,
    spread,
)
from asyncbreaker.testing import ManualClock, record
from tests.runtime.support import answer, fail, failing_call, fragile, settled

pytestmark = pytest.mark.anyio


async def test_nothing_is_rejected(clock: ManualClock) -> None:
    """
    A call that would have been rejected is made, told as rejected, and not recorded.
    """
    breaker = fragile(clock, shadow=True)
    await failing_call(breaker)
    with record(breaker) as events:
        assert 42 == await breaker.call(answer)
        with pytest.raises(ConnectionError):
            await breaker.call(fail)

    assert [CallRejected("api", Reason.OPEN, 10.0, True, 100.0)] * 2 == events
    look = breaker.snapshot()
    assert (State.OPEN, 2, 0, 1, 0) == (
        look.state,
        look.rejected,
        look.succeeded,
        look.failed,
        look.stale,
    )


async def test_every_way_in_lets_the_call_through(clock: ManualClock) -> None:
    """
    Blocks, guards, decorated functions and streams are not rejected either.
    """
    breaker = fragile(clock, shadow=True)
    await failing_call(breaker)

    @breaker
    async def decorated() -> int:
        return 1

    @breaker
    async def stream() -> Any:
        yield 2

    async with breaker:
        pass
    async with breaker.guard() as permit:
        permit.success()
    assert [1, 2] == [await decorated(), *[item async for item in stream()]]
    assert 4 == breaker.snapshot().rejected
    assert State.OPEN is breaker.state


async def test_orders_reject_nothing_either(clock: ManualClock) -> None:
    """
    In shadow mode a forced circuit says that it would reject, and lets calls through.
    """
    breaker = fragile(clock, shadow=True)
    breaker.force_open()
    with record(breaker) as events:
        assert 42 == await breaker.call(answer)

    assert [CallRejected("api", Reason.FORCED, None, True, 100.0)] == events


async def test_wait_ready_never_blocks(clock: ManualClock) -> None:
    """
    Since every call is made, ``wait_ready`` returns whatever the state.
    """
    breaker = fragile(clock, shadow=True)
    await failing_call(breaker)
    await breaker.wait_ready()
    breaker.force_open()
    await breaker.wait_ready()


async def test_shadow_set_at_run_time_lets_waiters_go(clock: ManualClock) -> None:
    """
    Who waits for the circuit goes on at once when it is switched to shadow mode.
    """
    breaker = fragile(clock)
    breaker.force_open()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(breaker.wait_ready)
            await settled()
            breaker.configure(shadow=True)


class Lane:
    """One breaker on a clock of its own, and the calls that it has in flight."""

    def __init__(self, settings: dict[str, Any], seed: int, *, shadow: bool) -> None:
        self.clock = ManualClock()
        backoff = spread(exponential(0.5, maximum=10.0), random=Random(seed).random)
        self.breaker = CircuitBreaker(
            "api", clock=self.clock, backoff=backoff, shadow=shadow, **settings
        )
        self.events: list[Event] = []
        self.admitted: list[Guard | None] = []
        self.decisions: list[bool] = []

    async def arrive(self) -> None:
        guard = self.breaker.guard()
        before = self.breaker.snapshot().rejected
        with suppress(CircuitOpenError):
            await guard.__aenter__()
        rejected = self.breaker.snapshot().rejected > before
        self.decisions.append(rejected)
        if rejected and self.breaker._runner.settings.shadow:
            guard.failure()  # the call is made; that it fails must teach nothing
        self.admitted.append(None if rejected else guard)

    async def end(self, number: int, error: BaseException | None) -> None:
        guard = self.admitted[number]
        if guard is not None:
            await guard.__aexit__(None, error, None)


SETTINGS = [
    {},
    {"trip": consecutive_failures(3), "recovery": probing(probes=2, successes=3)},
    {"trip": failure_rate(0.3, minimum=5), "recovery": probing(lease=3.0)},
    {"trip": failure_lead(3, sustain=0.0), "slow": 1.5, "recovery": slow_start(calm=5.0)},
]


@pytest.mark.parametrize("settings", SETTINGS)
async def test_it_decides_and_tells_as_an_active_one_would(settings: dict[str, Any]) -> None:
    """
    On the same calls a shadow breaker has the same decisions, events and snapshots.
    """
    rejected = 0
    for seed in range(15):
        lanes = [Lane(settings, seed, shadow=shadow) for shadow in (False, True)]
        for lane in lanes:
            await drive(lane, Random(seed))
        active, shadow = lanes

        assert active.decisions == shadow.decisions
        rejected += sum(active.decisions)
        assert active.events == [unmarked(event) for event in shadow.events]
        assert asdict(active.breaker.snapshot()) == asdict(shadow.breaker.snapshot())
    assert rejected > 100


async def drive(lane: Lane, chance: Random) -> None:
    with record(lane.breaker) as lane.events:
        arrived = ended = 0
        sick = False
        for _ in range(400):
            if chance.random() < 0.02:
                sick = not sick
            lane.clock.advance(chance.choice([0.0, 0.01, 0.2, 1.0]))
            if chance.random() < 0.6:
                arrived += 1
                await lane.arrive()
            if ended < arrived and chance.random() < 0.7:
                fails = chance.random() < (0.95 if sick else 0.05)
                await lane.end(ended, ConnectionError() if fails else None)
                ended += 1


def unmarked(event: Event) -> Event:
    return replace(event, shadow=False) if isinstance(event, CallRejected) else event
