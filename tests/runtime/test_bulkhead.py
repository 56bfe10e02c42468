"""Bulkhead: how many run at once, who waits, who is rejected, and that no place is lost."""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import pickle
import random
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncbreaker import (
    Bulkhead,
    BulkheadFullError,
    BulkheadRejected,
    CircuitBreaker,
    RejectedError,
    State,
)
from asyncbreaker.testing import ManualClock, record
from tests.runtime.calls import Pending, suspend
from tests.runtime.support import answer, fail, settled

pytestmark = pytest.mark.anyio


def rejected(bulkhead: Bulkhead, fn: Callable[[], Awaitable[Any]] = answer) -> BulkheadFullError:
    """Make a call that is rejected before anything is awaited; return the error."""
    call = bulkhead.call(fn)
    with pytest.raises(BulkheadFullError) as caught:
        call.send(None)
    return caught.value


async def test_no_more_than_the_limit_run_at_once(clock: ManualClock) -> None:
    """
    Who comes when all places are taken is rejected at once, and the function is not called.
    """
    bulkhead = Bulkhead(2, clock=clock, name="db")
    calls = [Pending(), Pending()]
    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(bulkhead.call, call)
            await call.entered.wait()
        assert (2, 2, 0) == (bulkhead.limit, bulkhead.running, bulkhead.waiting)
        third = Pending()
        error = rejected(bulkhead, third)
        assert not third.entered.is_set()
        for call in calls:
            call.gate.set()

    assert ("db", 2, 0, 0.0) == (error.bulkhead, error.limit, error.waiting, error.waited)
    assert 0 == bulkhead.running
    assert 42 == await bulkhead.call(answer)


async def test_the_error_is_data(clock: ManualClock) -> None:
    """
    A rejection as the breaker's: new each time, in one line, and it can be sent elsewhere.
    """
    bulkhead = Bulkhead(1, clock=clock, name="db")
    async with bulkhead:
        error, other = rejected(bulkhead), rejected(bulkhead)

    assert isinstance(error, RejectedError)
    assert error is not other
    assert "bulkhead 'db' is full: 1 running, 0 waiting" == str(error)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (type(error), str(error), vars(error)) == (type(twin), str(twin), vars(twin))
    late = BulkheadFullError("db", 5, 3, 2.5)
    assert "bulkhead 'db' is full: 5 running, 3 waiting; gave up after 2.5 s" == str(late)


async def test_waiters_are_served_in_order(clock: ManualClock) -> None:
    """
    First come, first served; a place that is given back overtakes nobody.
    """
    bulkhead = Bulkhead(1, waiting=3, clock=clock)
    order: list[int] = []
    first = Pending()

    async def note(number: int) -> None:
        order.append(number)
        await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bulkhead.call, first)
        await first.entered.wait()
        for number in range(3):
            tasks.start_soon(bulkhead.call, note, number)
            await settled()
        assert (1, 3) == (bulkhead.running, bulkhead.waiting)
        assert 3 == rejected(bulkhead).waiting
        first.gate.set()

    assert ([0, 1, 2], 0, 0) == (order, bulkhead.running, bulkhead.waiting)


async def test_a_newcomer_does_not_overtake(clock: ManualClock) -> None:
    """
    The place is handed over in the moment in which it is given back.
    """
    bulkhead = Bulkhead(1, waiting=1, clock=clock)
    first, second = Pending(), Pending()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bulkhead.call, first)
        await first.entered.wait()
        tasks.start_soon(bulkhead.call, second)
        await settled()
        first.gate.set()
        while bulkhead.waiting:
            await anyio.lowlevel.checkpoint()
        assert 1 == bulkhead.running
        tasks.start_soon(bulkhead.call, answer)
        await second.entered.wait()
        assert 1 == bulkhead.running
        second.gate.set()

    assert 0 == bulkhead.running


@pytest.mark.parametrize("manual", [True, False])
async def test_waiting_has_an_end(manual: bool, clock: ManualClock) -> None:
    """
    After max_wait it is a rejection that says how long it waited; its place in line is free.
    """
    wait = 5.0 if manual else 0.001
    by = {"clock": clock} if manual else {}
    bulkhead = Bulkhead(1, waiting=1, max_wait=wait, name="db", **by)
    errors: list[BulkheadFullError] = []

    async def call() -> None:
        with pytest.raises(BulkheadFullError) as caught:
            await bulkhead.call(answer)
        errors.append(caught.value)

    async with bulkhead, anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        if manual:
            await clock.slept_on()
            clock.advance(4.999)
            await settled()
            assert 1 == bulkhead.waiting
            clock.advance(0.001)

    assert (1, 0) == (len(errors), bulkhead.waiting)
    assert errors[0].waited > 0.0
    if manual:
        assert wait == pytest.approx(errors[0].waited)


