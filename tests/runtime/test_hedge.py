"""Hedge: a second try beside a slow first one, the first answer, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import math
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.testing

from asyncbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    Hedge,
    HedgeStarted,
    HedgeWithheld,
    HedgeWon,
    RetryBudget,
    State,
    consecutive_failures,
)
from asyncbreaker.testing import ManualClock, force_state, record
from tests.runtime.support import answer, settled

pytestmark = pytest.mark.anyio


class Tries:
    """A dependency whose n-th try is let go, or made to fail, by hand."""

    def __init__(self) -> None:
        self.gates: list[anyio.Event] = []
        self.errors: dict[int, BaseException] = {}
        self.cancelled: list[int] = []
        self.cleaned: list[int] = []
        self.second = anyio.Event()

    async def __call__(self) -> int:
        number = len(self.gates) + 1
        self.gates.append(anyio.Event())
        if number == 2:
            self.second.set()
        try:
            await self.gates[-1].wait()
        except BaseException:
            self.cancelled.append(number)
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            self.cleaned.append(number)
            raise
        if number in self.errors:
            raise self.errors[number]
        return number

    def let_go(self, number: int, error: BaseException | None = None) -> None:
        if error is not None:
            self.errors[number] = error
        self.gates[number - 1].set()


class Call:
    """One call through a hedge, in a task of its own."""

    def __init__(self, hedge: Hedge, fn: Callable[[], Awaitable[Any]]) -> None:
        self._hedge = hedge
        self._fn = fn
        self.result: Any = None
        self.error: BaseException | None = None

    async def __call__(self) -> None:
        try:
            self.result = await self._hedge.call(self._fn)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            self.error = error


async def played(
    hedge: Hedge, tries: Tries, *steps: Callable[[], object], clock: ManualClock
) -> Call:
    """Make one call, and do *steps* while it runs, each when all tasks wait."""
    call = Call(hedge, tries)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        for step in steps:
            await settled()
            step()
    return call


async def test_a_quick_answer_needs_no_second_try(clock: ManualClock) -> None:
    """
    Nothing is told and no time passes.
    """
    hedge = Hedge(1.0, clock=clock)
    with record(hedge) as events:
        assert 42 == await hedge.call(answer)

    assert ([], 100.0) == (events, clock())


async def test_the_second_try_starts_exactly_after(clock: ManualClock) -> None:
    """
    Not a moment before; then the first answer is taken, here the second try's.
    """
    hedge, tries = Hedge(1.0, clock=clock, name="h"), Tries()
    seen: list[int] = []
    with record(hedge) as events:
        call = await played(
            hedge,
            tries,
            lambda: clock.advance(0.999),
            lambda: seen.append(len(tries.gates)),
            lambda: clock.advance(0.001),
            lambda: seen.append(len(tries.gates)),
            lambda: tries.let_go(2),
            clock=clock,
        )

    assert (2, [1, 2]) == (call.result, seen)
    assert [HedgeStarted("h", 2, 101.0), HedgeWon("h", 2, 2, 101.0)] == events
    assert ([1], [1]) == (tries.cancelled, tries.cleaned)


async def test_the_first_try_may_win_after_all(clock: ManualClock) -> None:
    """
    The extra one is cancelled, and its cleaning up is waited for.
    """
    hedge, tries = Hedge(1.0, clock=clock, name="h"), Tries()
    with record(hedge) as events:
        call = await played(
            hedge, tries, lambda: clock.advance(1.0), lambda: tries.let_go(1), clock=clock
        )

    assert 1 == call.result
    assert HedgeWon("h", 1, 2, 101.0) == events[-1]
    assert ([2], [2]) == (tries.cancelled, tries.cleaned)


async def test_several_extra_tries_start_one_after_the_other(clock: ManualClock) -> None:
    """
    With extra=2 after one and two times ``after``, and no third one.
    """
    hedge, tries = Hedge(1.0, extra=2, clock=clock), Tries()
    seen: list[int] = []
    call = await played(
        hedge,
        tries,
        lambda: clock.advance(1.0),
        lambda: seen.append(len(tries.gates)),
        lambda: clock.advance(1.0),
        lambda: seen.append(len(tries.gates)),
        lambda: clock.advance(10.0),
        lambda: seen.append(len(tries.gates)),
        lambda: tries.let_go(3),
        clock=clock,
    )

    assert (3, [2, 3, 3]) == (call.result, seen)
    assert [1, 2] == sorted(tries.cancelled)


async def test_a_failure_before_the_second_try_is_raised_at_once(clock: ManualClock) -> None:
    """
    As the same object, in no group and with nothing chained to it; a hedge is no retry.
    """
    error = ConnectionError("refused")

    async def refuse() -> None:
        raise error

    with pytest.raises(ConnectionError) as caught:
        await Hedge(1.0, clock=clock).call(refuse)

    assert error is caught.value
    assert (None, None) == (error.__cause__, error.__context__)


@pytest.mark.parametrize(("failing", "answering"), [(1, 2), (2, 1)])
async def test_a_failure_waits_for_the_try_that_still_runs(
    failing: int, answering: int, clock: ManualClock
) -> None:
    """
    A try that fails is no answer.
    """
    hedge, tries = Hedge(1.0, clock=clock), Tries()
    call = await played(
        hedge,
        tries,
        lambda: clock.advance(1.0),
        lambda: tries.let_go(failing, ConnectionError()),
        lambda: tries.let_go(answering),
        clock=clock,
    )

    assert (answering, None, []) == (call.result, call.error, tries.cancelled)


@pytest.mark.parametrize("last", [1, 2])
async def test_when_all_fail_the_last_error_is_raised(last: int, clock: ManualClock) -> None:
    """
    As the same object.
    """
    hedge, tries = Hedge(1.0, clock=clock), Tries()
    first, second = ConnectionError("first"), ConnectionError("second")
    with record(hedge) as events:
        call = await played(
            hedge,
            tries,
            lambda: clock.advance(1.0),
            lambda: tries.let_go(3 - last, first),
            lambda: tries.let_go(last, second),
            clock=clock,
        )

    assert second is call.error
    assert None is second.__context__
    assert [HedgeStarted] == [type(event) for event in events]


async def test_a_rejected_second_try_does_not_hide_the_answer(clock: ManualClock) -> None:
    """
    The circuit opens while the first try runs: that one's answer still counts for the caller.
    """
    breaker, tries = CircuitBreaker(clock=clock), Tries()
    hedge = Hedge(1.0, clock=clock)

    def open_it() -> None:
        force_state(breaker, State.OPEN)
        clock.advance(1.0)

    call = Call(hedge, lambda: breaker.call(tries))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await settled()
        breaker.force_open()
        clock.advance(1.0)
        await settled()
        assert 1 == breaker.snapshot().rejected
        tries.let_go(1)

    assert (1, None) == (call.result, call.error)


async def test_a_rejected_first_try_is_the_end(clock: ManualClock) -> None:
    """
    An open circuit is told at once, not after a second try.
    """
    breaker = CircuitBreaker(clock=clock)
    breaker.force_open()
    with pytest.raises(CircuitOpenError):
        await Hedge(1.0, clock=clock).call(breaker.call, answer)

    assert 1 == breaker.snapshot().rejected


async def test_the_loser_is_neutral_to_a_breaker_inside(clock: ManualClock) -> None:
    """
    One success, one ignored; nothing leads, nothing opens.
    """
    breaker, tries = CircuitBreaker(trip=consecutive_failures(1), clock=clock), Tries()
    call = Call(Hedge(1.0, clock=clock), lambda: breaker.call(tries))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await settled()
        clock.advance(1.0)
        await settled()
        tries.let_go(2)

    look = breaker.snapshot()
    assert (State.CLOSED, 1, 0, 1, 0) == (
        look.state,
        look.succeeded,
        look.failed,
        look.ignored,
        look.counts.lead,
    )


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_ends_the_call_at_once(
    kind: type[BaseException], clock: ManualClock
) -> None:
    """
    As itself, in no group, whatever else still runs.
    """
    hedge, tries, interrupt = Hedge(1.0, clock=clock), Tries(), kind()
    call = await played(
        hedge,
        tries,
        lambda: clock.advance(1.0),
        lambda: tries.let_go(2, interrupt),
        clock=clock,
    )

    assert interrupt is call.error
    assert [1] == tries.cancelled


@pytest.mark.parametrize("late", [False, True])
async def test_cancelling_the_caller_cancels_every_try(late: bool, clock: ManualClock) -> None:
    """
    When the call has ended no try runs.
    """
    tries = Tries()
    call = Call(Hedge(1.0, clock=clock), tries)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await settled()
        clock.advance(1.0 if late else 0.5)
        await settled()
        tasks.cancel_scope.cancel()

    started = [1, 2] if late else [1]
    assert (started, started) == (sorted(tries.cancelled), sorted(tries.cleaned))
    assert (None, None) == (call.result, call.error)


async def test_no_try_beyond_the_budget(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    While it is spent the first try runs on alone; the log says so once, events every time.
    """
    budget = RetryBudget(0.0, floor=0.0)
    hedge = Hedge(1.0, extra=2, budget=budget, clock=clock, name="h")
    tries = Tries()
    with record(hedge) as events:
        call = await played(
            hedge,
            tries,
            lambda: clock.advance(1.0),
            lambda: clock.advance(1.0),
            lambda: tries.let_go(1),
            clock=clock,
        )

    assert (1, 1) == (call.result, len(tries.gates))
    assert [HedgeWithheld("h", 101.0), HedgeWithheld("h", 102.0)] == events
    warnings = [entry for entry in caplog.records if entry.levelno >= logging.INFO]
    assert ["hedge 'h' starts no further try: its budget is spent"] == [
        entry.getMessage() for entry in warnings
    ]


