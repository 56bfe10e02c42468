"""Help for tests: ``ManualClock``, ``record``, ``force_state``, ``live_breakers``."""

from __future__ import annotations

import gc
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from asyncbreaker import (
    Bulkhead,
    CallRejected,
    CallSettled,
    CircuitBreaker,
    Fallback,
    FallbackUsed,
    Hedge,
    LastGood,
    Pipeline,
    RejectedError,
    RetriesExhausted,
    Retry,
    RetryScheduled,
    State,
    StateChanged,
    TimedOut,
    Timeout,
    live_breakers,
)
from asyncbreaker.testing import ManualClock, force_state, record
from tests.runtime.support import answer, fail, failing_call, fragile, rejected_call, settled

pytestmark = pytest.mark.anyio


async def test_the_clock_moves_when_told_to() -> None:
    """
    It shows what it started with, plus what it was advanced by.
    """
    clock = ManualClock(5.0)
    clock.advance(2.5)
    clock.advance(0)

    assert (7.5, "ManualClock(7.5)", 0.0) == (clock(), repr(clock), ManualClock()())


@pytest.mark.parametrize("seconds", [-1, math.nan])
async def test_the_clock_is_monotonic(seconds: float, clock: ManualClock) -> None:
    """
    It cannot be moved back.
    """
    with pytest.raises(ValueError, match=f"seconds must be a number, at least 0, not {seconds}"):
        clock.advance(seconds)
    assert 100.0 == clock()


async def test_sleepers_are_woken_at_their_time(clock: ManualClock) -> None:
    """
    ``advance`` wakes those whose time has come, and no others.
    """
    woken: list[float] = []

    async def sleep(when: float) -> None:
        await clock.sleep_until(when)
        woken.append(when)

    async with anyio.create_task_group() as group:
        for when in (99.0, 100.0, 101.0, 102.0, 103.0):
            group.start_soon(sleep, when)
        await settled()
        assert {99.0, 100.0} == set(woken)
        clock.advance(2.0)
        await settled()
        assert {99.0, 100.0, 101.0, 102.0} == set(woken)
        clock.advance(5.0)

    assert 5 == len(woken)


async def test_a_cancelled_sleeper_is_forgotten(clock: ManualClock) -> None:
    """
    Nothing is kept of a sleep that was cancelled.
    """
    with anyio.move_on_after(0):
        await clock.sleep_until(1000.0)
    clock.advance(1000.0)

    assert [] == clock._sleepers


async def test_record_collects_every_kind(clock: ManualClock) -> None:
    """
    The list has moves, rejections and ends of calls, in order, and stops with the block.
    """
    breaker = fragile(clock)
    with record(breaker) as events:
        await failing_call(breaker)
        await rejected_call(breaker)
    breaker.reset()

    assert [CallSettled, StateChanged, CallRejected] == [type(event) for event in events]


async def test_record_ends_when_its_block_raises(clock: ManualClock) -> None:
    """
    A test that fails leaves no recorder behind.
    """
    breaker = fragile(clock)
    with pytest.raises(LookupError), record(breaker) as events:
        raise LookupError
    breaker.force_open()

    assert [] == events


async def reject() -> None:
    raise RejectedError


async def test_slept_on_returns_at_once_when_enough_sleep(clock: ManualClock) -> None:
    """
    Those that sleep already count, and nobody is waited for in vain.
    """
    await clock.slept_on(0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.sleep_until, 101.0)
        await settled()
        await clock.slept_on()
        clock.advance(1.0)


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_slept_on_waits_for_so_many(count: int, clock: ManualClock) -> None:
    """
    It returns when the last of them has gone to sleep, and not before.
    """
    noticed: list[int] = []

    async def watch() -> None:
        await clock.slept_on(count)
        noticed.append(len(clock._sleepers))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        for number in range(count):
            await settled()
            assert [] == noticed
            tasks.start_soon(clock.sleep_until, 101.0 + number)
        await settled()
        assert [count] == noticed
        clock.advance(9.0)

    assert [] == clock._watchers


async def test_those_who_were_woken_do_not_count(clock: ManualClock) -> None:
    """
    After ``advance`` only those are asleep that have not slept enough.
    """
    async with anyio.create_task_group() as tasks:
        for when in (101.0, 102.0):
            tasks.start_soon(clock.sleep_until, when)
        await clock.slept_on(2)
        clock.advance(1.0)
        with anyio.move_on_after(0) as scope:
            await clock.slept_on(2)
        await clock.slept_on(1)
        clock.advance(1.0)

    assert scope.cancelled_caught
    assert [] == clock._watchers


