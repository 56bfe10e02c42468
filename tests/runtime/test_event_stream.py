"""``breaker.events()``: the events as an async iterator, for a task of your own."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from asyncbreaker import CallRejected, CallSettled, Event, EventStream, State, StateChanged
from asyncbreaker.testing import ManualClock, record
from tests.runtime.support import answer, failing_call, fragile, rejected_call, settled

pytestmark = pytest.mark.anyio


async def collect(stream: EventStream[StateChanged], into: list[State]) -> None:
    async for event in stream:
        into.append(event.new)


async def test_the_stream_has_the_events_in_order(clock: ManualClock) -> None:
    """
    A consumer gets what listeners are told, in the same order.
    """
    breaker = fragile(clock)
    with record(breaker) as told:
        async with breaker.events(StateChanged, CallRejected, CallSettled) as stream:
            await failing_call(breaker)
            await rejected_call(breaker)
            clock.advance(10.0)
            await breaker.call(answer)
        got: list[Event] = [event async for event in stream]

    assert 6 == len(got)
    assert told == got


async def test_the_stream_has_moves_unless_asked_otherwise(clock: ManualClock) -> None:
    """
    Without kinds the stream has state changes alone.
    """
    breaker = fragile(clock)
    async with breaker.events() as stream:
        await failing_call(breaker)
        await rejected_call(breaker)

    assert [StateChanged] == [type(event) async for event in stream]


async def test_a_sleeping_consumer_is_woken(clock: ManualClock) -> None:
    """
    Who waits for the next event gets it when it happens, and the stream's end ends the wait.
    """
    breaker = fragile(clock)
    got: list[State] = []
    async with anyio.create_task_group() as group, breaker.events() as stream:
        group.start_soon(collect, stream, got)
        await settled()
        await failing_call(breaker)
        await settled()
        assert [State.OPEN] == got
        breaker.reset()

    assert [State.OPEN, State.CLOSED] == got


async def test_the_oldest_events_are_dropped_and_counted(clock: ManualClock) -> None:
    """
    A consumer that sleeps costs a thousand events at most; what it lost is counted.
    """
    breaker = fragile(clock)
    async with breaker.events() as stream:
        breaker.force_open("first")
        for number in range(1001):
            breaker.disable() if number % 2 else breaker.reset(f"{number}")
        assert 2 == stream.dropped
        first = await anext(stream)

    assert (State.CLOSED, State.DISABLED) == (first.old, first.new)
    assert 999 == len([event async for event in stream])


async def test_a_cancelled_consumer_loses_nothing(clock: ManualClock) -> None:
    """
    Cancelling the wait for an event leaves the stream as it was.
    """
    breaker = fragile(clock)
    async with breaker.events() as stream:
        with anyio.move_on_after(0) as scope:
            await anext(stream)
        assert scope.cancelled_caught
        breaker.force_open()
        assert State.FORCED_OPEN is (await anext(stream)).new


async def test_two_streams_do_not_share_events(clock: ManualClock) -> None:
    """
    Each stream gets every event.
    """
    breaker = fragile(clock)
    async with breaker.events() as one, breaker.events() as other:
        breaker.force_open()
        assert await anext(one) == await anext(other)


async def test_two_consumers_of_one_stream_share_its_events(clock: ManualClock) -> None:
    """
    Each event goes to one of the tasks that read the same stream, and all of them end.
    """
    breaker = fragile(clock)
    got: list[State] = []
    async with anyio.create_task_group() as group, breaker.events() as stream:
        group.start_soon(collect, stream, got)
        group.start_soon(collect, stream, got)
        await settled()
        breaker.force_open()
        breaker.reset()
        await settled()

    assert [State.FORCED_OPEN, State.CLOSED] == got


async def test_nothing_is_kept_after_the_block(clock: ManualClock) -> None:
    """
    What happens after the block has been left is not in the stream.
    """
    breaker = fragile(clock)
    async with breaker.events() as stream:
        pass
    breaker.force_open()

    assert [] == [event async for event in stream]


async def test_a_stream_must_be_entered_once(clock: ManualClock) -> None:
    """
    Reading before entering, and entering twice, are refused with the way to do it.
    """
    stream = fragile(clock).events()
    with pytest.raises(RuntimeError, match="enter the stream first"):
        await anext(stream)
    await stream.__aexit__(None, None, None)
    async with stream:
        with pytest.raises(RuntimeError, match="entered before"):
            await stream.__aenter__()


async def test_a_sleeping_consumer_delays_no_call(clock: ManualClock) -> None:
    """
    Calls go on while nobody reads.
    """
    breaker = fragile(clock)
    async with breaker.events(CallSettled) as stream:
        for _ in range(1500):
            await breaker.call(answer)
        assert 500 == stream.dropped


async def test_an_event_that_comes_while_the_consumer_lies_down_is_not_missed(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An event from another thread, between looking and sleeping, still wakes the consumer.
    """
    import asyncbreaker._runtime.telling as telling

    breaker = fragile(clock)

    class LateSignal(telling.Signal):
        def __init__(self) -> None:
            super().__init__()
            breaker.force_open()

    monkeypatch.setattr(telling, "Signal", LateSignal)
    async with breaker.events() as stream:
        with anyio.fail_after(5):
            assert State.FORCED_OPEN is (await anext(stream)).new
