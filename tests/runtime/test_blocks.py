"""``async with breaker``: every block settles its own permit, wherever it is left."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

from asyncbreaker import CallSettled, CircuitBreaker, CircuitOpenError, State, probing
from asyncbreaker._runtime import blocks
from asyncbreaker.testing import ManualClock, force_state
from tests.runtime.calls import answer, attempt, half_open, make, suspend

pytestmark = pytest.mark.anyio


async def block(breaker: CircuitBreaker) -> AsyncGenerator[int]:
    """Stay in a block while suspended."""
    async with breaker:
        yield 1


async def in_another_task(step: Any, *args: Any) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(step, *args)


class Client:
    """Delegates to a breaker, as a user's class may."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        self.breaker = breaker

    async def __aenter__(self) -> Client:
        await self.breaker.__aenter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self.breaker.__aexit__(*exc_info)


async def test_it_binds_nothing_and_swallows_nothing(clock: ManualClock) -> None:
    """
    The block's own error passes.
    """
    breaker = make(clock)
    async with breaker as bound:
        assert bound is None
    with pytest.raises(ValueError, match="mine"):
        async with breaker:
            raise ValueError("mine")

    assert (1, 1) == (breaker.snapshot().succeeded, breaker.snapshot().failed)


@pytest.mark.parametrize("settings", [{}, {"slow": None, "fail_on_result": bool}])
async def test_blocks_nest(clock: ManualClock, settings: dict[str, Any]) -> None:
    """
    Each is one call.
    """
    breaker = make(clock, **settings)
    async with breaker, breaker, breaker:
        pass

    assert 3 == breaker.snapshot().succeeded


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
async def test_blocks_of_one_task_are_left_in_any_order(
    clock: ManualClock, order: tuple[int, ...]
) -> None:
    """
    Each keeps its own permit and its own time.
    """
    breaker = half_open(clock, recovery=probing(probes=3, successes=4))
    settled: list[CallSettled] = []
    breaker.add_listener(settled.append, CallSettled)
    streams = [block(breaker) for _ in range(3)]
    for stream in streams:
        await anext(stream)
        clock.advance(1.0)
    for i in order:
        await anext(streams[i], None)

    assert [3.0 - i for i in order] == [event.seconds for event in settled]
    assert 0 == breaker.snapshot().in_flight


async def test_overlapping_blocks_of_many_tasks_keep_their_own_time(clock: ManualClock) -> None:
    """
    Whoever ends last has the longest.
    """
    breaker = make(clock)
    settled: list[CallSettled] = []
    breaker.add_listener(settled.append, CallSettled)
    gates = [anyio.Event() for _ in range(3)]

    async def hold(gate: anyio.Event) -> None:
        async with breaker:
            await gate.wait()

    async with anyio.create_task_group() as group:
        for gate in gates:
            group.start_soon(hold, gate)
            await anyio.wait_all_tasks_blocked()
            clock.advance(1.0)
        for gate in gates:
            gate.set()
            await anyio.wait_all_tasks_blocked()

    assert [3.0, 2.0, 1.0] == [event.seconds for event in settled]


@pytest.mark.parametrize("start", [make, half_open], ids=["closed", "half-open"])
async def test_a_block_left_in_another_task_settles_itself(clock: ManualClock, start: Any) -> None:
    """
    As when a framework closes a stream elsewhere.
    """
    breaker = start(clock)
    stream = block(breaker)
    await anext(stream)
    await in_another_task(anext, stream, None)

    assert (State.CLOSED, 1) == (breaker.state, breaker.snapshot().succeeded)
    assert not breaker.snapshot().in_flight


async def test_a_block_left_in_another_task_leaves_that_task_s_own_block_alone(
    clock: ManualClock,
) -> None:
    """
    Nobody settles somebody else's probe.
    """
    breaker = half_open(clock, recovery=probing(probes=2, successes=2))
    stream = block(breaker)
    await anext(stream)

    async def other() -> None:
        async with breaker:
            await stream.aclose()
            assert (State.HALF_OPEN, 1) == (breaker.state, breaker.snapshot().in_flight)

    await in_another_task(other)
    assert 0 == breaker.snapshot().in_flight


@pytest.mark.parametrize("start", [make, half_open], ids=["closed", "half-open"])
@pytest.mark.parametrize("helper", ["stack", "class"])
async def test_helpers_that_enter_in_a_frame_of_their_own_work(
    clock: ManualClock, start: Any, helper: str
) -> None:
    """
    ``AsyncExitStack`` and a class that delegates, beside a block of the same task.
    """
    breaker = start(clock, recovery=probing(probes=2, successes=2))
    async with AsyncExitStack() as stack:
        if helper == "stack":
            await stack.enter_async_context(breaker)
        else:
            await stack.enter_async_context(Client(breaker))
        async with breaker:
            pass
        assert 1 == breaker.snapshot().succeeded

    assert (State.CLOSED, 2) == (breaker.state, breaker.snapshot().succeeded)


