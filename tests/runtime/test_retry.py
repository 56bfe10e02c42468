"""Retry: what is tried again, after which pause, and how it gives up."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import math
import traceback
import warnings
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncbreaker import (
    BulkheadFullError,
    CircuitBreaker,
    CircuitOpenError,
    GaveUp,
    Pipeline,
    Reason,
    RejectedError,
    RetriesExhausted,
    Retry,
    RetryBudget,
    RetryScheduled,
    State,
    Timeout,
    Wait,
    current_attempt,
    full_jitter,
)
from asyncbreaker._runtime.pauses import ask
from asyncbreaker._runtime.retry import PACE
from asyncbreaker.testing import ManualClock, record
from tests.runtime.support import answer, fail, fragile, settled

pytestmark = pytest.mark.anyio


class QuickClock(ManualClock):
    """Moves on by itself when somebody sleeps on it, and keeps for how long."""

    def __init__(self) -> None:
        super().__init__(100.0)
        self.slept: list[float] = []

    async def sleep_until(self, when: float) -> None:
        self.slept.append(when - self())
        self.advance(max(when - self(), 0.0))


class Service:
    """Ends its calls as it is told, one after another, and then well; keeps the attempts."""

    def __init__(self, *ends: BaseException | None) -> None:
        self.ends = list(ends)
        self.seen: list[int] = []

    async def __call__(self) -> int:
        self.seen.append(current_attempt())
        end = self.ends.pop(0) if self.ends else None
        if end is not None:
            raise end
        return 42


class AskedError(Exception):
    """A dependency's error that says when to come back."""

    def __init__(self, retry_after: object) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


def errors(count: int) -> list[ConnectionError]:
    return [ConnectionError(f"no {number}") for number in range(1, count + 1)]


def opened(retry_after: float | None = 4.0) -> CircuitOpenError:
    return CircuitOpenError("api", Reason.OPEN, retry_after)


