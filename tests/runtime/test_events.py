"""Listeners: plain functions that are told what happened, in order, and can break nothing."""

from __future__ import annotations

import functools
import gc
import logging
from contextlib import suppress
from typing import Any

import anyio
import pytest

from asyncbreaker import (
    CallRejected,
    CallSettled,
    Cause,
    CircuitBreaker,
    CircuitOpenError,
    Event,
    Outcome,
    Reason,
    State,
    StateChanged,
)
from asyncbreaker.testing import ManualClock, record
from tests.runtime.support import answer, fail, failing_call, fragile, rejected_call, settled

pytestmark = pytest.mark.anyio

CLOSED, OPEN, HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN


async def live_through_everything(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """Open, fail a probe, recover, and give every order."""
    await failing_call(breaker)
    clock.advance(10.0)
    await failing_call(breaker)
    clock.advance(10.0)
    await breaker.call(answer)
    breaker.force_open("drill")
    breaker.disable("migration")
    breaker.force_open("again")
    breaker.reset("over")


async def test_every_move_is_told_with_cause_and_reason(clock: ManualClock) -> None:
    """
    A listener is told each move with where from, where to, why, and when.
    """
    told: list[StateChanged] = []
    breaker = fragile(clock, listeners=[told.append])

    await live_through_everything(breaker, clock)

    assert [
        (CLOSED, OPEN, Cause.TRIPPED, "consecutive_failures(count=1)", 100.0),
        (OPEN, HALF_OPEN, Cause.WAIT_OVER, "", 110.0),
        (HALF_OPEN, OPEN, Cause.PROBE_FAILED, "", 110.0),
        (OPEN, HALF_OPEN, Cause.WAIT_OVER, "", 120.0),
        (HALF_OPEN, CLOSED, Cause.RECOVERED, "", 120.0),
        (CLOSED, State.FORCED_OPEN, Cause.FORCED, "drill", 120.0),
        (State.FORCED_OPEN, State.DISABLED, Cause.DISABLED, "migration", 120.0),
        (State.DISABLED, State.FORCED_OPEN, Cause.FORCED, "again", 120.0),
        (State.FORCED_OPEN, CLOSED, Cause.RESET, "over", 120.0),
    ] == [(told.old, told.new, told.cause, told.reason, told.at) for told in told]
    assert {"api"} == {event.breaker for event in told}
    assert 1 == told[0].counts.consecutive_failures


async def test_each_old_state_is_the_previous_new_one(clock: ManualClock) -> None:
    """
    Whatever many tasks do at once, the moves that are told form one chain.
    """
    told: list[StateChanged] = []
    breaker = fragile(clock, backoff=0.0, listeners=[told.append])

    async def disturb(number: int) -> None:
        for step in range(30):
            await anyio.lowlevel.checkpoint()
            await failing_call_if_admitted(breaker, fails=(number + step) % 3 == 0)
            if (number * 7 + step) % 11 == 0:
                breaker.reset()

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(disturb, number)

    assert len(told) > 20
    assert [CLOSED, *[event.new for event in told]] == [
        *[event.old for event in told],
        breaker.state,
    ]


async def failing_call_if_admitted(breaker: CircuitBreaker, *, fails: bool) -> None:
    with suppress(CircuitOpenError):
        async with breaker.guard() as permit:
            await anyio.lowlevel.checkpoint()
            if fails:
                permit.failure()


async def test_a_burst_of_failures_is_one_opening(clock: ManualClock) -> None:
    """
    A thousand calls that fail at once are told as one opening.
    """
    told: list[StateChanged] = []
    breaker = fragile(clock, listeners=[told.append])
    go = anyio.Event()

    async def call() -> None:
        await go.wait()
        raise ConnectionError

    async def caller() -> None:
        with pytest.raises(ConnectionError):
            await breaker.call(call)

    async with anyio.create_task_group() as group:
        for _ in range(1000):
            group.start_soon(caller)
        await settled()
        go.set()

    assert [OPEN] == [event.new for event in told]


async def test_what_a_listener_causes_is_told_after(clock: ManualClock) -> None:
    """
    A listener may reset the breaker; all are told of the opening first, then of the reset.
    """
    breaker = fragile(clock)
    told: list[tuple[str, State]] = []

    def first(event: StateChanged) -> None:
        told.append(("first", event.new))
        if event.new is OPEN:
            breaker.reset("I know better")

    breaker.add_listener(first)
    breaker.add_listener(lambda event: told.append(("second", event.new)))
    await failing_call(breaker)

    assert [("first", OPEN), ("second", OPEN), ("first", CLOSED), ("second", CLOSED)] == told
    assert CLOSED is breaker.state


@pytest.mark.parametrize(
    ("act", "states"),
    [
        ("force_open", [OPEN, State.FORCED_OPEN]),
        ("disable", [OPEN, State.DISABLED]),
        ("reset", [OPEN, CLOSED]),
        ("snapshot", [OPEN]),
        ("__repr__", [OPEN]),
    ],
)
async def test_a_listener_may_call_any_method(
    act: str, states: list[State], clock: ManualClock
) -> None:
    """
    A listener may give orders and look; the breaker obeys after the move it was told of.
    """
    breaker = fragile(clock)
    told: list[State] = []

    def listener(event: StateChanged) -> None:
        told.append(event.new)
        if event.new is OPEN:
            getattr(breaker, act)()
            breaker.configure(backoff=3.0)

    breaker.add_listener(listener)
    await failing_call(breaker)

    assert states == told
    assert states[-1] is breaker.state


async def test_a_listener_sees_the_state_it_is_told_of(clock: ManualClock) -> None:
    """
    Listeners are called after the move.
    """
    breaker = fragile(clock)
    seen: list[bool] = []
    breaker.add_listener(lambda event: seen.append(event.new is breaker.state))

    await live_through_everything(breaker, clock)

    assert [True] * 9 == seen


async def test_a_listener_may_take_itself_off(clock: ManualClock) -> None:
    """
    A listener that removes itself while it is told is told nothing more.
    """
    breaker = fragile(clock)
    told: list[State] = []

    def once(event: StateChanged) -> None:
        told.append(event.new)
        remove()

    remove = breaker.add_listener(once)
    await failing_call(breaker)
    breaker.reset()

    assert [OPEN] == told


async def test_a_listener_that_raises_is_logged_and_passed_over(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The others are told, the caller gets its own exception, and the log has it as ERROR once.
    """
    caplog.set_level(logging.DEBUG, "asyncbreaker")
    told: list[State] = []

    def broken(event: StateChanged) -> None:
        raise ZeroDivisionError("listener")

    breaker = fragile(clock, listeners=[broken, lambda event: told.append(event.new)])

    with pytest.raises(ConnectionError):
        await breaker.call(fail)
    clock.advance(10.0)
    assert 42 == await breaker.call(answer)

    assert [OPEN, HALF_OPEN, CLOSED] == told
    complaints = [entry.levelname for entry in caplog.records if "passed over" in entry.message]
    assert ["ERROR", "DEBUG", "DEBUG"] == complaints


async def test_a_listener_that_raises_breaks_no_call_and_no_rejection(clock: ManualClock) -> None:
    """
    Also what listens to calls and rejections may raise without anybody noticing.
    """
    breaker = fragile(clock)

    def broken(event: Event) -> None:
        raise ZeroDivisionError

    breaker.add_listener(broken, StateChanged, CallRejected, CallSettled)

    assert 42 == await breaker.call(answer)
    await failing_call(breaker)
    assert Reason.OPEN is (await rejected_call(breaker)).reason


class AsyncListener:
    async def __call__(self, event: StateChanged) -> None:
        """Never called."""


async def async_listener(event: StateChanged, extra: int = 0) -> None:
    """Never called."""


async def async_generator(event: StateChanged) -> Any:
    yield event


@pytest.mark.parametrize(
    "listener",
    [async_listener, functools.partial(async_listener, extra=1), AsyncListener(), async_generator],
)
async def test_an_async_listener_is_refused_with_a_hint(listener: Any, clock: ManualClock) -> None:
    """
    What would have to be awaited is refused, at both doors, with the way to do it.
    """
    breaker = fragile(clock)

    with pytest.raises(TypeError, match=r"listener must be .*breaker\.events\(\)"):
        breaker.add_listener(listener)
    with pytest.raises(TypeError, match=r"listeners must be .*breaker\.events\(\)"):
        fragile(clock, listeners=[listener])
    with pytest.raises(TypeError, match=r"listeners must be .*breaker\.events\(\)"):
        breaker.configure(listeners=[listener])


@pytest.mark.parametrize("listener", [None, 1, "print"])
async def test_what_is_no_function_is_no_listener(listener: Any, clock: ManualClock) -> None:
    """
    A listener that cannot be called is refused by name and value.
    """
    with pytest.raises(TypeError, match=f"listener must be callable, not {listener!r}"):
        fragile(clock).add_listener(listener)


async def test_the_remover_takes_the_listener_off(clock: ManualClock) -> None:
    """
    After the remover nothing is told, and calling it again does no harm.
    """
    told: list[Event] = []
    breaker = fragile(clock)
    remove = breaker.add_listener(told.append, StateChanged, CallRejected, CallSettled)

    remove()
    remove()
    await failing_call(breaker)
    await rejected_call(breaker)

    assert [] == told


async def test_a_listener_added_twice_is_told_twice(clock: ManualClock) -> None:
    """
    Each adding has a remover of its own.
    """
    told: list[State] = []

    def listener(event: StateChanged) -> None:
        told.append(event.new)

    breaker = fragile(clock)
    breaker.add_listener(listener)
    remove = breaker.add_listener(listener)

    await failing_call(breaker)
    remove()
    breaker.reset()

    assert [OPEN, OPEN, CLOSED] == told


async def test_only_the_kinds_asked_for_are_told(clock: ManualClock) -> None:
    """
    Without kinds a listener is told moves; else just what it asked for.
    """
    breaker = fragile(clock)
    moves: list[Event] = []
    rejections: list[Event] = []
    calls: list[Event] = []
    breaker.add_listener(moves.append)
    breaker.add_listener(rejections.append, CallRejected)
    breaker.add_listener(calls.append, CallSettled)

    await failing_call(breaker)
    clock.advance(4.0)
    await rejected_call(breaker)

    assert [StateChanged] == [type(event) for event in moves]
    assert [CallRejected("api", Reason.OPEN, 6.0, False, 104.0)] == rejections
    assert [
        CallSettled("api", Outcome.FAILURE, False, False, 0.0, "ConnectionError", 100.0)
    ] == calls


@pytest.mark.parametrize("kind", [str, "StateChanged", None, Event])
async def test_an_unknown_kind_is_refused(kind: Any, clock: ManualClock) -> None:
    """
    What is no class of events is refused with the names of those that are.
    """
    breaker = fragile(clock)

    with pytest.raises(TypeError, match=r"kinds must be event classes \(StateChanged, CallR"):
        breaker.add_listener(print, kind)
    with pytest.raises(TypeError, match="kinds must be event classes"):
        breaker.events(kind)


async def test_a_settled_call_is_told_with_its_duration(clock: ManualClock) -> None:
    """
    Seconds, slowness, and the class of what was raised stand in the event.
    """
    breaker = fragile(clock, trip=lambda counts: False, slow=2.0)

    async def last(seconds: float) -> None:
        clock.advance(seconds)

    with record(breaker) as events:
        await breaker.call(last, 1.0)
        await breaker.call(last, 2.0)
        async with breaker.guard() as permit:
            permit.ignore()

    assert [
        CallSettled("api", Outcome.SUCCESS, False, False, 1.0, None, 101.0),
        CallSettled("api", Outcome.SUCCESS, True, False, 2.0, None, 103.0),
        CallSettled("api", Outcome.IGNORED, False, False, 0.0, None, 103.0),
    ] == events


async def test_without_a_listener_no_event_is_built(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Events that nobody listens to cost nothing: they are not even made.
    """
    built: list[str] = []
    for kind in (StateChanged, CallRejected, CallSettled):
        original = kind.__init__

        def counting(
            self: Any, *args: Any, original: Any = original, name: str = kind.__name__
        ) -> None:
            built.append(name)
            original(self, *args)

        monkeypatch.setattr(kind, "__init__", counting)
    breaker = fragile(clock)

    await live_through_everything(breaker, clock)
    breaker.force_open()
    await rejected_call(breaker)
    assert [] == built

    with record(breaker):
        breaker.reset()
        await breaker.call(answer)
    assert ["StateChanged", "CallSettled"] == built


async def test_calls_older_than_the_listener_may_pass_untold(clock: ManualClock) -> None:
    """
    A call in flight when the listener comes ends as usual; calls after it are told.
    """
    breaker = fragile(clock)
    outer = breaker.guard()
    await outer.__aenter__()

    with record(breaker) as events:
        await outer.__aexit__(None, None, None)
        await breaker.call(answer)

    assert [Outcome.SUCCESS] == [event.outcome for event in events if type(event) is CallSettled]
    assert 2 == breaker.snapshot().succeeded


def test_a_remover_may_outlive_its_breaker() -> None:
    """
    Taking a listener off a breaker that is gone does nothing.
    """
    breaker = CircuitBreaker()
    remove = breaker.add_listener(lambda event: None)
    del breaker
    gc.collect()

    remove()