async def test_a_place_at_the_last_moment_is_taken(clock: ManualClock) -> None:
    """
    Handed over in the moment in which the wait runs out, it is not lost.
    """
    bulkhead = Bulkhead(1, waiting=1, max_wait=5.0, clock=clock)
    first = Pending()
    results: list[int] = []

    async def call() -> None:
        results.append(await bulkhead.call(answer))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bulkhead.call, first)
        await first.entered.wait()
        tasks.start_soon(call)
        await clock.slept_on()
        first.gate.set()
        while bulkhead.waiting:
            await anyio.lowlevel.checkpoint()
        clock.advance(5.0)

    assert ([42], 0) == (results, bulkhead.running)


@pytest.mark.parametrize("steps", range(12))
async def test_a_waiter_that_is_cancelled_loses_no_place(steps: int, clock: ManualClock) -> None:
    """
    Before, in the moment of, or after the handing over: the next one is served.
    """
    bulkhead = Bulkhead(1, waiting=2, clock=clock)
    first, last = Pending(), Pending()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bulkhead.call, first)
        await first.entered.wait()
        async with anyio.create_task_group() as impatient:
            impatient.start_soon(bulkhead.call, answer)
            await settled()
            tasks.start_soon(bulkhead.call, last)
            await settled()
            first.gate.set()
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            impatient.cancel_scope.cancel()
        await last.entered.wait()
        assert (1, 0) == (bulkhead.running, bulkhead.waiting)
        last.gate.set()

    assert 0 == bulkhead.running


@pytest.mark.parametrize(
    "error", [ConnectionError(), TypeError("its own"), KeyboardInterrupt(), SystemExit()]
)
async def test_a_place_comes_back_however_a_call_ends(
    error: BaseException, clock: ManualClock
) -> None:
    """
    And what it raised arrives as the same object, unchained.
    """
    bulkhead = Bulkhead(1, clock=clock)

    async def refuse() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await bulkhead.call(refuse)

    assert error is caught.value
    assert (None, None, 0) == (error.__cause__, error.__context__, bulkhead.running)


async def test_a_call_that_is_cancelled_or_forgotten_gives_its_place_back(
    clock: ManualClock,
) -> None:
    """
    Also one that nobody drives to its end.
    """
    bulkhead = Bulkhead(1, clock=clock)
    async with anyio.create_task_group() as tasks:
        pending = Pending()
        tasks.start_soon(bulkhead.call, pending)
        await pending.entered.wait()
        tasks.cancel_scope.cancel()
    assert 0 == bulkhead.running

    async def wait() -> None:
        await suspend()

    forgotten: Any = bulkhead.call(wait)
    forgotten.send(None)
    assert 1 == bulkhead.running
    del forgotten
    assert 0 == bulkhead.running


async def test_its_rejections_are_nothing_to_a_breaker(clock: ManualClock) -> None:
    """
    Our own limit says nothing of the dependency.
    """
    bulkhead, breaker = Bulkhead(1, clock=clock), CircuitBreaker(clock=clock)
    async with bulkhead:
        for _ in range(50):
            with pytest.raises(BulkheadFullError):
                await breaker.call(bulkhead.call, answer)

    look = breaker.snapshot()
    assert (State.CLOSED, 0, 50) == (look.state, look.failed, look.ignored)


async def test_blocks_take_places_too(clock: ManualClock) -> None:
    """
    ``async with`` and ``guard()`` count like calls, and come back once.
    """
    bulkhead = Bulkhead(2, clock=clock)
    guard = bulkhead.guard()
    async with bulkhead:
        async with guard:
            assert 2 == bulkhead.running
            with pytest.raises(BulkheadFullError):
                await bulkhead.guard().__aenter__()
            with pytest.raises(RuntimeError, match="entered before"):
                await guard.__aenter__()
        await guard.__aexit__(None, None, None)
        assert 1 == bulkhead.running
    await bulkhead.guard().__aexit__(None, None, None)

    assert 0 == bulkhead.running


async def test_a_block_waits_in_the_line(clock: ManualClock) -> None:
    """
    A guard may be entered by one task and left by another.
    """
    bulkhead = Bulkhead(1, waiting=1, clock=clock)
    guards: list[Any] = []

    async def enter() -> None:
        guard = bulkhead.guard()
        await guard.__aenter__()
        guards.append(guard)

    async with anyio.create_task_group() as tasks, bulkhead:
        tasks.start_soon(enter)
        await settled()
        assert 1 == bulkhead.waiting
    assert 1 == bulkhead.running
    (guard,) = guards
    await guard.__aexit__(None, None, None)

    assert 0 == bulkhead.running


