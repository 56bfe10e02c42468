"""The health check: asked instead of sacrificing a user's call."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from asyncbreaker import (
    CallRejected,
    CircuitBreaker,
    CircuitOpenError,
    Reason,
    State,
    probing,
    slow_start,
)
from asyncbreaker.testing import ManualClock, force_state, record
from tests.runtime.support import answer, failing_call, fragile, rejected_call, settled

pytestmark = pytest.mark.anyio


class Check:
    """A health check that answers when told to."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.asked = 0
        self.error = error
        self.go = anyio.Event()
        self.go.set()

    def hold(self) -> None:
        self.go = anyio.Event()

    async def __call__(self) -> None:
        self.asked += 1
        await self.go.wait()
        if self.error is not None:
            raise self.error


async def opened(clock: ManualClock, check: Any, **settings: Any) -> CircuitBreaker:
    """A breaker whose wait is over."""
    breaker = fragile(clock, health_check=check, **settings)
    await failing_call(breaker)
    clock.advance(10.0)
    return breaker


async def test_it_is_not_asked_while_closed_or_open(clock: ManualClock) -> None:
    """
    Only when the wait is over, and only by a call, is the dependency asked.
    """
    check = Check()
    breaker = fragile(clock, health_check=check)
    await breaker.call(answer)
    await failing_call(breaker)
    await rejected_call(breaker)
    clock.advance(10.0)
    breaker.snapshot()
    await breaker.wait_ready()
    assert 0 == check.asked

    await breaker.call(answer)
    assert (1, State.CLOSED) == (check.asked, breaker.state)


async def test_a_hundred_callers_ask_once(clock: ManualClock) -> None:
    """
    One task asks; the others are rejected at once, none queues.
    """
    check = Check()
    breaker = await opened(clock, check)
    check.hold()
    reasons: list[Reason] = []
    got: list[int] = []

    async def caller() -> None:
        got.append(await breaker.call(answer))

    async def late_caller() -> None:
        reasons.append((await rejected_call(breaker)).reason)

    async with anyio.create_task_group() as group:
        group.start_soon(caller)
        await settled()
        for _ in range(99):
            group.start_soon(late_caller)
        await settled()
        assert State.HALF_OPEN is breaker.state
        assert [Reason.HALF_OPEN] * 99 == reasons
        check.go.set()

    assert ([42], 1, State.CLOSED) == (got, check.asked, breaker.state)


async def test_a_check_that_passes_lets_its_call_go_on(clock: ManualClock) -> None:
    """
    The check is the first answer: with two needed, its own call is the second.
    """
    check = Check()
    breaker = await opened(clock, check, recovery=probing(successes=2))
    assert 42 == await breaker.call(answer)
    assert State.CLOSED is breaker.state

    breaker = await opened(clock, check, recovery=probing(successes=3))
    assert 42 == await breaker.call(answer)
    assert State.HALF_OPEN is breaker.state
    assert 42 == await breaker.call(answer)
    assert (State.CLOSED, 2) == (breaker.state, check.asked)


async def test_the_call_after_a_check_is_judged_as_a_probe(clock: ManualClock) -> None:
    """
    A check that passes does not close the circuit over a call that fails.
    """
    breaker = await opened(clock, Check(), recovery=probing(successes=2))
    await failing_call(breaker)

    assert (State.OPEN, 2) == (breaker.state, breaker.snapshot().attempt)


async def test_under_slow_start_the_check_is_the_first_answer(clock: ManualClock) -> None:
    """
    A slow check is no yardstick: only its success counts, and the window grows from it.
    """
    check = Check()
    breaker = await opened(clock, check, recovery=slow_start())
    guard = breaker.guard()
    await guard.__aenter__()

    look = breaker.snapshot()
    assert (State.HALF_OPEN, 2.0, 1) == (look.state, look.window, look.in_flight)
    guard.success()
    await breaker.call(answer)
    assert 1 == check.asked


