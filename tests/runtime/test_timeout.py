"""Timeout: cancels what takes too long, says so, and converts no other cancellation."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.testing

from asyncbreaker import CircuitBreaker, State, TimedOut, Timeout, consecutive_failures
from asyncbreaker._runtime.backend import seconds_left
from asyncbreaker.testing import ManualClock, record
from tests.conftest import BACKENDS
from tests.runtime.support import answer, settled

pytestmark = pytest.mark.anyio

on_asyncio = pytest.mark.parametrize("anyio_backend", BACKENDS[:2], indirect=True)


on_both_clocks = pytest.mark.parametrize("manual", [True, False])


def limit(seconds: float, clock: ManualClock, *, manual: bool) -> Timeout:
    """A timeout by the manual clock, or by the event loop's."""
    return Timeout(seconds, name="ours", **({"clock": clock} if manual else {}))


async def hang() -> None:
    await anyio.sleep_forever()


async def timed_out(
    call: Callable[[], Awaitable[object]], clock: ManualClock, seconds: float
) -> BaseException | None:
    """Let the call run until it sleeps, move the clock on, and return what it raised."""
    raised: list[BaseException | None] = [None]

    async def run() -> None:
        try:
            await call()
        except (Exception, KeyboardInterrupt) as error:
            raised[0] = error

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await settled()
        clock.advance(seconds)
    return raised[0]


async def test_an_answer_in_time_passes_untouched(clock: ManualClock) -> None:
    """
    Nothing is told, and nobody sleeps on the clock any more.
    """
    timeout = Timeout(1.0, clock=clock)
    with record(timeout) as events:
        assert 7 == await timeout.call(answer, 7)
        assert 7 == await Timeout(1.0).call(answer, 7)

    assert ([], 100.0) == (events, clock())


async def test_the_error_names_the_timeout_and_its_limit(clock: ManualClock) -> None:
    """
    It comes from the cancellation, whose traceback shows where the time went.
    """
    timeout = Timeout(1.5, clock=clock, name="quotes")
    error = await timed_out(lambda: timeout.call(hang), clock, 1.5)

    assert isinstance(error, TimeoutError)
    assert "quotes: no answer within 1.5 s" == str(error)
    assert isinstance(error.__cause__, anyio.get_cancelled_exc_class())


async def test_it_ends_not_a_moment_before(clock: ManualClock) -> None:
    """
    The limit counts from the beginning of the call.
    """
    timeout, ended = Timeout(1.0, clock=clock), anyio.Event()

    async def call() -> None:
        with pytest.raises(TimeoutError):
            await timeout.call(hang)
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await settled()
        clock.advance(0.999)
        await settled()
        assert not ended.is_set()
        clock.advance(0.001)

    assert ended.is_set()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.25"), (2, "2"), (30.0, "30"), (3600.0, "3600")]
)
async def test_the_limit_is_readable(seconds: float, text: str, clock: ManualClock) -> None:
    """
    In the error as it was written in the code.
    """
    timeout = Timeout(seconds, clock=clock, name="t")
    error = await timed_out(lambda: timeout.call(hang), clock, seconds)

    assert (f"t: no answer within {text} s", seconds) == (str(error), timeout.seconds)


