"""Waiting with an end: ``sleep``, ``Limit``, ``seconds_left``, ``ask_within``, ``wait_until``."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from asyncbreaker._runtime.backend import (
    Clock,
    Limit,
    Signal,
    ask_within,
    is_cancelled,
    seconds_left,
    sleep,
    wait_until,
)
from asyncbreaker.testing import ManualClock
from tests.conftest import BACKENDS
from tests.runtime.support import answer, settled

pytestmark = pytest.mark.anyio


def loops() -> float:
    """A clock that cannot be slept on, so that the event loop's decides."""
    return 0.0


@pytest.fixture(params=["manual", "loop"])
def either(request: pytest.FixtureRequest, clock: ManualClock) -> Clock:
    """A clock of each kind."""
    return clock if request.param == "manual" else loops


# Sleeping.


async def test_a_sleep_by_a_manual_clock_ends_when_it_says(clock: ManualClock) -> None:
    """
    Not before, and exactly then.
    """
    woken: list[float] = []

    async def sleeper() -> None:
        await sleep(2.0, clock)
        woken.append(clock())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper)
        await clock.slept_on()
        clock.advance(1.5)
        await settled()
        assert [] == woken
        clock.advance(0.5)
    assert [102.0] == woken


async def test_time_that_passes_before_the_sleep_begins_counts(clock: ManualClock) -> None:
    """
    The end is fixed when it is called, though others run first.
    """
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleep, 2.0, clock)
        while not clock._sleepers:
            clock.advance(0.25)
            await anyio.lowlevel.checkpoint()
            if clock() > 110.0:
                break
        clock.advance(2.0)
        await settled()
        assert [] == clock._sleepers


@pytest.mark.parametrize("seconds", [0.0, 0.0001])
async def test_a_sleep_lets_others_run(seconds: float) -> None:
    """
    Also one of nothing.
    """
    seen: list[str] = []

    async def other() -> None:
        seen.append("other")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        for _ in range(3):
            await sleep(seconds, loops)
        seen.append("done")
    assert ["other", "done"] == seen


async def test_a_sleep_of_nothing_by_a_manual_clock_lets_others_run(clock: ManualClock) -> None:
    """
    The clock need not move for it, and nobody is left on it.
    """
    seen: list[str] = []

    async def other() -> None:
        seen.append("other")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        for _ in range(3):
            await sleep(0.0, clock)
        seen.append("done")
    assert (["other", "done"], []) == (seen, clock._sleepers)


async def test_a_cancelled_task_ends_in_a_sleep_of_nothing(either: Clock) -> None:
    """
    On every clock, and nothing is left there.
    """
    with anyio.CancelScope() as scope:
        scope.cancel()
        await sleep(0.0, either)
    assert scope.cancelled_caught


async def test_a_sleep_that_is_cancelled_leaves_the_clock(clock: ManualClock) -> None:
    """
    Nobody sleeps on it any more.
    """
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleep, 5.0, clock)
        await clock.slept_on()
        tasks.cancel_scope.cancel()
    assert [] == clock._sleepers


# Limits.


async def test_a_block_in_time_is_left_as_it_is(either: Clock) -> None:
    """
    Nothing ran out, and the block's own error is no other for it.
    """
    error = ConnectionError("mine")
    limit = Limit(5.0, either)
    async with limit as entered:
        await anyio.lowlevel.checkpoint()
    assert (limit, False) == (entered, limit.ran_out)

    other = Limit(5.0, either)
    with pytest.raises(ConnectionError) as caught:
        async with other:
            raise error
    assert (error, False) == (caught.value, other.ran_out)
    assert (None, None) == (error.__context__, error.__cause__)


async def limited(limit: Limit, body: Callable[[], Awaitable[object]], ends: list[Any]) -> None:
    """Run *body* under *limit*; say how it ended."""
    try:
        async with limit:
            ends.append(await body())
    except Exception as error:
        ends.append(error)


async def test_a_limit_cuts_at_its_time_and_not_before(clock: ManualClock) -> None:
    """
    It swallows that cancellation: the code after the block goes on.
    """
    limit = Limit(2.0, clock)
    ends: list[Any] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limited, limit, anyio.sleep_forever, ends)
        await clock.slept_on()
        clock.advance(1.75)
        await settled()
        assert not limit.ran_out
        assert 1 == len(clock._sleepers)
        clock.advance(0.25)

    assert (True, [], []) == (limit.ran_out, ends, clock._sleepers)


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_a_limit_of_nothing_cuts_at_the_first_wait(seconds: float, either: Clock) -> None:
    """
    A time that is over already is no error.
    """
    async with Limit(seconds, either) as limit:
        await anyio.sleep_forever()
    assert limit.ran_out


async def test_a_limit_without_end_never_cuts(either: Clock) -> None:
    """
    Infinity is a time as well.
    """
    async with Limit(math.inf, either) as limit:
        await settled()
    assert not limit.ran_out


