"""What all policies have in common: names, listeners, decorators, manners in the log."""

from __future__ import annotations

import copy
import inspect
import logging
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest

from asyncbreaker import (
    Bulkhead,
    BulkheadRejected,
    CircuitBreaker,
    Fallback,
    FallbackFailed,
    FallbackUsed,
    Hedge,
    HedgeStarted,
    HedgeWithheld,
    HedgeWon,
    LastGood,
    LastGoodUsed,
    Pipeline,
    Policy,
    RejectedError,
    RetriesExhausted,
    Retry,
    RetryBudget,
    RetryScheduled,
    StateChanged,
    TimedOut,
    Timeout,
)
from asyncbreaker._runtime.bulletin import Bulletin, Complaints
from asyncbreaker._runtime.misuse import explain, is_misuse
from asyncbreaker._runtime.policy import Around
from asyncbreaker.testing import ManualClock
from tests.runtime.support import answer, fail, settled

pytestmark = pytest.mark.anyio

MAKERS: dict[str, Callable[..., Any]] = {
    "retry": Retry,
    "timeout": partial(Timeout, 1.0),
    "bulkhead": partial(Bulkhead, 5),
    "fallback": partial(Fallback, value=None),
    "last-good": LastGood,
    "hedge": partial(Hedge, 1.0),
}
KINDS: dict[str, tuple[type[Any], ...]] = {
    "retry": (RetryScheduled, RetriesExhausted),
    "timeout": (TimedOut,),
    "bulkhead": (BulkheadRejected,),
    "fallback": (FallbackUsed, FallbackFailed),
    "last-good": (LastGoodUsed,),
    "hedge": (HedgeStarted, HedgeWithheld, HedgeWon),
}
of_every_kind = pytest.mark.parametrize("word", MAKERS)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "asyncbreaker")
    return caplog


def lines(log: pytest.LogCaptureFixture, least: int = logging.DEBUG) -> list[str]:
    """What was written at level *least* or above, with its level."""
    return [f"{entry.levelname} {entry.message}" for entry in log.records if entry.levelno >= least]


async def reject(message: str = "no") -> None:
    raise RejectedError(message)


async def substituted(fallback: Fallback[Any], count: int = 1) -> None:
    """Have *fallback* answer so many calls."""
    for _ in range(count):
        await fallback.call(reject)


# Names and looks.


@of_every_kind
def test_a_default_name_is_unique_and_readable(word: str) -> None:
    """
    The kind of policy and a number that rises; of a given name none is used up.
    """
    first, _, second = MAKERS[word](), MAKERS[word](name="mine"), MAKERS[word]()
    (kind, number), (other, following) = (p.name.rsplit("-", 1) for p in (first, second))

    assert (word, word, int(number) + 1) == (kind, other, int(following))


@of_every_kind
def test_a_given_name_is_kept_and_shown(word: str) -> None:
    """
    In ``name``, which cannot be set, and in the representation.
    """
    policy = MAKERS[word](name="rates")

    assert "rates" == policy.name
    assert f"<{type(policy).__name__} 'rates'>" == repr(policy)
    with pytest.raises(AttributeError):
        policy.name = "other"


@of_every_kind
@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"name": ""}, ValueError, "name must not be empty, not ''"),
        ({"name": 7}, TypeError, "name must be a string, not 7"),
        ({"clock": 7.0}, TypeError, "clock must be callable, not 7.0"),
        ({"clock": answer}, TypeError, "clock must be a plain function, not the coroutine"),
    ],
)
def test_a_wrong_name_or_clock_is_refused(
    word: str, settings: dict[str, Any], error: type[Exception], text: str
) -> None:
    """
    At construction, with parameter and value.
    """
    with pytest.raises(error, match=text):
        MAKERS[word](**settings)


