"""Hedge: a second try beside a slow first one, the first answer, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextvars
import functools
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
from asyncbreaker.testing import ManualClock, record
from tests.conftest import BACKENDS
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


@pytest.mark.parametrize("anyio_backend", BACKENDS[:2], indirect=True)
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


async def test_both_moments_may_be_past_at_once(clock: ManualClock) -> None:
    """
    After a pause of the whole process the extra tries start together.
    """
    hedge, tries = Hedge(1.0, extra=2, clock=clock, name="h"), Tries()
    with record(hedge) as events:
        call = await played(
            hedge, tries, lambda: clock.advance(5.0), lambda: tries.let_go(3), clock=clock
        )

    assert (3, [1, 2]) == (call.result, sorted(tries.cancelled))
    assert [
        HedgeStarted("h", 2, 105.0),
        HedgeStarted("h", 3, 105.0),
        HedgeWon("h", 3, 3, 105.0),
    ] == events


async def test_an_answer_at_the_very_moment_is_taken(clock: ManualClock) -> None:
    """
    Whether another try has been started in that moment or not: nothing is left behind.
    """
    hedge, tries = Hedge(1.0, clock=clock), Tries()

    def both() -> None:
        tries.let_go(1)
        clock.advance(1.0)

    call = await played(hedge, tries, both, clock=clock)

    assert (1, None) == (call.result, call.error)
    assert len(tries.gates) - 1 == len(tries.cancelled)


async def test_of_two_answers_in_one_moment_the_first_is_taken(clock: ManualClock) -> None:
    """
    The other one is dropped, and the telling names who won.
    """
    hedge, tries = Hedge(1.0, clock=clock, name="h"), Tries()

    def both() -> None:
        tries.let_go(2)
        tries.let_go(1)

    with record(hedge) as events:
        call = await played(hedge, tries, lambda: clock.advance(1.0), both, clock=clock)

    assert call.result in (1, 2)
    assert HedgeWon("h", call.result, 2, 101.0) == events[-1]


class Loser:
    """Its second try answers at once; the first ends with *error* when it is cancelled."""

    def __init__(self, error: BaseException | None) -> None:
        self._error = error
        self._tries = 0

    async def __call__(self) -> int:
        self._tries += 1
        if self._tries == 2:
            return 2
        try:
            await anyio.sleep_forever()
        finally:
            if self._error is not None:
                raise self._error
            return 1  # noqa: B012


@pytest.mark.filterwarnings("ignore:'return' in a 'finally' block:SyntaxWarning")
@pytest.mark.parametrize("error", [None, ConnectionError(), LookupError()], ids=repr)
async def test_how_a_loser_ends_is_nobodys_business(
    error: Exception | None, clock: ManualClock
) -> None:
    """
    One that fails when it is cancelled, or answers after all, changes nothing.
    """
    call = Call(Hedge(1.0, clock=clock), Loser(error))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await settled()
        clock.advance(1.0)

    assert (2, None) == (call.result, call.error)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_of_a_loser_reaches_the_caller(
    kind: type[BaseException], clock: ManualClock
) -> None:
    """
    It is not lost because another try has answered before.
    """
    interrupt = kind()
    call = Call(Hedge(1.0, clock=clock), Loser(interrupt))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await settled()
        clock.advance(1.0)

    assert interrupt is call.error


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_while_the_caller_is_cancelled_reaches_it(
    kind: type[BaseException], clock: ManualClock
) -> None:
    """
    As without a hedge, where it takes the place of the cancellation.
    """
    interrupt = kind()
    call = Call(Hedge(1.0, clock=clock), Loser(interrupt))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await settled()
        tasks.cancel_scope.cancel()

    assert interrupt is call.error


async def test_a_group_that_the_function_raises_is_not_unpacked(clock: ManualClock) -> None:
    """
    It is the function's own, and reaches the caller as the same object.
    """
    group = ExceptionGroup("several", [ConnectionError(), ValueError()])

    async def refuse() -> None:
        raise group

    with pytest.raises(ExceptionGroup) as caught:
        await Hedge(1.0, clock=clock).call(refuse)

    assert group is caught.value


@pytest.mark.parametrize("handling", [False, True])
async def test_an_error_keeps_its_own_chain(handling: bool, clock: ManualClock) -> None:
    """
    Also when the call is made while another error is handled.
    """
    first = KeyError("first")

    async def refuse() -> None:
        try:
            raise first
        except KeyError:
            raise ConnectionError from None

    async def call() -> BaseException:
        with pytest.raises(ConnectionError) as caught:
            await Hedge(1.0, clock=clock).call(refuse)
        return caught.value

    if handling:
        try:
            raise ValueError("handled around the call")
        except ValueError:
            error = await call()
    else:
        error = await call()

    assert first is error.__context__


async def test_what_is_no_call_is_refused(clock: ManualClock) -> None:
    """
    With a hint; a coroutine is closed, and nothing is told.
    """
    hedge = Hedge(1.0, clock=clock)
    with record(hedge) as events:
        with pytest.raises(TypeError, match=r"write call\(fn, \.\.\.\) instead"):
            await hedge.call(answer())  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="did not: "):
            await hedge.call(lambda: 42)  # type: ignore[arg-type,return-value]
        with pytest.raises(TypeError, match="needs a callable that returns an awaitable, not 42"):
            await hedge.call(42)  # type: ignore[arg-type]

    assert [] == events


async def test_wrong_arguments_are_an_error_like_any_other(clock: ManualClock) -> None:
    """
    As without a hedge.
    """
    with pytest.raises(TypeError, match="positional argument"):
        await Hedge(1.0, clock=clock).call(answer, 1, 2, 3)  # type: ignore[call-arg]


class Held:
    """Can be referred to weakly."""


@pytest.mark.parametrize("end", ["both fail", "one fails", "cancelled", "interrupted"])
async def test_no_reference_cycle_is_left(
    end: str, clock: ManualClock, anyio_backend_name: str
) -> None:
    """
    What the tries held dies with them, however the call ends.
    """
    if anyio_backend_name == "asyncio" and end in ("cancelled", "interrupted"):
        pytest.skip("a task group of anyio itself keeps the cancellation of a child in a cycle")
    tries = Tries()
    died: list[weakref.ref[Held]] = []

    async def holding() -> int:
        held = Held()
        died.append(weakref.ref(held))
        return await tries()

    call = Call(Hedge(1.0, clock=clock), holding)
    gc.collect()
    gc.disable()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await settled()
            clock.advance(1.0)
            await settled()
            if end == "cancelled":
                tasks.cancel_scope.cancel()
            elif end == "interrupted":
                tries.let_go(1, KeyboardInterrupt())
            else:
                tries.let_go(1, ConnectionError())
                await settled()
                tries.let_go(2, ConnectionError() if end == "both fail" else None)
            await settled()
        call.error = None
        tries.errors.clear()
        await settled()
        assert [None, None] == [reference() for reference in died]
    finally:
        gc.enable()


async def test_a_spent_budget_is_told_of_once_a_minute(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A WARNING when it begins, an INFO a minute with the number of times, DEBUG between.
    """
    caplog.set_level(logging.INFO, "asyncbreaker")
    hedge = Hedge(1.0, budget=RetryBudget(0.0, floor=0.0), clock=clock, name="h")
    for pause in (0.0, 29.0, 29.0, 29.0, 29.0, 60.0):
        clock.advance(pause)
        tries = Tries()
        await played(
            hedge,
            tries,
            lambda: clock.advance(1.0),
            functools.partial(tries.let_go, 1),
            clock=clock,
        )

    text = "hedge 'h' starts no further try: its budget is spent"
    assert [
        ("WARNING", text),
        ("INFO", f"{text} (2 times since it was last said)"),
        ("INFO", f"{text} (2 times since it was last said)"),
        ("WARNING", text),
    ] == [(entry.levelname, entry.getMessage()) for entry in caplog.records]


