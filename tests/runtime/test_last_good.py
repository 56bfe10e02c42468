"""LastGood: the last good answer per key, its age, and no more of them than wanted."""

from __future__ import annotations

import functools
import gc
import logging
import math
import re
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncbreaker import (
    Bulkhead,
    CircuitBreaker,
    CircuitOpenError,
    LastGood,
    LastGoodUsed,
    Pipeline,
    Retry,
    State,
    answer_age,
)
from asyncbreaker.errors import Reason
from asyncbreaker.testing import ManualClock, record
from tests.runtime.support import answer, fail, failing_call, fragile, settled

pytestmark = pytest.mark.anyio


class Service:
    """Answers with a number of its own each time, and fails when told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: BaseException | None = None

    async def __call__(self, /, *args: object, **kwargs: object) -> int:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return self.calls

    def fails(self, error: BaseException | None = None) -> None:
        self.error = error or ConnectionError("refused")

    def works(self) -> None:
        self.error = None


@pytest.fixture
def service() -> Service:
    """A dependency."""
    return Service()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that is logged, DEBUG included."""
    caplog.set_level(logging.DEBUG, "asyncbreaker")
    return caplog


def complaints(log: pytest.LogCaptureFixture) -> list[str]:
    return [entry.levelname for entry in log.records if entry.exc_info]


async def served(last_good: LastGood, fn: Callable[..., Awaitable[Any]], *args: Any) -> list[Any]:
    """Return which of *args* have an answer that is served when the call fails."""
    found = []
    for arg in args:
        with suppress(ConnectionError):
            await last_good.call(fn, arg)
            found.append(arg)
    return found


async def test_an_open_circuit_is_answered_with_the_last_good_answer(
    clock: ManualClock, service: Service
) -> None:
    """
    The newest one, as the same object; the failure that opens the circuit passes.
    """
    breaker = fragile(clock)
    last_good = LastGood(clock=clock)
    objects = [object(), object()]
    coming = iter(objects)

    async def fetch() -> object:
        if service.error is not None:
            raise service.error
        return next(coming)

    for expected in objects:
        assert expected is await last_good.call(breaker.call, fetch)
    service.fails()
    with pytest.raises(ConnectionError) as caught:
        await last_good.call(breaker.call, fetch)
    assert service.error is caught.value
    assert State.OPEN is breaker.state
    for _ in range(2):
        assert objects[1] is await last_good.call(breaker.call, fetch)
    assert 2 == breaker.snapshot().rejected


async def test_a_full_bulkhead_is_answered_from_memory(
    clock: ManualClock, service: Service
) -> None:
    """
    It is a rejection as well.
    """
    bulkhead = Bulkhead(1, clock=clock)
    last_good = LastGood(clock=clock)
    await last_good.call(bulkhead.call, service)
    async with bulkhead:
        assert 1 == await last_good.call(bulkhead.call, service)


async def test_where_nothing_is_remembered_the_rejection_passes(clock: ManualClock) -> None:
    """
    As the same object, unchained.
    """
    error = CircuitOpenError("api", Reason.OPEN, 1.0)
    service = Service()
    service.fails(error)
    last_good = LastGood(clock=clock)
    with record(last_good) as events, pytest.raises(CircuitOpenError) as caught:
        await last_good.call(service)

    assert error is caught.value
    assert (None, None, []) == (error.__cause__, error.__context__, events)


async def test_a_failure_is_not_hidden_by_default(clock: ManualClock, service: Service) -> None:
    """
    An answer is remembered, but only a rejection brings it back.
    """
    last_good = LastGood(clock=clock)
    await last_good.call(service)
    service.fails()
    with record(last_good) as events, pytest.raises(ConnectionError) as caught:
        await last_good.call(service)

    assert service.error is caught.value
    assert (1, []) == (len(last_good), events)


@pytest.mark.parametrize(
    ("on", "error"),
    [
        (Exception, ConnectionError()),
        ((ValueError, OSError), ConnectionError()),
        (lambda error: str(error) == "refused", ConnectionError("refused")),
        (OSError, ExceptionGroup("several", [ConnectionError(), TimeoutError()])),
    ],
)
async def test_on_says_what_is_answered_for(
    on: Any, error: Exception, clock: ManualClock, service: Service
) -> None:
    """
    A type, a tuple, a predicate; of a group all leaves.
    """
    last_good = LastGood(on=on, clock=clock)
    await last_good.call(service)
    service.fails(error)

    assert 1 == await last_good.call(service)


