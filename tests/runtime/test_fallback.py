"""Fallback: a substitute where it was asked for, and the error itself everywhere else."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import logging
import re
import weakref
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any

import anyio
import pytest

from asyncbreaker import (
    Bulkhead,
    BulkheadFullError,
    CallSettled,
    CircuitOpenError,
    Fallback,
    FallbackFailed,
    FallbackUsed,
    Outcome,
    Pipeline,
    RejectedError,
    State,
)
from asyncbreaker.errors import Reason
from asyncbreaker.testing import ManualClock, record
from tests.runtime.support import answer, fragile, settled

pytestmark = pytest.mark.anyio

Fn = Callable[[], Awaitable[Any]]


def raising(error: BaseException) -> Fn:
    async def fn() -> None:
        raise error

    return fn


def rejection() -> CircuitOpenError:
    return CircuitOpenError("api", Reason.OPEN, 4.0)


async def passed(fallback: Fallback[Any], error: BaseException) -> None:
    """Check that *error* reaches the caller as it is, with nothing chained to it."""
    with pytest.raises(type(error)) as caught:
        await fallback.call(raising(error))

    assert error is caught.value
    assert (None, None) == (error.__cause__, error.__context__)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that is logged, DEBUG included."""
    caplog.set_level(logging.DEBUG, "asyncbreaker")
    return caplog


def lines(log: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(entry.levelname, entry.getMessage()) for entry in log.records]


async def test_a_good_answer_passes_by(clock: ManualClock, log: pytest.LogCaptureFixture) -> None:
    """
    No substitute is made, nothing is told, nothing is logged.
    """
    made: list[Exception] = []
    fallback = Fallback(using=made.append, on=Exception, clock=clock)
    with record(fallback) as events:
        assert 42 == await fallback.call(answer)

    assert ([], [], []) == (made, events, log.records)


@pytest.mark.parametrize("value", [None, 0, "", [], False, ..., NotImplemented, "text"])
async def test_every_caller_gets_the_same_object(value: object) -> None:
    """
    Whatever it is: what is false or None is a substitute like any other.
    """
    fallback = Fallback(value=value)

    assert value is await fallback.call(raising(rejection()))
    assert value is await fallback.call(raising(rejection()))


async def test_none_is_also_a_substitute_beside_a_function_that_is_none() -> None:
    """
    ``using=None`` says the same as leaving it out.
    """
    fallback: Fallback[None] = Fallback(value=None, using=None)  # type: ignore[call-overload]

    assert None is await fallback.call(raising(rejection()))


async def test_a_value_that_can_be_awaited_is_given_as_it_is() -> None:
    """
    Only what ``using`` returns is awaited.
    """

    class Later:
        def __await__(self) -> Generator[None, None, int]:
            raise AssertionError("nobody asked for it")

    later = Later()

    assert later is await Fallback(value=later).call(raising(rejection()))


def plain(error: Exception) -> Exception:
    return error


async def later(error: Exception) -> Exception:
    await settled()
    return error


def gives_coroutine(error: Exception) -> Awaitable[Exception]:
    return later(error)


def second(prefix: str, error: Exception) -> Exception:
    return error


async def later_second(prefix: str, error: Exception) -> Exception:
    return error


class Plain:
    def __call__(self, error: Exception) -> Exception:
        return error

    def method(self, error: Exception) -> Exception:
        return error


class Later:
    async def __call__(self, error: Exception) -> Exception:
        return error