async def test_a_try_that_was_withheld_is_not_counted(clock: ManualClock) -> None:
    """
    Neither among the tries that were made, nor in the number of the next one.
    """
    budget = RetryBudget(0.5, floor=0.0)
    hedge, tries = Hedge(1.0, extra=2, budget=budget, clock=clock, name="h"), Tries()
    with record(hedge) as events:
        await played(
            hedge,
            tries,
            lambda: clock.advance(1.0),
            lambda: budget.deposit(clock()),
            lambda: clock.advance(1.0),
            lambda: tries.let_go(2),
            clock=clock,
        )

    assert [
        HedgeWithheld("h", 101.0),
        HedgeStarted("h", 2, 102.0),
        HedgeWon("h", 2, 2, 102.0),
    ] == events


async def test_tries_do_not_see_each_others_context(clock: ManualClock) -> None:
    """
    Each starts from the caller's.
    """
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    tries = Tries()
    seen: list[int] = []

    async def look() -> int:
        seen.append(variable.get())
        variable.set(len(seen))
        return await tries()

    call = Call(Hedge(1.0, clock=clock), look)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await settled()
        clock.advance(1.0)
        await settled()
        tries.let_go(2)

    assert ([0, 0], 2) == (seen, call.result)


async def test_a_listener_that_raises_changes_nothing(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The second try starts, and its answer is taken.
    """

    def broken(event: object) -> None:
        raise LookupError("broken listener")

    hedge, tries = Hedge(1.0, clock=clock), Tries()
    hedge.add_listener(broken)
    call = await played(
        hedge, tries, lambda: clock.advance(1.0), lambda: tries.let_go(2), clock=clock
    )

    assert (2, ["ERROR"]) == (call.result, [entry.levelname for entry in caplog.records])


@pytest.mark.parametrize("anyio_backend", BACKENDS[:2], indirect=True)
@pytest.mark.parametrize("answering", [True, False])
async def test_a_cancellation_of_its_own_leaves_the_other_try(answering: bool) -> None:
    """
    Somebody has cancelled what the first try awaited: the second one decides.
    """
    clock, tries, error = ManualClock(), Tries(), ConnectionError()
    call = Call(Hedge(1.0, clock=clock), tries)
    task = asyncio.ensure_future(call())
    await settled()
    clock.advance(1.0)
    await settled()
    tries.let_go(1, asyncio.CancelledError("of its own"))
    await settled()
    assert not task.done()
    tries.let_go(2, None if answering else error)
    await task

    assert (2 if answering else None, None if answering else error) == (call.result, call.error)