async def test_it_is_told_and_logged(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """
    An event for who listens, a line at DEBUG for who looks.
    """
    caplog.set_level(logging.DEBUG, "asyncbreaker")
    timeout = Timeout(1.0, clock=clock, name="t")
    with record(timeout) as events:
        await timed_out(lambda: timeout.call(hang), clock, 1.0)

    assert [TimedOut("t", 1.0, 101.0)] == events
    assert [("DEBUG", "timeout 't' ended a call after 1 s")] == [
        (entry.levelname, entry.getMessage()) for entry in caplog.records
    ]


async def test_it_is_told_by_the_policys_clock() -> None:
    """
    Also where that cannot be slept on, so that the event loop decides.
    """
    timeout = Timeout(0.001, clock=lambda: 7.0, name="t")
    with record(timeout) as events, pytest.raises(TimeoutError):
        await timeout.call(hang)

    assert [TimedOut("t", 0.001, 7.0)] == events


async def test_inside_of_a_breaker_it_is_a_failure(clock: ManualClock) -> None:
    """
    A dependency that hangs opens the circuit.
    """
    breaker = CircuitBreaker(trip=consecutive_failures(1), clock=clock)
    timeout = Timeout(1.0, clock=clock)
    await timed_out(lambda: breaker.call(timeout.call, hang), clock, 1.0)

    assert (State.OPEN, 1) == (breaker.state, breaker.snapshot().failed)


@on_both_clocks
async def test_an_outer_deadline_that_comes_first_is_not_converted(
    manual: bool, clock: ManualClock
) -> None:
    """
    Its cancellation passes as it is, and nothing is told.
    """
    timeout = limit(3600.0, clock, manual=manual)
    with record(timeout) as events, anyio.move_on_after(0.001) as scope:
        await timeout.call(hang)

    assert scope.cancelled_caught
    assert [] == events


@on_both_clocks
async def test_an_outer_timeout_error_is_the_outer_ones(manual: bool, clock: ManualClock) -> None:
    """
    ``fail_after`` outside raises its own.
    """
    timeout = limit(3600.0, clock, manual=manual)
    with record(timeout) as events, pytest.raises(TimeoutError) as caught, anyio.fail_after(0.001):
        await timeout.call(hang)

    assert "ours" not in str(caught.value)
    assert [] == events


async def test_both_at_the_same_moment(clock: ManualClock) -> None:
    """
    The outer cancellation wins: who has given up is not answered.
    """
    timeout = Timeout(1.0, clock=clock)
    ended: list[str] = []

    async def call() -> None:
        try:
            await timeout.call(hang)
        except TimeoutError:
            ended.append("timed out")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await settled()
        tasks.cancel_scope.cancel()
        clock.advance(1.0)

    assert [] == ended


async def test_of_two_the_shorter_one_speaks(clock: ManualClock) -> None:
    """
    Also where the shorter one is outside.
    """
    inner, outer = Timeout(5.0, clock=clock, name="inner"), Timeout(1.0, clock=clock, name="outer")
    error = await timed_out(lambda: outer.call(inner.call, hang), clock, 1.0)
    assert "outer: no answer within 1 s" == str(error)

    error = await timed_out(lambda: inner.call(outer.call, hang), clock, 1.0)
    assert "outer: no answer within 1 s" == str(error)


@on_both_clocks
async def test_an_answer_in_spite_of_its_cancellation_passes(
    manual: bool, clock: ManualClock
) -> None:
    """
    What swallows it and returns has an answer after all, and nothing is told.
    """
    timeout, answers = limit(0.001, clock, manual=manual), []

    async def stubborn() -> int:
        try:
            await hang()
        except anyio.get_cancelled_exc_class():
            answers.append(1)
        return 7

    async def call() -> None:
        answers.append(await timeout.call(stubborn))

    with record(timeout) as events:
        assert None is await timed_out(call, clock, 0.001)

    assert ([1, 7], []) == (answers, events)
    await anyio.lowlevel.checkpoint()


@on_both_clocks
@pytest.mark.parametrize("kind", [ConnectionError, TypeError, KeyboardInterrupt])
async def test_an_error_at_the_last_moment_passes(
    kind: type[BaseException], manual: bool, clock: ManualClock
) -> None:
    """
    The time is over when it is raised, but the call was not cancelled: an interrupt is not lost.
    """
    error = kind("mine")

    async def late() -> None:
        await settled()
        clock.advance(1.0)
        raise error

    timeout = limit(1.0, clock, manual=manual)
    with record(timeout) as events, pytest.raises(kind) as caught:
        await timeout.call(late)

    assert error is caught.value
    assert ([], None) == (events, error.__cause__)


@on_both_clocks
async def test_an_answer_at_the_last_moment_passes(manual: bool, clock: ManualClock) -> None:
    """
    The time is over when it comes, but the call was not cancelled.
    """

    async def late() -> int:
        await settled()
        clock.advance(1.0)
        return 7

    timeout = limit(1.0, clock, manual=manual)
    with record(timeout) as events:
        assert 7 == await timeout.call(late)
    assert [] == events


@on_both_clocks
async def test_an_interrupt_is_not_lost_to_the_callers_end(
    manual: bool, clock: ManualClock
) -> None:
    """
    Both at the same moment: the interrupt goes on.
    """
    interrupt = KeyboardInterrupt()

    async def interrupted() -> None:
        scope.cancel()
        raise interrupt

    with pytest.raises(KeyboardInterrupt) as caught, anyio.CancelScope() as scope:
        await limit(1.0, clock, manual=manual).call(interrupted)
    assert interrupt is caught.value


async def test_what_the_call_started_ends_with_it(clock: ManualClock) -> None:
    """
    Tasks of a group inside are cut as well, and the error comes in no group.
    """
    ended: list[str] = []

    async def part(name: str) -> None:
        try:
            await hang()
        finally:
            ended.append(name)

    async def fetch() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(part, "one")
            tasks.start_soon(part, "two")

    error = await timed_out(lambda: Timeout(1.0, clock=clock).call(fetch), clock, 1.0)
    assert (TimeoutError, ["one", "two"]) == (type(error), sorted(ended))


@pytest.mark.parametrize("error", [TimeoutError("a client's own"), ConnectionError("reset")])
async def test_what_the_function_makes_of_its_cancellation_passes(
    error: Exception, clock: ManualClock
) -> None:
    """
    As the same object: it is the dependency's word.
    """

    async def translate() -> None:
        try:
            await hang()
        except anyio.get_cancelled_exc_class():
            raise error from None

    timeout = Timeout(1.0, clock=clock)
    assert error is await timed_out(lambda: timeout.call(translate), clock, 1.0)


@on_both_clocks
async def test_an_error_passes_as_the_same_object(manual: bool, clock: ManualClock) -> None:
    """
    In no group, and with nothing chained to it.
    """
    timeout = limit(1.0, clock, manual=manual)
    for error in (LookupError("a row"), KeyboardInterrupt(), SystemExit()):

        async def refuse(error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            await timeout.call(refuse)
        assert error is caught.value
        assert (None, None) == (error.__cause__, error.__context__)


async def test_the_call_stays_in_the_callers_task(clock: ManualClock) -> None:
    """
    What it sets in context variables is seen outside, on every clock.
    """
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")

    async def put(value: int) -> object:
        variable.set(value)
        return anyio.get_current_task().id

    here = anyio.get_current_task().id
    assert (here, 1) == (await Timeout(1.0).call(put, 1), variable.get())
    assert (here, 2) == (await Timeout(1.0, clock=clock).call(put, 2), variable.get())


@on_both_clocks
async def test_the_call_gets_what_it_is_given(manual: bool, clock: ManualClock) -> None:
    """
    Arguments of any name, and the caller's context variables.
    """
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")

    async def seen(*args: object, **kwargs: object) -> object:
        return args, kwargs, variable.get()

    variable.set(3)
    timeout: Any = limit(1.0, clock, manual=manual)
    expected = (1, 2), {"fn": 4, "self": 5, "seconds": 6}, 3
    assert expected == await timeout.call(seen, 1, 2, fn=4, self=5, seconds=6)


async def test_who_is_called_can_ask_what_is_left(clock: ManualClock) -> None:
    """
    The nearest end counts, on a manual clock too; afterwards there is none.
    """
    left: list[float] = []

    async def look() -> None:
        clock.advance(0.25)
        left.append(seconds_left(clock))

    outer, inner = Timeout(2.0, clock=clock), Timeout(1.0, clock=clock)
    await outer.call(inner.call, look)
    await inner.call(outer.call, look)
    await outer.call(look)
    assert [0.75, 0.75, 1.75] == left
    assert math.inf == seconds_left(clock)


async def test_the_loops_own_clock_ends_a_call() -> None:
    """
    Without a manual clock the event loop's timers do it; the deadline is anyio's, too.
    """

    async def look() -> float:
        return anyio.current_effective_deadline() - anyio.current_time()

    assert 3599.0 < await Timeout(3600.0).call(look) < 3601.0
    with pytest.raises(TimeoutError):
        await Timeout(0.001).call(hang)


def test_trios_mock_clock_ends_a_call() -> None:
    """
    The default clock is the event loop's, also where that is made for tests.
    """

    async def main() -> float:
        with pytest.raises(TimeoutError):
            await Timeout(60.0).call(trio.sleep_forever)
        return trio.current_time()

    assert 60.0 == trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@on_both_clocks
def test_a_scope_of_trio_that_ends_first_is_not_converted(manual: bool, clock: ManualClock) -> None:
    """
    Nor one that ends at the same moment: the outer one wins.
    """
    seen: list[object] = []

    async def main() -> None:
        for seconds in (5.0, 60.0):
            timeout = limit(60.0, clock, manual=manual)
            with trio.move_on_after(seconds) as scope:
                await timeout.call(trio.sleep_forever)
            seen.append(scope.cancelled_caught)
            with pytest.raises(trio.TooSlowError), trio.fail_after(seconds):
                await timeout.call(trio.sleep_forever)
        seen.append(trio.current_time())

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert [True, True, 130.0] == seen


def test_one_timeout_serves_many_loops() -> None:
    """
    It may be made at import.
    """
    timeout, ended = Timeout(0.001), []

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with timeout:
                await hang()
        ended.append(await timeout.call(answer))

    asyncio.run(main())
    trio.run(main)
    asyncio.run(main())
    assert [42, 42, 42] == ended


@on_asyncio
async def test_asyncio_counts_no_cancellation_that_was_ours() -> None:
    """
    After a timeout the task's count of cancellation requests is what it was.
    """
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    with pytest.raises(TimeoutError):
        await Timeout(0.001).call(hang)

    assert before == task.cancelling()


@on_asyncio
async def test_asyncios_own_timeout_outside_is_not_converted() -> None:
    """
    It ends the call its own way.
    """
    timeout = Timeout(3600.0, name="ours")
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.001):
            await timeout.call(hang)

    assert "ours" not in str(caught.value)


@on_asyncio
@on_both_clocks
async def test_the_cancellation_of_a_task_passes_as_it_is(manual: bool, clock: ManualClock) -> None:
    """
    The same object, which the task's count still has; no error and no event is made of it.
    """
    timeout = limit(3600.0, clock, manual=manual)
    seen: list[asyncio.CancelledError] = []
    counted: list[int] = []

    async def fetch() -> None:
        try:
            await hang()
        except asyncio.CancelledError as cancelled:
            seen.append(cancelled)
            raise

    async def call() -> None:
        try:
            await timeout.call(fetch)
        except asyncio.CancelledError as cancelled:
            seen.append(cancelled)
            counted.append(task.cancelling())
            raise

    with record(timeout) as events:
        task = asyncio.create_task(call())
        await settled()
        task.cancel("shutting down")
        await asyncio.wait([task])

    assert (True, []) == (task.cancelled(), events)
    assert seen[0] is seen[1]
    assert (("shutting down",), [1]) == (seen[0].args, counted)


@on_asyncio
@pytest.mark.parametrize("first", ["task", "clock"])
async def test_a_task_that_is_cancelled_at_the_same_moment(first: str, clock: ManualClock) -> None:
    """
    Its end is not taken for a timeout, whichever came first.
    """
    timeout = Timeout(1.0, clock=clock)
    task = asyncio.create_task(timeout.call(hang))
    await settled()
    moves: list[Callable[[], object]] = [task.cancel, lambda: clock.advance(1.0)]
    for move in moves if first == "task" else moves[::-1]:
        move()
    await asyncio.wait([task])

    assert (True, 1) == (task.cancelled(), task.cancelling())


@on_asyncio
@on_both_clocks
async def test_asyncio_may_go_on_after_a_timeout(manual: bool, clock: ManualClock) -> None:
    """
    Neither ``asyncio.timeout`` nor ``asyncio.TaskGroup`` outside takes it for its own.
    """
    timeout = limit(0.001, clock, manual=manual)

    async def call() -> None:
        async with asyncio.timeout(3600.0), asyncio.TaskGroup():
            with pytest.raises(TimeoutError, match=r"^ours: "):
                await timeout.call(hang)
            await asyncio.sleep(0)

    assert None is await timed_out(call, clock, 1.0)


async def test_a_block_has_its_time(clock: ManualClock) -> None:
    """
    ``async with timeout:`` limits a few statements.
    """
    timeout = Timeout(1.0, clock=clock, name="block")

    async def block() -> None:
        async with timeout:
            await hang()

    assert "block: no answer within 1 s" == str(await timed_out(block, clock, 1.0))
    async with timeout:
        await answer()


async def test_blocks_nest_and_overlap(clock: ManualClock) -> None:
    """
    Each has its own time, in one task and in several.
    """
    timeout = Timeout(2.0, clock=clock)
    ended: list[float] = []

    async def block(begins: float) -> None:
        await clock.sleep_until(100.0 + begins)
        with pytest.raises(TimeoutError):
            async with timeout:
                await hang()
        ended.append(clock())

    async with anyio.create_task_group() as tasks:
        for begins in (0.0, 1.0, 2.0):
            tasks.start_soon(block, begins)
        for _ in range(4):
            await settled()
            clock.advance(1.0)
    assert [102.0, 103.0, 104.0] == ended

    async with timeout, timeout, AsyncExitStack() as stack:
        await stack.enter_async_context(timeout)
        await stack.enter_async_context(timeout.guard())


@on_both_clocks
async def test_an_error_leaves_a_block_as_it_is(manual: bool, clock: ManualClock) -> None:
    """
    The same object, also through an exit stack; then the block may be entered again.
    """
    timeout = limit(1.0, clock, manual=manual)

    async def in_a_stack(error: BaseException) -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(timeout)
            await stack.enter_async_context(timeout.guard())
            raise error

    for error in (LookupError("a row"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught:
            async with timeout, timeout:
                raise error
        assert error is caught.value
        with pytest.raises(type(error)) as caught:
            await in_a_stack(error)
        assert error is caught.value

    async with timeout:
        await answer()
    assert ([], math.inf) == (clock._sleepers, seconds_left(clock))


async def test_a_block_of_an_exit_stack_has_its_time(clock: ManualClock) -> None:
    """
    The time runs from its entering, not from the first one's.
    """
    timeout, ended = Timeout(1.0, clock=clock, name="stack"), []

    async def inner() -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(timeout)
            clock.advance(0.75)
            await settled()
            ended.append(seconds_left(clock))
        ended.append(seconds_left(clock))
        clock.advance(0.125)
        await hang()

    async def outer() -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(timeout)
            clock.advance(0.125)
            await inner()

    assert "stack: no answer within 1 s" == str(await timed_out(outer, clock, 0.0))
    assert [0.125, 0.125] == ended


async def test_a_block_in_a_cancelled_scope_is_left_by_its_cancellation(
    clock: ManualClock,
) -> None:
    """
    It never begins, and nothing stays behind on the clock.
    """
    for manual in (True, False):
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with limit(1.0, clock, manual=manual):
                await hang()
        assert scope.cancelled_caught
    assert ([], math.inf) == (clock._sleepers, seconds_left(clock))


async def test_leaving_what_was_never_entered_changes_nothing(clock: ManualClock) -> None:
    """
    A framework that leaves twice hears no error.
    """
    await Timeout(1.0, clock=clock).__aexit__(None, None, None)


async def test_a_guard_is_entered_once(clock: ManualClock) -> None:
    """
    A second time it refuses.
    """
    guard = Timeout(1.0, clock=clock).guard()
    async with guard:
        with pytest.raises(RuntimeError, match="entered before"):
            await guard.__aenter__()
    with pytest.raises(RuntimeError, match="entered before"):
        await guard.__aenter__()
    assert [] == clock._sleepers


async def test_a_decorated_function(clock: ManualClock) -> None:
    """
    It keeps its name, and has a limit.
    """

    @Timeout(1.0, clock=clock)
    async def fetch() -> None:
        await hang()

    assert "fetch" == fetch.__name__
    assert isinstance(await timed_out(fetch, clock, 1.0), TimeoutError)


async def test_what_is_no_call_is_refused(clock: ManualClock) -> None:
    """
    With a hint; a coroutine is closed.
    """
    timeout = Timeout(1.0, clock=clock)
    with pytest.raises(TypeError, match=r"write call\(fn, \.\.\.\) instead"):
        await timeout.call(answer())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="did not: "):
        await timeout.call(lambda: 42)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="needs a callable that returns an awaitable, not None"):
        await timeout.call(None)  # type: ignore[arg-type]
    assert [] == clock._sleepers


@on_both_clocks
async def test_a_type_error_of_the_functions_own_passes(manual: bool, clock: ManualClock) -> None:
    """
    As it is, with no hint: the call was one.
    """
    error = TypeError("int() argument")

    async def parse() -> None:
        raise error

    with pytest.raises(TypeError) as caught:
        await limit(1.0, clock, manual=manual).call(parse)
    assert error is caught.value


@pytest.mark.parametrize(
    ("seconds", "kind", "text"),
    [
        (0, ValueError, "seconds must be above 0, not 0"),
        (-1.0, ValueError, "seconds must be a finite number, at least 0, not -1.0"),
        (math.nan, ValueError, "seconds must be a finite number, at least 0, not nan"),
        (math.inf, ValueError, "seconds must be a finite number, at least 0, not inf"),
        (True, TypeError, "seconds must be a number, not True"),
        ("1", TypeError, "seconds must be a number, not '1'"),
        (None, TypeError, "seconds must be a number, not None"),
    ],
)
def test_a_bad_limit_is_refused(seconds: Any, kind: type[Exception], text: str) -> None:
    """
    The error names the parameter and the value.
    """
    with pytest.raises(kind, match=f"^{text}$"):
        Timeout(seconds)