class Awaited:
    """Can be awaited, but is no coroutine."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __await__(self) -> Generator[Any, Any, Exception]:
        yield from later(self._error).__await__()
        return self._error


@pytest.mark.parametrize(
    "using",
    [
        plain,
        later,
        gives_coroutine,
        functools.partial(second, "prefix"),
        functools.partial(later_second, "prefix"),
        Plain(),
        Plain().method,
        Later(),
        Awaited,
        lambda error: error,
        lambda error: later(error),
    ],
)
async def test_whatever_makes_the_substitute_is_given_the_very_error(
    using: Callable[[Exception], Any],
) -> None:
    """
    A function, a method, an object, sync or async, or one that returns what can be awaited.
    """
    error = rejection()

    assert error is await Fallback(using=using).call(raising(error))


@pytest.mark.parametrize("made", [None, 0, [], Exception])
async def test_a_made_substitute_may_be_anything(made: object) -> None:
    """
    Also None, what is false, and a class of exceptions.
    """
    assert made is await Fallback(using=lambda error: made).call(raising(rejection()))


async def test_an_open_circuit_is_answered_for(clock: ManualClock) -> None:
    """
    By default for rejections alone: the failure that opens it reaches its caller.
    """
    breaker = fragile(clock)
    fallback = Fallback(value="substitute", clock=clock)
    error = ConnectionError("refused")
    with pytest.raises(ConnectionError) as caught:
        await fallback.call(breaker.call, raising(error))

    assert error is caught.value
    assert State.OPEN is breaker.state
    assert "substitute" == await fallback.call(breaker.call, answer)
    assert 1 == breaker.snapshot().rejected


async def test_a_full_bulkhead_is_answered_for(clock: ManualClock) -> None:
    """
    It is a rejection as well, and its error is told.
    """
    bulkhead, fallback = Bulkhead(1, clock=clock), Fallback(value=0, clock=clock)
    with record(fallback) as events:
        async with bulkhead:
            assert 0 == await fallback.call(bulkhead.call, answer)

    assert ["BulkheadFullError"] == [event.error_type for event in events]  # type: ignore[union-attr]


class OwnRejectionError(RejectedError):
    """A rejection of a policy of a user's own."""


@pytest.mark.parametrize("error", [rejection(), BulkheadFullError("b", 1), OwnRejectionError()])
async def test_rejections_are_answered_for_by_default(error: Exception) -> None:
    """
    Whichever policy has rejected the call.
    """
    assert 1 == await Fallback(value=1).call(raising(error))


@pytest.mark.parametrize(
    "error", [ConnectionError("refused"), TimeoutError(), ValueError(), Exception(), TypeError()]
)
async def test_other_errors_pass_by_default(
    error: Exception, log: pytest.LogCaptureFixture
) -> None:
    """
    As the same object, untold: the fallback acts nowhere but where it was asked to.
    """
    fallback = Fallback(value=1)
    with record(fallback) as events:
        await passed(fallback, error)

    assert ([], []) == (events, log.records)


async def test_an_error_keeps_its_own_chain() -> None:
    """
    Passing through a fallback changes neither its cause nor its context.
    """

    async def fn() -> None:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise ConnectionError from first

    around = ValueError("handled around the call")
    try:
        raise around
    except ValueError:
        with pytest.raises(ConnectionError) as caught:
            await Fallback(value=1).call(fn)

    first = caught.value.__cause__
    assert isinstance(first, KeyError)
    assert (first, around) == (caught.value.__context__, first.__context__)


def only_refused(error: Exception) -> bool:
    return str(error) == "refused"


@pytest.mark.parametrize(
    ("on", "error"),
    [
        (ConnectionError, ConnectionRefusedError()),
        ((ValueError, ConnectionError), ConnectionError()),
        (only_refused, ConnectionError("refused")),
        (lambda error: "yes", ValueError()),
        (Exception, ConnectionError()),
        (BaseException, ConnectionError()),
        (Exception, rejection()),
        (CircuitOpenError, rejection()),
        (lambda error: True, rejection()),
    ],
)
async def test_on_says_what_is_answered_for(on: Any, error: Exception) -> None:
    """
    A type, a tuple, a predicate; ``Exception`` means rejections too.
    """
    assert 1 == await Fallback(value=1, on=on).call(raising(error))


@pytest.mark.parametrize(
    ("on", "error"),
    [
        (ConnectionError, ValueError()),
        (ConnectionError, rejection()),
        ((ValueError, TypeError), ConnectionError()),
        ((), rejection()),
        (only_refused, ConnectionError("other")),
        (lambda error: 0, rejection()),
        (BulkheadFullError, rejection()),
    ],
)
async def test_what_on_does_not_name_passes(on: Any, error: Exception) -> None:
    """
    Also a rejection, where only something else is named.
    """
    await passed(Fallback(value=1, on=on), error)


