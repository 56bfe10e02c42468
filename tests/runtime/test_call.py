"""``breaker.call``: what may be called, and what the caller gets back."""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from asyncbreaker import (
    CallSettled,
    CircuitBreaker,
    CircuitOpenError,
    FailureSummary,
    Outcome,
    Reason,
    State,
)
from asyncbreaker.testing import ManualClock, force_state, record
from tests.runtime.calls import WAYS, Fn, Pending, answer, attempt, fail, half_open, make

pytestmark = pytest.mark.anyio

Way = Callable[[CircuitBreaker, Fn], Awaitable[None]]

colour: ContextVar[str] = ContextVar("colour", default="none")


class Service:
    async def add(self, left: int, right: int = 0) -> int:
        return left + right

    async def __call__(self, left: int, right: int = 0) -> int:
        return left + right


SHAPES: dict[str, Callable[..., Awaitable[int]]] = {
    "bound method": Service().add,
    "async __call__": Service(),
    "partial": functools.partial(Service().add),
    "lambda": lambda left, right=0: Service().add(left, right),
    "unbound method": functools.partial(Service.add, Service()),
}


@pytest.mark.parametrize("fn", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("start", [make, half_open], ids=["closed", "half-open"])
async def test_whatever_returns_an_awaitable_may_be_called(
    clock: ManualClock, fn: Callable[..., Awaitable[int]], start: Callable[..., CircuitBreaker]
) -> None:
    """
    It is awaited inside the guard, with its arguments.
    """
    breaker = start(clock)

    assert 42 == await breaker.call(fn, 40, right=2)
    assert 40 == await breaker.call(fn, 40)
    assert 2 == breaker.snapshot().succeeded


async def test_an_awaitable_object_may_be_returned(clock: ManualClock) -> None:
    """
    Any awaitable will do, not only a coroutine.
    """

    class Ready:
        def __await__(self) -> Any:
            return answer().__await__()

    assert 42 == await make(clock).call(Ready)


async def test_the_arguments_may_be_named_as_ours_are(clock: ManualClock) -> None:
    """
    Every keyword belongs to the function.
    """

    async def takes(self: int, fn: int, permit: int) -> int:
        return self + fn + permit

    assert 6 == await make(clock).call(takes, self=1, fn=2, permit=3)


async def items() -> AsyncIterator[int]:
    yield 1


@asynccontextmanager
async def acquire() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("start", [make, half_open], ids=["closed", "half-open"])
@pytest.mark.parametrize(
    ("fn", "hint"),
    [(lambda: 42, "awaitable"), (items, "decorate"), (acquire, "entering")],
    ids=["plain", "async generator", "context manager"],
)
async def test_what_returns_nothing_to_await_is_refused(
    clock: ManualClock, fn: Any, hint: str, start: Callable[..., CircuitBreaker]
) -> None:
    """
    It would never be judged: a TypeError says what to write, and nothing is learned.
    """
    breaker = start(clock)
    state = breaker.state
    with pytest.raises(TypeError, match=hint) as refused:
        await breaker.call(fn)

    look = breaker.snapshot()
    assert (state, 1, 0, 0) == (look.state, look.ignored, look.failed, look.in_flight or 0)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("state", [State.CLOSED, State.OPEN, State.HALF_OPEN, State.DISABLED])
async def test_a_ready_made_coroutine_is_refused_and_closed(
    clock: ManualClock, state: State
) -> None:
    """
    The hint comes in every state, also when rejecting, and Python warns of nothing.
    """
    breaker = make(clock)
    force_state(breaker, state)
    with pytest.raises(TypeError, match=r"write call\(fn, \.\.\.\)"):
        await breaker.call(answer())  # type: ignore[arg-type]

    assert (state, 0) == (breaker.state, breaker.snapshot().failed)


@pytest.mark.parametrize("state", [State.CLOSED, State.OPEN])
async def test_what_cannot_be_called_is_refused(clock: ManualClock, state: State) -> None:
    """
    Forgetting the function is the caller's mistake, not the dependency's.
    """
    breaker = make(clock)
    force_state(breaker, state)
    with pytest.raises(TypeError, match="needs a callable that returns an awaitable, not 42"):
        await breaker.call(42)  # type: ignore[arg-type]

    assert 0 == breaker.snapshot().failed


async def test_a_wrong_argument_counts_as_a_failure(clock: ManualClock) -> None:
    """
    What is raised before there is anything to await is judged like anything else.
    """
    breaker = make(clock)
    with pytest.raises(TypeError, match="unexpected keyword"):
        await breaker.call(answer, wrong=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional argument"):
        await breaker.call(answer, 1)  # type: ignore[call-arg]

    assert (State.OPEN, 2) == (breaker.state, breaker.snapshot().failed)


async def test_a_type_error_of_the_call_itself_passes_as_it_is(clock: ManualClock) -> None:
    """
    Only what we could not await gets our hint.
    """
    breaker = make(clock)
    error = TypeError("its own")

    async def raises() -> None:
        raise error

    with pytest.raises(TypeError) as caught:
        await breaker.call(raises)

    assert (error, 1) == (caught.value, breaker.snapshot().failed)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("start", [make, half_open], ids=["closed", "half-open"])
async def test_an_error_arrives_as_the_same_object_with_nothing_chained(
    clock: ManualClock, way: Way, start: Callable[..., CircuitBreaker]
) -> None:
    """
    Also for the call that trips.
    """
    breaker = start(clock)
    for _ in range(2):
        error = ConnectionError("refused")

        async def refuse(error: Exception = error) -> None:
            raise error

        if breaker.state is State.OPEN:
            break
        caught = await attempt(lambda refuse=refuse: way(breaker, refuse))
        assert error is caught
        assert (None, None) == (error.__cause__, error.__context__)

    assert State.OPEN is breaker.state


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("start", [make, half_open], ids=["closed", "half-open"])
async def test_context_variables_set_inside_are_seen_outside(
    clock: ManualClock, way: Way, start: Callable[..., CircuitBreaker]
) -> None:
    """
    The call runs in the caller's own task and context.
    """

    async def paint() -> None:
        colour.set("green")

    colour.set("red")
    await way(start(clock), paint)

    assert "green" == colour.get()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("told", [False, True], ids=["untold", "told"])
async def test_every_way_in_rejects_and_shares_one_state(
    clock: ManualClock, way: Way, told: bool
) -> None:
    """
    Whichever way it was opened by, all others are shut, and nothing is called.
    """
    breaker = make(clock)
    if told:
        breaker.add_listener(lambda event: None, CallSettled)
    called = []

    async def count() -> None:
        called.append(1)

    for _ in range(2):
        assert isinstance(await attempt(lambda: way(breaker, fail)), ConnectionError)
    rejected = [await attempt(lambda other=other: other(breaker, count)) for other in WAYS]

    assert [] == called
    assert {CircuitOpenError} == {type(error) for error in rejected}
    assert len(WAYS) == breaker.snapshot().rejected


@pytest.mark.parametrize("way", WAYS)
async def test_100_calls_are_inside_before_the_first_is_let_go(
    clock: ManualClock, way: Way
) -> None:
    """
    No lock is held over the call.
    """
    breaker = make(clock)
    inside, gate = 0, anyio.Event()

    async def meet() -> None:
        nonlocal inside
        inside += 1
        await gate.wait()

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(way, breaker, meet)
        await anyio.wait_all_tasks_blocked()
        assert 100 == inside
        gate.set()

    assert 100 == breaker.snapshot().succeeded


async def test_1000_rejections_call_nothing_and_warn_of_nothing(clock: ManualClock) -> None:
    """
    No coroutine is made that would never be awaited.
    """
    breaker = make(clock)
    force_state(breaker, State.OPEN)
    made = []

    async def work() -> None:
        """Never runs."""

    def factory() -> Awaitable[None]:
        made.append(1)
        return work()

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for _ in range(1000):
            with pytest.raises(CircuitOpenError):
                await breaker.call(factory)

    assert ([], 1000) == (made, breaker.snapshot().rejected)


async def test_a_rejection_says_who_why_how_long_and_what_was_last(clock: ManualClock) -> None:
    """
    Data for programs, and one line with the numbers for people.
    """
    breaker = make(clock)
    for _ in range(2):
        await attempt(lambda: breaker.call(fail))
    clock.advance(4.0)
    with pytest.raises(CircuitOpenError) as rejected:
        await breaker.call(answer)

    error = rejected.value
    assert ("db", Reason.OPEN, 6.0) == (error.breaker, error.reason, error.retry_after)
    assert FailureSummary("ConnectionError", "refused", 4.0) == error.last_failure
    assert "circuit 'db' is open; retry in 6 s" in str(error)
    assert "\n" not in str(error)
    assert (None, None) == (error.__cause__, error.__context__)


@pytest.mark.parametrize(
    ("state", "reason"), [(State.FORCED_OPEN, Reason.FORCED), (State.HALF_OPEN, Reason.HALF_OPEN)]
)
async def test_where_no_time_is_known_retry_after_is_none(
    clock: ManualClock, state: State, reason: Reason
) -> None:
    """
    A zero would make obedient callers spin.
    """
    breaker = make(clock)
    force_state(breaker, state)
    pending = Pending()
    async with anyio.create_task_group() as group:
        if state is State.HALF_OPEN:
            group.start_soon(breaker.call, pending)
            await pending.entered.wait()
        error = await attempt(lambda: breaker.call(answer))
        pending.gate.set()

    assert isinstance(error, CircuitOpenError)
    assert (reason, None, None) == (error.reason, error.retry_after, error.last_failure)


async def test_disabled_admits_everything_and_records_nothing(clock: ManualClock) -> None:
    """
    Not even a total or an event of a call.
    """
    breaker = make(clock)
    breaker.disable()
    before = breaker.snapshot()
    with record(breaker) as events:
        for way in WAYS:
            for _ in range(5):
                await attempt(lambda way=way: way(breaker, fail))
                await way(breaker, answer)

    assert ([], before) == (events, breaker.snapshot())


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_in_tells_how_a_call_ended(clock: ManualClock, way: Way) -> None:
    """
    A test can assert that a path is guarded at all.
    """
    breaker = make(clock)
    with record(breaker) as events:
        await way(breaker, answer)
        await attempt(lambda: way(breaker, fail))

    assert [(Outcome.SUCCESS, None), (Outcome.FAILURE, "ConnectionError")] == [
        (e.outcome, e.error_type) for e in events if isinstance(e, CallSettled)
    ]
    assert (1, 1) == (breaker.snapshot().succeeded, breaker.snapshot().failed)


@pytest.mark.parametrize("jump", [-86400.0, -3600.0, 3600.0, 86400.0])
async def test_only_the_injected_clock_counts(
    clock: ManualClock, jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A wall clock that is set, by an hour or a day, changes nothing.
    """
    breaker = make(clock)
    force_state(breaker, State.OPEN)
    wall = time.time()
    monkeypatch.setattr(time, "time", lambda: wall + jump)
    monkeypatch.setattr(time, "time_ns", lambda: int((wall + jump) * 1e9))
    clock.advance(9.9)
    assert isinstance(await attempt(lambda: breaker.call(answer)), CircuitOpenError)
    clock.advance(0.1)

    assert 42 == await breaker.call(answer)