async def test_several_may_watch_for_sleepers(clock: ManualClock) -> None:
    """
    Each is told at its own number; one that is cancelled disturbs nobody.
    """
    told: list[int] = []
    scopes: list[anyio.CancelScope] = []

    async def watch(count: int) -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await clock.slept_on(count)
            told.append(count)

    async with anyio.create_task_group() as tasks:
        for count in (1, 2, 2, 3):
            tasks.start_soon(watch, count)
            await settled()
        scopes[1].cancel()
        tasks.start_soon(clock.sleep_until, 101.0)
        await settled()
        assert [1] == told
        tasks.start_soon(clock.sleep_until, 101.0)
        await settled()
        assert [1, 2] == told
        tasks.start_soon(clock.sleep_until, 101.0)
        await settled()
        clock.advance(1.0)

    assert ([1, 2, 3], []) == (told, clock._watchers)


async def test_a_whole_retry_runs_by_the_clock(clock: ManualClock) -> None:
    """
    Tries that hang and the pauses between them, each waited for by ``slept_on`` alone.
    """
    pipeline = Pipeline(Retry(2, backoff=30.0, clock=clock), Timeout(1.0, clock=clock))
    ended: list[float] = []

    async def call() -> None:
        with pytest.raises(TimeoutError):
            await pipeline.call(anyio.sleep_forever)
        ended.append(clock())

    with record(pipeline) as events:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            for seconds in (1.0, 30.0, 1.0):
                await clock.slept_on()
                clock.advance(seconds)

    assert [132.0] == ended
    assert [TimedOut, RetryScheduled, TimedOut, RetriesExhausted] == [type(e) for e in events]


async def test_record_hears_a_policy(clock: ManualClock) -> None:
    """
    Every kind that it tells, until the block ends.
    """
    retry = Retry(2, backoff=0.0, clock=clock)
    with record(retry) as events, pytest.raises(ConnectionError):
        await retry.call(fail)
    with pytest.raises(ConnectionError):
        await retry.call(fail)

    assert [RetryScheduled, RetriesExhausted] == [type(event) for event in events]


async def test_record_hears_all_members_of_a_pipeline(clock: ManualClock) -> None:
    """
    Policies, breakers and what is nested, in one list, in the order of the telling.
    """
    breaker = fragile(clock)
    retry = Retry(2, backoff=0.0, clock=clock)
    pipeline = Pipeline(Fallback(value=None, clock=clock), Pipeline(retry, breaker))
    with record(pipeline) as events:
        await pipeline.call(answer)
        with pytest.raises(ConnectionError):
            await Pipeline(breaker).call(fail)
        await pipeline.call(answer)

    kinds = [CallSettled, CallSettled, StateChanged, CallRejected, FallbackUsed]
    assert kinds == [type(event) for event in events]


async def test_record_hears_several_sources(clock: ManualClock) -> None:
    """
    Breakers, policies and pipelines beside each other; nothing at all is fine, too.
    """
    breaker, fallback, cache = fragile(clock), Fallback(value=None), LastGood(clock=clock)
    with record(breaker, Pipeline(cache), fallback) as events:
        await fallback.call(reject)
        await breaker.call(answer)
        await cache.call(answer)
    with record(Hedge(1.0), Bulkhead(1)) as nothing:
        await breaker.call(answer)

    assert [FallbackUsed, CallSettled] == [type(event) for event in events]
    assert [] == nothing


async def test_what_is_in_two_pipelines_is_heard_once(clock: ManualClock) -> None:
    """
    Each event stands once in the list, however often its teller was named.
    """
    breaker, fallback = fragile(clock), Fallback(value=None)
    one, two = Pipeline(fallback, breaker), Pipeline(Pipeline(fallback), Pipeline(breaker))
    with record(one, two, breaker, fallback, one) as events:
        await one.call(answer)
        await two.call(reject)

    assert [CallSettled, CallSettled, FallbackUsed] == [type(event) for event in events]


class Mine:
    """A policy of a user's own that tells nothing."""

    async def call(self, fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any) -> Any:
        return await fn(*args, **kwargs)


