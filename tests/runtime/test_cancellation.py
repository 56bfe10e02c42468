"""Every ending of a call, however rude: its place comes back and the next call is admitted."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio
import pytest
import trio

from asyncbreaker import CallSettled, CircuitBreaker, State, failure_lead, slow_start
from asyncbreaker.testing import ManualClock, force_state
from tests.runtime.calls import (
    WAYS,
    Fn,
    Pending,
    answer,
    attempt,
    by_block,
    by_call,
    by_guard,
    by_stream,
    half_open,
    make,
    suspend,
)

pytestmark = pytest.mark.anyio

Way = Callable[[CircuitBreaker, Fn], Awaitable[None]]


class UnjudgedError(Exception):
    """Is neither in fail_on nor in succeed_on."""


def broken(error: Exception) -> bool:
    raise RuntimeError("a broken predicate")


def broken_listener(event: object) -> None:
    raise RuntimeError("a broken listener")


SETTINGS: dict[str, dict[str, object]] = {
    "return": {},
    "failure": {},
    "ignored": {},
    "broken predicate": {"fail_on": broken},
    "broken listener": {"listeners": [broken_listener]},
    "KeyboardInterrupt": {},
    "SystemExit": {},
    "GeneratorExit": {},
    "cancelled": {},
    "destroyed": {},
}
RAISED: dict[str, BaseException] = {
    "failure": ConnectionError("refused"),
    "ignored": UnjudgedError(),
    "broken predicate": ConnectionError("refused"),
    "broken listener": ConnectionError("refused"),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "SystemExit": SystemExit(),
    "GeneratorExit": GeneratorExit(),
}
LEARNS_NOTHING = {
    "ignored",
    "broken predicate",
    "KeyboardInterrupt",
    "SystemExit",
    "GeneratorExit",
    "cancelled",
    "destroyed",
}


async def end(breaker: CircuitBreaker, way: Way, ending: str) -> None:
    """Make one call and let it end as *ending* says."""
    if ending == "return":
        await way(breaker, answer)
    elif ending == "cancelled":
        with anyio.CancelScope() as scope:
            pending = Pending()
            scope.cancel()
            await way(breaker, pending)
        assert scope.cancelled_caught
    elif ending == "destroyed":
        coroutine = way(breaker, suspend)
        coroutine.send(None)  # type: ignore[attr-defined]
        coroutine.close()  # type: ignore[attr-defined]
    else:
        error = RAISED[ending]

        async def raise_it() -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            await way(breaker, raise_it)
        assert error is caught.value


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("start", [make, half_open], ids=["closed", "half-open"])
@pytest.mark.parametrize("ending", SETTINGS)
async def test_every_ending_gives_its_place_back(
    clock: ManualClock,
    ending: str,
    start: Callable[..., CircuitBreaker],
    way: Way,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    However a call ends, nothing stays in flight and the next call is admitted.
    """
    if ending == "destroyed" and way is by_stream:
        # CPython 3.11 does not tell an async generator that whoever awaited its next
        # item was destroyed; then it ends as an abandoned one, see test_streams.py.
        pytest.skip("no generator is told of that")
    caplog.set_level(logging.CRITICAL, "asyncbreaker")
    settings = {"fail_on": ConnectionError, **SETTINGS[ending]}
    breaker = start(clock, **settings)
    state = breaker.state
    await end(breaker, way, ending)

    assert not breaker.snapshot().in_flight
    if ending in LEARNS_NOTHING:
        assert (state, 1, 0) == (
            breaker.state,
            breaker.snapshot().ignored,
            breaker.snapshot().failed,
        )
    clock.advance(10.0)
    assert 42 == await breaker.call(answer)
    assert not breaker.snapshot().in_flight