async def failed(retry: Retry, service: Callable[[], Awaitable[object]]) -> BaseException:
    """Return what a call raises."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        await retry.call(service)
    return caught.value


def notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


@pytest.fixture
def quick() -> QuickClock:
    return QuickClock()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "asyncbreaker")
    return caplog


# How many tries, and of what.


async def test_a_first_try_that_succeeds_costs_nothing(quick: QuickClock) -> None:
    """
    No sleep, no event, no try more; arguments and answer go through.
    """
    retry = Retry(backoff=1.0, clock=quick)

    async def echo(*args: object, **kwargs: object) -> object:
        return args, kwargs

    with record(retry) as events:
        assert ((1, 2), {"fn": 3}) == await retry.call(echo, 1, 2, fn=3)
    assert ([], []) == (quick.slept, events)


async def test_a_first_try_that_succeeds_does_not_yield() -> None:
    """
    A call that needs no retry goes on without giving way to other tasks.
    """
    coroutine = Retry(budget=RetryBudget()).call(answer)
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert 42 == ended.value.value


@pytest.mark.parametrize("attempts", [1, 2, 3, 7])
async def test_so_many_attempts_are_made(attempts: int, quick: QuickClock) -> None:
    """
    The first one included, each with its number; after the last one nobody sleeps.
    """
    service = Service(*errors(10))
    await failed(Retry(attempts, backoff=0.5, clock=quick), service)

    assert list(range(1, attempts + 1)) == service.seen
    assert [0.5] * (attempts - 1) == quick.slept


@pytest.mark.parametrize("failures", [0, 1, 2])
async def test_the_first_success_ends_it(failures: int, quick: QuickClock) -> None:
    """
    The caller gets that answer, and no try is made after it.
    """
    service = Service(*errors(failures))

    assert 42 == await Retry(3, backoff=0.5, clock=quick).call(service)
    assert failures + 1 == len(service.seen)


async def test_three_attempts_are_the_default(quick: QuickClock) -> None:
    """
    With pauses of up to 0.1 and 0.2 seconds, by chance.
    """
    service = Service(*errors(10))
    await failed(Retry(clock=quick), service)

    first, second = quick.slept
    assert [1, 2, 3] == service.seen
    assert 0 <= first <= 0.1 + 1e-9
    assert 0 <= second <= 0.2 + 1e-9


def only_odd(error: Exception) -> bool:
    return "odd" in str(error)


@pytest.mark.parametrize(
    ("on", "error", "again"),
    [
        (Exception, ConnectionError(), True),
        (OSError, ConnectionError(), True),
        (OSError, ValueError(), False),
        ((ValueError, OSError), ConnectionError(), True),
        ((ValueError, KeyError), ConnectionError(), False),
        ((), ConnectionError(), False),
        (BaseException, ConnectionError(), True),
        (only_odd, ValueError("odd"), True),
        (only_odd, ValueError("even"), False),
        (lambda error: 1, ValueError(), True),
        (OSError, ExceptionGroup("g", [ConnectionError(), TimeoutError()]), True),
        (OSError, ExceptionGroup("g", [ConnectionError(), ValueError()]), False),
        (OSError, ExceptionGroup("g", [ExceptionGroup("h", [OSError()]), OSError()]), True),
        (OSError, ExceptionGroup("g", [ExceptionGroup("h", [KeyError()]), OSError()]), False),
        (ExceptionGroup, ExceptionGroup("g", [KeyError()]), True),
        (ExceptionGroup, KeyError(), False),
        (BaseExceptionGroup, ExceptionGroup("g", [KeyError()]), True),
        (only_odd, ExceptionGroup("odd", [KeyError("even"), KeyError("odd")]), False),
        (only_odd, ExceptionGroup("even", [KeyError("odd 1"), KeyError("odd 2")]), True),
    ],
)
async def test_on_says_what_is_worth_another_try(
    on: Any, error: Exception, again: bool, quick: QuickClock
) -> None:
    """
    A type, a tuple or a predicate; of a group every leaf must match, or its type be named.
    """
    service = Service(error)
    retry = Retry(2, on=on, backoff=0.5, clock=quick)
    if again:
        assert 42 == await retry.call(service)
    else:
        with record(retry) as events:
            assert error is await failed(retry, service)
        assert ([], [], [1]) == (notes(error), events, service.seen)


@pytest.mark.parametrize("group", [False, True])
async def test_a_predicate_that_raises_means_no(
    group: bool, quick: QuickClock, log: pytest.LogCaptureFixture
) -> None:
    """
    The dependency's own error passes; the predicate's is logged, loud once.
    """

    def broken(error: Exception) -> bool:
        raise LookupError("broken")

    error: Exception = ConnectionError("mine")
    if group:
        error = ExceptionGroup("g", [error])
    retry = Retry(on=broken, clock=quick)
    for _ in range(2):
        service = Service(error)
        assert error is await failed(retry, service)
        assert ([1], None, None) == (service.seen, error.__cause__, error.__context__)

    complaints = [entry.levelname for entry in log.records if "broken" in entry.getMessage()]
    assert ["ERROR", "DEBUG"] == complaints


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        asyncio.CancelledError(),
        BaseExceptionGroup("g", [KeyboardInterrupt()]),
        BaseExceptionGroup("g", [ConnectionError(), asyncio.CancelledError()]),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("on", [Exception, BaseException, BaseExceptionGroup, lambda error: True])
async def test_what_is_no_exception_is_never_tried_again(
    on: Any, error: BaseException, quick: QuickClock
) -> None:
    """
    Cancellation and interrupts pass at once, alone and in groups, whatever ``on`` says.
    """
    service = Service(error)
    retry = Retry(on=on, clock=quick, backoff=0.0)
    with record(retry) as events:
        assert error is await failed(retry, service)

    assert ([1], [], [], []) == (service.seen, quick.slept, notes(error), events)


async def test_a_cancelled_try_is_not_made_again(clock: ManualClock) -> None:
    """
    Also by the loop's own cancellation: the scope gets it.
    """
    service, made = Service(), []

    async def hanging() -> None:
        made.append(current_attempt())
        await anyio.sleep_forever()

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Retry(clock=clock, backoff=0.0).call, hanging)
            await settled()
            scope.cancel()

    assert (True, [1], []) == (scope.cancelled_caught, made, service.seen)


@pytest.mark.parametrize(
    "error",
    [
        opened(0.5),
        opened(None),
        BulkheadFullError("db", 5),
        RejectedError("no"),
        ExceptionGroup("g", [opened()]),
        ExceptionGroup("g", [ConnectionError(), ExceptionGroup("h", [BulkheadFullError("db", 5)])]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("on", [Exception, lambda error: True, ExceptionGroup])
async def test_a_rejection_is_never_tried_again(
    on: Any, error: Exception, quick: QuickClock
) -> None:
    """
    It passes as it is, unnoted and untold: neither ``Exception`` nor a predicate means it.
    """
    service = Service(error)
    retry = Retry(on=on, backoff=0.0, clock=quick)
    with record(retry) as events:
        assert error is await failed(retry, service)

    assert ([1], [], [], []) == (service.seen, quick.slept, notes(error), events)


async def test_a_rejection_after_a_failure_passes_with_a_note(quick: QuickClock) -> None:
    """
    It was no try, and the note says so; the failure before is not chained to it.
    """
    error = BulkheadFullError("db", 5)
    retry = Retry(3, backoff=0.5, name="again", clock=quick)
    assert error is await failed(retry, Service(*errors(1), error))

    assert ["again: gave up after 1 of 3 attempts; this error is not tried again"] == notes(error)
    assert (None, None) == (error.__context__, error.__cause__)


async def test_an_error_of_another_kind_after_a_failure_passes_with_a_note(
    quick: QuickClock,
) -> None:
    """
    The second try failed for good: two of three were made.
    """
    error = KeyError("gone")
    retry = Retry(3, on=OSError, backoff=0.5, name="again", clock=quick)
    with record(retry) as events:
        assert error is await failed(retry, Service(*errors(1), error))

    assert ["again: gave up after 2 of 3 attempts; this error is not tried again"] == notes(error)
    assert [RetryScheduled] == [type(event) for event in events]


# How long it pauses.


async def test_the_backoff_is_asked_once_per_retry(quick: QuickClock) -> None:
    """
    With the number of the retry, from 1, anew in each call.
    """
    asked: list[int] = []

    def backoff(attempt: int) -> float:
        asked.append(attempt)
        return attempt / 4

    retry = Retry(4, backoff=backoff, clock=quick)
    for _ in range(2):
        await failed(retry, Service(*errors(10)))

    assert [1, 2, 3, 1, 2, 3] == asked
    assert [0.25, 0.5, 0.75] * 2 == quick.slept


@pytest.mark.parametrize("said", [2, 2.0, Wait(2.0), Wait(2.0, rejections=1)])
async def test_a_backoff_may_answer_with_any_number_or_a_wait(said: Any, quick: QuickClock) -> None:
    """
    All of them are seconds; nobody turns calls away here, so no wait ends early.
    """
    retry = Retry(2, backoff=lambda _: said, clock=quick)
    with record(retry) as events:
        assert 42 == await retry.call(Service(*errors(1)))

    (event,) = events
    assert isinstance(event, RetryScheduled)
    assert ([2.0], 2.0, float) == (quick.slept, event.wait, type(event.wait))


def test_the_default_is_asked_for_the_same_retry() -> None:
    """
    In the place of a backoff that answers nonsense, which is told of.
    """
    complaints: list[tuple[object, str]] = []

    def broken(attempt: int) -> float:
        raise LookupError(f"broken {attempt}")

    pause = ask(broken, 3, lambda n: n / 4, lambda who, why: complaints.append((who, str(why))))
    assert (Wait(0.75), [(broken, "broken 3")]) == (pause, complaints)


@pytest.mark.parametrize("nonsense", [math.nan, -1.0, "1", None, True, math.inf, LookupError()])
async def test_a_backoff_that_answers_nonsense_is_replaced_by_the_default(
    nonsense: Any, quick: QuickClock, log: pytest.LogCaptureFixture
) -> None:
    """
    The call goes on with the pauses of the default; the log has one ERROR.
    """

    def backoff(attempt: int) -> float:
        if isinstance(nonsense, Exception):
            raise nonsense
        return nonsense  # type: ignore[no-any-return]

    assert 42 == await Retry(3, backoff=backoff, clock=quick).call(Service(*errors(2)))
    assert all(0 <= slept <= 0.2 + 1e-9 for slept in quick.slept)
    assert [1] == [1 for entry in log.records if entry.levelname == "ERROR"]


@pytest.mark.parametrize(
    ("retry_after", "slept"),
    [
        (0.5, 1.0),
        (1.0, 1.0),
        (1.5, 1.5),
        (2, 2.0),
        (299, 299.0),
        (300, 300.0),
        (300.5, 300.0),
        (10**400, 300.0),
        (math.inf, 300.0),
        (0, 1.0),
        (-0.0, 1.0),
        (-5.0, 1.0),
        (-math.inf, 1.0),
        (math.nan, 1.0),
        (None, 1.0),
        ("7", 1.0),
        ([7], 1.0),
    ],
)
async def test_the_longer_of_backoff_and_retry_after_is_slept(
    retry_after: object, slept: float, quick: QuickClock
) -> None:
    """
    At most 300 seconds; what is no number of seconds counts as not said.
    """
    retry = Retry(2, backoff=1.0, clock=quick)

    assert 42 == await retry.call(Service(AskedError(retry_after)))
    assert [slept] == quick.slept


@pytest.mark.parametrize(
    ("retry_after", "slept"),
    [(0.25, 0.25), (1, 1.0), (0, 0.0), (-5.0, 0.0), (math.nan, 0.0), (True, 0.0)],
)
async def test_without_a_backoff_the_dependency_alone_decides(
    retry_after: float, slept: float, quick: QuickClock
) -> None:
    """
    Also on a part of a second.
    """
    assert 42 == await Retry(2, backoff=0.0, clock=quick).call(Service(AskedError(retry_after)))
    assert [slept] == quick.slept


async def test_a_backoff_may_be_longer_than_what_a_dependency_may_ask_for(
    quick: QuickClock,
) -> None:
    """
    The cap is on others' wishes, not on the user's own.
    """
    assert 42 == await Retry(2, backoff=1000.0, clock=quick).call(Service(AskedError(500.0)))
    assert [1000.0] == quick.slept


async def test_a_retry_after_that_raises_is_passed_over(
    quick: QuickClock, log: pytest.LogCaptureFixture
) -> None:
    """
    The backoff decides, and the log names the error's class once.
    """

    class OddError(Exception):
        @property
        def retry_after(self) -> float:
            raise LookupError("odd")

    assert 42 == await Retry(3, backoff=1.0, clock=quick).call(Service(OddError(), OddError()))
    complaints = [entry for entry in log.records if "OddError'> raised" in entry.getMessage()]
    assert [1.0, 1.0] == quick.slept
    assert ["ERROR", "DEBUG"] == [entry.levelname for entry in complaints]


@pytest.mark.parametrize("manual", [True, False])
async def test_a_pause_of_nothing_lets_others_run(manual: bool, quick: QuickClock) -> None:
    """
    A tight loop of failures does not keep the event loop, on any clock.
    """
    seen: list[str] = []
    settings: dict[str, Any] = {"clock": quick} if manual else {}

    async def other() -> None:
        seen.append("other")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await Retry(3, backoff=0.0, **settings).call(Service(*errors(2)))
        seen.append("done")

    assert ["other", "done"] == seen


# When it is too late.


@pytest.mark.parametrize(
    ("within", "tries"), [(0.1, 1), (0.99, 1), (1.0, 2), (1.99, 2), (2.0, 3), (2.01, 3), (1e9, 4)]
)
async def test_no_sleep_begins_that_would_end_after_within(
    within: float, tries: int, quick: QuickClock
) -> None:
    """
    One that ends exactly then is still slept; from the beginning of the call, all together.
    """
    retry = Retry(4, backoff=1.0, within=within, name="again", clock=quick)
    service = Service(*errors(10))
    with record(retry) as events:
        error = await failed(retry, service)

    last = events[-1]
    assert isinstance(last, RetriesExhausted)
    assert tries == len(service.seen) == last.attempts
    assert [1.0] * (tries - 1) == quick.slept
    assert (GaveUp.ATTEMPTS if tries == 4 else GaveUp.WITHIN) is last.reason
    assert 1 == len(notes(error))
    assert f"after {tries} of 4 attempts" in notes(error)[0]


async def test_within_counts_the_time_of_the_tries_but_cuts_none(quick: QuickClock) -> None:
    """
    A slow try that ends well after it still answers; one that fails is the last.
    """
    service = Service(*errors(1))

    async def slow() -> int:
        quick.advance(5.0)
        return await service()

    retry = Retry(backoff=1.0, within=6.0, clock=quick)
    assert 42 == await retry.call(slow)
    assert [1.0] == quick.slept

    service = Service(*errors(3))
    assert "no 2" == str(await failed(retry, slow))
    assert [1.0, 1.0] == quick.slept


async def test_a_retry_after_that_is_too_long_for_within_is_not_waited_for(
    quick: QuickClock,
) -> None:
    """
    The error passes at once: coming back sooner than asked would be rude, later too late.
    """
    error = AskedError(2.5)
    assert error is await failed(Retry(backoff=0.5, within=2.0, clock=quick), Service(error))
    assert [] == quick.slept


@pytest.mark.parametrize("scope", ["move_on_after", "fail_after", "inner", "outer", "trio"])
async def test_no_sleep_begins_that_would_end_after_the_deadline(
    scope: str, quick: QuickClock, anyio_backend: tuple[str, object]
) -> None:
    """
    The nearest of all scopes counts; the error is the dependency's, not a timeout.
    """
    if scope == "trio":
        if anyio_backend[0] != "trio":
            pytest.skip("trio's own scopes are there under trio")
        import trio

        near: Any = trio.move_on_after(60)
    else:
        near = anyio.fail_after(60) if scope == "fail_after" else anyio.move_on_after(60)
    far = anyio.move_on_after(6000)
    first, second = (far, near) if scope == "inner" else (near, far)
    error = ConnectionError("mine")
    service = Service(error)
    retry = Retry(backoff=61.0, name="again", clock=quick)
    with record(retry) as events, first, second:
        assert error is await failed(retry, service)

    assert ([1], []) == (service.seen, quick.slept)
    assert [RetriesExhausted("again", 1, GaveUp.DEADLINE, 0.0, "ConnectionError", 100.0)] == events
    assert [
        "again: gave up after 1 of 3 attempts in 0 s: the next one would come after the deadline"
    ] == notes(error)


async def test_a_deadline_of_asyncio_alone_is_not_seen(
    quick: QuickClock, anyio_backend: tuple[str, object]
) -> None:
    """
    ``asyncio.timeout`` tells nobody when it ends: the pause is begun, unless ``within`` forbids.
    """
    if anyio_backend[0] == "trio":
        pytest.skip("asyncio's own timeouts are there under asyncio")
    async with asyncio.timeout(60):
        assert 42 == await Retry(backoff=61.0, clock=quick).call(Service(*errors(1)))
        assert "no 1" == str(
            await failed(Retry(backoff=61.0, within=60, clock=quick), Service(*errors(1)))
        )
    assert [61.0] == quick.slept


async def test_a_sleep_that_ends_before_the_deadline_is_begun(quick: QuickClock) -> None:
    """
    A deadline far away, a shielded one and one that is left again change nothing.
    """
    with anyio.move_on_after(60):
        assert 42 == await Retry(backoff=30.0, clock=quick).call(Service(*errors(1)))
    with anyio.move_on_after(60), anyio.CancelScope(shield=True):
        assert 42 == await Retry(backoff=3000.0, clock=quick).call(Service(*errors(1)))
    with anyio.move_on_after(60):
        await anyio.lowlevel.checkpoint()
    assert 42 == await Retry(backoff=3000.0, clock=quick).call(Service(*errors(1)))


async def test_a_try_that_fails_in_a_cancelled_scope_is_not_made_again(quick: QuickClock) -> None:
    """
    The caller has gone: there is no time left for any pause, not even none.
    """
    service = Service(*errors(5))
    retry = Retry(backoff=0.0, clock=quick)
    with anyio.CancelScope() as scope:
        scope.cancel()
        error = await failed(retry, service)

    assert ([1], "no 1") == (service.seen, str(error))


@pytest.mark.parametrize("by", ["scope", "task"])
async def test_a_cancellation_that_became_an_error_is_not_tried_again(
    by: str, quick: QuickClock, anyio_backend: tuple[str, object]
) -> None:
    """
    Some drivers raise an error of their own when they are cancelled: the caller has gone.
    """
    if by == "task" and anyio_backend[0] == "trio":
        pytest.skip("asyncio's own cancellation is there under asyncio")
    made: list[int] = []
    ends: list[BaseException] = []
    retry = Retry(backoff=0.0, name="again", clock=quick)

    async def driver() -> None:
        made.append(current_attempt())
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            raise ConnectionError("torn") from None

    async def caller() -> None:
        ends.append(await failed(retry, driver))

    with record(retry) as events:
        if by == "scope":
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(caller)
                await settled()
                tasks.cancel_scope.cancel()
        else:
            task = asyncio.ensure_future(caller())
            await settled()
            task.cancel()
            await task

    assert ([1], [], ["torn"]) == (made, quick.slept, [str(end) for end in ends])
    why = "the caller has been cancelled"
    assert [f"again: gave up after 1 of 3 attempts in 0 s: {why}"] == notes(ends[0])
    assert [RetriesExhausted("again", 1, GaveUp.CANCELLED, 0.0, "ConnectionError", 100.0)] == events


async def test_a_clean_up_is_tried_again(quick: QuickClock) -> None:
    """
    Shielded from the cancellation that began it: it was cancelled before the call, not in it.
    """
    answers: list[int] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                answers.append(await Retry(backoff=1.0, clock=quick).call(Service(*errors(2))))

    assert ([42], [1.0, 1.0]) == (answers, quick.slept)


@pytest.mark.parametrize("swallowed", [False, True])
async def test_a_clean_up_of_a_task_of_asyncio_is_tried_again(
    swallowed: bool, quick: QuickClock, anyio_backend: tuple[str, object]
) -> None:
    """
    A cancelled task may go on in ``finally``, or because it has swallowed that.
    """
    if anyio_backend[0] == "trio":
        pytest.skip("asyncio's own cancellation is there under asyncio")
    answers: list[int] = []

    async def caller() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            answers.append(await Retry(backoff=1.0, clock=quick).call(Service(*errors(2))))
            if not swallowed:
                raise

    task = asyncio.ensure_future(caller())
    await settled()
    task.cancel()
    await asyncio.wait([task])

    assert ([42], not swallowed) == (answers, task.cancelled())


@pytest.mark.parametrize(("seconds", "tries"), [(0.5, 1), (0.99, 1), (1.01, 2), (1.5, 2), (2.5, 3)])
async def test_a_timeout_of_ours_around_it_is_a_deadline_too(
    seconds: float, tries: int, clock: ManualClock
) -> None:
    """
    On a manual clock as on the loop's: the error passes at once, and is no ``TimeoutError``.
    """
    made = errors(3)
    service, retry = Service(*made), Retry(backoff=1.0, clock=clock)
    ends: list[BaseException] = []

    async def caller() -> None:
        with pytest.raises(ConnectionError) as caught:
            await Pipeline(Timeout(seconds, clock=clock), retry).call(service)
        ends.append(caught.value)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller)
        for _ in range(tries - 1):
            await clock.slept_on(2)
            clock.advance(1.0)
        await settled()
        assert [made[tries - 1]] == ends
    assert tries == len(service.seen)
    assert [] == clock._sleepers


async def test_a_sleep_that_ends_with_a_timeout_of_ours_may_begin(clock: ManualClock) -> None:
    """
    Exactly at the limit there is time left to begin it: a try that fails at once then is the last.
    """
    ends: list[str] = []
    retry = Retry(backoff=1.0, clock=clock)
    service = Service(*errors(3))

    async def caller() -> None:
        try:
            ends.append(str(await Pipeline(Timeout(1.0, clock=clock), retry).call(service)))
        except Exception as error:
            ends.append(type(error).__name__)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller)
        await clock.slept_on(2)
        clock.advance(1.0)

    assert (["ConnectionError"], [1, 2], []) == (ends, service.seen, clock._sleepers)


async def test_a_timeout_on_the_loops_clock_is_a_deadline_too(quick: QuickClock) -> None:
    """
    It is anyio's scope, so a retry by any clock sees it.
    """
    service = Service(*errors(3))
    with pytest.raises(ConnectionError):
        await Pipeline(Timeout(60.0), Retry(backoff=61.0, clock=quick)).call(service)
    assert [1] == service.seen


async def test_a_nearer_timeout_outside_counts_in_a_further_one(clock: ManualClock) -> None:
    """
    Of nested limits the nearest holds, in whichever order they stand.
    """
    for limits in ((0.5, 5.0), (5.0, 0.5)):
        outer, inner = (Timeout(seconds, clock=clock) for seconds in limits)
        service = Service(*errors(3))
        with pytest.raises(ConnectionError):
            await outer(inner(Retry(backoff=1.0, clock=clock)(service)))()
        assert [1] == service.seen


# What the caller gets.


@pytest.mark.parametrize("attempts", [1, 2, 3])
async def test_the_last_error_arrives_as_the_same_object(attempts: int, quick: QuickClock) -> None:
    """
    Unchained, with one note that names the attempts; the others carry none.
    """
    made = errors(3)
    last = await failed(Retry(attempts, backoff=0.5, name="again", clock=quick), Service(*made))

    seconds = 0.5 * (attempts - 1)
    assert made[attempts - 1] is last
    assert (None, None, False) == (last.__context__, last.__cause__, last.__suppress_context__)
    told = f"again: gave up after {attempts} of {attempts} attempts in {seconds:g} s"
    assert [f"{told}: no attempt is left"] == notes(last)
    assert [] == [note for error in made if error is not last for note in notes(error)]


async def test_the_chain_of_an_error_stays_as_it_is(quick: QuickClock) -> None:
    """
    What the dependency chained is kept, and the caller's own context is as without a retry.
    """
    error, cause = ConnectionError("mine"), KeyError("cause")

    async def chained() -> None:
        raise error from cause

    handled = ValueError("handled")
    try:
        raise handled
    except ValueError:
        assert error is await failed(Retry(2, backoff=0.5, clock=quick), chained)
    assert (cause, handled) == (error.__cause__, error.__context__)


async def test_the_traceback_shows_the_function_that_failed(quick: QuickClock) -> None:
    """
    The innermost frame is the user's, and no frame is there once per try.
    """
    last = await failed(Retry(3, backoff=0.5, clock=quick), fail)
    names = [frame.name for frame in traceback.extract_tb(last.__traceback__)]

    assert ["failed", "call", "fail"] == names


class CuriousError(Exception):
    """Raises what it is told to when it gets a note."""

    def __init__(self, raises: Exception) -> None:
        self.raises = raises

    def add_note(self, note: str, /) -> None:
        raise self.raises


class FixedError(Exception):
    """Its notes are no list."""

    __notes__ = ("fixed",)  # type: ignore[assignment]


class SecretError(Exception):
    """Shows its notes to nobody."""

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise LookupError("secret")


@pytest.mark.parametrize(
    "error",
    [
        CuriousError(LookupError()),
        CuriousError(TypeError()),
        CuriousError(ConnectionError()),
        FixedError(),
        SecretError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_that_takes_no_note_passes_without(
    error: Exception, quick: QuickClock
) -> None:
    """
    A note is a help, never a reason to lose the error, nor its event.
    """
    retry = Retry(2, backoff=0.5, clock=quick)
    with record(retry) as events:
        assert error is await failed(retry, Service(*errors(1), error))

    assert (None, None) == (error.__context__, error.__cause__)
    assert [RetryScheduled, RetriesExhausted] == [type(event) for event in events]


async def test_the_notes_of_others_stay(quick: QuickClock) -> None:
    """
    Before and after ours, also when ours is renewed because the error comes again.
    """
    error = ConnectionError("closed")
    error.add_note("again: is not the retry of that name")
    retry = Retry(1, name="again", clock=quick)
    await failed(retry, Service(error))
    error.add_note("theirs")
    await failed(retry, Service(error))

    ours = "again: gave up after 1 of 1 attempts in 0 s: no attempt is left"
    assert ["again: is not the retry of that name", "theirs", ours] == notes(error)


async def test_a_short_time_is_told_without_an_exponent(quick: QuickClock) -> None:
    """
    A call that fails within microseconds is told of in figures that people read.
    """

    async def short() -> None:
        quick.advance(6.4e-06)
        raise ConnectionError

    assert "e-0" not in notes(await failed(Retry(1, clock=quick), short))[0]


@pytest.mark.parametrize("listens", [False, True])
@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"backoff": 0.5}, ConnectionError),
        ({"backoff": 5.0, "within": 1.0}, ConnectionError),
        ({"backoff": 0.5, "budget": RetryBudget(0.0, floor=0.0)}, ConnectionError),
        ({"on": KeyError}, ConnectionError),
        ({}, partial(BulkheadFullError, "db", 5)),
        ({"wait_open": 5.0}, partial(CircuitOpenError, "api", Reason.OPEN, 3.0)),
    ],
    ids=["attempts", "within", "budget", "not picked", "rejected", "open"],
)
async def test_a_failed_call_leaves_no_reference_cycle(
    settings: dict[str, Any],
    error: Callable[[], Exception],
    listens: bool,
    quick: QuickClock,
    log: pytest.LogCaptureFixture,
) -> None:
    """
    What the failed tries held is freed as soon as the caller drops the error, however it ended.
    """
    retry = Retry(3, clock=quick, **settings)

    class Body:
        """Something large."""

    held: list[weakref.ref[Body]] = []

    async def failing() -> None:
        body = Body()
        held.append(weakref.ref(body))
        raise error()

    async def caller() -> None:
        with suppress(Exception):
            await retry.call(failing)

    gc.collect()
    gc.disable()
    try:
        with record(retry) if listens else nullcontext():
            await caller()
            assert {None} == {body() for body in held}
    finally:
        gc.enable()


async def test_an_error_of_a_try_is_not_kept_through_the_next(quick: QuickClock) -> None:
    """
    During a long pause or a long try, the frames of the try before are free already.
    """

    class Body:
        """Something large."""

    held: list[weakref.ref[Body]] = []
    seen: list[object] = []

    async def failing() -> None:
        if held:
            seen.append(held[0]())
            return
        body = Body()
        held.append(weakref.ref(body))
        raise ConnectionError

    gc.collect()
    gc.disable()
    try:
        await Retry(2, backoff=0.5, clock=quick).call(failing)
    finally:
        gc.enable()
    assert [None] == seen


async def test_nested_retries_multiply(quick: QuickClock) -> None:
    """
    Two around three make six calls; the error carries a note of each.
    """
    service = Service(*errors(10))
    inner = Retry(3, backoff=0.5, name="inner", clock=quick)
    outer = Retry(2, backoff=1.0, name="outer", clock=quick)
    error = await failed(outer, lambda: inner.call(service))

    assert [1, 2, 3, 1, 2, 3] == service.seen
    assert [0.5, 0.5, 1.0, 0.5, 0.5] == quick.slept
    assert [
        "inner: gave up after 3 of 3 attempts in 1 s: no attempt is left",
        "outer: gave up after 2 of 2 attempts in 3 s: no attempt is left",
    ] == notes(error)


async def test_an_error_that_is_raised_again_has_one_note(quick: QuickClock) -> None:
    """
    Some clients raise one and the same object every time: it does not grow.
    """
    error = ConnectionError("closed")
    retry = Retry(1, clock=quick)
    for _ in range(5):
        await failed(retry, Service(error))

    assert 1 == len(notes(error))


# The events.


async def test_every_pause_and_the_end_are_told(quick: QuickClock) -> None:
    """
    With all their figures, in order; a success after failures tells of the pauses alone.
    """
    retry = Retry(3, backoff=lambda n: n / 2, name="again", clock=quick)
    with record(retry) as events:
        await failed(retry, Service(ConnectionError(), KeyError(), TimeoutError()))
        assert 42 == await retry.call(Service(OSError()))

    assert [
        RetryScheduled("again", 2, 0.5, "ConnectionError", 100.0),
        RetryScheduled("again", 3, 1.0, "KeyError", 100.5),
        RetriesExhausted("again", 3, GaveUp.ATTEMPTS, 1.5, "TimeoutError", 101.5),
        RetryScheduled("again", 2, 0.5, "OSError", 101.5),
    ] == events


async def test_a_pause_is_told_before_it_begins(clock: ManualClock) -> None:
    """
    Whoever watches sees the retry coming.
    """
    retry = Retry(backoff=1.0, clock=clock)
    async with anyio.create_task_group() as tasks:
        with record(retry) as events:
            tasks.start_soon(retry.call, Service(*errors(1)))
            await clock.slept_on()
            assert [RetryScheduled] == [type(event) for event in events]
            clock.advance(1.0)
    assert [RetryScheduled] == [type(event) for event in events]


async def test_a_listener_that_raises_changes_nothing(quick: QuickClock) -> None:
    """
    Neither the tries nor the error.
    """

    def broken(event: object) -> None:
        raise LookupError("broken")

    retry = Retry(2, backoff=0.5, clock=quick)
    retry.add_listener(broken)
    made = errors(2)

    assert made[1] is await failed(retry, Service(*made))
    assert None is made[1].__context__


async def test_each_pause_and_the_end_have_a_line_in_the_log(
    quick: QuickClock, log: pytest.LogCaptureFixture
) -> None:
    """
    On DEBUG, since they happen to one call; each carries the name of the policy.
    """
    retry = Retry(3, backoff=lambda n: n / 2, within=10.0, name="again", clock=quick)
    await failed(retry, Service(ConnectionError(), KeyError(), TimeoutError()))
    await retry.call(answer)
    await failed(retry, Service(OSError(), AskedError(11.0)))
    await failed(retry, Service(OSError(), BulkheadFullError("db", 5)))

    too_late = "the next one would come too late (within=)"
    assert [
        "retry 'again' makes attempt 2 in 0.5 s, after ConnectionError",
        "retry 'again' makes attempt 3 in 1 s, after KeyError",
        "retry 'again' lets TimeoutError pass after 3 attempts: no attempt is left",
        "retry 'again' makes attempt 2 in 0.5 s, after OSError",
        f"retry 'again' lets AskedError pass after 2 attempts: {too_late}",
        "retry 'again' makes attempt 2 in 0.5 s, after OSError",
    ] == [entry.getMessage() for entry in log.records]
    assert {(logging.DEBUG, "again", "asyncbreaker")} == {
        (entry.levelno, vars(entry)["policy"], entry.name) for entry in log.records
    }


# The budget.


async def test_an_error_passes_at_once_when_the_budget_is_spent(
    quick: QuickClock, log: pytest.LogCaptureFixture
) -> None:
    """
    With an event, a note, and one WARNING; then it is quiet for a minute.
    """
    budget = RetryBudget(0.0, floor=0.1, window=10.0)
    retry = Retry(3, backoff=0.5, budget=budget, name="again", clock=quick)
    with record(retry) as events:
        spent = [await failed(retry, Service(*errors(3))) for _ in range(3)]

    assert [RetryScheduled("again", 2, 0.5, "ConnectionError", 100.0)] == events[:1]
    assert [
        RetriesExhausted("again", 2, GaveUp.BUDGET, 0.5, "ConnectionError", 100.5),
        *[RetriesExhausted("again", 1, GaveUp.BUDGET, 0.0, "ConnectionError", 100.5)] * 2,
    ] == events[1:]
    assert ["again: gave up after 2 of 3 attempts in 0.5 s: the retry budget is spent"] == notes(
        spent[0]
    )
    loud = [entry.getMessage() for entry in log.records if entry.levelno > logging.DEBUG]
    assert ["retry 'again' lets ConnectionError pass: the retry budget is spent"] == loud


async def test_a_spent_budget_is_told_of_once_a_minute(
    quick: QuickClock, log: pytest.LogCaptureFixture
) -> None:
    """
    The first time as a WARNING, then as INFO with how often.
    """
    retry = Retry(budget=RetryBudget(0.0, floor=0.0), backoff=0.0, clock=quick)
    for _ in range(121):
        await failed(retry, fail)
        quick.advance(1.0)

    loud = [entry.levelname for entry in log.records if entry.levelno > logging.DEBUG]
    assert ["WARNING", "INFO", "INFO"] == loud


async def test_a_retry_that_is_not_made_is_not_paid_for(quick: QuickClock) -> None:
    """
    The last attempt, a sleep that comes too late, an error that passes: the budget stays.
    """
    budget = RetryBudget(0.0, floor=1.0)
    common: dict[str, Any] = {"budget": budget, "backoff": 5.0, "clock": quick}
    await failed(Retry(1, **common), fail)
    await failed(Retry(within=4.0, **common), fail)
    await failed(Retry(on=KeyError, **common), fail)
    with anyio.move_on_after(4.0):
        await failed(Retry(**common), fail)
    await failed(Retry(wait_open=1.0, **common), Service(opened(10.0)))
    assert 10.0 == budget.balance(quick())

    await failed(Retry(2, **common), fail)
    assert 9.0 == budget.balance(quick())


async def test_every_call_pays_into_the_budget_once(quick: QuickClock) -> None:
    """
    A call is one, however it ends and however many tries it takes.
    """
    budget = RetryBudget(0.5, floor=1.0)
    retry = Retry(3, backoff=0.0, budget=budget, clock=quick)
    for _ in range(4):
        await retry.call(answer)
    assert 12.0 == budget.balance(quick())
    await failed(retry, fail)
    assert 10.5 == budget.balance(quick())


async def test_two_retries_share_a_budget(quick: QuickClock) -> None:
    """
    What one spends the other lacks.
    """
    budget = RetryBudget(0.0, floor=0.2)
    first, second = (Retry(3, backoff=0.0, budget=budget, clock=quick) for _ in range(2))
    services = Service(*errors(3)), Service(*errors(3))
    await failed(first, services[0])
    await failed(second, services[1])

    assert (3, 1) == (len(services[0].seen), len(services[1].seen))


# Waiting for an open circuit.


async def test_an_open_circuit_is_waited_for(quick: QuickClock) -> None:
    """
    For its ``retry_after``; the rejected one was no try, so the numbers do not rise.
    """
    service = Service(opened(4.0), opened(2.0))
    retry = Retry(2, wait_open=6.0, backoff=100.0, name="again", clock=quick)
    with record(retry) as events:
        assert 42 == await retry.call(service)

    assert ([1, 1, 1], [4.0, 2.0]) == (service.seen, quick.slept)
    assert [
        RetryScheduled("again", 1, 4.0, "CircuitOpenError", 100.0),
        RetryScheduled("again", 1, 2.0, "CircuitOpenError", 104.0),
    ] == events


async def test_where_nobody_knows_the_backoff_says_how_long(quick: QuickClock) -> None:
    """
    Asked with the number of rejections in a row; a failure between begins the row anew.
    """
    asked: list[int] = []

    def backoff(attempt: int) -> float:
        asked.append(attempt)
        return attempt / 4

    none = [opened(None) for _ in range(4)]
    service = Service(none[0], none[1], ConnectionError(), none[2], none[3])
    assert 42 == await Retry(3, wait_open=60.0, backoff=backoff, clock=quick).call(service)
    assert [1, 2, 1, 1, 2] == asked
    assert [0.25, 0.5, 0.25, 0.25, 0.5] == quick.slept


@pytest.mark.parametrize("backoff", [0.0, PACE / 2])
async def test_an_open_circuit_is_not_asked_faster_than_a_hundred_times_a_second(
    backoff: float, quick: QuickClock
) -> None:
    """
    Whatever the backoff says: so the wait ends, too.
    """
    service = Service(*[opened(None) for _ in range(1000)])
    error = await failed(Retry(wait_open=0.5, backoff=backoff, clock=quick), service)

    assert isinstance(error, CircuitOpenError)
    assert len(service.seen) in (50, 51)
    assert all(slept == pytest.approx(PACE) for slept in quick.slept)


@pytest.mark.parametrize("retry_after", [0.0, 1e-20])
async def test_a_circuit_that_promises_soon_and_stays_open_is_not_asked_for_ever(
    retry_after: float, quick: QuickClock
) -> None:
    """
    A pause of nothing, again and again, is a wait as well: it must end, and not spin.
    """
    calls = 0

    async def refusing() -> None:
        nonlocal calls
        calls += 1
        if calls > 1000:
            raise KeyError("spins")
        raise opened(retry_after)

    error = await failed(Retry(wait_open=0.5, backoff=0.0, clock=quick), refusing)
    assert isinstance(error, CircuitOpenError)


@pytest.mark.parametrize("retry_after", [math.nan, "7", -5.0])
async def test_a_rejection_with_a_nonsense_retry_after_is_one_that_knows_none(
    retry_after: Any, quick: QuickClock
) -> None:
    """
    It may come from anywhere: the backoff decides, and no pause is below nothing.
    """
    retry = Retry(wait_open=60.0, backoff=1.0, clock=quick)

    assert 42 == await retry.call(Service(opened(retry_after)))
    assert [1.0] == quick.slept


@pytest.mark.parametrize(("retry_after", "slept"), [(0.0, PACE), (0, PACE), (5000.0, 5000.0)])
async def test_a_circuit_says_itself_how_long(
    retry_after: float, slept: float, quick: QuickClock
) -> None:
    """
    At once as well as in hours: the cap is on what a dependency asks for, the backoff unasked.
    """
    retry = Retry(wait_open=6000.0, backoff=100.0, clock=quick)

    assert 42 == await retry.call(Service(opened(retry_after)))
    assert [slept] == [pytest.approx(pause) for pause in quick.slept]


async def test_a_circuit_that_never_closes_may_be_waited_for(clock: ManualClock) -> None:
    """
    Without an end, where ``wait_open`` has none; it can be cancelled.
    """
    service = Service(opened(math.inf))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Retry(wait_open=math.inf, clock=clock).call, service)
        await clock.slept_on()
        clock.advance(1e9)
        await settled()
        assert 1 == len(clock._sleepers)
        tasks.cancel_scope.cancel()
    assert ([1], []) == (service.seen, clock._sleepers)


async def test_calls_at_once_wait_each_for_themselves(quick: QuickClock) -> None:
    """
    What one call has waited is not taken from another's.
    """
    retry = Retry(wait_open=4.0, clock=quick)
    answers: list[int] = []

    async def caller() -> None:
        answers.append(await retry.call(Service(opened(2.0), opened(2.0))))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(caller)
    assert [42] * 3 == answers


@pytest.mark.parametrize(
    ("wait_open", "slept"),
    [(3.9, []), (4.0, [4.0]), (7.9, [4.0]), (8.0, [4.0, 4.0]), (math.inf, [4.0] * 5)],
)
async def test_a_call_waits_no_longer_than_it_may(
    wait_open: float, slept: list[float], quick: QuickClock
) -> None:
    """
    All pauses together, the exact limit included; then the rejection itself passes.
    """
    made = [opened(4.0) for _ in range(5)]
    service = Service(*made)
    retry = Retry(3, wait_open=wait_open, name="again", clock=quick)
    if wait_open == math.inf:
        assert 42 == await retry.call(service)
    else:
        with record(retry) as events:
            error = await failed(retry, service)
        assert made[len(slept)] is error
        why = "the circuit stays open for longer than the call may wait (wait_open=)"
        told = f"again: gave up after 0 of 3 attempts in {sum(slept):g} s"
        assert [f"{told}: {why}"] == notes(error)
        now = 100.0 + sum(slept)
        assert (
            RetriesExhausted("again", 0, GaveUp.WAIT_OPEN, sum(slept), "CircuitOpenError", now)
            == events[-1]
        )
    assert slept == quick.slept


@pytest.mark.parametrize(
    "error",
    [BulkheadFullError("db", 5), RejectedError("no"), ExceptionGroup("g", [opened(0.5)])],
    ids=repr,
)
async def test_only_an_open_circuit_is_waited_for(error: Exception, quick: QuickClock) -> None:
    """
    No other rejection: they know no time after which to come back.
    """
    service = Service(error)
    assert error is await failed(Retry(wait_open=60.0, clock=quick), service)
    assert ([1], [], []) == (service.seen, quick.slept, notes(error))


async def test_waiting_for_a_circuit_costs_no_budget(quick: QuickClock) -> None:
    """
    Nothing reaches the dependency, so nothing is paid.
    """
    retry = Retry(wait_open=60.0, budget=RetryBudget(0.0, floor=0.0), clock=quick)
    assert 42 == await retry.call(Service(opened(4.0), opened(4.0)))


async def test_waiting_for_a_circuit_heeds_within_and_the_deadline(quick: QuickClock) -> None:
    """
    A wait that would end too late is not begun, and the event says why.
    """
    within = Retry(wait_open=60.0, within=3.9, clock=quick)
    deadline = Retry(wait_open=60.0, clock=quick)
    with record(within, deadline) as events:
        await failed(within, Service(opened(4.0)))
        with anyio.move_on_after(3.0):
            await failed(deadline, Service(opened(4.0)))

    assert [GaveUp.WITHIN, GaveUp.DEADLINE] == [
        event.reason for event in events if isinstance(event, RetriesExhausted)
    ]
    assert [] == quick.slept


async def test_a_failure_that_opens_the_circuit_is_waited_out(clock: ManualClock) -> None:
    """
    Failure, open circuit, success: two tries, and one pause for each reason.
    """
    breaker = fragile(clock)
    service = Service(*errors(1))
    retry = Retry(2, wait_open=10.0, backoff=1.0, name="again", clock=clock)
    results: list[int] = []

    async def caller() -> None:
        results.append(await Pipeline(retry, breaker).call(service))

    with record(retry) as events:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller)
            await clock.slept_on()
            assert State.OPEN is breaker.state
            clock.advance(1.0)
            await clock.slept_on()
            clock.advance(8.9)
            await settled()
            assert [1] == service.seen
            clock.advance(0.1)

    assert ([42], [1, 2], State.CLOSED) == (results, service.seen, breaker.state)
    assert [
        RetryScheduled("again", 2, 1.0, "ConnectionError", 100.0),
        RetryScheduled("again", 2, 9.0, "CircuitOpenError", 101.0),
    ] == events
    assert 1 == breaker.snapshot().rejected


async def test_a_failure_that_opens_the_circuit_for_too_long_ends_the_call(
    quick: QuickClock,
) -> None:
    """
    The rejection passes, with a note of the one try that was made before it.
    """
    service = Service(*errors(1))
    retry = Retry(3, wait_open=8.0, backoff=1.0, name="again", clock=quick)
    with record(retry) as events, pytest.raises(CircuitOpenError) as caught:
        await Pipeline(retry, fragile(quick)).call(service)

    assert ([1], [1.0]) == (service.seen, quick.slept)
    why = "the circuit stays open for longer than the call may wait (wait_open=)"
    assert [f"again: gave up after 1 of 3 attempts in 1 s: {why}"] == notes(caught.value)
    assert [
        RetryScheduled("again", 2, 1.0, "ConnectionError", 100.0),
        RetriesExhausted("again", 1, GaveUp.WAIT_OPEN, 1.0, "CircuitOpenError", 101.0),
    ] == events


async def test_a_circuit_that_is_held_open_by_hand_is_waited_for_by_backoff(
    quick: QuickClock,
) -> None:
    """
    Nobody knows how long: it is asked again and again, until so many seconds are spent.
    """
    breaker = fragile(quick)
    breaker.force_open()
    service = Service()
    retry = Retry(wait_open=2.0, backoff=0.75, name="again", clock=quick)
    with pytest.raises(CircuitOpenError) as caught:
        await Pipeline(retry, breaker).call(service)

    assert ([], [0.75, 0.75]) == (service.seen, quick.slept)
    assert "after 0 of 3 attempts in 1.5 s" in notes(caught.value)[0]


async def test_many_that_wait_for_a_health_check_end(clock: ManualClock) -> None:
    """
    While one asks, the others are rejected: they pause between, and are answered in the end.
    """
    gate = anyio.Event()
    breaker = fragile(clock, health_check=gate.wait)
    with pytest.raises(ConnectionError):
        await breaker.call(fail)
    clock.advance(10.0)
    calls = 0

    class Counting:
        async def call(
            self, fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any
        ) -> Any:
            nonlocal calls
            calls += 1
            return await breaker.call(fn, *args, **kwargs)

    pipeline = Pipeline(Retry(wait_open=5.0, backoff=1.0, clock=clock), Counting())
    results: list[Any] = []

    async def caller() -> None:
        results.append(await pipeline.call(answer))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(breaker.call, answer)
        await settled()
        tasks.start_soon(caller)
        for _ in range(5):
            await settled()
        asked = calls
        gate.set()
        await settled()
        clock.advance(1.0)
        await settled()
        tasks.cancel_scope.cancel()
    assert (1, [42]) == (asked, results)


# The number of the try.


async def test_outside_of_any_retry_the_attempt_is_the_first() -> None:
    """
    So code that asks works without a retry, too.
    """
    assert 1 == current_attempt()


@pytest.mark.parametrize("end", [None, KeyError(), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_the_attempt_is_reset_after_the_call(
    end: BaseException | None, quick: QuickClock
) -> None:
    """
    However the call ends, answered, failed or cancelled.
    """
    service, raised = Service(*errors(1), end), None
    try:
        await Retry(3, on=OSError, backoff=0.5, clock=quick).call(service)
    except BaseException as error:
        raised = error
    assert end is raised
    assert (1, [1, 2]) == (current_attempt(), service.seen)


async def test_the_attempt_of_a_nested_retry_is_its_own(quick: QuickClock) -> None:
    """
    Inside counts the inner one, after it the outer one again.
    """
    seen: list[tuple[int, int, int]] = []
    inner = Retry(3, backoff=0.5, clock=quick)

    async def outside() -> None:
        before, service = current_attempt(), Service(*errors(1))
        await inner.call(service)
        seen.append((before, service.seen[0], current_attempt()))
        raise ConnectionError

    await failed(Retry(2, backoff=0.5, clock=quick), outside)
    assert [(1, 1, 1), (2, 1, 2)] == seen


async def test_a_context_variable_that_is_set_inside_is_seen_outside(quick: QuickClock) -> None:
    """
    The tries run in the caller's own task and context.
    """
    variable: ContextVar[int] = ContextVar("variable", default=0)

    async def setting() -> None:
        variable.set(variable.get() + 1)
        if current_attempt() < 3:
            raise ConnectionError

    await Retry(3, backoff=0.5, clock=quick).call(setting)
    assert 3 == variable.get()


async def test_calls_at_once_do_not_mix_their_attempts(clock: ManualClock) -> None:
    """
    One retry serves many tasks, each with its own count.
    """
    retry = Retry(3, backoff=1.0, clock=clock)
    services = [Service(*errors(count)) for count in (2, 0, 1, 2)]
    async with anyio.create_task_group() as tasks:
        for service in services:
            tasks.start_soon(retry.call, service)
        for _ in range(2):
            await settled()
            clock.advance(1.0)

    assert [[1, 2, 3], [1], [1, 2], [1, 2, 3]] == [service.seen for service in services]


# Cancelled, decorated, misused.


async def test_a_call_that_is_cancelled_in_its_pause_ends_there(clock: ManualClock) -> None:
    """
    Nothing is left on the clock, no try is made, and no event tells of a giving up.
    """
    retry = Retry(backoff=1.0, clock=clock)
    service = Service(*errors(1))
    attempts: list[int] = []

    async def caller() -> None:
        try:
            await retry.call(service)
        finally:
            attempts.append(current_attempt())

    with record(retry) as events:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller)
            await clock.slept_on()
            tasks.cancel_scope.cancel()
    assert ([], [1], [1]) == (clock._sleepers, service.seen, attempts)
    assert [RetryScheduled] == [type(event) for event in events]


@pytest.mark.parametrize(("first", "tries"), [("cancelled", [1]), ("woken", [1, 2])])
async def test_a_call_that_is_cancelled_as_its_pause_ends_gets_no_answer(
    first: str, tries: list[int], clock: ManualClock
) -> None:
    """
    Both at the same moment: a try may begin if the pause ended first, but it is cut.
    """
    made: list[int] = []
    answers: list[int] = []

    async def service() -> int:
        made.append(current_attempt())
        if len(made) == 1:
            raise ConnectionError
        await anyio.lowlevel.checkpoint()
        return 42

    async def caller() -> None:
        answers.append(await Retry(backoff=1.0, clock=clock).call(service))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller)
        await clock.slept_on()
        if first == "woken":
            clock.advance(1.0)
        tasks.cancel_scope.cancel()
        if first == "cancelled":
            clock.advance(1.0)
    assert (tries, [], []) == (made, answers, clock._sleepers)


async def test_a_decorated_function_is_tried_again(quick: QuickClock) -> None:
    """
    It keeps name, text and signature, and is a coroutine function; methods bind themselves.
    """
    retry = Retry(3, backoff=0.5, clock=quick)

    class Client:
        """Has a method that fails at first."""

        def __init__(self) -> None:
            self.attempts: list[int] = []

        @retry
        async def find(self, key: str, *, fresh: bool = False) -> tuple[str, bool]:
            """Find."""
            self.attempts.append(current_attempt())
            if len(self.attempts) < 3:
                raise ConnectionError
            return key, fresh

    client = Client()
    assert ("a", True) == await client.find("a", fresh=True)
    assert [1, 2, 3] == client.attempts
    assert ("find", "Find.") == (Client.find.__name__, Client.find.__doc__)
    assert inspect.iscoroutinefunction(Client.find)
    assert ["self", "key", "fresh"] == list(inspect.signature(Client.find).parameters)


def test_what_is_not_async_cannot_be_decorated() -> None:
    """
    A plain function and a stream are refused where they stand.
    """

    def plain() -> int:
        return 1

    async def stream() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match=r"@retry needs a coroutine function, not <.*plain"):
        Retry()(plain)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a stream cannot be called again"):
        Retry()(stream)  # type: ignore[arg-type]


async def test_a_coroutine_instead_of_its_function_is_refused(quick: QuickClock) -> None:
    """
    It could not be tried again. It is closed, so that Python need not warn of it.
    """
    coroutine: Any = answer()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TypeError, match=r"write call\(fn, \.\.\.\) instead of"):
            await Retry(clock=quick).call(coroutine)
        assert inspect.CORO_CLOSED == inspect.getcoroutinestate(coroutine)
        del coroutine
    assert [] == quick.slept


@pytest.mark.parametrize("value", [42, None, [1]])
async def test_a_function_with_nothing_to_await_is_called_once(
    value: object, quick: QuickClock
) -> None:
    """
    That is the caller's slip, which no second try mends; the hint names the function.
    """
    made: list[int] = []

    def plain() -> Any:
        made.append(1)
        return value

    with pytest.raises(TypeError, match=r"returns an awaitable; <function .*plain.* did not"):
        await Retry(backoff=0.0, clock=quick).call(plain)
    assert ([1], []) == (made, quick.slept)


@pytest.mark.parametrize("value", [42, None, "fetch", [answer]])
async def test_what_cannot_be_called_is_refused(value: Any, quick: QuickClock) -> None:
    """
    Once, by an error that shows it; nothing is told of a giving up.
    """
    retry = Retry(clock=quick, backoff=0.0)
    with record(retry) as events, pytest.raises(TypeError) as caught:
        await retry.call(value)

    told = f"call() needs a callable that returns an awaitable, not {value!r}"
    assert (told, [], []) == (str(caught.value), quick.slept, events)


async def test_a_slip_is_no_failure_for_a_retry_around_a_retry(quick: QuickClock) -> None:
    """
    The function is called once, and one hint is given.
    """
    made: list[int] = []

    def plain() -> Any:
        made.append(1)
        return 3

    outer, inner = (Retry(backoff=0.0, clock=quick) for _ in range(2))
    around: Any = outer.call
    for call in (Pipeline(outer, inner).call, partial(around, inner.call)):
        made.clear()
        with pytest.raises(TypeError) as caught:
            await call(plain)
        assert ([1], [], []) == (made, quick.slept, notes(caught.value))
        assert 1 == str(caught.value).count("call() needs a callable")


async def test_a_type_error_of_the_dependency_is_tried_again(quick: QuickClock) -> None:
    """
    Only the slip itself is none of its failures.
    """
    assert 42 == await Retry(backoff=0.5, clock=quick).call(Service(TypeError("theirs")))


async def test_what_is_raised_before_there_is_anything_to_await_is_tried_again(
    quick: QuickClock,
) -> None:
    """
    A function that fails when it is called is as good a failure.
    """
    made: list[int] = []

    def plain() -> Awaitable[int]:
        made.append(1)
        if len(made) == 1:
            raise ConnectionError
        return answer()

    assert 42 == await Retry(backoff=0.5, clock=quick).call(plain)


async def async_predicate(error: Exception) -> bool:
    return True


async def async_backoff(attempt: int) -> float:
    return 1.0


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        *[("attempts", value, ValueError) for value in (0, -1, 2.0, math.nan, math.inf)],
        *[("attempts", value, TypeError) for value in (True, "3", None, int)],
        *[("on", value, TypeError) for value in (42, "OSError", None, int, OSError(), [OSError])],
        *[("on", value, TypeError) for value in (True, async_predicate, (OSError, 1))],
        *[("on", value, ValueError) for value in (KeyboardInterrupt, asyncio.CancelledError)],
        *[("on", value, ValueError) for value in (CircuitOpenError, (OSError, RejectedError))],
        *[("backoff", value, ValueError) for value in (math.nan, math.inf, -1.0, -1)],
        *[("backoff", value, TypeError) for value in (True, "1", None, full_jitter, async_backoff)],
        *[("within", value, ValueError) for value in (0, 0.0, -1.0, math.nan, math.inf)],
        *[("within", value, TypeError) for value in (True, "1", b"1", float)],
        *[("budget", value, TypeError) for value in (0.1, "x", True, RetryBudget, False)],
        *[("wait_open", value, ValueError) for value in (-1.0, math.nan, -math.inf)],
        *[("wait_open", value, TypeError) for value in (True, "1", None, float)],
        ("name", "", ValueError),
        *[("name", value, TypeError) for value in (7, b"x", str)],
        *[("clock", value, TypeError) for value in (7.0, None, "now", answer)],
    ],
)
def test_a_wrong_value_is_refused(name: str, value: Any, error: type[Exception]) -> None:
    """
    At construction, by an error that names parameter and value.
    """
    with pytest.raises(error) as caught:
        Retry(**{name: value})

    shown = value[-1] if isinstance(value, tuple) else value
    named = getattr(shown, "__name__", None) if isinstance(shown, type) else repr(shown)
    assert str(caught.value).startswith(f"{name} must ")
    assert named is not None
    assert named in str(caught.value)


def test_a_wait_for_an_open_circuit_may_have_no_end() -> None:
    """
    Infinity means: as long as it takes. Anything else takes numbers of either kind.
    """
    assert math.inf == Retry(wait_open=math.inf).wait_open
    Retry(1, backoff=0, within=1, wait_open=0, on=(), budget=None)


async def test_a_breaker_around_it_counts_one_failure(quick: QuickClock) -> None:
    """
    Three tries inside of a breaker are one call of it, outside of it three.
    """
    retry = Retry(3, backoff=0.5, clock=quick)
    around, inside = CircuitBreaker(clock=quick), CircuitBreaker(clock=quick)
    for pipeline in (Pipeline(around, retry), Pipeline(retry, inside)):
        with pytest.raises(ConnectionError):
            await pipeline.call(fail)

    assert (1, 3) == (around.snapshot().failed, inside.snapshot().failed)
