"""The seam to the event loop: signals, locks, sleeping."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import anyio
import pytest
import trio

from asyncbreaker._runtime.backend import (
    LoopLock,
    Signal,
    ask_within,
    checkpoint,
    current_task,
    sleep,
    wait_until,
)
from asyncbreaker.testing import ManualClock
from tests.conftest import BACKENDS
from tests.runtime.support import answer, fail, settled


@pytest.mark.anyio
async def test_a_signal_may_be_woken_before_during_and_often(anyio_backend: Any) -> None:
    """
    Waking is remembered, and waking again does no harm.
    """
    signal = Signal()
    signal.wake()
    signal.wake()
    with anyio.fail_after(5):
        await signal.wait()


@pytest.mark.anyio
async def test_a_signal_is_woken_from_a_thread(anyio_backend: Any) -> None:
    """
    A thread without a loop wakes a task.
    """
    signal = Signal()
    thread = threading.Thread(target=signal.wake)
    thread.start()
    with anyio.fail_after(5):
        await signal.wait()
    thread.join()


@pytest.mark.parametrize("run", [asyncio.run, lambda made: trio.run(lambda: made)])
def test_waking_a_loop_that_has_ended_does_nothing(run: Any) -> None:
    """
    Nobody waits in a loop that is gone.
    """
    signals: list[Signal] = []

    async def main() -> None:
        signals.append(Signal())

    run(main())
    signals[0].wake()


def test_a_lock_is_of_its_loop() -> None:
    """
    Each loop has one lock of its own kind, and loops that have ended are forgotten.
    """
    loop_lock = LoopLock()
    seen: list[object] = []

    async def main() -> None:
        seen.append(loop_lock.here())
        assert loop_lock.here() is seen[-1]
        async with loop_lock.here():
            waiter = loop_lock.here()
            assert waiter.locked()

    asyncio.run(main())
    trio.run(main)
    asyncio.run(main())

    assert [asyncio.Lock, trio.Lock, asyncio.Lock] == [type(lock) for lock in seen]
    assert 3 == len({id(lock) for lock in seen})


def test_a_lock_that_was_waited_for_keeps_no_loop_alive() -> None:
    """
    A loop whose lock had a queue is let go once another loop has come.
    """
    loop_lock = LoopLock()
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def hold() -> None:
        async with loop_lock.here():
            await asyncio.sleep(0)

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.gather(hold(), hold())

    asyncio.run(main())
    asyncio.run(hold())
    gc.collect()

    assert loops[0]() is None


def test_locks_may_be_asked_for_by_many_threads() -> None:
    """
    Loops that start at the same time in several threads get a lock each.
    """
    loop_lock = LoopLock()
    locks: list[object] = []

    async def main() -> None:
        locks.append(loop_lock.here())

    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 8 == len({id(lock) for lock in locks})


@pytest.mark.anyio
async def test_the_current_task_is_the_same_until_it_ends(anyio_backend: Any) -> None:
    """
    Two looks in one task agree, and another task is another object.
    """
    tasks: list[object] = []

    async def look() -> None:
        tasks.append(current_task())

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        group.start_soon(look)

    assert current_task() is current_task()
    assert 3 == len({id(task) for task in [*tasks, current_task()]})


def test_outside_of_any_task_there_is_none() -> None:
    """
    Also where no loop runs the question may be asked.
    """
    assert current_task() is None


@pytest.mark.anyio
async def test_a_checkpoint_lets_others_run(anyio_backend: Any) -> None:
    """
    A task that was started runs before the checkpoint is over.
    """
    ran: list[int] = []

    async def other() -> None:
        ran.append(1)

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        for _ in range(3):
            await checkpoint()
        assert [1] == ran


@pytest.mark.anyio
@pytest.mark.parametrize("when", [None, 1000.0])
async def test_waiting_ends_with_the_signal(when: float | None, clock: ManualClock) -> None:
    """
    A signal ends the wait, whether or not there is a time.
    """
    signal = Signal()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(wait_until, signal, clock, when)
            await settled()
            signal.wake()
        await wait_until(signal, lambda: 0.0, when)


@pytest.mark.anyio
async def test_waiting_ends_with_the_time(clock: ManualClock) -> None:
    """
    The breaker's own clock ends the wait where it can be slept on, else the loop's.
    """
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(wait_until, Signal(), clock, 105.0)
            await settled()
            clock.advance(5.0)
        await wait_until(Signal(), lambda: 0.0, 0.001)
        await wait_until(Signal(), lambda: 10.0, 5.0)


@pytest.mark.anyio
@pytest.mark.parametrize("manual", [True, False])
async def test_asking_returns_what_was_raised(manual: bool, clock: ManualClock) -> None:
    """
    An answer is no error; an exception is returned as it is.
    """
    ask_clock = clock if manual else lambda: 0.0

    assert await ask_within(5.0, ask_clock, answer) is None
    error = await ask_within(5.0, ask_clock, fail)
    assert ("ConnectionError", "refused") == (type(error).__name__, str(error))
    assert await ask_within(float("inf"), ask_clock, answer) is None


@pytest.mark.anyio
@pytest.mark.parametrize("manual", [True, False])
async def test_asking_in_vain_is_a_timeout(manual: bool, clock: ManualClock) -> None:
    """
    What does not answer in time is cut.
    """
    ask_clock = clock if manual else lambda: 0.0
    errors: list[Exception | None] = []

    async def ask() -> None:
        errors.append(await ask_within(0.002, ask_clock, anyio.sleep_forever))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await settled()
            clock.advance(1.0)

    assert ["no answer within 0.002 s"] == [str(error) for error in errors]
    assert TimeoutError is type(errors[0])


@pytest.mark.anyio
@pytest.mark.parametrize("manual", [True, False])
async def test_asking_passes_on_the_callers_cancellation(manual: bool, clock: ManualClock) -> None:
    """
    A caller that is cancelled gets no TimeoutError but its own end.
    """
    ask_clock = clock if manual else lambda: 0.0
    with anyio.CancelScope() as scope:
        scope.cancel()
        await ask_within(5.0, ask_clock, anyio.sleep_forever)
    assert scope.cancelled_caught


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("woken_at", "slept"), [(100.4998, [0.5, 0.001]), (100.5, [0.5]), (100.2, [0.5])]
)
async def test_a_sleep_that_ends_too_early_goes_on(
    woken_at: float, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    uvloop wakes up to a millisecond early; a clock that stands still is not waited for.
    """
    pauses: list[float] = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    times = iter([100.0, woken_at])
    monkeypatch.setattr(anyio, "sleep", note)
    await sleep(0.5, lambda: next(times))

    assert slept == pauses


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", BACKENDS[:1], indirect=True)
async def test_a_signal_woken_in_the_middle_of_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As the garbage collector may do, after the look at the event and before standing in line.
    """
    signal, loop = Signal(), asyncio.get_running_loop()
    make = loop.create_future

    def woken_meanwhile() -> asyncio.Future[Any]:
        signal.wake()
        return make()

    monkeypatch.setattr(loop, "create_future", woken_meanwhile)
    with anyio.fail_after(5):
        await signal.wait()