async def test_a_predicate_that_raises_means_no(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    The error passes; the predicate's own is logged as an ERROR the first time, then at DEBUG.
    """

    def broken(error: Exception) -> bool:
        raise LookupError("broken predicate")

    fallback = Fallback(value=1, on=broken, name="f", clock=clock)
    for _ in range(3):
        await passed(fallback, rejection())

    assert ["ERROR", "DEBUG", "DEBUG"] == [entry.levelname for entry in log.records]
    first = log.records[0]
    assert first.getMessage().startswith("fallback 'f': <function")
    assert first.exc_info is not None
    assert isinstance(first.exc_info[1], LookupError)
    assert "f" == vars(first)["policy"]


def group(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("several", errors)


@pytest.mark.parametrize(
    ("on", "error"),
    [
        (RejectedError, group(rejection())),
        (RejectedError, group(rejection(), BulkheadFullError("b", 1))),
        (RejectedError, group(rejection(), group(rejection(), group(rejection())))),
        (only_refused, group(OSError("refused"), ValueError("refused"))),
        (ExceptionGroup, group(rejection(), ValueError())),
        (BaseExceptionGroup, group(ValueError())),
        ((ValueError, ExceptionGroup), group(KeyError())),
        (Exception, group(KeyError(), rejection())),
    ],
)
async def test_a_group_of_such_errors_is_answered_for(on: Any, error: Exception) -> None:
    """
    When all its leaves match, or when groups are named.
    """
    assert 1 == await Fallback(value=1, on=on).call(raising(error))


@pytest.mark.parametrize(
    ("on", "error"),
    [
        (RejectedError, group(rejection(), ValueError())),
        (RejectedError, group(rejection(), group(rejection(), group(ValueError())))),
        (only_refused, group(OSError("refused"), ValueError("other"))),
        (ValueError, group(KeyError())),
    ],
)
async def test_a_group_with_another_error_in_it_passes(on: Any, error: Exception) -> None:
    """
    Nobody has asked to pass over that one.
    """
    await passed(Fallback(value=1, on=on), error)


@pytest.mark.parametrize("on", [Exception, BaseException, BaseExceptionGroup, lambda error: True])
@pytest.mark.parametrize(
    "error",
    [
        BaseExceptionGroup("several", [KeyboardInterrupt(), rejection()]),
        BaseExceptionGroup("several", [asyncio.CancelledError()]),
        KeyboardInterrupt(),
        SystemExit(),
        GeneratorExit(),
    ],
    ids=repr,
)
async def test_an_interrupt_is_never_answered_for(on: Any, error: BaseException) -> None:
    """
    Alone or in a group, however wide ``on`` is.
    """
    fallback = Fallback(value=1, on=on)
    with record(fallback) as events, pytest.raises(type(error)) as caught:
        await fallback.call(raising(error))

    assert error is caught.value
    assert [] == events


@pytest.mark.parametrize("on", [Exception, BaseException, lambda error: True])
async def test_a_cancellation_is_never_answered_for(on: Any) -> None:
    """
    The caller who goes away is not given a substitute.
    """
    fallback, returned = Fallback(value=1, on=on), False
    with record(fallback) as events, anyio.CancelScope() as scope:
        scope.cancel()
        await fallback.call(anyio.sleep_forever)
        returned = True

    assert (True, False, []) == (scope.cancelled_caught, returned, events)


async def broken_later(error: Exception) -> None:
    await settled()
    raise LookupError("no substitute")


def broken_now(error: Exception) -> None:
    raise LookupError("no substitute")


@pytest.mark.parametrize("using", [broken_now, broken_later])
async def test_a_substitute_that_fails_shows_both_errors(
    using: Callable[[Exception], Any], clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    Its own error reaches the caller, with the first one as ``__context__``, and is told.
    """
    fallback, error = Fallback(using=using, on=OSError, name="f", clock=clock), OSError("first")
    with record(fallback) as events, pytest.raises(LookupError, match="no substitute") as caught:
        await fallback.call(raising(error))

    assert (error, None) == (caught.value.__context__, caught.value.__cause__)
    assert [FallbackFailed("f", "OSError", "first", "LookupError", 100.0)] == events
    assert [] == log.records


async def test_a_substitute_may_raise_the_error_after_all() -> None:
    """
    The caller then sees it as it was, with nothing chained.
    """

    def again(error: Exception) -> None:
        raise error

    fallback = Fallback(using=again, name="f")
    with record(fallback) as events:
        await passed(fallback, rejection())

    assert [FallbackFailed] == [type(event) for event in events]


async def test_a_failing_substitute_that_nobody_hears_of() -> None:
    """
    Without a listener its error reaches the caller all the same.
    """
    with pytest.raises(LookupError):
        await Fallback(using=broken_now).call(raising(rejection()))


async def test_an_error_of_the_substitute_is_not_answered_for() -> None:
    """
    A substitute has no substitute, also where ``on`` names its error.
    """
    with pytest.raises(LookupError):
        await Fallback(using=broken_now, on=Exception).call(raising(OSError()))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_of_the_substitute_passes_untold(kind: type[BaseException]) -> None:
    """
    It is no failure of the substitute.
    """
    interrupt = kind()

    def interrupted(error: Exception) -> None:
        raise interrupt

    fallback = Fallback(using=interrupted)
    with record(fallback) as events, pytest.raises(kind) as caught:
        await fallback.call(raising(rejection()))

    assert interrupt is caught.value
    assert [] == events


async def test_cancelled_while_the_substitute_is_made() -> None:
    """
    Then there is none: it is cancelled, nothing is told, and the next caller gets one.
    """
    slow = anyio.Event()

    async def using(error: Exception) -> str:
        await slow.wait()
        return "substitute"

    fallback = Fallback(using=using)
    results: list[str] = []
    with record(fallback) as events:
        async with anyio.create_task_group() as tasks:

            async def caller() -> None:
                results.append(await fallback.call(raising(rejection())))

            tasks.start_soon(caller)
            await settled()
            tasks.cancel_scope.cancel()
        assert ([], []) == (results, events)
        slow.set()
        assert "substitute" == await fallback.call(raising(rejection()))

    assert [FallbackUsed] == [type(event) for event in events]


async def test_callers_at_once_get_their_own_substitutes() -> None:
    """
    Each is made for the caller's own error.
    """
    fallback = Fallback(using=later, on=OSError)
    errors = [OSError(number) for number in range(5)]
    results: dict[int, Exception] = {}

    async def caller(number: int) -> None:
        results[number] = await fallback.call(raising(errors[number]))

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(caller, number)

    assert dict(enumerate(errors)) == results


async def test_a_breaker_inside_sees_what_happened(clock: ManualClock) -> None:
    """
    The failure counts, the circuit opens: a fallback outside of it sugars nothing.
    """
    breaker = fragile(clock)
    pipeline = Pipeline(Fallback(value=0, on=Exception), breaker)
    with record(breaker) as events:
        assert 0 == await pipeline.call(raising(ConnectionError()))
        assert 0 == await pipeline.call(answer)

    settlings = [event for event in events if isinstance(event, CallSettled)]
    assert [Outcome.FAILURE] == [event.outcome for event in settlings]
    look = breaker.snapshot()
    assert (State.OPEN, 1, 0, 1) == (look.state, look.failed, look.succeeded, look.rejected)


async def test_a_breaker_outside_sees_an_answer(clock: ManualClock) -> None:
    """
    What has been answered for is a success to who stands around it.
    """
    breaker = fragile(clock)
    fallback = Fallback(value=0, on=ConnectionError)

    assert 0 == await breaker.call(fallback.call, raising(ConnectionError()))
    assert (1, 0) == (breaker.snapshot().succeeded, breaker.snapshot().failed)


async def test_using_may_take_the_place_of_the_call(clock: ManualClock) -> None:
    """
    The substitute is made after the call has ended: its place in a bulkhead is free again.
    """
    bulkhead = Bulkhead(1, clock=clock)

    async def using(error: Exception) -> int:
        return await bulkhead.call(answer, 7)

    fallback = Fallback(using=using, on=OSError)

    assert 7 == await fallback.call(bulkhead.call, raising(OSError()))


async def test_a_substitute_is_told(clock: ManualClock) -> None:
    """
    With the name, the error's class and text, and the moment it was used.
    """

    async def using(error: Exception) -> int:
        clock.advance(2.5)
        return 1

    fallback = Fallback(using=using, on=OSError, name="f", clock=clock)
    with record(fallback) as events:
        await fallback.call(raising(ConnectionError("refused")))
        await Fallback.call(fallback, raising(OSError()))

    assert [
        FallbackUsed("f", "ConnectionError", "refused", 102.5),
        FallbackUsed("f", "OSError", "", 105.0),
    ] == events


async def test_a_rejection_is_told_with_its_own_words(clock: ManualClock) -> None:
    """
    The breaker's one line says which circuit it was and for how long.
    """
    fallback = Fallback(value=1, name="f", clock=clock)
    with record(fallback) as events:
        await fallback.call(raising(rejection()))

    text = "circuit 'api' is open; retry in 4 s"
    assert [FallbackUsed("f", "CircuitOpenError", text, 100.0)] == events


class MuteError(Exception):
    def __str__(self) -> str:
        raise ValueError("broken __str__")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError("GET https://me:secret@host/a?token=1 failed"),
            "GET https://...@host/a?... failed",
        ),
        (OSError("<http://host/?a=1&b=2> 'http://b/?c'"), "<http://host/?...> 'http://b/?...'"),
        (OSError("redis://:secret@host:6379/0"), "redis://...@host:6379/0"),
        (OSError("x" * 1000), "x" * 300),
        (OSError("who? me@home"), "who? me@home"),
        (MuteError(), "(its text cannot be read)"),
    ],
)
@pytest.mark.parametrize("using", [plain, broken_now])
async def test_secrets_of_urls_are_not_told(
    using: Callable[[Exception], Any], error: Exception, message: str
) -> None:
    """
    The query and the password are left out, a long text is cut, and a broken one does no harm.
    """
    fallback = Fallback(using=using, on=type(error))
    with record(fallback) as events, suppress(LookupError):
        await fallback.call(raising(error))

    assert [message] == [event.message for event in events]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        "x" * 280 + "http://user:secret-word@host/",
        "http://user:with@secret-word@host/",
        "http://host/?" + "q" * 1967 + " http://user:secret-word@host/",
    ],
    ids=["where the text is cut", "with an @ of its own", "after a long query"],
)
async def test_no_part_of_a_password_is_told(text: str) -> None:
    """
    Neither where the text is cut in the middle of it, nor when it has an "@" itself.
    """
    fallback = Fallback(value=1, on=OSError)
    with record(fallback) as events:
        await fallback.call(raising(OSError(text)))

    assert [False] == ["sec" in event.message for event in events]  # type: ignore[union-attr]