async def test_a_spent_budget_without_listeners(clock: ManualClock) -> None:
    """
    Nobody listens, nothing is told, and the first try's answer is taken.
    """
    hedge = Hedge(1.0, budget=RetryBudget(0.0, floor=0.0), clock=clock)
    tries = Tries()
    call = await played(
        hedge, tries, lambda: clock.advance(1.0), lambda: tries.let_go(1), clock=clock
    )

    assert (1, 1) == (call.result, len(tries.gates))


async def test_every_call_pays_into_the_budget(clock: ManualClock) -> None:
    """
    Ten calls allow one extra try at a ratio of a tenth, and it is withdrawn.
    """
    budget = RetryBudget(0.1, floor=0.0)
    hedge, tries = Hedge(1.0, budget=budget, clock=clock), Tries()
    for _ in range(9):
        await hedge.call(answer)
    call = await played(
        hedge, tries, lambda: clock.advance(1.0), lambda: tries.let_go(2), clock=clock
    )

    assert 2 == call.result
    assert 0 == budget.balance(clock())


async def test_tries_are_logged_for_who_wants_to_know(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    At DEBUG, with the name in ``extra``.
    """
    caplog.set_level(logging.DEBUG, "asyncbreaker")
    hedge, tries = Hedge(1.0, clock=clock, name="h"), Tries()
    await played(hedge, tries, lambda: clock.advance(1.0), lambda: tries.let_go(2), clock=clock)

    (entry,) = caplog.records
    assert ("DEBUG", "hedge 'h' starts try 2") == (entry.levelname, entry.getMessage())
    assert "h" == vars(entry)["policy"]


async def test_tries_see_the_callers_context_and_keep_theirs(clock: ManualClock) -> None:
    """
    Tries run in child tasks: what they set is not seen by the caller.
    """
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("caller's")
    seen: list[str] = []

    async def look() -> None:
        seen.append(variable.get())
        variable.set("a try's")

    await Hedge(1.0, clock=clock).call(look)

    assert (["caller's"], "caller's") == (seen, variable.get())


async def test_a_deadline_around_the_call_reaches_the_tries() -> None:
    """
    A try can tell how much time the caller has left.
    """
    with anyio.fail_after(60.0) as scope:
        seen = await Hedge(1.0).call(_deadline)

    assert scope.deadline == seen


async def _deadline() -> float:
    return anyio.current_effective_deadline()


async def test_by_the_loops_own_clock() -> None:
    """
    Without a manual clock the event loop's timers start the second try.
    """
    tries = Tries()
    call = Call(Hedge(0.001), tries)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await tries.second.wait()
        tries.let_go(2)

    assert 2 == call.result


async def test_calls_at_once_do_not_mix(clock: ManualClock) -> None:
    """
    Each caller gets the answer to its own call.
    """
    hedge = Hedge(1.0, clock=clock)
    results: dict[int, int] = {}

    async def one(number: int) -> None:
        async def echo() -> int:
            await clock.sleep_until(100.0 + number % 3)
            return number

        results[number] = await hedge.call(echo)

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(one, number)
        for _ in range(3):
            await settled()
            clock.advance(1.0)

    assert {number: number for number in range(20)} == results


async def test_any_keyword_reaches_the_function(clock: ManualClock) -> None:
    """
    Also one that is called as a parameter of ours.
    """

    async def take(**kwargs: int) -> dict[str, int]:
        return kwargs

    given = {"fn": 1, "number": 2, "self": 3, "after": 4}
    assert given == await Hedge(1.0, clock=clock).call(take, **given)


async def test_what_is_raised_before_there_is_anything_to_await(clock: ManualClock) -> None:
    """
    It reaches the caller as any other error.
    """

    def refuse() -> Any:
        raise LookupError("no such row")

    with pytest.raises(LookupError, match="no such row"):
        await Hedge(1.0, clock=clock).call(refuse)


async def test_an_answer_keeps_nothing_alive(clock: ManualClock) -> None:
    """
    A failed call leaves no reference cycle: what it held dies with the error.
    """

    class Held:
        pass

    async def refuse() -> None:
        held = Held()
        died.append(weakref.ref(held))
        raise ConnectionError

    died: list[weakref.ref[Held]] = []
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ConnectionError) as caught:
            await Hedge(1.0, clock=clock).call(refuse)
        del caught
        await settled()
        assert None is died[0]()
    finally:
        gc.enable()


async def test_a_decorated_function(clock: ManualClock) -> None:
    """
    It keeps its name, and is hedged.
    """

    @Hedge(1.0, clock=clock)
    async def fetch(key: str) -> str:
        """Fetch it."""
        return key

    assert ("a", "fetch", "Fetch it.") == (await fetch("a"), fetch.__name__, fetch.__doc__)


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ((0.0,), ValueError, "after must be above 0, not 0.0"),
        ((-1.0,), ValueError, "after must be a finite number, at least 0, not -1.0"),
        ((math.nan,), ValueError, "after must be a finite number, at least 0, not nan"),
        ((math.inf,), ValueError, "after must be a finite number, at least 0, not inf"),
        ((True,), TypeError, "after must be a number, not True"),
        (("1",), TypeError, "after must be a number, not '1'"),
    ],
)
def test_a_bad_delay_is_refused(
    arguments: tuple[Any, ...], kind: type[Exception], text: str
) -> None:
    """
    The error names the parameter and the value.
    """
    with pytest.raises(kind, match=f"^{text}$"):
        Hedge(*arguments)


@pytest.mark.parametrize(
    ("settings", "kind", "text"),
    [
        ({"extra": 0}, ValueError, "extra must be at least 1, not 0"),
        ({"extra": True}, TypeError, "extra must be a whole number, not True"),
        ({"extra": 1.5}, ValueError, "extra must be a whole number, not 1.5"),
        ({"budget": 0.1}, TypeError, "budget must be a RetryBudget, not 0.1"),
        ({"budget": RetryBudget}, TypeError, "budget must be a RetryBudget, not <class"),
        ({"name": ""}, ValueError, "name must not be empty, not ''"),
        ({"name": 1}, TypeError, "name must be a string, not 1"),
        ({"clock": 1}, TypeError, "clock must be callable, not 1"),
    ],
)
def test_a_bad_setting_is_refused(
    settings: dict[str, Any], kind: type[Exception], text: str
) -> None:
    """
    The error names the parameter and the value.
    """
    with pytest.raises(kind, match=f"^{text}"):
        Hedge(1.0, **settings)


@pytest.mark.asyncio
async def test_a_try_that_ends_by_a_cancellation_of_its_own() -> None:
    """
    Somebody has cancelled what it awaited: the caller sees that, as without a hedge.
    """

    async def cancelled() -> None:
        raise asyncio.CancelledError("of its own")

    task = asyncio.ensure_future(Hedge(1.0).call(cancelled))
    await asyncio.wait([task])

    assert task.cancelled()


def test_trio_has_no_task_left() -> None:
    """
    A nursery around the call is empty when it has ended.
    """

    async def main() -> int:
        clock = ManualClock()
        async with trio.open_nursery() as nursery:
            tries = Tries()
            nursery.start_soon(Call(Hedge(1.0, clock=clock), tries))
            await trio.testing.wait_all_tasks_blocked()
            clock.advance(1.0)
            await trio.testing.wait_all_tasks_blocked()
            tries.let_go(2)
            await trio.testing.wait_all_tasks_blocked()
            return len(nursery.child_tasks)

    assert 0 == trio.run(main)