async def test_a_stack_left_in_another_task_neither_raises_nor_settles_anothers(
    clock: ManualClock,
) -> None:
    """
    Its place comes back with the lease; ``guard()`` is better there.
    """
    breaker = half_open(clock, recovery=probing(probes=2, successes=3, lease=60.0))
    stack = AsyncExitStack()
    await stack.enter_async_context(breaker)

    async def other() -> None:
        async with breaker:
            await stack.aclose()
            assert 2 == breaker.snapshot().in_flight

    await in_another_task(other)
    assert 1 == breaker.snapshot().in_flight
    clock.advance(60.0)
    assert 0 == breaker.snapshot().in_flight


@pytest.mark.parametrize("error", [None, ConnectionError()])
async def test_blocks_of_an_earlier_era_are_stale(
    clock: ManualClock, error: Exception | None
) -> None:
    """
    Also where blocks without a record meet blocks with one.
    """
    breaker = make(clock)

    async def held() -> AsyncGenerator[int]:
        async with breaker:
            yield 1
            if error is not None:
                raise error

    old = [held() for _ in range(3)]
    for stream in old:
        await anext(stream)
    breaker.reset()
    fresh = held()
    await anext(fresh)
    for stream in old:
        await attempt(lambda stream=stream: anext(stream, None))
    assert (3, 0, 0) == (
        breaker.snapshot().stale,
        breaker.snapshot().succeeded,
        breaker.snapshot().failed,
    )
    await attempt(lambda: anext(fresh, None))

    look = breaker.snapshot()
    assert (3, 1) == (look.stale, look.succeeded + look.failed)


async def test_a_block_of_the_closed_era_does_not_settle_a_probe(clock: ManualClock) -> None:
    """
    One without a record that ends in half-open is stale.
    """
    breaker = make(clock)
    old = block(breaker)
    await anext(old)
    force_state(breaker, State.HALF_OPEN)
    probe = block(breaker)
    await anext(probe)
    await anext(old, None)
    assert (State.HALF_OPEN, 1, 1) == (
        breaker.state,
        breaker.snapshot().in_flight,
        breaker.snapshot().stale,
    )
    await anext(probe, None)

    assert State.CLOSED is breaker.state


async def test_blocks_find_back_to_the_short_path(clock: ManualClock) -> None:
    """
    When the last block of an earlier era is gone, new ones count as ever.
    """
    breaker = make(clock)
    for _ in range(3):
        old = block(breaker)
        await anext(old)
        breaker.reset()
        async with breaker:
            pass
        await old.aclose()
        async with breaker:
            pass

    assert (3, 6) == (breaker.snapshot().stale, breaker.snapshot().succeeded)


async def test_leaving_what_was_never_entered_raises_nothing(clock: ManualClock) -> None:
    """
    Nor does it count.
    """
    breaker = make(clock)
    before = breaker.snapshot()
    await breaker.__aexit__(None, None, None)

    assert before == breaker.snapshot()


async def test_a_block_that_is_forgotten_gives_its_place_back(clock: ManualClock) -> None:
    """
    The garbage collector closes it.
    """
    breaker = half_open(clock)

    async def main() -> None:
        async with breaker:
            await suspend()

    coroutine = main()
    coroutine.send(None)
    assert 1 == breaker.snapshot().in_flight
    del coroutine
    gc.collect()

    assert (State.HALF_OPEN, 0) == (breaker.state, breaker.snapshot().in_flight)


async def test_blocks_entered_by_helpers_and_never_left_are_bounded(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A bug in a caller must not grow memory for ever; blocks of frames that run stay.
    """
    monkeypatch.setattr(blocks, "MOST", 50)
    breaker = half_open(clock, recovery=probing(probes=1000, successes=1000))
    async with breaker:
        for _ in range(200):
            await Client(breaker).__aenter__()
        assert 50 >= len(breaker._runner.blocks)

    assert 1 == breaker.snapshot().succeeded


async def test_a_rejected_block_does_not_run(clock: ManualClock) -> None:
    """
    And leaves nothing behind.
    """
    breaker = make(clock)
    breaker.force_open()
    with pytest.raises(CircuitOpenError):
        async with breaker:
            raise AssertionError("the body ran")

    assert 0 == len(breaker._runner.blocks)
    breaker.reset()
    assert 42 == await breaker.call(answer)


async def test_recorded_blocks_of_one_frame_nest(clock: ManualClock) -> None:
    """
    The inner one is left first.
    """
    breaker = half_open(clock, recovery=probing(probes=2, successes=3))
    async with breaker:
        async with breaker:
            assert 2 == breaker.snapshot().in_flight
        assert 1 == breaker.snapshot().in_flight

    assert 0 == breaker.snapshot().in_flight


async def test_a_statement_never_settles_the_block_of_a_helper(clock: ManualClock) -> None:
    """
    A block without a record that ends first leaves the place of one that a stack has entered.
    """
    breaker = CircuitBreaker(recovery=probing(), backoff=1.0, clock=clock)
    stack = AsyncExitStack()

    async with breaker:
        force_state(breaker, State.HALF_OPEN)
        await stack.enter_async_context(breaker)

    assert State.HALF_OPEN is breaker.state
    assert (1, 1) == (breaker.snapshot().in_flight, breaker.snapshot().stale)
    await stack.aclose()
    assert State.CLOSED is breaker.state