async def test_the_log_says_when_it_begins(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    One INFO, then DEBUG, however long it lasts; after more than a minute of quiet an INFO again.
    """
    fallback = Fallback(value=1, name="f", clock=clock)
    for pause in (0.0, 0.0, 59.0, 60.0, 60.5):
        clock.advance(pause)
        await fallback.call(raising(rejection()))

    text = "fallback 'f' answers with its substitute, for CircuitOpenError"
    assert [
        ("INFO", text),
        ("DEBUG", f"{text} (1 times since it was last said)"),
        ("DEBUG", f"{text} (2 times since it was last said)"),
        ("DEBUG", f"{text} (3 times since it was last said)"),
        ("INFO", text),
    ] == lines(log)
    assert {"f"} == {vars(entry)["policy"] for entry in log.records}


async def test_the_default_log_is_quiet(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A storm of rejections, for hours, is one line at INFO and none above.
    """
    caplog.set_level(logging.INFO, "asyncbreaker")
    fallback = Fallback(value=1, clock=clock)
    for _ in range(500):
        clock.advance(30.0)
        await fallback.call(raising(rejection()))

    assert ["INFO"] == [entry.levelname for entry in caplog.records]


async def test_a_listener_that_raises_changes_nothing(log: pytest.LogCaptureFixture) -> None:
    """
    The caller gets the substitute, and the error of the listener is logged.
    """

    def broken(event: object) -> None:
        raise LookupError("broken listener")

    fallback = Fallback(value=1)
    fallback.add_listener(broken)

    assert 1 == await fallback.call(raising(rejection()))
    assert ["ERROR"] == [entry.levelname for entry in log.records if entry.levelno > logging.INFO]


async def test_listeners_choose_what_they_hear() -> None:
    """
    Of the two kinds of events one may be wanted without the other.
    """
    fallback = Fallback(using=broken_now)
    heard: list[object] = []
    fallback.add_listener(heard.append, FallbackUsed)
    with pytest.raises(LookupError):
        await fallback.call(raising(rejection()))

    assert [] == heard


@pytest.mark.parametrize("use", [Fallback(value=1, on=OSError), Fallback(using=plain, on=OSError)])
async def test_an_error_that_was_answered_for_dies(use: Fallback[Any]) -> None:
    """
    The fallback keeps nothing of it, nor of what the call held.
    """

    class Held:
        pass

    async def fn() -> None:
        held = Held()
        died.append(weakref.ref(held))
        raise OSError

    died: list[weakref.ref[Held]] = []
    gc.collect()
    gc.disable()
    try:
        await use.call(fn)
        assert None is died[0]()
    finally:
        gc.enable()


async def test_a_decorated_function() -> None:
    """
    It keeps its name and its arguments, and is answered for.
    """

    @Fallback(value="substitute", on=LookupError)
    async def fetch(key: str, *, loud: bool = False) -> str:
        """Fetch it."""
        if loud:
            raise LookupError
        return key

    assert ("fetch", "Fetch it.") == (fetch.__name__, fetch.__doc__)
    assert ("a", "substitute") == (await fetch("a"), await fetch("a", loud=True))


async def test_any_keyword_reaches_the_function() -> None:
    """
    Also one that is called as a parameter of ours.
    """

    async def take(**kwargs: int) -> dict[str, int]:
        return kwargs

    given = {"fn": 1, "self": 2, "value": 3, "using": 4}
    assert given == await Fallback(value=0).call(take, **given)


async def test_what_is_raised_before_there_is_anything_to_await() -> None:
    """
    It is answered for as any other error.
    """

    def refuse() -> Any:
        raise rejection()

    assert 1 == await Fallback(value=1).call(refuse)


async def test_what_is_no_call_is_refused() -> None:
    """
    Whatever ``on`` names: a slip in the program is not answered for.
    """
    fallback: Fallback[int] = Fallback(value=1, on=Exception)
    with record(fallback) as events:
        with pytest.raises(TypeError, match=r"write call\(fn, \.\.\.\) instead"):
            await fallback.call(answer())  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="did not: "):
            await fallback.call(lambda: 42)  # type: ignore[arg-type,return-value]
        with pytest.raises(TypeError, match="needs a callable that returns an awaitable, not 42"):
            await fallback.call(42)  # type: ignore[arg-type]

    assert [] == events