async def test_a_check_that_raises_opens_again(clock: ManualClock) -> None:
    """
    Attempt plus one, the call is rejected, and the check's error is the last failure.
    """
    attempts: list[int] = []

    def backoff(attempt: int) -> float:
        attempts.append(attempt)
        return 10.0

    check = Check(LookupError("not yet"))
    breaker = await opened(clock, check, backoff=backoff)
    with record(breaker) as events:
        error = await rejected_call(breaker)

    assert [1, 2] == attempts
    assert (Reason.OPEN, 10.0) == (error.reason, error.retry_after)
    assert ("LookupError", "not yet", 0.0) == error.last_failure
    look = breaker.snapshot()
    assert (State.OPEN, 2, 1, 1) == (look.state, look.attempt, look.rejected, look.reopened)
    assert [State.HALF_OPEN, State.OPEN, Reason.OPEN] == [
        event.reason if isinstance(event, CallRejected) else event.new  # type: ignore[union-attr]
        for event in events
    ]

    check.error = None
    clock.advance(10.0)
    assert 42 == await breaker.call(answer)
    assert State.CLOSED is breaker.state


@pytest.mark.parametrize("check", [lambda: None, lambda: 5, lambda: 1 / 0, lambda wanted: answer()])
async def test_a_check_that_gives_nothing_to_await_means_not_yet(
    check: Any, clock: ManualClock
) -> None:
    """
    A broken check opens again with its own error, and wedges nothing.
    """
    breaker = await opened(clock, check)
    error = await rejected_call(breaker)
    assert error.last_failure is not None
    assert error.last_failure.type in ("TypeError", "ZeroDivisionError")

    clock.advance(10.0)
    breaker.configure(health_check=None)
    assert 42 == await breaker.call(answer)


async def test_a_check_may_be_any_callable_that_can_be_awaited(clock: ManualClock) -> None:
    """
    A lambda that gives a coroutine will do.
    """
    breaker = await opened(clock, lambda: answer())
    assert 42 == await breaker.call(answer)


async def test_a_check_that_does_not_answer_is_cut_at_the_lease(clock: ManualClock) -> None:
    """
    After the lease, by the breaker's clock, it counts as failed with a TimeoutError.
    """
    check = Check()
    breaker = await opened(clock, check, recovery=probing(lease=3.0))
    check.hold()

    async with anyio.create_task_group() as group:
        group.start_soon(rejected_call, breaker)
        await settled()
        clock.advance(2.9)
        await settled()
        assert State.HALF_OPEN is breaker.state
        clock.advance(0.2)

    look = breaker.snapshot()
    assert (State.OPEN, 2) == (look.state, look.attempt)
    assert look.last_failure is not None
    assert ("TimeoutError", "no answer within 3 s") == look.last_failure[:2]


async def test_a_real_clock_cuts_at_the_lease_too(anyio_backend: Any) -> None:
    """
    With the default clock the event loop cuts the check.
    """
    breaker = CircuitBreaker(
        trip=lambda counts: True,
        backoff=0.0,
        recovery=probing(lease=0.005),
        health_check=anyio.sleep_forever,
    )
    await failing_call(breaker)
    error = await rejected_call(breaker)

    assert error.last_failure is not None
    assert ("TimeoutError", "no answer within 0.005 s") == error.last_failure[:2]
    assert State.OPEN is breaker.state


async def test_a_check_that_swallows_its_end_has_not_answered(anyio_backend: Any) -> None:
    """
    A check that was cut and returns all the same ran out of time.
    """

    async def stubborn() -> None:
        try:
            await anyio.sleep_forever()
        except BaseException:
            return

    breaker = CircuitBreaker(
        trip=lambda counts: True,
        backoff=0.0,
        recovery=probing(lease=0.005),
        health_check=stubborn,
    )
    await failing_call(breaker)
    error = await rejected_call(breaker)

    assert error.last_failure is not None
    assert "TimeoutError" == error.last_failure.type


async def test_a_cancelled_caller_lets_the_next_ask(clock: ManualClock) -> None:
    """
    Cancelling the call that asks teaches nothing; the next call asks anew.
    """
    check = Check()
    breaker = await opened(clock, check)
    check.hold()

    async def caller(scope: anyio.CancelScope) -> None:
        with scope:
            await breaker.call(answer)

    for asked in (1, 2, 3):
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()
            group.start_soon(caller, scope)
            await settled()
            assert asked == check.asked
            scope.cancel()
        look = breaker.snapshot()
        assert (State.HALF_OPEN, 1, 0) == (look.state, look.attempt, look.in_flight)

    check.go.set()
    assert 42 == await breaker.call(answer)
    assert (State.CLOSED, 4) == (breaker.state, check.asked)


async def test_a_waiter_passes_when_the_asker_is_cancelled(clock: ManualClock) -> None:
    """
    Who waits for the breaker goes on when the one that asked was cancelled.
    """
    check = Check()
    breaker = await opened(clock, check)
    check.hold()

    async def caller(scope: anyio.CancelScope) -> None:
        with scope:
            await breaker.call(answer)

    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()
        group.start_soon(caller, scope)
        await settled()
        group.start_soon(breaker.wait_ready)
        await settled()
        scope.cancel()


