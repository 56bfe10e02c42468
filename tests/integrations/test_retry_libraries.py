"""tenacity and stamina around a breaker, and inside of one, by the one public predicate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import stamina
import tenacity

from asyncbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    Outcome,
    Pipeline,
    Retry,
    State,
    consecutive_failures,
    probing,
    retryable,
)
from asyncbreaker.testing import ManualClock, force_state, record
from tests.integrations.support import outcomes

pytestmark = pytest.mark.asyncio


class Dependency:
    """Fails so many times, then answers."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.asked = 0

    async def ask(self) -> str:
        self.asked += 1
        if self.asked <= self.failures:
            raise ConnectionError("refused")
        return "fresh"


@pytest.fixture
def breaker(clock: ManualClock) -> CircuitBreaker:
    rule = consecutive_failures(3)
    return CircuitBreaker("api", trip=rule, backoff=2.0, recovery=probing(), clock=clock)


Wrap = Callable[[Callable[[], Awaitable[str]]], Callable[[], Awaitable[str]]]


def by_tenacity(attempts: int) -> Wrap:
    """The README's first recipe, without its pauses."""
    return tenacity.retry(
        retry=tenacity.retry_if_exception(retryable),
        stop=tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_none(),
        reraise=True,
    )


def by_stamina(attempts: int) -> Wrap:
    """The same for stamina."""
    return stamina.retry(on=retryable_error, attempts=attempts, wait_initial=0, wait_jitter=0)


def retryable_error(error: Exception) -> bool:
    return retryable(error)


def by_ours(attempts: int) -> Wrap:
    """Our own, for comparison."""
    return Retry(attempts, backoff=0.0)


LIBRARIES = [by_tenacity, by_stamina, by_ours]


@pytest.mark.parametrize("library", LIBRARIES)
async def test_outside_of_the_breaker_each_attempt_is_recorded(
    breaker: CircuitBreaker, library: Callable[[int], Wrap]
) -> None:
    """
    The retry sees each failure, and so does the breaker.
    """
    dependency = Dependency(2)

    @library(5)
    @breaker
    async def ask() -> str:
        return await dependency.ask()

    with record(breaker) as events:
        assert "fresh" == await ask()

    assert [Outcome.FAILURE, Outcome.FAILURE, Outcome.SUCCESS] == outcomes(events)


@pytest.mark.parametrize("library", LIBRARIES)
async def test_outside_of_the_breaker_the_first_rejection_ends_it(
    breaker: CircuitBreaker, library: Callable[[int], Wrap]
) -> None:
    """
    An open circuit is not retried: after the failures that opened it comes one rejection.
    """
    dependency = Dependency(100)

    @library(50)
    async def ask() -> str:
        return await breaker.call(dependency.ask)

    with pytest.raises(CircuitOpenError):
        await ask()

    assert (3, 1) == (dependency.asked, breaker.snapshot().rejected)


@pytest.mark.parametrize("library", LIBRARIES)
async def test_inside_of_the_breaker_all_attempts_are_one_call(
    breaker: CircuitBreaker, library: Callable[[int], Wrap]
) -> None:
    """
    The breaker sees what the retry made of it, and opens after three times as many failures.
    """
    dependency = Dependency(2)

    @breaker
    @library(5)
    async def ask() -> str:
        return await dependency.ask()

    with record(breaker) as events:
        assert "fresh" == await ask()
        dependency.failures = 100
        for _ in range(3):
            with pytest.raises(ConnectionError):
                await ask()

    assert [Outcome.SUCCESS, *[Outcome.FAILURE] * 3] == outcomes(events)
    assert (3 + 15, State.OPEN) == (dependency.asked, breaker.state)