async def test_a_statement_waits_in_the_line(clock: ManualClock) -> None:
    """
    So does ``async with``.
    """
    bulkhead = Bulkhead(1, waiting=1, clock=clock)
    order: list[str] = []

    async def block() -> None:
        async with bulkhead:
            order.append("second")

    async with anyio.create_task_group() as tasks, bulkhead:
        tasks.start_soon(block)
        await settled()
        order.append("first")

    assert (["first", "second"], 0) == (order, bulkhead.running)


async def test_rejections_are_told(clock: ManualClock) -> None:
    """
    With the figures of that moment.
    """
    bulkhead = Bulkhead(1, clock=clock, name="db")
    with record(bulkhead) as events:
        async with bulkhead:
            rejected(bulkhead)

    assert [BulkheadRejected("db", 1, 0, 0.0, 100.0)] == events


async def test_the_log_is_quiet(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """
    One WARNING when it begins, one INFO a minute at most while it goes on, the rest DEBUG.
    """
    caplog.set_level(logging.DEBUG, "asyncbreaker")
    bulkhead = Bulkhead(1, clock=clock, name="db")
    async with bulkhead:
        for _ in range(180):
            rejected(bulkhead)
            clock.advance(1.0)
        clock.advance(61.0)
        rejected(bulkhead)

    loud = [entry for entry in caplog.records if entry.levelno >= logging.INFO]
    assert ["WARNING", "INFO", "INFO", "WARNING"] == [entry.levelname for entry in loud]
    assert "bulkhead 'db' is full: 1 running, 0 waiting" == loud[0].getMessage()
    assert "db" == vars(loud[0])["policy"]


@pytest.mark.parametrize("seed", range(5))
async def test_any_mix_of_callers(seed: int, clock: ManualClock) -> None:
    """
    Never more than the limit, everybody served or rejected or cancelled, all places back.
    """
    chance = random.Random(seed)
    bulkhead = Bulkhead(3, waiting=5, max_wait=4.0, clock=clock)
    running = most = 0
    ends: list[str] = []

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await clock.sleep_until(clock() + chance.choice([0.0, 1.0, 3.0, 6.0]))
            if chance.random() < 0.3:
                raise ConnectionError
        finally:
            running -= 1

    async def caller(patience: float) -> None:
        with anyio.CancelScope() as scope:
            if patience < 0.3:
                scopes.append(scope)
            try:
                await bulkhead.call(work)
                ends.append("served")
            except (BulkheadFullError, ConnectionError) as error:
                ends.append(type(error).__name__)
        if scope.cancelled_caught:
            ends.append("cancelled")

    scopes: list[anyio.CancelScope] = []
    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(caller, chance.random())
            if chance.random() < 0.4:
                await settled()
                clock.advance(chance.choice([0.0, 0.5, 2.0]))
            if scopes and chance.random() < 0.2:
                scopes.pop(chance.randrange(len(scopes))).cancel()
        for _ in range(40):
            await settled()
            clock.advance(1.0)

    assert (100, 3, 0, 0) == (len(ends), most, bulkhead.running, bulkhead.waiting)
    assert {"served", "BulkheadFullError", "ConnectionError"} <= set(ends)


def contend(bulkhead: Bulkhead) -> Callable[[], Awaitable[list[int]]]:
    """Return a main function in which many calls want one place."""

    async def main() -> list[int]:
        results: list[int] = []

        async def one(number: int) -> None:
            async def work() -> None:
                await anyio.lowlevel.checkpoint()
                results.append(number)

            await bulkhead.call(work)

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(one, number)
        return results

    return main


def test_it_belongs_to_no_event_loop() -> None:
    """
    One that a module made at import works through several loops, one after the other.
    """
    bulkhead = Bulkhead(1, waiting=10)
    for backend in ("asyncio", "asyncio", "trio", "asyncio"):
        assert list(range(10)) == sorted(anyio.run(contend(bulkhead), backend=backend))
        assert (0, 0) == (bulkhead.running, bulkhead.waiting)


def test_a_loop_that_ended_keeps_no_place() -> None:
    """
    A waiter whose event loop is closed is passed over, although somebody still holds it.
    """
    bulkhead = Bulkhead(1, waiting=2)
    loop = asyncio.new_event_loop()
    taken: Any = bulkhead.call(_suspended)
    taken.send(None)
    waiting = loop.create_task(bulkhead.call(answer))
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    assert (1, 1) == (bulkhead.running, bulkhead.waiting)
    loop.close()
    taken.close()

    assert (0, 0) == (bulkhead.running, bulkhead.waiting)
    assert 42 == asyncio.run(bulkhead.call(answer))
    waiting.get_coro().close()
    assert (0, 0) == (bulkhead.running, bulkhead.waiting)  # nor does it give back one
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant to be


async def _suspended() -> None:
    await suspend()


def test_threads_share_its_places() -> None:
    """
    Several threads, each with a loop: never more than the limit at once, and all are served.
    """
    bulkhead, guard = Bulkhead(2, waiting=100), threading.Lock()
    running = most = served = 0

    async def work() -> None:
        nonlocal running, most, served
        with guard:
            running += 1
            most = max(most, running)
        await anyio.lowlevel.checkpoint()
        with guard:
            running -= 1
            served += 1

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(bulkhead.call, work)

    threads = [threading.Thread(target=anyio.run, args=(main,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (80, 0, 0) == (served, bulkhead.running, bulkhead.waiting)
    assert most <= 2


async def test_a_place_that_another_thread_has_just_given_back(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Between looking for a place and standing in line: it is taken, and nobody waits.
    """
    bulkhead = Bulkhead(1, waiting=1, clock=clock)
    looks = iter([False])
    take = Bulkhead._take
    monkeypatch.setattr(Bulkhead, "_take", lambda self: next(looks, None) is None and take(self))

    assert 42 == await bulkhead.call(answer)
    assert (0, 0) == (bulkhead.running, bulkhead.waiting)


async def test_a_place_that_comes_back_while_one_stands_in_line(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    As the garbage collector may give it back, at any moment: nobody waits beside a free place.
    """
    bulkhead = Bulkhead(1, waiting=1, clock=clock)
    held: list[Any] = [bulkhead.call(_suspended)]
    held[0].send(None)

    class Line(OrderedDict[Any, None]):
        def __len__(self) -> int:
            length = super().__len__()
            while held:
                held.pop().close()
            return length

    monkeypatch.setattr(bulkhead, "_line", Line())
    with anyio.fail_after(5):
        assert 42 == await bulkhead.call(answer)
    assert (0, 0) == (bulkhead.running, bulkhead.waiting)


async def test_a_decorated_function(clock: ManualClock) -> None:
    """
    It keeps its name, and takes a place.
    """
    bulkhead = Bulkhead(1, clock=clock)

    @bulkhead
    async def fetch() -> int:
        return bulkhead.running

    assert ("fetch", 1, 0) == (fetch.__name__, await fetch(), bulkhead.running)
    with pytest.raises(ConnectionError, match="refused"):
        await bulkhead.call(fail)


async def test_what_is_no_call_is_refused(clock: ManualClock) -> None:
    """
    With a hint, and it takes no place.
    """
    bulkhead = Bulkhead(1, clock=clock)
    with pytest.raises(TypeError, match=r"write call\(fn, \.\.\.\) instead"):
        await bulkhead.call(answer())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="did not: "):
        await bulkhead.call(lambda: 42)  # type: ignore[arg-type,return-value]

    assert 0 == bulkhead.running


@pytest.mark.parametrize(
    ("settings", "kind", "text"),
    [
        ({"limit": 0}, ValueError, "limit must be at least 1, not 0"),
        ({"limit": True}, TypeError, "limit must be a whole number, not True"),
        ({"limit": 1.5}, ValueError, "limit must be a whole number, not 1.5"),
        ({"limit": math.inf}, ValueError, "limit must be a whole number, not inf"),
        ({"limit": "5"}, TypeError, "limit must be a whole number, not '5'"),
        ({"limit": 1, "waiting": -1}, ValueError, "waiting must be at least 0, not -1"),
        ({"limit": 1, "waiting": True}, TypeError, "waiting must be a whole number, not True"),
        ({"limit": 1, "waiting": 1, "max_wait": 0}, ValueError, "max_wait must be above 0, not 0"),
        ({"limit": 1, "waiting": 1, "max_wait": math.nan}, ValueError, "max_wait must be .* nan"),
        ({"limit": 1, "waiting": 1, "max_wait": -1.0}, ValueError, "max_wait must be .* -1.0"),
        ({"limit": 1, "max_wait": 1.0}, ValueError, "max_wait=1.0 has no effect with waiting=0"),
        ({"limit": 1, "name": ""}, ValueError, "name must not be empty, not ''"),
    ],
)
def test_bad_input_is_refused(settings: dict[str, Any], kind: type[Exception], text: str) -> None:
    """
    The error names the parameter and the value.
    """
    with pytest.raises(kind, match=f"^{text}$"):
        Bulkhead(**settings)