@pytest.mark.parametrize(
    ("order", "outcome"), [("reset", 42), ("disable", 42), ("force_open", Reason.FORCED)]
)
@pytest.mark.parametrize("error", [None, LookupError("not yet")])
async def test_an_order_during_the_check_stands(
    error: Exception | None, order: str, outcome: Any, clock: ManualClock
) -> None:
    """
    Whatever the check says then, the circuit stays as ordered, and the call obeys it.
    """
    check = Check(error)
    breaker = await opened(clock, check)
    check.hold()
    got: list[Any] = []

    async def caller() -> None:
        got.append(
            (await rejected_call(breaker)).reason
            if order == "force_open"
            else await breaker.call(answer)
        )

    async with anyio.create_task_group() as group:
        group.start_soon(caller)
        await settled()
        getattr(breaker, order)()
        state = breaker.state
        check.go.set()

    assert ([outcome], state) == (got, breaker.state)


async def test_in_shadow_mode_it_is_asked_and_the_call_goes_on(clock: ManualClock) -> None:
    """
    In shadow mode a check that fails opens again, and its call is made all the same.
    """
    check = Check(LookupError())
    breaker = await opened(clock, check, shadow=True)
    with record(breaker) as events:
        assert 42 == await breaker.call(answer)

    assert (State.OPEN, 1, 1) == (breaker.state, check.asked, breaker.snapshot().rejected)
    assert [True] == [event.shadow for event in events if isinstance(event, CallRejected)]


async def test_every_way_in_asks(clock: ManualClock) -> None:
    """
    Blocks, guards, decorated functions and streams ask before they go on.
    """
    check = Check()
    breaker = await opened(clock, check)

    @breaker
    async def decorated() -> None:
        """Nothing."""

    @breaker
    async def stream() -> Any:
        yield 1

    async def block() -> None:
        async with breaker:
            pass

    async def guard() -> None:
        async with breaker.guard():
            pass

    async def drain() -> None:
        assert [1] == [item async for item in stream()]

    for asked, way in enumerate((decorated, block, guard, drain), start=1):
        force_state(breaker, State.HALF_OPEN)
        await way()
        assert (asked, State.CLOSED) == (check.asked, breaker.state)


async def test_the_check_may_use_the_callers_context(clock: ManualClock) -> None:
    """
    It runs in the caller's own task.
    """
    tasks: list[int] = []

    async def check() -> None:
        tasks.append(anyio.get_current_task().id)

    breaker = await opened(clock, check)
    await breaker.call(answer)

    # ManualClock needs a helper task, the check itself stays with the caller.
    assert [anyio.get_current_task().id] == tasks


async def test_a_check_through_the_breaker_is_rejected_not_stuck(clock: ManualClock) -> None:
    """
    A check that goes through its own breaker fails instead of waiting for itself.
    """

    async def check() -> None:
        await breaker.call(answer)

    breaker = await opened(clock, check)
    error = await rejected_call(breaker)

    assert error.last_failure is not None
    assert "CircuitOpenError" == error.last_failure.type


@pytest.mark.parametrize("check", [5, "ping"])
def test_what_cannot_be_called_is_no_check(check: Any) -> None:
    """
    A check that is no callable is refused by name and value.
    """
    with pytest.raises(TypeError, match=f"health_check must be callable, not {check!r}"):
        CircuitBreaker(health_check=check)


async def test_a_check_that_an_order_made_void_lets_nobody_queue(clock: ManualClock) -> None:
    """
    While an older check still runs, a call that is to ask is rejected, not kept waiting.
    """
    asked: list[int] = []

    async def never() -> None:
        asked.append(1)
        await anyio.sleep_forever()

    breaker = CircuitBreaker(
        health_check=never, recovery=probing(), backoff=1.0, clock=clock, name="void"
    )

    async def ask() -> None:
        await breaker.call(anyio.sleep, 0)

    force_state(breaker, State.HALF_OPEN)
    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        breaker.reset()
        force_state(breaker, State.HALF_OPEN)
        with pytest.raises(CircuitOpenError) as rejected:
            await ask()
        assert Reason.HALF_OPEN is rejected.value.reason
        assert ([1], 0) == (asked, breaker.snapshot().in_flight)
        group.cancel_scope.cancel()
