"""Decorated async generators: the whole stream is one call."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any

import anyio
import pytest

from asyncbreaker import CallSettled, CircuitOpenError, Outcome, State, probing
from asyncbreaker.testing import ManualClock
from tests.runtime.calls import answer, attempt, half_open, make

pytestmark = pytest.mark.anyio

STARTS = pytest.mark.parametrize("start", [make, half_open], ids=["closed", "half-open"])


def totals(breaker: Any) -> tuple[int, int, int]:
    look = breaker.snapshot()
    return look.succeeded, look.failed, look.ignored


async def consume(stream: AsyncIterator[int]) -> list[int]:
    return [item async for item in stream]


@STARTS
@pytest.mark.parametrize("length", [0, 1, 5])
async def test_a_stream_that_is_read_to_its_end_is_one_success(
    clock: ManualClock, start: Any, length: int
) -> None:
    """
    An empty one too.
    """
    breaker = start(clock, recovery=probing(successes=2 if length else 1))

    @breaker
    async def numbers(n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    assert list(range(length)) == await consume(numbers(n=length))
    assert (1, 0, 0) == totals(breaker)
    assert not breaker.snapshot().in_flight


@pytest.mark.parametrize("length", [0, 1, 5])
async def test_an_error_after_some_items_is_one_failure(clock: ManualClock, length: int) -> None:
    """
    However late it comes.
    """
    breaker = make(clock)
    error = ConnectionError("cut")

    @breaker
    async def numbers() -> AsyncIterator[int]:
        for i in range(length):
            yield i
        raise error

    assert error is await attempt(lambda: consume(numbers()))
    assert (0, 1, 0) == totals(breaker)


async def test_it_is_admitted_at_the_first_item(clock: ManualClock) -> None:
    """
    Making a stream asks nothing; reading it does.
    """
    breaker = make(clock)
    began = []

    @breaker
    async def numbers() -> AsyncIterator[int]:
        began.append(1)
        yield 1

    stream = numbers()
    breaker.force_open()
    assert isinstance(await attempt(lambda: anext(stream)), CircuitOpenError)
    assert [] == began
    breaker.reset()
    assert [1] == await consume(numbers())


@STARTS
async def test_enough_after_an_item_is_a_success(clock: ManualClock, start: Any) -> None:
    """
    The consumer has had an answer; the inner generator is closed promptly.
    """
    breaker = start(clock, recovery=probing(successes=2))
    closed = []

    @breaker
    async def numbers() -> AsyncGenerator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(1)

    stream = numbers()
    await anext(stream)
    await stream.aclose()

    assert ([1], (1, 0, 0)) == (closed, totals(breaker))
    assert not breaker.snapshot().in_flight


async def test_the_end_of_a_stream_whose_first_item_closed_the_circuit_is_stale(
    clock: ManualClock,
) -> None:
    """
    It belongs to the half-open that its own answer has ended.
    """
    breaker = half_open(clock)

    @breaker
    async def numbers() -> AsyncGenerator[int]:
        yield 1
        raise ConnectionError

    stream = numbers()
    await anext(stream)
    assert State.CLOSED is breaker.state
    with suppress(ConnectionError):
        await anext(stream)

    assert ((0, 0, 0), 1) == (totals(breaker), breaker.snapshot().stale)


@STARTS
async def test_a_stream_that_is_never_read_is_no_call(clock: ManualClock, start: Any) -> None:
    """
    Closing it before the first item takes and settles nothing.
    """
    breaker = start(clock)

    @breaker
    async def numbers() -> AsyncGenerator[int]:
        yield 1

    await numbers().aclose()

    assert (0, 0, 0) == totals(breaker)
    assert 42 == await breaker.call(answer)


@STARTS
async def test_cancelled_before_the_first_item_is_ignored(clock: ManualClock, start: Any) -> None:
    """
    Nothing was answered, nothing is learned.
    """
    breaker = start(clock)

    @breaker
    async def numbers() -> AsyncGenerator[int]:
        await anyio.sleep_forever()
        yield 1

    with anyio.CancelScope() as scope:
        scope.cancel()
        await consume(numbers())

    assert (0, 0, 1) == totals(breaker)
    assert not breaker.snapshot().in_flight


async def test_what_is_sent_and_thrown_in_passes_through(clock: ManualClock) -> None:
    """
    The guarded generator is a generator like the inner one.
    """
    breaker = make(clock)

    @breaker
    async def echo() -> AsyncGenerator[object, object]:
        got: object = "ready"
        while got != "stop":
            try:
                got = yield got
            except KeyError as error:
                got = f"caught {error}"

    stream = echo()
    assert "ready" == await stream.asend(None)
    assert "a" == await stream.asend("a")
    assert "caught 'k'" == await stream.athrow(KeyError("k"))
    assert "b" == await stream.asend("b")
    with pytest.raises(StopAsyncIteration):
        await stream.asend("stop")
    assert (1, 0, 0) == totals(breaker)


async def test_an_error_of_the_consumer_that_comes_back_is_no_failure(clock: ManualClock) -> None:
    """
    The dependency has answered; the consumer failed.
    """
    breaker = make(clock)

    @breaker
    async def numbers() -> AsyncGenerator[int]:
        yield 1

    stream = numbers()
    await anext(stream)
    error = ValueError("the consumer's")
    with pytest.raises(ValueError, match="consumer") as caught:
        await stream.athrow(error)

    assert error is caught.value
    assert (1, 0, 0) == totals(breaker)


async def test_another_error_in_answer_to_a_thrown_one_is_a_failure(clock: ManualClock) -> None:
    """
    That one is the dependency's.
    """
    breaker = make(clock)

    @breaker
    async def numbers() -> AsyncGenerator[int]:
        try:
            yield 1
        except ValueError:
            raise ConnectionError from None

    stream = numbers()
    await anext(stream)
    with pytest.raises(ConnectionError):
        await stream.athrow(ValueError())

    assert (0, 1, 0) == totals(breaker)


@pytest.mark.parametrize(
    ("before_first", "after_first", "slow"), [(1.0, 0.0, 1), (0.5, 60.0, 0), (0.5, 0.4, 0)]
)
async def test_its_duration_is_the_time_to_the_first_item(
    clock: ManualClock, before_first: float, after_first: float, slow: int
) -> None:
    """
    A consumer that takes its time does not make the dependency slow.
    """
    breaker = make(clock, trip=lambda counts: False, slow=1.0)
    settled: list[CallSettled] = []
    breaker.add_listener(settled.append, CallSettled)

    @breaker
    async def numbers() -> AsyncGenerator[int]:
        clock.advance(before_first)
        yield 1

    async for _ in numbers():
        clock.advance(after_first)
        await breaker.call(answer)

    assert slow == breaker.snapshot().slow
    assert (Outcome.SUCCESS, before_first, bool(slow)) == (
        settled[-1].outcome,
        settled[-1].seconds,
        settled[-1].slow,
    )


async def test_a_half_open_stream_answers_with_its_first_item_and_holds_its_place(
    clock: ManualClock,
) -> None:
    """
    Until it ends or its lease does.
    """
    breaker = half_open(clock, recovery=probing(probes=1, successes=2, lease=60.0))

    @breaker
    async def numbers() -> AsyncGenerator[int]:
        yield 1
        yield 2

    stream = numbers()
    await anext(stream)
    assert (State.HALF_OPEN, 1) == (breaker.state, breaker.snapshot().in_flight)
    assert isinstance(await attempt(lambda: breaker.call(answer)), CircuitOpenError)
    await stream.aclose()
    assert (State.HALF_OPEN, 0) == (breaker.state, breaker.snapshot().in_flight)
    await breaker.call(answer)

    assert State.CLOSED is breaker.state


async def test_an_error_after_the_first_item_is_one_bad_call_more(clock: ManualClock) -> None:
    """
    Its answer was good, and then it failed.
    """
    breaker = half_open(clock, recovery=probing(probes=1, successes=2))

    @breaker
    async def numbers() -> AsyncGenerator[int]:
        yield 1
        raise ConnectionError

    await attempt(lambda: consume(numbers()))

    assert (State.OPEN, 2) == (breaker.state, breaker.snapshot().attempt)


@STARTS
async def test_a_stream_closed_in_another_task_settles_itself(
    clock: ManualClock, start: Any
) -> None:
    """
    Frameworks do that.
    """
    breaker = start(clock, recovery=probing(successes=2))

    @breaker
    async def numbers() -> AsyncGenerator[int]:
        yield 1
        yield 2

    stream = numbers()
    await anext(stream)
    async with anyio.create_task_group() as group:
        group.start_soon(stream.aclose)

    assert (1, 0, 0) == totals(breaker)
    assert not breaker.snapshot().in_flight


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@STARTS
async def test_an_abandoned_stream_gives_its_place_back(clock: ManualClock, start: Any) -> None:
    """
    When the event loop finalises it.
    """
    breaker = start(clock, recovery=probing(successes=2))

    @breaker
    async def numbers() -> AsyncGenerator[int]:
        yield 1
        yield 2

    async for _ in numbers():
        break
    gc.collect()
    for _ in range(5):
        await anyio.lowlevel.checkpoint()

    assert (1, 0, 0) == totals(breaker)
    assert not breaker.snapshot().in_flight


async def test_a_stale_stream_moves_nothing(clock: ManualClock) -> None:
    """
    Neither its items nor its end.
    """
    breaker = make(clock)

    @breaker
    async def numbers() -> AsyncGenerator[int]:
        yield 1
        raise ConnectionError

    stream = numbers()
    await anext(stream)
    breaker.reset()
    with suppress(ConnectionError):
        await anext(stream)

    assert ((0, 0, 0), 1) == (totals(breaker), breaker.snapshot().stale)


async def test_a_wrong_argument_of_a_stream_is_judged_at_its_first_item(
    clock: ManualClock,
) -> None:
    """
    As for a function: the generator is made when it is admitted.
    """
    breaker = make(clock)

    @breaker
    async def numbers(n: int) -> AsyncGenerator[int]:
        yield n

    stream = numbers()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="missing"):
        await anext(stream)

    assert (0, 1, 0) == totals(breaker)


async def test_streams_of_many_consumers_overlap(clock: ManualClock) -> None:
    """
    Each has its own permit.
    """
    breaker = half_open(clock, recovery=probing(probes=3, successes=4))

    @breaker
    async def numbers() -> AsyncGenerator[int]:
        yield 1
        yield 2

    streams = [numbers() for _ in range(3)]
    for stream in streams:
        await anext(stream)
    for left, stream in zip((2, 1, 0), streams, strict=True):
        await stream.aclose()
        assert left == breaker.snapshot().in_flight
