"""Which endings are failures, which are successes, and which say nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from asyncbreaker import (
    CallSettled,
    CircuitBreaker,
    CircuitOpenError,
    Outcome,
    RejectedError,
    State,
    probing,
)
from asyncbreaker.testing import ManualClock, force_state
from tests.runtime.calls import answer, attempt, fail, half_open, make

pytestmark = pytest.mark.anyio


class NotFoundError(LookupError):
    """The dependency has answered."""


class BulkheadFullError(RejectedError):
    """A rejection of another policy."""


CANCELLED = asyncio.CancelledError()


async def verdict(breaker: CircuitBreaker, error: BaseException) -> str:
    """Let a call raise *error*; say what it was taken for."""
    before = breaker.snapshot()

    async def raise_it() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await breaker.call(raise_it)
    assert error is caught.value
    after = breaker.snapshot()
    (changed,) = [
        name
        for name in ("succeeded", "failed", "ignored")
        if getattr(after, name) - getattr(before, name) == 1
    ]
    return changed


Group = ExceptionGroup


@pytest.mark.parametrize(
    ("settings", "error", "expected"),
    [
        ({}, ValueError(), "failed"),
        ({}, TimeoutError(), "failed"),
        ({}, CANCELLED, "ignored"),
        ({}, RejectedError(), "ignored"),
        ({"fail_on": OSError}, ConnectionError(), "failed"),
        ({"fail_on": OSError}, ValueError(), "ignored"),
        ({"fail_on": (OSError, EOFError)}, EOFError(), "failed"),
        ({"fail_on": ()}, OSError(), "ignored"),
        ({"fail_on": BaseException}, OSError(), "failed"),
        ({"fail_on": BaseException}, CANCELLED, "ignored"),
        ({"succeed_on": NotFoundError}, NotFoundError(), "succeeded"),
        ({"succeed_on": NotFoundError}, LookupError(), "failed"),
        ({"succeed_on": NotFoundError, "fail_on": NotFoundError}, NotFoundError(), "succeeded"),
        ({"succeed_on": (KeyError, NotFoundError)}, NotFoundError(), "succeeded"),
        ({"fail_on": lambda e: "busy" in str(e)}, OSError("busy"), "failed"),
        ({"fail_on": lambda e: "busy" in str(e)}, OSError("gone"), "ignored"),
        ({"succeed_on": lambda e: isinstance(e, KeyError)}, KeyError(), "succeeded"),
        # Our own rejections: only the name of the type is enough.
        ({"fail_on": BaseException}, BulkheadFullError(), "ignored"),
        ({"fail_on": lambda e: True}, BulkheadFullError(), "ignored"),
        ({"succeed_on": lambda e: True}, BulkheadFullError(), "ignored"),
        ({"succeed_on": Exception}, BulkheadFullError(), "ignored"),
        ({"fail_on": RejectedError}, BulkheadFullError(), "failed"),
        ({"fail_on": (Exception, BulkheadFullError)}, BulkheadFullError(), "failed"),
        ({"fail_on": (Exception, BulkheadFullError)}, RejectedError(), "ignored"),
        ({"succeed_on": RejectedError}, BulkheadFullError(), "succeeded"),
        # Groups are judged by what is inside.
        ({}, Group("", [ValueError()]), "failed"),
        ({}, Group("", [RejectedError()]), "ignored"),
        ({}, Group("", [RejectedError(), OSError()]), "failed"),
        ({"fail_on": OSError}, Group("", [ValueError()]), "ignored"),
        ({"fail_on": OSError}, Group("", [ValueError(), OSError()]), "failed"),
        ({"fail_on": OSError}, Group("", [Group("", [Group("", [OSError()])])]), "failed"),
        ({"succeed_on": NotFoundError}, Group("", [NotFoundError()]), "succeeded"),
        ({"succeed_on": NotFoundError}, Group("", [NotFoundError(), OSError()]), "failed"),
        ({"succeed_on": NotFoundError}, Group("", [NotFoundError(), RejectedError()]), "succeeded"),
        ({"succeed_on": Group, "fail_on": ()}, Group("", [OSError()]), "ignored"),
        ({}, BaseExceptionGroup("", [CANCELLED, CANCELLED]), "ignored"),
        ({}, BaseExceptionGroup("", [BaseExceptionGroup("", [CANCELLED])]), "ignored"),
        ({}, BaseExceptionGroup("", [CANCELLED, OSError()]), "failed"),
        ({"fail_on": lambda e: True}, BaseExceptionGroup("", [CANCELLED]), "ignored"),
        ({"fail_on": lambda e: isinstance(e, ValueError)}, Group("", [ValueError()]), "failed"),
    ],
)
async def test_what_an_error_is_taken_for(
    clock: ManualClock, settings: dict[str, Any], error: BaseException, expected: str
) -> None:
    """
    ``succeed_on`` wins over ``fail_on``; what is in neither says nothing.
    """
    assert expected == await verdict(make(clock, **settings), error)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"fail_on_result": lambda status: status >= 500}, "failed"),
        ({"fail_on_result": lambda status: status >= 600}, "succeeded"),
        ({"fail_on_result": lambda status: "truthy"}, "failed"),
        ({"fail_on_result": lambda status: status / 0}, "ignored"),
        ({}, "succeeded"),
    ],
)
@pytest.mark.parametrize("state", [State.CLOSED, State.HALF_OPEN])
async def test_a_returned_value_may_be_a_failure(
    clock: ManualClock, settings: dict[str, Any], expected: str, state: State
) -> None:
    """
    The caller gets it all the same.
    """
    breaker = make(clock, **settings)
    force_state(breaker, state)

    async def status() -> int:
        return 503

    assert 503 == await breaker.call(status)
    assert 1 == getattr(breaker.snapshot(), expected)
    assert not breaker.snapshot().in_flight


async def test_a_failed_result_opens_and_is_named_in_the_rejection(clock: ManualClock) -> None:
    """
    There is no exception, so words take its place.
    """
    breaker = make(clock, fail_on_result=lambda result: result == 42)
    for _ in range(2):
        assert 42 == await breaker.call(answer)
    with pytest.raises(CircuitOpenError) as rejected:
        await breaker.call(answer)

    assert rejected.value.last_failure is not None
    assert "fail_on_result" in rejected.value.last_failure.message


def broken(judged: object) -> bool:
    raise RuntimeError("broken predicate")


@pytest.mark.parametrize("start", [make, half_open], ids=["closed", "half-open"])
@pytest.mark.parametrize("matcher", ["fail_on", "succeed_on", "fail_on_result"])
async def test_a_broken_predicate_changes_nothing_and_is_logged_once(
    clock: ManualClock,
    matcher: str,
    start: Callable[..., CircuitBreaker],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    The caller gets the dependency's own error or result; nothing is learned or wedged.
    """
    breaker = start(clock, **{matcher: broken})
    state = breaker.state
    for _ in range(3):
        if matcher == "fail_on_result":
            assert 42 == await breaker.call(answer)
        else:
            error = await attempt(lambda: breaker.call(fail))
            assert isinstance(error, ConnectionError)
            assert (None, None) == (error.__cause__, error.__context__)

    look = breaker.snapshot()
    assert (state, 3, 0, 0) == (look.state, look.ignored, look.failed, look.in_flight or 0)
    errors = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert 1 == len(errors)
    assert "broken" in errors[0].getMessage()