async def test_tenacity_s_loop_is_the_same(breaker: CircuitBreaker) -> None:
    """
    Written as a loop of attempts, the breaker stands around each of them.
    """
    dependency = Dependency(100)

    async def ask() -> None:
        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(retryable), wait=tenacity.wait_none(), reraise=True
        ):
            with attempt:
                await breaker.call(dependency.ask)

    with pytest.raises(CircuitOpenError):
        await ask()
    assert 3 == dependency.asked


async def test_stamina_s_loop_is_the_same(breaker: CircuitBreaker) -> None:
    """
    So it is for stamina.
    """
    dependency = Dependency(100)

    async def ask() -> None:
        async for attempt in stamina.retry_context(
            on=retryable_error, attempts=50, wait_initial=0, wait_jitter=0
        ):
            with attempt:
                await breaker.call(dependency.ask)

    with pytest.raises(CircuitOpenError):
        await ask()
    assert 3 == dependency.asked


async def test_tenacity_waits_for_the_circuit(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """
    The second recipe sleeps for as long as the rejection says, within the bound, and goes on.
    """
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)

    def pause(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return getattr(error, "retry_after", None) or 0.1

    dependency = Dependency(3)
    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(lambda error: retryable(error, wait_open=5.0)),
        wait=pause,
        stop=tenacity.stop_after_delay(30),
        sleep=sleep,
        reraise=True,
    )

    assert "fresh" == await retrying(breaker.call, dependency.ask)
    assert (pytest.approx([0.1, 0.1, 0.1, 1.9]), 4) == (slept, dependency.asked)
    breaker.configure(backoff=60.0)
    force_state(breaker, State.OPEN)
    with pytest.raises(CircuitOpenError):
        await retrying(breaker.call, dependency.ask)
    assert 4 == len(slept)


async def test_stamina_waits_for_the_circuit(breaker: CircuitBreaker) -> None:
    """
    A hook that returns the seconds of the rejection makes stamina sleep for so long.
    """
    breaker = CircuitBreaker("api", trip=consecutive_failures(3), backoff=0.02)

    def pause(error: Exception) -> bool | float:
        if isinstance(error, CircuitOpenError) and retryable(error, wait_open=5.0):
            return error.retry_after or 0.01
        return retryable(error)

    dependency = Dependency(3)

    @stamina.retry(on=pause, attempts=10, timeout=30, wait_initial=0, wait_jitter=0)
    async def ask() -> str:
        return await breaker.call(dependency.ask)

    assert "fresh" == await ask()
    assert 4 == dependency.asked
    assert 1 <= breaker.snapshot().rejected <= 3


class SdkError(Exception):
    """What a client library makes of another error."""


@pytest.mark.parametrize("library", LIBRARIES[:2])
async def test_what_a_library_made_of_a_rejection_is_not_retried(
    breaker: CircuitBreaker, library: Callable[[int], Wrap]
) -> None:
    """
    A rejection is found in the chain of causes.
    """
    force_state(breaker, State.OPEN)
    tries: list[int] = []

    @library(50)
    async def ask() -> str:
        tries.append(1)
        try:
            return await breaker.call(Dependency(0).ask)
        except CircuitOpenError as error:
            raise SdkError("no connection") from error

    with pytest.raises(SdkError):
        await ask()
    assert [1] == tries


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_cancelled_caller_is_not_retried(
    breaker: CircuitBreaker, library: Callable[[int], Wrap]
) -> None:
    """
    A cancellation passes, and proves nothing.
    """
    tries: list[int] = []

    @library(50)
    @breaker
    async def hang() -> str:
        tries.append(1)
        await asyncio.Event().wait()
        return ""

    task = asyncio.ensure_future(hang())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ([1], 1) == (tries, breaker.snapshot().ignored)


async def test_a_pipeline_does_the_same(breaker: CircuitBreaker) -> None:
    """
    Our own retry needs no predicate.
    """
    dependency = Dependency(100)
    with pytest.raises(CircuitOpenError):
        await Pipeline(Retry(50, backoff=0.0), breaker).call(dependency.ask)

    assert 3 == dependency.asked