@pytest.mark.parametrize("kind", [ConnectionError, KeyboardInterrupt])
async def test_an_error_that_comes_with_the_end_is_not_swallowed(
    kind: type[BaseException], clock: ManualClock
) -> None:
    """
    Only the limit's own cancellation is.
    """
    error = kind("mine")

    async def late() -> None:
        await settled()
        clock.advance(2.0)
        raise error

    with pytest.raises(kind) as caught:
        async with Limit(2.0, clock):
            await late()
    assert error is caught.value


async def test_an_error_at_the_moment_of_the_cut_passes(clock: ManualClock) -> None:
    """
    A block that answers its cancellation with an error of its own raises that.
    """

    async def stubborn() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise KeyError("mine")

    limit = Limit(2.0, clock)
    ends: list[Any] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limited, limit, stubborn, ends)
        await clock.slept_on()
        clock.advance(2.0)
    assert [KeyError] == [type(end) for end in ends]
    assert limit.ran_out


async def test_the_callers_cancellation_is_not_swallowed(either: Clock) -> None:
    """
    It goes on to the scope it is meant for, and the limit did not run out.
    """
    limit, after = Limit(5.0, either), []
    with anyio.CancelScope() as scope:
        async with limit:
            scope.cancel()
            await anyio.sleep_forever()
        after.append("went on")

    assert (True, False, []) == (scope.cancelled_caught, limit.ran_out, after)


async def test_a_cancellation_that_arrives_while_a_limit_is_left_goes_on(
    clock: ManualClock,
) -> None:
    """
    The block has ended well, but its caller is cancelled before the helper task has ended.
    """
    after: list[str] = []
    with anyio.CancelScope() as scope:
        async with Limit(5.0, clock):
            await anyio.lowlevel.checkpoint()
            scope.cancel()
        await anyio.lowlevel.checkpoint()
        after.append("went on")
    assert (True, [], []) == (scope.cancelled_caught, after, clock._sleepers)


async def test_the_inner_of_two_limits_leaves_the_outer_alone(clock: ManualClock) -> None:
    """
    Only the one whose time is over cuts.
    """
    outer, inner = Limit(9.0, clock), Limit(2.0, clock)
    ends: list[Any] = []

    async def body() -> str:
        async with inner:
            await anyio.sleep_forever()
        return "went on"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limited, outer, body, ends)
        await clock.slept_on(2)
        clock.advance(2.0)
    assert ([True, False], ["went on"]) == ([inner.ran_out, outer.ran_out], ends)


async def test_the_outer_of_two_limits_cuts_the_inner(clock: ManualClock) -> None:
    """
    An outer end that comes first is not taken for the inner one's.
    """
    outer, inner = Limit(2.0, clock), Limit(9.0, clock)
    ends: list[Any] = []

    async def body() -> str:
        async with inner:
            await anyio.sleep_forever()
        return "went on"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limited, outer, body, ends)
        await clock.slept_on(2)
        clock.advance(2.0)
    assert ([False, True], []) == ([inner.ran_out, outer.ran_out], ends)
    assert [] == clock._sleepers


# What is left.


async def test_without_a_deadline_there_is_no_end(clock: ManualClock) -> None:
    """
    Infinity, by any clock.
    """
    assert math.inf == seconds_left(clock) == seconds_left(loops)


async def test_a_limit_on_the_same_clock_is_a_deadline(clock: ManualClock) -> None:
    """
    The nearest of those around counts, until it is left; another clock's says nothing.
    """
    other = ManualClock(5.0)
    async with Limit(8.0, clock):
        clock.advance(1.0)
        async with Limit(2.0, clock):
            assert (2.0, math.inf) == (seconds_left(clock), seconds_left(other))
            async with Limit(50.0, clock), Limit(1.0, other):
                assert (2.0, 1.0) == (seconds_left(clock), seconds_left(other))
            clock.advance(1.5)
            assert 0.5 == seconds_left(clock)
        assert 5.5 == seconds_left(clock)
    assert math.inf == seconds_left(clock)


async def test_a_limit_that_is_over_leaves_less_than_nothing(clock: ManualClock) -> None:
    """
    Whoever asks then begins nothing; after the block all is as before.
    """
    left: list[float] = []
    async with Limit(1.0, clock) as limit:
        clock.advance(3.0)
        left.append(seconds_left(clock))
        await anyio.sleep_forever()
    assert limit.ran_out
    assert all(seconds < 0 for seconds in left)
    assert math.inf == seconds_left(clock)


async def test_a_scope_is_a_deadline_for_every_clock(clock: ManualClock) -> None:
    """
    That of the event loop, also one of a limit whose clock cannot be slept on.
    """
    with anyio.move_on_after(1000):
        assert 900 < seconds_left(clock) <= 1000
        async with Limit(100.0, loops):
            assert 0 < seconds_left(clock) <= 100
            async with Limit(1.0, clock):
                assert 1.0 == seconds_left(clock)
        assert 900 < seconds_left(clock) <= 1000


async def test_in_a_cancelled_scope_no_time_is_left(clock: ManualClock) -> None:
    """
    Its deadline has passed, whenever it was meant to be.
    """
    with anyio.CancelScope() as scope:
        scope.cancel()
        left = seconds_left(clock)
        await anyio.lowlevel.checkpoint()
    assert -math.inf == left