@pytest.mark.parametrize(
    ("on", "error"),
    [
        (ValueError, ConnectionError()),
        (lambda error: False, ConnectionError()),
        (OSError, ExceptionGroup("several", [ConnectionError(), ValueError()])),
        (Exception, BaseExceptionGroup("several", [KeyboardInterrupt()])),
        (Exception, KeyboardInterrupt()),
        (BaseException, SystemExit()),
        (BaseException, GeneratorExit()),
    ],
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
async def test_what_on_does_not_name_passes(
    on: Any, error: BaseException, clock: ManualClock, service: Service
) -> None:
    """
    As the same object; an interrupt always.
    """
    last_good = LastGood(on=on, clock=clock)
    await last_good.call(service)
    service.fails(error)
    with pytest.raises(type(error)) as caught:
        await last_good.call(service)

    assert error is caught.value


async def test_a_predicate_that_raises_means_no(
    clock: ManualClock, service: Service, log: pytest.LogCaptureFixture
) -> None:
    """
    The error passes; the predicate's own is logged as an ERROR once.
    """

    def broken(error: Exception) -> bool:
        raise LookupError("broken predicate")

    last_good = LastGood(on=broken, clock=clock)
    await last_good.call(service)
    service.fails()
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await last_good.call(service)

    assert ["ERROR", "DEBUG"] == complaints(log)


async def test_a_call_that_is_cancelled_changes_nothing(
    clock: ManualClock, service: Service
) -> None:
    """
    It is not answered for, and what was remembered stays.
    """
    last_good = LastGood(on=BaseException, key=lambda fn: "one", clock=clock)

    async def call(fn: Callable[[], Awaitable[int | None]]) -> int | None:
        return await fn()

    await last_good.call(call, service)
    with record(last_good) as events, anyio.CancelScope() as scope:
        scope.cancel()
        await last_good.call(call, anyio.sleep_forever)

    assert (True, [], 1) == (scope.cancelled_caught, events, len(last_good))
    service.fails()
    assert 1 == await last_good.call(call, service)


async def test_the_age_of_an_answer(clock: ManualClock, service: Service) -> None:
    """
    None for a fresh one; for a remembered one the seconds since it came, however often served.
    """
    last_good = LastGood(on=Exception, clock=clock)
    assert None is answer_age()
    await last_good.call(service)
    assert None is answer_age()
    service.fails()
    ages = []
    for pause in (0.0, 2.5, 4.0):
        clock.advance(pause)
        await last_good.call(service)
        ages.append(answer_age())
    assert [0.0, 2.5, 6.5] == ages
    service.works()
    await last_good.call(service)
    assert None is answer_age()
    service.fails()
    clock.advance(1.0)
    await last_good.call(service)
    assert 1.0 == answer_age()


async def test_the_age_counts_from_when_the_answer_came(clock: ManualClock) -> None:
    """
    Not from when it was asked for.
    """
    down: list[str] = []

    async def fetch() -> int:
        clock.advance(5.0)
        if down:
            raise ConnectionError
        return 1

    last_good = LastGood(on=Exception, clock=clock)
    await last_good.call(fetch)
    down.append("yes")
    await last_good.call(fetch)

    assert 5.0 == answer_age()


async def aged(last_good: LastGood, service: Service, clock: ManualClock) -> None:
    """Let this task be served an answer that is three seconds old."""
    service.works()
    await last_good.call(service)
    service.fails(ConnectionError())
    clock.advance(3.0)
    await last_good.call(service)
    assert 3.0 == answer_age()


async def test_there_is_no_age_after_an_error(clock: ManualClock, service: Service) -> None:
    """
    The last call of this task had no answer at all.
    """
    last_good = LastGood(on=ConnectionError, clock=clock)
    await aged(last_good, service, clock)
    service.fails(ValueError("nonsense"))
    with pytest.raises(ValueError, match="nonsense"):
        await last_good.call(service)

    assert None is answer_age()


async def test_there_is_no_age_after_a_rejection_without_an_answer(
    clock: ManualClock, service: Service
) -> None:
    """
    Nothing is remembered for that one.
    """
    last_good = LastGood(on=ConnectionError, clock=clock)
    await aged(last_good, service, clock)
    with pytest.raises(ConnectionError):
        await last_good.call(service, "another")

    assert None is answer_age()


async def test_there_is_no_age_after_a_call_that_was_cut(
    clock: ManualClock, service: Service
) -> None:
    """
    Cancelled by a scope in this task: the last call had no answer.
    """
    last_good = LastGood(on=ConnectionError, clock=clock)
    await aged(last_good, service, clock)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await last_good.call(anyio.sleep_forever)

    assert None is answer_age()


async def test_there_is_no_age_after_an_interrupt(clock: ManualClock, service: Service) -> None:
    """
    The last call of this task had no answer.
    """
    last_good = LastGood(on=ConnectionError, clock=clock)
    await aged(last_good, service, clock)
    service.fails(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        await last_good.call(service)

    assert None is answer_age()


async def test_a_call_without_a_last_good_leaves_the_age(
    clock: ManualClock, service: Service
) -> None:
    """
    It speaks of calls through a ``LastGood``.
    """
    last_good = LastGood(on=ConnectionError, clock=clock)
    await aged(last_good, service, clock)
    await answer()
    await fragile(clock).call(answer)

    assert 3.0 == answer_age()


async def test_two_tasks_do_not_mix_their_ages(clock: ManualClock) -> None:
    """
    Each is told of its own last call, though both calls run at the same time.
    """
    last_good = LastGood(on=ConnectionError, clock=clock)
    down: list[str] = []
    ages: dict[str, float | None] = {}

    async def fetch(key: str) -> str:
        await settled()
        if down:
            raise ConnectionError
        return key

    async def caller(key: str) -> None:
        with suppress(ConnectionError):
            await last_good.call(fetch, key)
        await settled()
        ages[key] = answer_age()

    await last_good.call(fetch, "old")
    clock.advance(1.0)
    await last_good.call(fetch, "new")
    clock.advance(1.0)
    down.append("yes")
    async with anyio.create_task_group() as tasks:
        for key in ("old", "new", "never"):
            tasks.start_soon(caller, key)

    assert {"old": 2.0, "new": 1.0, "never": None} == ages
    assert None is answer_age()


async def test_the_age_is_seen_through_a_pipeline(clock: ManualClock, service: Service) -> None:
    """
    In the task that made the call, whatever stands around and inside.
    """
    last_good = LastGood(on=ConnectionError, clock=clock)
    pipeline = Pipeline(Bulkhead(5, clock=clock), last_good, Retry(1, clock=clock))
    await pipeline.call(service)
    clock.advance(7.0)
    service.fails()
    await pipeline.call(service)

    assert 7.0 == answer_age()


async def test_the_nearest_cache_tells_the_age_of_its_own(
    clock: ManualClock, service: Service
) -> None:
    """
    What the inner one remembered is a fresh answer to the outer one, which was called last.
    """
    inner, outer = LastGood(on=ConnectionError, clock=clock), LastGood(clock=clock)

    async def fetch() -> tuple[int, float | None]:
        return await inner.call(service), answer_age()

    await outer.call(fetch)
    clock.advance(2.0)
    service.fails()

    assert ((1, 2.0), None) == (await outer.call(fetch), answer_age())


async def test_the_key_is_given_what_the_function_is_called_with(
    clock: ManualClock, service: Service
) -> None:
    """
    All positional and keyword arguments, and no function.
    """
    given: list[Any] = []

    def key(*args: Any, **kwargs: Any) -> str:
        given.append((args, kwargs))
        return "one"

    last_good = LastGood(key=key, clock=clock)
    await last_good.call(service, 1, "two", three=[3], key=4, self=5, fn=6)

    assert [((1, "two"), {"three": [3], "key": 4, "self": 5, "fn": 6})] == given


async def test_the_key_decides_what_is_the_same_call(clock: ManualClock, service: Service) -> None:
    """
    Arguments that it leaves out make no difference.
    """

    def key(user: str, *, trace: object = None) -> str:
        return user

    last_good = LastGood(key=key, on=Exception, clock=clock)
    await last_good.call(service, "ann", trace=[1])
    await last_good.call(service, "bob", trace=[2])
    service.fails()

    assert (1, 2) == (
        await last_good.call(service, "ann", trace=[3]),
        await last_good.call(service, "bob"),
    )
    with pytest.raises(ConnectionError):
        await last_good.call(service, "eve")


def broken_key(*args: object) -> str:
    raise LookupError("broken key")


def unhashable_key(*args: object) -> Any:
    return list(args)


class Unequal:
    """Can be hashed, but not compared."""

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise LookupError("broken comparison")


def unequal_key(*args: object) -> Hashable:
    return Unequal()


class Unhashable:
    """Raises when it is asked for its hash."""

    def __hash__(self) -> int:
        raise LookupError("broken hash")


@pytest.mark.parametrize("key", [broken_key, unhashable_key, lambda: "no arguments"])
async def test_a_call_without_a_usable_key_goes_through(
    key: Callable[..., Hashable], clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    It is not remembered; the fault is logged as an ERROR once, then at DEBUG.
    """
    last_good, service = LastGood(key=key, on=Exception, clock=clock), Service()
    for number in (1, 2):
        assert number == await last_good.call(service, "a")
    service.fails()
    with pytest.raises(ConnectionError) as caught:
        await last_good.call(service, "a")

    assert service.error is caught.value
    assert None is caught.value.__context__
    assert (0, ["ERROR", "DEBUG", "DEBUG"]) == (len(last_good), complaints(log))
    assert repr(key) in log.records[0].getMessage()


@pytest.mark.parametrize("argument", [[1], {"a": 1}, Unhashable()])
@pytest.mark.parametrize("by_name", [False, True])
async def test_arguments_that_are_no_key_are_not_remembered(
    argument: object, by_name: bool, clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    With the default key: the log says what to do, once, and other calls are remembered.
    """
    last_good, service = LastGood(on=Exception, clock=clock), Service()
    for _ in range(2):
        await (
            last_good.call(service, a=argument) if by_name else last_good.call(service, argument)
        )
    await last_good.call(service, "good")

    assert (1, ["ERROR", "DEBUG"]) == (len(last_good), complaints(log))
    assert "'the default key (give key=)' raised" in log.records[0].getMessage()


async def test_keys_that_cannot_be_compared(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    The caller gets the fresh answer, or the error, as without a memory.
    """
    last_good, service = LastGood(key=unequal_key, on=Exception, clock=clock), Service()
    for number in (1, 2):
        assert number == await last_good.call(service)
    service.fails()
    with pytest.raises(ConnectionError) as caught:
        await last_good.call(service)

    assert service.error is caught.value
    assert ["ERROR", "DEBUG"] == complaints(log)


async def test_an_interrupt_of_the_key_passes_before_the_call(
    clock: ManualClock, service: Service
) -> None:
    """
    Nothing is called then.
    """

    def interrupted() -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await LastGood(key=interrupted, clock=clock).call(service)

    assert 0 == service.calls


async def test_the_default_key_is_the_function_and_its_arguments(clock: ManualClock) -> None:
    """
    One ``LastGood`` serves several functions; keywords count in any order.
    """
    first, second = Service(), Service()
    last_good = LastGood(on=Exception, clock=clock)
    await last_good.call(first)
    await last_good.call(first, 1)
    await last_good.call(first, 1, a=2, b=3)
    await last_good.call(second, 1)
    first.fails()
    second.fails()

    assert (1, 2, 3, 3, 1) == (
        await last_good.call(first),
        await last_good.call(first, 1),
        await last_good.call(first, 1, a=2, b=3),
        await last_good.call(first, 1, b=3, a=2),
        await last_good.call(second, 1),
    )
    unknown: list[tuple[Service, tuple[int, ...], dict[str, int]]] = [
        (first, (2,), {}),
        (first, (), {"a": 2}),
        (first, (1,), {"a": 2}),
        (first, (1, 2), {"b": 3}),
        (second, (), {}),
    ]
    for service, args, kwargs in unknown:
        with pytest.raises(ConnectionError):
            await last_good.call(service, *args, **kwargs)
    assert 4 == len(last_good)


async def test_the_default_key_in_a_pipeline_is_the_users_function(clock: ManualClock) -> None:
    """
    However many policies are between, and whichever way the call is made.
    """
    down: list[str] = []

    async def fetch(key: str) -> str:
        if down:
            raise ConnectionError
        return key.upper()

    async def other(key: str) -> str:
        raise ConnectionError

    last_good = LastGood(on=Exception, clock=clock)
    inner = Pipeline(Retry(1, clock=clock), CircuitBreaker(clock=clock))
    pipeline = Pipeline(Bulkhead(5, clock=clock), last_good, inner, Bulkhead(5, clock=clock))
    await pipeline.call(fetch, "a")
    await pipeline(fetch)("b")
    down.append("yes")

    for _ in range(2):
        assert ("A", "B") == (await pipeline.call(fetch, "a"), await pipeline.call(fetch, "b"))
    assert ("A", "B") == (await pipeline(fetch)("a"), await last_good.call(fetch, "b"))
    with pytest.raises(ConnectionError):
        await pipeline.call(other, "a")
    assert 2 == len(last_good)


async def test_a_bound_method_is_the_same_function_each_time(clock: ManualClock) -> None:
    """
    Python makes a new object of it at each access; of two objects each has its answers.
    """

    class Client:
        def __init__(self, name: str) -> None:
            self.name = name
            self.down = False

        async def fetch(self) -> str:
            if self.down:
                raise ConnectionError
            return self.name

    last_good = LastGood(on=Exception, clock=clock)
    one, two = Client("one"), Client("two")
    await last_good.call(one.fetch)
    one.down = two.down = True

    assert "one" == await last_good.call(one.fetch)
    with pytest.raises(ConnectionError):
        await last_good.call(two.fetch)


async def test_a_decorated_method_knows_its_object(clock: ManualClock) -> None:
    """
    Two objects of a class do not get each other's answers.
    """
    last_good = LastGood(on=Exception, clock=clock)

    class Client:
        def __init__(self, name: str) -> None:
            self.name = name
            self.down = False

        @last_good
        async def fetch(self, key: str) -> str:
            """Fetch it."""
            if self.down:
                raise ConnectionError
            return self.name + key

    one, two = Client("one"), Client("two")
    await one.fetch("a")
    await two.fetch("a")
    one.down = two.down = True

    assert ("onea", "twoa") == (await one.fetch("a"), await two.fetch("a"))
    assert ("fetch", "Fetch it.") == (Client.fetch.__name__, Client.fetch.__doc__)
    with pytest.raises(ConnectionError):
        await one.fetch("b")


async def test_a_decorated_method_of_an_object_without_a_hash(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    Such as a dataclass: it is called, not remembered, and the log says so once.
    """
    last_good = LastGood(clock=clock)

    @dataclass
    class Client:
        name: str

        @last_good
        async def fetch(self) -> str:
            return self.name

    assert ("one", "one") == (await Client("one").fetch(), await Client("one").fetch())
    assert (0, ["ERROR", "DEBUG"]) == (len(last_good), complaints(log))


async def test_a_breaker_as_decorator_inside(clock: ManualClock) -> None:
    """
    ``@last_good`` above ``@breaker``: the guarded function is the one that counts.
    """
    breaker = fragile(clock)

    @LastGood(clock=clock)
    @breaker
    async def fetch(key: str) -> str:
        return key

    await fetch("a")
    await failing_call(breaker)

    assert "a" == await fetch("a")
    with pytest.raises(CircuitOpenError):
        await fetch("b")


@pytest.mark.parametrize("maximum", [1, 2, 5])
async def test_no_more_than_the_maximum_is_kept(
    maximum: int, clock: ManualClock, service: Service
) -> None:
    """
    Of a hundred keys the newest are.
    """
    last_good = LastGood(maximum=maximum, on=Exception, clock=clock)
    for number in range(100):
        await last_good.call(service, number)
        assert min(number + 1, maximum) == len(last_good)
    service.fails()

    assert [*range(100 - maximum, 100)] == await served(last_good, service, *range(100))
    assert maximum == len(last_good)


async def test_what_is_unused_for_longest_goes_first(clock: ManualClock, service: Service) -> None:
    """
    An answer is used when it comes and when it is served, not when there was none to serve.
    """
    last_good = LastGood(maximum=3, on=Exception, clock=clock)
    for key in "abc":
        await last_good.call(service, key)
    await last_good.call(service, "a")  # comes anew
    service.fails()
    await last_good.call(service, "b")  # is served
    service.works()
    await last_good.call(service, "d")
    service.fails()

    assert ["a", "b", "d"] == await served(last_good, service, *"abcd")
    service.works()
    await last_good.call(service, "e")
    service.fails()
    assert ["b", "d", "e"] == await served(last_good, service, *"abcde")


async def test_many_keys_without_an_answer_displace_none(
    clock: ManualClock, service: Service
) -> None:
    """
    Looking for what is not there takes no room.
    """
    last_good = LastGood(maximum=1, on=Exception, clock=clock)
    await last_good.call(service, "a")
    service.fails()

    assert ["a"] == await served(last_good, service, *range(100), "a")


async def test_an_answer_may_be_as_old_as_max_age(clock: ManualClock, service: Service) -> None:
    """
    At the limit it is served, above it is not, and is dropped.
    """
    last_good = LastGood(max_age=10.0, on=Exception, clock=clock)
    await last_good.call(service)
    service.fails()
    clock.advance(10.0)
    assert (1, 10.0, 1) == (await last_good.call(service), answer_age(), len(last_good))
    clock.advance(0.001)
    with pytest.raises(ConnectionError) as caught:
        await last_good.call(service)
    assert service.error is caught.value
    assert (None, 0) == (answer_age(), len(last_good))


async def test_serving_an_answer_does_not_make_it_younger(
    clock: ManualClock, service: Service
) -> None:
    """
    However often it is served, its time comes.
    """
    last_good = LastGood(max_age=10.0, on=Exception, clock=clock)
    await last_good.call(service)
    service.fails()
    for _ in range(10):
        clock.advance(1.0)
        await last_good.call(service)
    clock.advance(1.0)
    with pytest.raises(ConnectionError):
        await last_good.call(service)


async def test_an_answer_may_be_served_for_ever(clock: ManualClock, service: Service) -> None:
    """
    With an infinite ``max_age``; by default it is an hour.
    """
    for_ever = LastGood(max_age=math.inf, on=Exception, clock=clock)
    an_hour = LastGood(on=Exception, clock=clock)
    await for_ever.call(service)
    await an_hour.call(service)
    service.fails()
    clock.advance(3600.0)
    assert 2 == await an_hour.call(service)
    clock.advance(1e9)
    assert 1 == await for_ever.call(service)
    with pytest.raises(ConnectionError):
        await an_hour.call(service)


async def test_a_key_may_be_none(clock: ManualClock, service: Service) -> None:
    """
    It is a key like any other.
    """
    last_good = LastGood(key=lambda: None, on=Exception, clock=clock)
    await last_good.call(service)
    service.fails()

    assert 1 == await last_good.call(service)


@pytest.mark.parametrize("value", [None, 0, "", False, ()])
async def test_an_answer_that_is_false_is_an_answer(value: object, clock: ManualClock) -> None:
    """
    Also None is remembered and served.
    """
    down: list[str] = []

    async def fetch() -> object:
        if down:
            raise ConnectionError
        return value

    last_good = LastGood(on=Exception, clock=clock)
    await last_good.call(fetch)
    down.append("yes")
    with record(last_good) as events:
        assert value is await last_good.call(fetch)

    assert 1 == len(events)


async def test_good_says_what_is_worth_remembering(clock: ManualClock, service: Service) -> None:
    """
    Another answer is returned as it is, fresh, and does not displace a good one.
    """
    seen: list[int] = []

    def good(result: int) -> Any:
        seen.append(result)
        return "yes" if result == 1 else 0

    last_good = LastGood(good=good, on=Exception, clock=clock)
    for number in (1, 2, 3):
        assert (number, None) == (await last_good.call(service), answer_age())
    service.fails()

    assert 1 == await last_good.call(service)
    assert [1, 2, 3] == seen


async def test_good_that_raises_means_no(
    clock: ManualClock, service: Service, log: pytest.LogCaptureFixture
) -> None:
    """
    The caller gets the answer; it is not remembered, and the fault is logged as an ERROR once.
    """

    def broken(result: int) -> bool:
        raise LookupError("broken good=")

    last_good = LastGood(good=broken, clock=clock)
    for number in (1, 2):
        assert number == await last_good.call(service)

    assert (0, ["ERROR", "DEBUG"]) == (len(last_good), complaints(log))


async def test_clear_forgets_every_answer(clock: ManualClock, service: Service) -> None:
    """
    What comes after it is remembered again.
    """
    last_good = LastGood(on=Exception, clock=clock)
    last_good.clear()
    for number in range(5):
        await last_good.call(service, number)
    assert 5 == len(last_good)
    last_good.clear()
    assert 0 == len(last_good)
    await last_good.call(service, 1)
    service.fails()

    assert [1] == await served(last_good, service, *range(5))


async def test_calls_at_once_under_one_key(clock: ManualClock) -> None:
    """
    Each returns its own answer; the one that came last is remembered.
    """
    gates = [anyio.Event() for _ in range(3)]
    results: dict[int, int] = {}
    coming: list[int] = []
    last_good = LastGood(key=lambda: "one", on=Exception, clock=clock)

    async def fetch() -> int:
        number = len(coming)
        coming.append(number)
        if number >= len(gates):
            raise ConnectionError
        await gates[number].wait()
        return number

    async def caller(number: int) -> None:
        results[number] = await last_good.call(fetch)

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(caller, number)
        await settled()
        for number in (2, 0, 1):
            gates[number].set()
            await settled()

    assert [0, 1, 2] == sorted(results.values())
    assert (1, 1) == (await last_good.call(fetch), len(last_good))


async def test_an_answer_that_came_while_the_call_ran_is_served(clock: ManualClock) -> None:
    """
    What is remembered is looked for when the call has failed, not before.
    """
    gate = anyio.Event()
    last_good = LastGood(key=lambda fn: "one", on=Exception, clock=clock)
    results: list[int] = []

    async def call(fn: Callable[[], Awaitable[int]]) -> int:
        return await fn()

    async def slow() -> int:
        await gate.wait()
        raise ConnectionError

    async def caller() -> None:
        results.append(await last_good.call(call, slow))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller)
        await settled()
        await last_good.call(call, answer)
        gate.set()

    assert [42] == results


class Value:
    """Can be referred to weakly."""


@pytest.mark.parametrize("end", ["evicted", "replaced", "too old", "cleared"])
async def test_an_answer_that_is_forgotten_is_not_kept_alive(end: str, clock: ManualClock) -> None:
    """
    Nor what was served from it.
    """
    down: list[str] = []
    values: list[weakref.ref[Value]] = []

    async def fetch(key: str) -> Value:
        if down:
            raise ConnectionError
        value = Value()
        values.append(weakref.ref(value))
        return value

    last_good = LastGood(maximum=1, max_age=10.0, on=Exception, clock=clock)
    gc.collect()
    gc.disable()
    try:
        await last_good.call(fetch, "a")
        down.append("yes")
        assert values[0]() is await last_good.call(fetch, "a")
        assert None is not values[0]()
        if end == "cleared":
            last_good.clear()
        elif end == "too old":
            clock.advance(11.0)
            with pytest.raises(ConnectionError):
                await last_good.call(fetch, "a")
        else:
            down.clear()
            await last_good.call(fetch, "a" if end == "replaced" else "b")
        await settled()
        assert None is values[0]()
    finally:
        gc.enable()


async def test_an_error_that_was_answered_for_dies(clock: ManualClock) -> None:
    """
    The memory keeps answers, not errors or what the failed call held.
    """
    held: list[weakref.ref[Value]] = []

    async def fetch() -> int:
        value = Value()
        held.append(weakref.ref(value))
        if len(held) > 1:
            raise ConnectionError
        return 1

    last_good = LastGood(on=Exception, clock=clock)
    gc.collect()
    gc.disable()
    try:
        await last_good.call(fetch)
        await last_good.call(fetch)
        assert [None, None] == [reference() for reference in held]
    finally:
        gc.enable()


async def test_what_is_served_is_told(clock: ManualClock, service: Service) -> None:
    """
    With the age, the error's class and text, and the moment; a fresh answer is not.
    """
    last_good = LastGood(on=Exception, clock=clock, name="lg")
    with record(last_good) as events:
        await last_good.call(service)
        clock.advance(2.5)
        service.fails(OSError("GET http://me:secret@host/?token=1"))
        await last_good.call(service)
        with pytest.raises(OSError, match="GET"):
            await last_good.call(service, "unknown")

    assert [LastGoodUsed("lg", 2.5, "OSError", "GET http://...@host/?...", 102.5)] == events


async def test_the_log_says_when_it_begins(
    clock: ManualClock, service: Service, log: pytest.LogCaptureFixture
) -> None:
    """
    One INFO, then DEBUG, however long it lasts; after more than a minute of quiet an INFO again.
    """
    last_good = LastGood(on=Exception, clock=clock, name="lg")
    await last_good.call(service)
    service.fails()
    for pause in (1.0, 59.0, 60.5):
        clock.advance(pause)
        await last_good.call(service)

    text = "last-good 'lg' answers from memory, for ConnectionError; age "
    assert [
        ("INFO", f"{text}1 s", "lg"),
        ("DEBUG", f"{text}60 s (1 times since it was last said)", "lg"),
        ("INFO", f"{text}120 s", "lg"),
    ] == [(entry.levelname, entry.getMessage(), vars(entry)["policy"]) for entry in log.records]


async def test_any_keyword_reaches_the_function(clock: ManualClock) -> None:
    """
    Also one that is called as a parameter of ours.
    """

    async def take(**kwargs: int) -> dict[str, int]:
        return kwargs

    given = {"fn": 1, "self": 2, "key": 3, "args": 4}
    assert given == await LastGood(clock=clock).call(take, **given)


async def test_a_partial_that_is_kept_is_a_function(clock: ManualClock, service: Service) -> None:
    """
    It is found again as long as it is the same object.
    """
    fetch = functools.partial(service, 1)
    last_good = LastGood(on=Exception, clock=clock)
    await last_good.call(fetch)
    service.fails()

    assert 1 == await last_good.call(fetch)


async def test_what_is_raised_before_there_is_anything_to_await(
    clock: ManualClock, service: Service
) -> None:
    """
    It is answered for as any other error.
    """
    down: list[str] = []

    def fetch() -> Any:
        if down:
            raise ConnectionError
        return service()

    last_good = LastGood(on=Exception, clock=clock)
    await last_good.call(fetch)
    down.append("yes")

    assert 1 == await last_good.call(fetch)


async def test_what_is_no_call_is_refused(clock: ManualClock) -> None:
    """
    Also where an answer is remembered under that key: a slip in the program is not answered for.
    """
    last_good = LastGood(key=lambda: "one", on=Exception, clock=clock)
    await last_good.call(answer)
    with record(last_good) as events:
        with pytest.raises(TypeError, match=r"write call\(fn, \.\.\.\) instead"):
            await last_good.call(answer())  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="did not: "):
            await last_good.call(lambda: 42)  # type: ignore[arg-type,return-value]
        with pytest.raises(TypeError, match="needs a callable that returns an awaitable, not 42"):
            await last_good.call(42)  # type: ignore[arg-type]

    assert ([], 1) == (events, len(last_good))


async def test_a_listener_that_raises_changes_nothing(
    clock: ManualClock, service: Service, log: pytest.LogCaptureFixture
) -> None:
    """
    The caller gets the answer, and its age.
    """

    def broken(event: object) -> None:
        raise LookupError("broken listener")

    last_good = LastGood(on=Exception, clock=clock)
    last_good.add_listener(broken)
    await last_good.call(service)
    clock.advance(1.0)
    service.fails()

    assert (1, 1.0) == (await last_good.call(service), answer_age())
    assert ["ERROR"] == complaints(log)


async def test_a_listener_may_clear_it(clock: ManualClock, service: Service) -> None:
    """
    The answer that it is told of still reaches the caller, and none after it.
    """
    last_good = LastGood(on=Exception, clock=clock)
    last_good.add_listener(lambda event: last_good.clear())
    await last_good.call(service)
    service.fails()

    assert 1 == await last_good.call(service)
    with pytest.raises(ConnectionError):
        await last_good.call(service)


async def test_a_failure_opens_the_breaker_all_the_same(clock: ManualClock) -> None:
    """
    What is served outside of it changes no outcome.
    """
    breaker = fragile(clock)
    down: list[str] = []

    async def fetch() -> int:
        await anyio.lowlevel.checkpoint()
        if down:
            await fail()
        return 1

    pipeline = Pipeline(LastGood(on=Exception, clock=clock), breaker)
    await pipeline.call(fetch)
    down.append("yes")
    assert 1 == await pipeline.call(fetch)

    look = breaker.snapshot()
    assert (State.OPEN, 1, 1) == (look.state, look.succeeded, look.failed)


async def key_later() -> str:
    return "one"


@pytest.mark.parametrize(
    ("settings", "kind", "text"),
    [
        ({"key": 1}, TypeError, "key must be callable, not 1"),
        ({"key": "user"}, TypeError, "key must be callable, not 'user'"),
        ({"key": key_later}, TypeError, "key must be a plain function, not the coroutine function"),
        ({"maximum": 0}, ValueError, "maximum must be at least 1, not 0"),
        ({"maximum": -1}, ValueError, "maximum must be at least 1, not -1"),
        ({"maximum": True}, TypeError, "maximum must be a whole number, not True"),
        ({"maximum": 1.5}, ValueError, "maximum must be a whole number, not 1.5"),
        ({"maximum": math.inf}, ValueError, "maximum must be a whole number, not inf"),
        ({"maximum": "1"}, TypeError, "maximum must be a whole number, not '1'"),
        ({"maximum": None}, TypeError, "maximum must be a whole number, not None"),
        ({"max_age": 0}, ValueError, "max_age must be above 0, not 0"),
        ({"max_age": -1.0}, ValueError, "max_age must be a number, at least 0, not -1.0"),
        ({"max_age": math.nan}, ValueError, "max_age must be a number, at least 0, not nan"),
        ({"max_age": True}, TypeError, "max_age must be a number, not True"),
        ({"max_age": "1"}, TypeError, "max_age must be a number, not '1'"),
        ({"max_age": None}, TypeError, "max_age must be a number, not None"),
        ({"on": None}, TypeError, "on must be an exception type, a tuple of them, or a predicate"),
        ({"on": int}, TypeError, "on must name exception types, not <class 'int'>"),
        ({"on": KeyboardInterrupt}, ValueError, "on must not name <class 'KeyboardInterrupt'>"),
        ({"on": key_later}, TypeError, "on must be a plain function, not the coroutine function"),
        ({"good": 1}, TypeError, "good must be callable, not 1"),
        ({"good": key_later}, TypeError, "good must be a plain function, not the coroutine funct"),
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
    with pytest.raises(kind, match=f"^{re.escape(text)}"):
        LastGood(**settings)


async def test_an_answer_is_there_while_it_is_served(clock: ManualClock) -> None:
    """
    Another thread that looks in that very moment finds it, too: it is never taken out and put back.
    """
    last_good = LastGood(key=lambda: "key", on=ConnectionError, clock=clock)
    await last_good.call(answer)
    kept: list[bool] = []

    class Watched(OrderedDict[Any, Any]):
        def __delitem__(self, key: object) -> None:
            kept.append(False)
            super().__delitem__(key)

        def pop(self, key: object, *default: object) -> Any:
            kept.append(False)
            return super().pop(key, *default)

    last_good._answers = Watched(last_good._answers)

    assert 42 == await last_good.call(fail)
    assert [] == kept


async def test_an_answer_that_another_thread_removes_is_served(clock: ManualClock) -> None:
    """
    It was found; that it has made room since does no harm.
    """
    last_good = LastGood(key=lambda: "key", on=ConnectionError, clock=clock)
    await last_good.call(answer)

    class Evicting(OrderedDict[Any, Any]):
        def get(self, key: object, default: object = None) -> Any:
            return self.pop(key)

    last_good._answers = Evicting(last_good._answers)

    assert 42 == await last_good.call(fail)
    assert 0 == len(last_good)