async def test_a_predicate_sees_the_cause(clock: ManualClock) -> None:
    """
    A wrapper that was raised from a timeout can be told from any other.
    """

    def timed_out(error: Exception) -> bool:
        return isinstance(error.__cause__, TimeoutError)

    breaker = make(clock, fail_on=timed_out)
    wrapper = RuntimeError("cluster")
    wrapper.__cause__ = TimeoutError()

    assert "failed" == await verdict(breaker, wrapper)
    assert "ignored" == await verdict(breaker, RuntimeError("db must be 0"))


async def test_a_success_by_error_ends_a_run_of_failures(clock: ManualClock) -> None:
    """
    A 404 is an answer as good as any.
    """
    breaker = make(clock, succeed_on=NotFoundError)
    for error in (OSError(), NotFoundError(), OSError(), NotFoundError(), OSError()):
        await verdict(breaker, error)

    assert State.CLOSED is breaker.state


async def test_a_success_by_error_closes_a_half_open_circuit(clock: ManualClock) -> None:
    """
    Routine misses must not keep it from recovering.
    """
    breaker = half_open(clock, succeed_on=NotFoundError)
    await verdict(breaker, NotFoundError())

    assert State.CLOSED is breaker.state


async def test_ignored_errors_touch_neither_run_nor_rate(clock: ManualClock) -> None:
    """
    Between two failures they do not count, and they do not separate them.
    """
    breaker = make(clock, fail_on=OSError)
    await verdict(breaker, OSError())
    for _ in range(10):
        await verdict(breaker, ValueError())
    assert 1 == breaker.snapshot().counts.consecutive_failures
    await verdict(breaker, OSError())

    assert State.OPEN is breaker.state