async def test_a_type_error_of_the_function_is_an_error_like_any_other() -> None:
    """
    Wrong arguments, too, are answered for where ``on`` names them.
    """
    fallback = Fallback(value=1, on=TypeError)

    assert 1 == await fallback.call(raising(TypeError("its own")))
    assert 1 == await fallback.call(answer, 1, 2, 3)  # type: ignore[call-arg]


no_arguments: Any = lambda: 1  # noqa: E731


async def test_using_with_the_wrong_number_of_arguments() -> None:
    """
    That error reaches the caller, and the rejection is still to be seen.
    """
    error = rejection()
    with pytest.raises(TypeError, match="argument") as caught:
        await Fallback(using=no_arguments).call(raising(error))

    assert error is caught.value.__context__


@pytest.mark.parametrize(
    ("settings", "kind", "text"),
    [
        ({}, TypeError, "Fallback needs exactly one of value= and using="),
        ({"using": None}, TypeError, "Fallback needs exactly one of value= and using="),
        (
            {"value": 1, "using": plain},
            TypeError,
            "Fallback needs exactly one of value= and using=",
        ),
        ({"value": None, "using": plain}, TypeError, "Fallback needs exactly one of"),
        ({"using": 1}, TypeError, "using must be callable, not 1"),
        ({"using": "fn"}, TypeError, "using must be callable, not 'fn'"),
        ({"using": []}, TypeError, "using must be callable, not []"),
        ({"on": None}, TypeError, "on must be an exception type, a tuple of them, or a predicate"),
        (
            {"on": "x"},
            TypeError,
            "on must be an exception type, a tuple of them, or a predicate, not",
        ),
        ({"on": [OSError]}, TypeError, "on must be an exception type, a tuple of them, or a predi"),
        ({"on": int}, TypeError, "on must name exception types, not <class 'int'>"),
        ({"on": (OSError, 1)}, TypeError, "on must name exception types, not 1"),
        (
            {"on": OSError()},
            TypeError,
            "on must be an exception type, a tuple of them, or a predic",
        ),
        ({"on": KeyboardInterrupt}, ValueError, "on must not name <class 'KeyboardInterrupt'>"),
        ({"on": (OSError, SystemExit)}, ValueError, "on must not name <class 'SystemExit'>"),
        ({"on": asyncio.CancelledError}, ValueError, "on must not name <class 'asyncio.exceptions"),
        ({"on": later}, TypeError, "on must be a plain function, not the coroutine function"),
        ({"name": ""}, ValueError, "name must not be empty, not ''"),
        ({"name": 1}, TypeError, "name must be a string, not 1"),
        ({"clock": 1}, TypeError, "clock must be callable, not 1"),
        ({"clock": later}, TypeError, "clock must be a plain function, not the coroutine function"),
    ],
)
def test_a_bad_setting_is_refused(
    settings: dict[str, Any], kind: type[Exception], text: str
) -> None:
    """
    The error names the parameter and the value.
    """
    given = settings if {"value", "using"} & {*settings} else {"value": 1, **settings}
    with pytest.raises(kind, match=f"^{re.escape(text)}"):
        Fallback(**(given if settings else {}))


def test_the_signature_can_be_read() -> None:
    """
    In ``help()`` a substitute that was not given is no cryptic object.
    """
    parameters = inspect.signature(Fallback).parameters

    assert "..." == repr(parameters["value"].default)