@dataclass
class Telling(Mine):
    """One that tells events; all of them are equal, and none can be hashed."""

    listeners: list[Callable[[Any], object]] = field(default_factory=list, compare=False)

    def add_listener(self, listener: Callable[[Any], object], /) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)


async def test_a_policy_of_a_users_own_is_skipped_in_a_pipeline(clock: ManualClock) -> None:
    """
    It need not tell events; the others are heard.
    """
    breaker = fragile(clock)
    pipeline = Pipeline(Mine(), Pipeline(Mine(), breaker))
    with record(pipeline) as events:
        await pipeline.call(answer)

    assert [CallSettled] == [type(event) for event in events]


async def test_a_policy_of_a_users_own_may_tell_events() -> None:
    """
    It is heard if it has ``add_listener``; two that are equal are both heard, each once.
    """
    one, two = Telling(), Telling()
    with record(Pipeline(one, two), two) as events:
        for telling in (one, two):
            assert 1 == len(telling.listeners)
            telling.listeners[0](telling)

    assert [one, two] == events
    assert [[], []] == [one.listeners, two.listeners]


@pytest.mark.parametrize("source", [Mine(), None, answer, "breaker", [CircuitBreaker()]])
@pytest.mark.parametrize("first", [True, False])
async def test_what_tells_nothing_cannot_be_recorded(
    source: Any, first: bool, clock: ManualClock
) -> None:
    """
    Named by itself it is a mistake, and nothing stays listened to.
    """
    breaker = fragile(clock)
    sources = [source, breaker] if first else [breaker, source]
    with (
        pytest.raises(TypeError, match=r"record\(\) needs a breaker, a policy or a pipeline, not "),
        record(*sources),
    ):
        raise LookupError

    assert not breaker._runner.hears_settled


@pytest.mark.parametrize("after", State)
@pytest.mark.parametrize("before", State)
async def test_any_state_can_be_forced(before: State, after: State, clock: ManualClock) -> None:
    """
    From every state to every state, by moves that form one chain; to the same one by none.
    """
    breaker = fragile(clock)
    force_state(breaker, before)
    with record(breaker) as events:
        force_state(breaker, after)

    moves = [event for event in events if isinstance(event, StateChanged)]
    assert after is breaker.state
    assert [before, *[move.new for move in moves]] == [*[move.old for move in moves], after]
    assert (before is after) == (not moves)


async def test_a_state_may_be_named_by_its_value(clock: ManualClock) -> None:
    """
    A string will do, and one that is no state is refused.
    """
    breaker = fragile(clock)
    force_state(breaker, "open")  # type: ignore[arg-type]
    assert State.OPEN is breaker.state
    with pytest.raises(ValueError, match="'ajar' is not a valid State"):
        force_state(breaker, "ajar")  # type: ignore[arg-type]


async def test_a_forced_opening_asks_the_backoff(clock: ManualClock) -> None:
    """
    It opens for as long as it would by itself.
    """
    breaker = fragile(clock)
    force_state(breaker, State.OPEN)
    assert 10.0 == (await rejected_call(breaker)).retry_after


async def test_a_forced_half_open_has_its_place_free(clock: ManualClock) -> None:
    """
    The next call is the first probe.
    """
    breaker = fragile(clock)
    force_state(breaker, State.HALF_OPEN)
    assert 0 == breaker.snapshot().in_flight
    assert 42 == await breaker.call(answer)
    assert State.CLOSED is breaker.state


async def test_the_whole_life_without_a_sleep(clock: ManualClock) -> None:
    """
    Open, wait, probe, close, with the default settings, in no time.
    """
    breaker = CircuitBreaker(clock=clock)
    for _ in range(20):
        await failing_call(breaker)
    assert State.OPEN is breaker.state
    clock.advance(1.0)
    while breaker.state is not State.CLOSED:
        await breaker.call(answer)
        clock.advance(0.1)

    assert 0 == breaker.snapshot().rejected


async def test_live_breakers_are_those_that_somebody_holds() -> None:
    """
    A breaker that is gone is not kept alive by the list of all.
    """
    breaker: Any = CircuitBreaker("held")
    assert breaker in live_breakers()
    name = CircuitBreaker("dropped").name
    gc.collect()

    assert name not in [alive.name for alive in live_breakers()]