async def test_a_deadline_that_was_left_by_an_error_is_gone(clock: ManualClock) -> None:
    """
    And by a cancellation, too.
    """
    with pytest.raises(KeyError):
        async with Limit(1.0, clock):
            raise KeyError
    assert math.inf == seconds_left(clock)

    with anyio.CancelScope() as scope:
        async with Limit(1.0, clock):
            scope.cancel()
            await anyio.sleep_forever()
    assert math.inf == seconds_left(clock)


async def test_a_task_that_is_no_part_of_the_block_has_its_own_deadline(
    clock: ManualClock,
) -> None:
    """
    One that was started inside, in a group outside, is not cut, so it has no end either.
    """
    left: list[float] = []

    async def background() -> None:
        await settled()
        left.append(seconds_left(clock))

    async with anyio.create_task_group() as tasks, Limit(5.0, clock):
        tasks.start_soon(background)
    assert [math.inf] == left


async def test_a_task_knows_that_its_scope_is_cancelled(clock: ManualClock) -> None:
    """
    While it goes, and not after; a limit that has cut is a scope as well.
    """
    seen = [is_cancelled(0)]
    with anyio.CancelScope() as scope:
        seen.append(is_cancelled(0))
        scope.cancel()
        seen.append(is_cancelled(0))
        await anyio.lowlevel.checkpoint()
    seen.append(is_cancelled(0))

    async with Limit(1.0, clock):
        await settled()
        clock.advance(1.0)
        try:
            await anyio.sleep_forever()
        finally:
            seen.append(is_cancelled(0))
    seen.append(is_cancelled(0))
    assert [False, False, True, False, True, False] == seen


@pytest.mark.parametrize("anyio_backend", BACKENDS[:2], indirect=True)
async def test_a_task_knows_that_it_is_cancelled() -> None:
    """
    Also by ``task.cancel()``, until that is taken back.
    """
    seen: list[bool] = []

    async def run() -> None:
        try:
            await asyncio.sleep(3600.0)
        except asyncio.CancelledError:
            seen.append(is_cancelled(0))
        task.uncancel()
        seen.append(is_cancelled(0))

    task = asyncio.create_task(run())
    await settled()
    task.cancel()
    await task
    assert [True, False] == seen


# Asking, and waiting for a signal.


async def test_an_answer_that_comes_with_the_end_is_a_timeout(clock: ManualClock) -> None:
    """
    What was asked may swallow its cancellation: it has been cut all the same.
    """
    errors: list[Exception | None] = []

    async def swallowing() -> None:
        with anyio.CancelScope(shield=True) as scope:
            await gate.wait()
        assert not scope.cancel_called

    async def ask() -> None:
        errors.append(await ask_within(2.0, clock, swallowing))

    gate = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await clock.slept_on()
        clock.advance(2.0)
        await settled()
        gate.set()
    assert ["no answer within 2 s"] == [str(error) for error in errors]


async def test_asking_leaves_nothing_on_the_clock(either: Clock, clock: ManualClock) -> None:
    """
    However it ends.
    """

    async def interrupted() -> None:
        raise KeyboardInterrupt

    assert None is await ask_within(5.0, either, answer)
    with pytest.raises(KeyboardInterrupt):
        await ask_within(5.0, either, interrupted)
    assert ([], math.inf) == (clock._sleepers, seconds_left(clock))


async def test_a_wait_that_is_too_late_ends_at_once(either: Clock) -> None:
    """
    When its time is over before it begins.
    """
    await wait_until(Signal(), either, either() - 1.0)
    await wait_until(Signal(), either, either())


async def test_a_wait_for_a_signal_tells_nothing_of_which_came_first(clock: ManualClock) -> None:
    """
    The signal and the time at one moment: it returns, and leaves nothing on the clock.
    """
    signal, done = Signal(), []

    async def waiter() -> None:
        await wait_until(signal, clock, 105.0)
        done.append(True)

    signal = Signal()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiter)
        await clock.slept_on()
        signal.wake()
        clock.advance(5.0)
    assert ([True], []) == (done, clock._sleepers)


async def test_a_signal_tells_whether_its_loop_still_runs() -> None:
    """
    However often it is woken, from here or from another thread.
    """
    signal = Signal()
    assert [True, True] == [signal.wake(), await anyio.to_thread.run_sync(signal.wake)]


async def test_a_cancelled_wait_passes_the_cancellation_on(either: Clock) -> None:
    """
    With a time and without one.
    """
    for when in (None, 1e9):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await wait_until(Signal(), either, when)
        assert scope.cancelled_caught


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_signal_of_a_loop_that_has_ended_says_so(backend: str) -> None:
    """
    Nobody waits there any more: from outside of any loop, and from another one.
    """

    async def make() -> Signal:
        return Signal()

    async def wake(signal: Signal) -> bool:
        return signal.wake()

    signal = anyio.run(make, backend=backend)
    assert not signal.wake()
    assert [False, False] == [anyio.run(wake, signal, backend=kind) for kind in ("asyncio", "trio")]