@of_every_kind
@pytest.mark.parametrize("copying", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_policy_is_not_copied_behind_ones_back(
    word: str, copying: Callable[[Any], object]
) -> None:
    """
    A copy would have seen what only the first one has seen.
    """
    with pytest.raises(TypeError, match=f"cannot pickle or copy <{type(MAKERS[word]()).__name__}"):
        copying(MAKERS[word]())


@of_every_kind
async def test_what_is_ours_is_a_policy_like_any_other(word: str) -> None:
    """
    Whoever takes a ``Policy`` takes every one of ours, a breaker, a pipeline and a user's own.
    """

    class Mine:
        async def call(
            self, fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any
        ) -> Any:
            return await fn(*args, **kwargs)

    async def through(policy: Policy[Any]) -> int | None:
        result: int | None = await policy.call(answer, 7)
        return result

    policy = MAKERS[word]()
    for anything in (policy, CircuitBreaker(), Pipeline(policy), Mine()):
        assert 7 == await through(anything)


async def test_what_a_policy_does_is_its_own_affair() -> None:
    """
    The class that ours share does nothing by itself.
    """

    class Unfinished(Around):
        _word = "unfinished"
        _kinds = ()

    with pytest.raises(NotImplementedError):
        await Unfinished(None, lambda: 0.0).call(answer)


# Listeners and events.


async def test_a_listener_hears_all_kinds_by_default(clock: ManualClock) -> None:
    """
    Unlike a breaker's, which hears of moves alone; it is a plain function of one event.
    """
    told: list[Any] = []
    retry = Retry(2, backoff=0.0, name="again", clock=clock)
    retry.add_listener(told.append)
    with pytest.raises(ConnectionError):
        await retry.call(fail)

    assert [RetryScheduled, RetriesExhausted] == [type(event) for event in told]
    assert ["again", "again"] == [event.policy for event in told]


async def test_a_listener_hears_the_kinds_it_names(clock: ManualClock) -> None:
    """
    And no others.
    """
    told: list[Any] = []
    retry = Retry(3, backoff=0.0, clock=clock)
    retry.add_listener(told.append, RetriesExhausted)
    with pytest.raises(ConnectionError):
        await retry.call(fail)

    assert [RetriesExhausted] == [type(event) for event in told]


async def test_a_listener_can_be_taken_off() -> None:
    """
    By what adding it returned, once or twice; the same listener added twice is heard twice.
    """
    told: list[Any] = []
    fallback = Fallback(value=None)
    remove = fallback.add_listener(told.append)
    keep = fallback.add_listener(told.append)
    await substituted(fallback)
    assert 2 == len(told)
    remove()
    remove()
    await substituted(fallback)
    assert 3 == len(told)
    keep()
    await substituted(fallback)
    assert 3 == len(told)


async def async_listener(event: object) -> None: ...


class AsyncListener:
    async def __call__(self, event: object) -> None: ...


@of_every_kind
def test_only_what_is_told_may_be_asked_for(word: str) -> None:
    """
    A kind of another policy's, or no kind at all, names those that there are.
    """
    policy, (first, *_) = MAKERS[word](), KINDS[word]
    others: list[Any] = [
        StateChanged,
        int,
        "told",
        *(KINDS["hedge" if word != "hedge" else "retry"]),
    ]
    for kind in others:
        with pytest.raises(TypeError, match=rf"kinds must be event classes \({first.__name__}"):
            policy.add_listener(print, kind)
        with pytest.raises(TypeError, match="kinds must be event classes"):
            policy.events(kind)
    for kind in KINDS[word]:
        policy.add_listener(print, kind)


@pytest.mark.parametrize("listener", [async_listener, AsyncListener(), AsyncListener().__call__])
def test_an_async_listener_is_refused(listener: Any) -> None:
    """
    A call that has ended must not wait for it; the hint says what to use.
    """
    with pytest.raises(TypeError, match=r"for async code use `async with .*\.events\(\)"):
        Retry().add_listener(listener)
    with pytest.raises(TypeError, match="listener must be callable, not 7"):
        Retry().add_listener(7)  # type: ignore[call-overload]


async def test_a_listener_that_raises_is_passed_over(log: pytest.LogCaptureFixture) -> None:
    """
    The call gets its answer, the next listener its event, and the log one ERROR for all times.
    """

    def broken(event: object) -> None:
        raise LookupError("broken")

    told: list[Any] = []
    fallback = Fallback(value=None, name="substitute")
    fallback.add_listener(broken)
    fallback.add_listener(told.append)
    await substituted(fallback, 3)

    complaints = [entry for entry in log.records if "broken" in entry.message]
    assert 3 == len(told)
    assert ["ERROR", "DEBUG", "DEBUG"] == [entry.levelname for entry in complaints]
    assert complaints[0].message.startswith("fallback 'substitute': <function ")
    assert "substitute" == complaints[0].policy  # type: ignore[attr-defined]
    assert complaints[0].exc_info is not None
    assert LookupError is complaints[0].exc_info[0]


async def test_what_a_listener_causes_is_told_after() -> None:
    """
    A listener may call through the policy again: every listener hears the events in order.
    """
    fallback = Fallback(value=None)
    told: list[str] = []
    waiting: list[Any] = []

    def again(event: FallbackUsed) -> None:
        if event.message == "first":
            coroutine = fallback.call(reject, "second")
            with pytest.raises(StopIteration):
                coroutine.send(None)
            waiting.append(len(told))

    fallback.add_listener(again, FallbackUsed)
    fallback.add_listener(lambda event: told.append(event.message), FallbackUsed)
    await fallback.call(reject, "first")

    assert (["first", "second"], [0]) == (told, waiting)


async def test_events_come_as_a_stream_too() -> None:
    """
    For the consumer's own task: all kinds by default, or those that are named.
    """
    fallback = Fallback(using=lambda error: 1 // 0 if "zero" in str(error) else 0)
    async with fallback.events() as every, fallback.events(FallbackFailed) as failures:
        await fallback.call(reject, "one")
        with pytest.raises(ZeroDivisionError):
            await fallback.call(reject, "zero")
        kinds = [type(await anext(every)) for _ in range(2)]
        failure = await anext(failures)

    assert [FallbackUsed, FallbackFailed] == kinds
    assert "ZeroDivisionError" == failure.failure_type


async def test_a_stream_that_waits_is_woken() -> None:
    """
    Its consumer sleeps until the next event, and nothing is lost.
    """
    fallback, told = Fallback(value=None), []

    async def consume() -> None:
        async with fallback.events() as stream:
            async for event in stream:
                told.append(event)
                if len(told) == 2:
                    return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(consume)
        await settled()
        await substituted(fallback, 2)

    assert 2 == len(told)


# Decorators.


@of_every_kind
async def test_a_decorated_function_keeps_its_looks(word: str) -> None:
    """
    Name, documentation, signature, and that it is a coroutine function.
    """
    policy = MAKERS[word]()

    @policy
    async def find(key: str, *, limit: int = 2) -> list[str]:
        """Find rows."""
        return [key] * limit

    assert ("find", "Find rows.") == (find.__name__, find.__doc__)
    assert "(key: 'str', *, limit: 'int' = 2) -> 'list[str]'" == str(inspect.signature(find))
    assert inspect.iscoroutinefunction(find)
    assert ["a", "a"] == await find("a")


@pytest.mark.parametrize("make", [*MAKERS.values(), lambda: Pipeline(Retry(), Timeout(1.0))])
async def test_methods_of_every_kind_may_be_decorated(make: Callable[[], Any]) -> None:
    """
    The instance, the class or nothing is passed on as without the policy or the pipeline.
    """
    policy = make()

    class Repository:
        @policy
        async def find(self, key: str) -> object:
            return self, key

        @classmethod
        @policy
        async def make(cls, key: str) -> object:
            return cls, key

        @staticmethod
        @policy
        async def ping(key: str) -> object:
            return key

    repository = Repository()
    assert (repository, "a") == await repository.find("a")
    assert (Repository, "b") == await Repository.make("b")
    assert "c" == await repository.ping("c")


@of_every_kind
async def test_an_object_with_an_async_call_may_be_decorated(word: str) -> None:
    """
    And what is made of it is a coroutine function.
    """

    class Finder:
        async def __call__(self, key: str) -> str:
            return key

    guarded = MAKERS[word]()(Finder())
    assert ("a", True) == (await guarded("a"), inspect.iscoroutinefunction(guarded))


async def numbers() -> AsyncIterator[int]:
    yield 1


def plain() -> int:
    return 1


@of_every_kind
@pytest.mark.parametrize(
    ("fn", "hint"),
    [
        (plain, "not <function plain.*>: a function that is not async would never be judged"),
        (numbers, "not <function numbers.*>: a stream cannot be called again; guard it with @brea"),
        (classmethod(answer), "not <classmethod.*>: put @classmethod above @{word}"),
        (staticmethod(answer), "not <staticmethod.*>: put @staticmethod above @{word}"),
        (42, "not 42"),
        (None, "not None"),
    ],
)
def test_what_is_not_async_is_refused_at_decoration(word: str, fn: Any, hint: str) -> None:
    """
    A plain function, a stream or a wrapped method gets a hint instead of a silent pass.
    """
    expected = f"@{word} needs a coroutine function, {hint.format(word=word)}"
    with pytest.raises(TypeError, match=expected):
        MAKERS[word]()(fn)


async def test_a_breaker_inside_of_a_policy_may_guard_a_stream() -> None:
    """
    What a policy cannot call again a breaker takes: the hint leads somewhere.
    """
    guarded = CircuitBreaker()(numbers)

    assert [1] == [number async for number in guarded()]
    with pytest.raises(TypeError, match="a stream cannot be called again"):
        Retry()(guarded)  # type: ignore[type-var]


async def test_decorators_stack(clock: ManualClock) -> None:
    """
    Each is applied around what is below it, as decorators are.
    """
    breaker, made = CircuitBreaker(clock=clock), []

    @Fallback(value="substitute", on=ConnectionError)
    @Retry(3, backoff=0.0, clock=clock)
    @breaker
    @Timeout(1.0, clock=clock)
    async def find() -> str:
        made.append(None)
        raise ConnectionError

    assert "substitute" == await find()
    assert (3, 3) == (len(made), breaker.snapshot().failed)


# Complaints and bulletins.


def test_a_complaint_is_loud_once_per_culprit(log: pytest.LogCaptureFixture) -> None:
    """
    An ERROR the first time of each, DEBUG from then on.
    """
    complaints = Complaints("breaker", "db", "breaker")
    for culprit in (print, len, print, len, print):
        complaints.add(culprit, LookupError())

    assert ["ERROR", "ERROR", "DEBUG", "DEBUG", "DEBUG"] == [e.levelname for e in log.records]
    assert (
        "breaker 'db': <built-in function print> raised, or answered nonsense, and is passed "
        in (log.records[0].message)
    )


def test_a_bulletin_tells_the_beginning_and_then_once_a_minute(
    log: pytest.LogCaptureFixture,
) -> None:
    """
    At its level when it begins, then at INFO after a minute or more, with what came since.
    """
    bulletin = Bulletin("bulkhead", "db", logging.WARNING)
    for now in (100.0, 101.0, 130.0, 159.9, 160.0, 161.0, 219.9, 225.0, 226.0):
        bulletin.add(now, "is full: %d running", 5)

    assert [
        "WARNING bulkhead 'db' is full: 5 running",
        "INFO bulkhead 'db' is full: 5 running (4 times since it was last said)",
        "INFO bulkhead 'db' is full: 5 running (3 times since it was last said)",
    ] == lines(log, logging.INFO)
    assert 9 == len(log.records)
    assert {"db"} == {entry.policy for entry in log.records}  # type: ignore[attr-defined]


def test_what_begins_as_news_goes_on_unsaid(log: pytest.LogCaptureFixture) -> None:
    """
    A bulletin that begins at INFO goes on at DEBUG: the breaker tells of the trouble already.
    """
    bulletin = Bulletin("fallback", "db", logging.INFO)
    for now in range(0, 3600, 30):
        bulletin.add(float(now), "answers")
    bulletin.add(9999.0, "answers")

    assert ["INFO fallback 'db' answers"] * 2 == lines(log, logging.INFO)
    assert 121 == len(log.records)


@pytest.mark.parametrize(("pause", "level"), [(60.0, "INFO"), (60.1, "WARNING"), (1e9, "WARNING")])
def test_a_minute_without_it_and_a_bulletin_begins_anew(
    pause: float, level: str, log: pytest.LogCaptureFixture
) -> None:
    """
    As long as it goes on, no two calls of it are a minute apart.
    """
    bulletin = Bulletin("bulkhead", "db", logging.WARNING)
    bulletin.add(0.0, "is full")
    bulletin.add(pause, "is full")

    assert ["WARNING", level] == [entry.levelname for entry in log.records]


def test_a_seldom_trouble_is_told_when_it_comes(log: pytest.LogCaptureFixture) -> None:
    """
    Also by a clock that starts below zero; every one of them is a beginning.
    """
    bulletin = Bulletin("fallback", "db", logging.INFO)
    for now in (-1000.0, -500.0, 0.0):
        bulletin.add(now, "answers")

    assert ["INFO fallback 'db' answers"] * 3 == lines(log)


async def test_a_policy_announces_what_it_does(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    A substitute is news at INFO, a full bulkhead at WARNING, and each begins by itself.
    """
    substitute = Fallback(value=None, name="empty", clock=clock)
    pipeline = Pipeline(substitute, Bulkhead(1, name="places", clock=clock))
    gate = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pipeline.call, gate.wait)
        await settled()
        for _ in range(3):
            await pipeline.call(answer)
        gate.set()

    assert [
        "WARNING bulkhead 'places' is full: 1 running, 0 waiting",
        "INFO fallback 'empty' answers with its substitute, for BulkheadFullError",
    ] == lines(log, logging.INFO)


async def test_an_outage_of_an_hour_stays_under_seventy_lines(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    Several calls a second through every policy at once: the log says so, and stays quiet.
    """
    log.set_level(logging.INFO, "asyncbreaker")
    pipeline = Pipeline(
        Fallback(value=None, on=(RejectedError, OSError), clock=clock),
        LastGood(on=(RejectedError, OSError), max_age=600.0, clock=clock),
        Retry(2, backoff=0.0, budget=RetryBudget(floor=0.01), clock=clock),
        CircuitBreaker("api", clock=clock),
        Bulkhead(5, clock=clock),
        Timeout(1.0, clock=clock),
    )
    down = False

    async def rate(currency: str) -> float:
        if down:
            raise ConnectionError("refused")
        return 1.1

    assert 1.1 == await pipeline.call(rate, "EUR")
    down = True
    for call in range(3 * 3600):
        clock.advance(1 / 3)
        await pipeline.call(rate, "EUR" if call % 2 else "JPY")

    written = lines(log, logging.INFO)
    assert len(written) < 70
    assert 0 < len([line for line in written if line.startswith("WARNING")]) < 3


# What is no misuse.


def test_an_error_without_a_traceback_is_no_misuse() -> None:
    """
    A ``TypeError`` that was made by hand and never raised tells nothing.
    """
    assert not is_misuse(answer, TypeError("made by hand"))
    assert not is_misuse(answer, LookupError())
    assert is_misuse(42, TypeError())


def test_a_misuse_without_a_traceback_still_gets_its_hint() -> None:
    """
    The hint names the function, whatever is known of the error.
    """
    with pytest.raises(TypeError, match=r"function answer.* did not: made by hand"):
        explain(answer, TypeError("made by hand"))


async def test_a_subclass_of_type_error_is_never_a_misuse() -> None:
    """
    What a dependency raises is judged as what it is.
    """

    class OddError(TypeError):
        """A user's own."""

    async def raising() -> None:
        raise OddError("mine")

    breaker = CircuitBreaker()
    with pytest.raises(OddError, match=r"^mine$"):
        await Pipeline(breaker).call(raising)
    assert 1 == breaker.snapshot().failed