@pytest.mark.parametrize("start", [make, half_open], ids=["closed", "half-open"])
async def test_10000_cancellations_teach_nothing(
    clock: ManualClock, start: Callable[..., CircuitBreaker], caplog: pytest.LogCaptureFixture
) -> None:
    """
    Users who go away leave a closed circuit closed and a half-open one half-open.
    """
    breaker = start(clock, trip=failure_lead())
    state, counts = breaker.state, breaker.snapshot().counts
    for _ in range(10_000):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await breaker.call(anyio.sleep_forever)

    look = breaker.snapshot()
    assert (state, counts, 10_000) == (look.state, look.counts, look.ignored)
    assert not look.in_flight
    assert 42 == await breaker.call(answer)


@pytest.mark.parametrize("way", [by_call, by_block, by_guard])
async def test_a_cancellation_in_between_neither_counts_nor_resets(
    clock: ManualClock, way: Way
) -> None:
    """
    Failure, cancelled, failure is two failures in a row.
    """
    breaker = make(clock)
    await end(breaker, way, "failure")
    await end(breaker, way, "cancelled")
    assert State.CLOSED is breaker.state
    await end(breaker, way, "failure")

    assert State.OPEN is breaker.state


async def test_a_slow_start_goes_on_after_a_cancelled_probe(clock: ManualClock) -> None:
    """
    The next caller probes, and at the same attempt.
    """
    breaker = half_open(clock, recovery=slow_start())
    await end(breaker, by_call, "cancelled")

    assert (State.HALF_OPEN, 1, 0) == (
        breaker.state,
        breaker.snapshot().attempt,
        breaker.snapshot().in_flight,
    )


async def test_an_outer_scope_and_its_deadline_reach_the_call(clock: ManualClock) -> None:
    """
    The call is awaited in the caller's own task, under the caller's own scopes.
    """
    breaker = make(clock)
    with anyio.move_on_after(1000.0) as scope:
        assert scope.deadline == await breaker.call(_deadline)
        async with breaker:
            assert scope.deadline == await _deadline()
    assert not scope.cancelled_caught


async def _deadline() -> float:
    return anyio.current_effective_deadline()


async def test_a_timeout_inside_does_not_swallow_a_cancellation_from_outside(
    clock: ManualClock,
) -> None:
    """
    Of two nested scopes the outer one ends what it was to end.
    """
    breaker = make(clock)
    reached = []

    async def timed() -> None:
        with anyio.move_on_after(1000.0) as inner:
            inner.cancel()
            outer.cancel()
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
        reached.append("after")

    with anyio.CancelScope() as outer:
        await breaker.call(timed)

    assert ([], True) == (reached, outer.cancelled_caught)
    assert 1 == breaker.snapshot().ignored


async def test_a_timeout_inside_is_a_failure(clock: ManualClock) -> None:
    """
    ``TimeoutError`` is how a dependency that hangs is told from a user who has left.
    """
    breaker = make(clock)

    async def timed() -> None:
        with anyio.fail_after(0):
            await anyio.sleep_forever()

    for _ in range(2):
        assert isinstance(await attempt(lambda: breaker.call(timed)), TimeoutError)

    assert State.OPEN is breaker.state


