"""``@breaker``: what may be decorated, and what the function still looks like."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asyncbreaker import CallSettled, CircuitOpenError, Outcome, State
from asyncbreaker.testing import ManualClock
from tests.runtime.calls import answer, attempt, fail, half_open, make

pytestmark = pytest.mark.anyio


def test_the_function_keeps_its_looks(clock: ManualClock) -> None:
    """
    Frameworks read name, docs and signature, and ask whether it is async.
    """
    breaker = make(clock)

    async def fetch(key: str, *, times: int = 3) -> bytes:
        """Fetch it."""
        return b""

    guarded = breaker(fetch)

    assert ("fetch", "Fetch it.") == (guarded.__name__, guarded.__doc__)  # type: ignore[attr-defined]
    assert inspect.signature(fetch) == inspect.signature(guarded)
    assert inspect.iscoroutinefunction(guarded)
    assert breaker is guarded.breaker


def test_a_generator_function_keeps_its_looks(clock: ManualClock) -> None:
    """
    It is still known as an async generator function.
    """
    breaker = make(clock)

    async def rows(table: str) -> AsyncIterator[int]:
        """Read rows."""
        yield 1

    guarded = breaker(rows)

    assert ("rows", "Read rows.") == (guarded.__name__, guarded.__doc__)  # type: ignore[attr-defined]
    assert inspect.signature(rows) == inspect.signature(guarded)
    assert inspect.isasyncgenfunction(guarded)
    assert breaker is guarded.breaker


@pytest.mark.parametrize("start", [make, half_open], ids=["closed", "half-open"])
async def test_it_passes_arguments_and_results(clock: ManualClock, start: Any) -> None:
    """
    With and without keywords.
    """
    breaker = start(clock)

    @breaker
    async def add(left: int, right: int = 0) -> int:
        return left + right

    assert (42, 40) == (await add(40, right=2), await add(40))
    assert 2 == breaker.snapshot().succeeded


async def test_methods_of_every_kind_share_one_breaker(clock: ManualClock) -> None:
    """
    Instance, class and static methods get what they always get.
    """
    breaker = make(clock)

    class Api:
        @breaker
        async def mine(self, n: int) -> tuple[Any, int]:
            return self, n

        @classmethod
        @breaker
        async def ours(cls, n: int) -> tuple[Any, int]:
            return cls, n

        @staticmethod
        @breaker
        async def anybody(n: int) -> int:
            return n

    api = Api()
    assert (api, 1) == await api.mine(1)
    assert (Api, 2) == await api.ours(2)
    assert 3 == await api.anybody(3)
    assert breaker is api.mine.breaker is Api.ours.breaker is Api.anybody.breaker
    assert 3 == breaker.snapshot().succeeded


async def test_an_object_with_an_async_call_may_be_decorated(clock: ManualClock) -> None:
    """
    As may a partial of a coroutine function.
    """

    class Adder:
        async def __call__(self, n: int) -> int:
            return n + 1

    async def add(left: int, right: int) -> int:
        return left + right

    breaker = make(clock)
    assert 42 == await breaker(Adder())(41)
    assert 42 == await breaker(functools.partial(add, 40))(2)


@pytest.mark.parametrize(
    ("fn", "hint"),
    [
        (lambda: None, "not async"),
        (print, "not async"),
        (int, "not async"),
        (42, "not async"),
        (None, "not async"),
        (classmethod(answer), "put @classmethod above"),
        (staticmethod(answer), "put @staticmethod above"),
    ],
)
def test_what_is_not_async_is_refused_at_decoration(clock: ManualClock, fn: Any, hint: str) -> None:
    """
    It would never trip, and nobody would notice.
    """
    with pytest.raises(TypeError, match=hint):
        make(clock)(fn)


async def test_a_generator_that_is_not_async_is_refused(clock: ManualClock) -> None:
    """
    A plain generator as well.
    """

    def rows() -> Any:
        yield 1

    with pytest.raises(TypeError, match="coroutine function or an async generator"):
        make(clock)(rows)


async def test_a_rejected_call_makes_no_coroutine(clock: ManualClock) -> None:
    """
    It is the guarded function's own coroutine that raises, when it is awaited.
    """
    breaker = make(clock)
    guarded = breaker(fail)
    for _ in range(2):
        await attempt(guarded)

    assert isinstance(await attempt(guarded), CircuitOpenError)


async def test_a_result_is_judged(clock: ManualClock) -> None:
    """
    ``fail_on_result`` sees what the function returns.
    """
    breaker = make(clock, fail_on_result=lambda result: result == 42)
    settled: list[CallSettled] = []
    breaker.add_listener(settled.append, CallSettled)
    guarded = breaker(answer)
    for _ in range(2):
        await guarded()

    assert [Outcome.FAILURE] * 2 == [event.outcome for event in settled]
    assert State.OPEN is breaker.state


async def test_decorated_before_or_after_a_move_it_follows_the_circuit(
    clock: ManualClock,
) -> None:
    """
    Nothing about the state is kept in the function.
    """
    breaker = make(clock)
    early = breaker(answer)
    breaker.force_open()
    late = breaker(answer)
    assert isinstance(await attempt(early), CircuitOpenError)
    assert isinstance(await attempt(late), CircuitOpenError)
    breaker.reset()

    assert (42, 42) == (await early(), await late())
