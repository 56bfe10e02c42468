"""What stays behind: nothing that grows, and nobody's frames."""

from __future__ import annotations

import gc
import sys
import tracemalloc
import weakref
from contextlib import suppress
from typing import Any

import pytest

from asyncbreaker import CircuitBreaker, CircuitOpenError, State, failure_rate
from asyncbreaker.testing import ManualClock, force_state
from tests.runtime.calls import WAYS, answer, attempt, fail, make

pytestmark = pytest.mark.anyio

FEW = 64 * 1024


async def test_100000_rejections_grow_nothing(clock: ManualClock) -> None:
    """
    An outage may last for hours; each caller gets an exception of its own.
    """
    breaker = make(clock)
    for _ in range(2):
        await attempt(lambda: breaker.call(fail))
    seen = {
        id(error): error for error in [await attempt(lambda: breaker.call(answer)) for _ in "12"]
    }
    assert 2 == len(seen)

    async def reject(times: int) -> None:
        for _ in range(times):
            with suppress(CircuitOpenError):
                await breaker.call(answer)

    await reject(1000)
    gc.collect()
    blocks = sys.getallocatedblocks()
    await reject(90_000)
    gc.collect()
    assert 1000 > sys.getallocatedblocks() - blocks

    tracemalloc.start()  # counts bytes, but makes each rejection five times as dear
    try:
        before = tracemalloc.get_traced_memory()[0]
        await reject(10_000)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert FEW / 10 > grown
    assert 101_002 == breaker.snapshot().rejected


@pytest.mark.parametrize("settings", [{}, {"trip": failure_rate()}, {"slow": 1.0}])
@pytest.mark.parametrize("way", WAYS)
async def test_successes_grow_nothing(
    clock: ManualClock, settings: dict[str, Any], way: Any
) -> None:
    """
    Whatever is kept per call is given up when it ends.
    """
    breaker = CircuitBreaker(clock=clock, **settings)

    async def succeed(times: int) -> None:
        for _ in range(times):
            await way(breaker, answer)

    await succeed(300)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        await succeed(1000)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert FEW / 3 > grown


class Payload:
    """Something big in a local variable."""


@pytest.mark.parametrize("way", WAYS)
async def test_a_failed_call_s_locals_die_with_its_exception(clock: ManualClock, way: Any) -> None:
    """
    ``last_failure`` is a summary: it keeps no exception, traceback or frame.
    """
    breaker = make(clock)
    refs: list[weakref.ref[Payload]] = []

    async def work() -> None:
        payload = Payload()
        refs.append(weakref.ref(payload))
        raise ConnectionError("refused")

    for _ in range(2):
        await attempt(lambda: way(breaker, work))
    gc.collect()

    assert [None, None] == [ref() for ref in refs]
    assert "refused" == (breaker.snapshot().last_failure or ("", ""))[1]


async def test_a_failed_call_s_locals_die_without_the_collector(clock: ManualClock) -> None:
    """
    We make no reference cycle of the caller's exception.
    """
    breaker = make(clock)
    refs: list[weakref.ref[Payload]] = []

    async def work() -> None:
        payload = Payload()
        refs.append(weakref.ref(payload))
        raise ConnectionError

    gc.disable()
    try:
        with suppress(ConnectionError):
            await breaker.call(work)
        assert refs[0]() is None
    finally:
        gc.enable()


async def test_a_breaker_dies_with_its_last_reference(clock: ManualClock) -> None:
    """
    The list of live breakers does not keep it.
    """
    breaker = make(clock)
    force_state(breaker, State.OPEN)
    with suppress(CircuitOpenError):
        await breaker.call(answer)
    ref = weakref.ref(breaker)
    del breaker
    gc.collect()

    assert ref() is None