async def test_20_cancelled_calls_in_a_row_are_warned_of_once(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Without ``slow`` an outer deadline teaches nothing, and that is said once.
    """
    breaker = make(clock)
    for _ in range(60):
        await end(breaker, by_call, "cancelled")

    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert 1 == len(warnings)
    assert "slow=" in warnings[0]
    assert (State.CLOSED, 0) == (breaker.state, breaker.snapshot().counts.lead)


async def test_a_call_that_ends_between_is_enough_to_be_silent(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Where some calls end by themselves, something is learned.
    """
    breaker = make(clock)
    for _ in range(3):
        for _ in range(19):
            await end(breaker, by_call, "cancelled")
        await breaker.call(answer)

    assert [] == caplog.records


@pytest.mark.parametrize("way", WAYS)
async def test_12_calls_cut_by_an_outer_deadline_open_it_where_slow_is_set(
    clock: ManualClock, way: Way
) -> None:
    """
    A call that was cancelled after ``slow`` seconds is a slow one: the dependency hangs.
    """
    breaker = CircuitBreaker(slow=1.0, clock=clock)
    cut = 0
    for _ in range(12):
        with anyio.CancelScope() as scope:

            async def hang(scope: anyio.CancelScope = scope) -> None:
                clock.advance(3.0)
                scope.cancel()
                await anyio.sleep_forever()

            if isinstance(await attempt(lambda: way(breaker, hang)), Exception):
                break
        cut += 1

    assert State.OPEN is breaker.state
    assert (5, 5, 0) == (cut, breaker.snapshot().slow, breaker.snapshot().failed)


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_cancelled_before_it_was_slow_teaches_nothing(
    clock: ManualClock, way: Way
) -> None:
    """
    A user who leaves early says nothing of the dependency, with ``slow`` either.
    """
    breaker = CircuitBreaker(slow=1.0, clock=clock)
    for _ in range(30):
        with anyio.CancelScope() as scope:

            async def hang(scope: anyio.CancelScope = scope) -> None:
                clock.advance(0.9)
                scope.cancel()
                await anyio.sleep_forever()

            await way(breaker, hang)

    assert (State.CLOSED, 0, 30) == (
        breaker.state,
        breaker.snapshot().slow,
        breaker.snapshot().ignored,
    )


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("where", ["fail_on", "fail_on_result"])
async def test_an_interrupt_inside_a_predicate_gives_the_place_back(
    clock: ManualClock, where: str, raised: type[BaseException]
) -> None:
    """
    Ctrl-C may arrive in any line of Python, in a predicate too.
    """

    def interrupted(judged: object) -> bool:
        raise raised

    breaker = half_open(clock, **{where: interrupted})

    async def call() -> None:
        if where == "fail_on":
            raise ConnectionError

    with pytest.raises(raised):
        await breaker.call(call)

    assert (State.HALF_OPEN, 0) == (breaker.state, breaker.snapshot().in_flight)


def test_under_trio_a_cancelled_call_keeps_trio_s_own_exception() -> None:
    """
    ``trio.Cancelled`` passes through as the same object, and the scope catches it.
    """
    seen: list[BaseException] = []

    async def main() -> None:
        breaker = CircuitBreaker()

        async def hang() -> None:
            try:
                await trio.sleep_forever()
            except trio.Cancelled as error:
                seen.append(error)
                raise

        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await breaker.call(hang)
            except trio.Cancelled as error:
                seen.append(error)
                raise
        assert scope.cancelled_caught
        assert 1 == breaker.snapshot().ignored

    trio.run(main)
    assert seen[0] is seen[1]


@pytest.mark.parametrize("way", WAYS)
async def test_an_interrupt_in_a_listener_on_the_way_in_gives_the_place_back(
    clock: ManualClock, way: Way
) -> None:
    """
    The call that half-opens is not made then; the next one is.
    """
    breaker = make(clock)
    force_state(breaker, State.OPEN)
    clock.advance(10.0)

    def interrupted(event: object) -> None:
        raise KeyboardInterrupt

    remove = breaker.add_listener(interrupted)
    with pytest.raises(KeyboardInterrupt):
        await way(breaker, answer)
    remove()

    assert (State.HALF_OPEN, 0) == (breaker.state, breaker.snapshot().in_flight)
    assert 42 == await breaker.call(answer)


async def test_a_call_older_than_its_listener_is_settled_untold(clock: ManualClock) -> None:
    """
    It was admitted untimed, since nobody had asked.
    """
    breaker = make(clock)
    told: list[object] = []
    pending = Pending(ConnectionError())
    async with anyio.create_task_group() as group:
        group.start_soon(attempt, lambda: breaker.call(pending))
        await pending.entered.wait()
        breaker.add_listener(told.append, CallSettled)
        pending.gate.set()

    assert ([], 1) == (told, breaker.snapshot().failed)