async def test_the_rejections_of_a_nested_breaker_do_not_open_the_outer(
    clock: ManualClock,
) -> None:
    """
    That the inner circuit is open says nothing new of what the outer one guards.
    """
    inner, outer = make(clock), make(clock)
    inner.force_open()
    for _ in range(10):
        error = await attempt(lambda: outer.call(inner.call, answer))
        assert isinstance(error, CircuitOpenError)

    assert (State.CLOSED, 10) == (outer.state, outer.snapshot().ignored)


async def test_a_probe_that_a_nested_breaker_rejects_gives_its_place_back(
    clock: ManualClock,
) -> None:
    """
    The next one may close the circuit.
    """
    inner, outer = make(clock), half_open(clock, recovery=probing())
    inner.force_open()
    await attempt(lambda: outer.call(inner.call, answer))
    assert (State.HALF_OPEN, 0) == (outer.state, outer.snapshot().in_flight)
    inner.reset()

    assert 42 == await outer.call(inner.call, answer)
    assert State.CLOSED is outer.state


async def test_naming_the_type_makes_a_nested_rejection_a_failure(clock: ManualClock) -> None:
    """
    Whoever wants it says so.
    """
    inner, outer = make(clock), make(clock, fail_on=(Exception, CircuitOpenError))
    inner.force_open()
    for _ in range(2):
        await attempt(lambda: outer.call(inner.call, answer))

    assert State.OPEN is outer.state


@pytest.mark.parametrize("name", ["fail_on", "succeed_on"])
@pytest.mark.parametrize(
    ("matcher", "error"),
    [
        (int, TypeError),
        ((OSError, "x"), TypeError),
        (None, TypeError),
        ("OSError", TypeError),
        (OSError(), TypeError),
        (KeyboardInterrupt, ValueError),
        ((OSError, asyncio.CancelledError), ValueError),
    ],
)
def test_what_is_no_matcher_is_refused(name: str, matcher: Any, error: type[Exception]) -> None:
    """
    The message names the parameter, and cancellation cannot be made a failure.
    """
    with pytest.raises(error, match=name):
        CircuitBreaker(**{name: matcher})


async def test_a_result_that_nobody_judges_is_a_success_while_calls_are_timed(
    clock: ManualClock,
) -> None:
    """
    Listening to the ends of calls changes no verdict.
    """
    breaker = make(clock)
    settled: list[CallSettled] = []
    breaker.add_listener(settled.append, CallSettled)
    await breaker.call(answer)

    assert [Outcome.SUCCESS] == [event.outcome for event in settled]


def test_a_list_of_types_is_refused_with_the_remedy() -> None:
    """
    The usual slip, a list, is answered with what is taken.
    """
    with pytest.raises(TypeError, match="fail_on must be an exception type, a tuple of them"):
        CircuitBreaker(fail_on=[ValueError])  # type: ignore[arg-type]
