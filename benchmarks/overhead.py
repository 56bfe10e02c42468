"""What a call under a breaker costs, against an empty wrapper: ratios of one run.

``python benchmarks/overhead.py``: every row is measured in short rounds that take
turns, so that whatever slows the machine slows all rows. A row's figure is the
fastest of its rounds: (row - bare await) / (wrapper - bare await).
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from asyncbreaker import (
    CallSettled,
    CircuitBreaker,
    CircuitOpenError,
    LastCalls,
    State,
    failure_rate,
    probing,
)
from asyncbreaker.testing import force_state

Row = Callable[[int], Awaitable[None]]


async def answer() -> None:
    """The guarded function: nothing."""


async def fail() -> None:
    """A dependency that is ill."""
    raise ConnectionError


async def wrapper(fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any) -> Any:
    """The least that any guard of a coroutine function does."""
    try:
        return await fn(*args, **kwargs)
    except BaseException:
        raise


def calls(fn: Callable[..., Awaitable[Any]], *args: Any) -> Row:
    """A row that awaits ``fn(*args)``."""

    async def row(times: int) -> None:
        for _ in range(times):
            await fn(*args)

    return row


def failures(fn: Callable[..., Awaitable[Any]], *args: Any) -> Row:
    """A row whose calls raise."""

    async def row(times: int) -> None:
        for _ in range(times):
            try:
                await fn(*args)
            except (ConnectionError, CircuitOpenError):
                pass

    return row


def block(breaker: CircuitBreaker) -> Row:
    """``async with breaker``."""

    async def row(times: int) -> None:
        for _ in range(times):
            async with breaker:
                await answer()

    return row


def guard(breaker: CircuitBreaker) -> Row:
    """``async with breaker.guard()``."""

    async def row(times: int) -> None:
        for _ in range(times):
            async with breaker.guard():
                await answer()

    return row


def half_open() -> CircuitBreaker:
    """A breaker that never leaves HALF_OPEN."""
    breaker = CircuitBreaker(recovery=probing(probes=10, successes=10**12))
    force_state(breaker, State.HALF_OPEN)
    return breaker


def disabled() -> CircuitBreaker:
    """A breaker under an operator's order."""
    breaker = CircuitBreaker()
    breaker.disable()
    return breaker


def opened() -> CircuitBreaker:
    """A breaker that stays open."""
    breaker = CircuitBreaker(backoff=10**6)
    force_state(breaker, State.OPEN)
    return breaker


def listened() -> CircuitBreaker:
    """A breaker with a listener for every call."""
    breaker = CircuitBreaker()
    breaker.add_listener(lambda event: None, CallSettled)
    return breaker


def never(counts: object) -> bool:
    """A trip rule that never opens."""
    return False


never.window = None  # type: ignore[attr-defined]  # it looks at no window


def rows() -> dict[str, tuple[Row, float | None]]:
    """Every row with its limit, where there is one."""
    windowed = CircuitBreaker(trip=failure_rate(minimum=1000, window=LastCalls(10**6)))
    return {
        "call": (calls(CircuitBreaker().call, answer), 1.4),
        "decorated": (calls(CircuitBreaker()(answer)), 1.3),
        "async with": (block(CircuitBreaker()), 2.6),
        "guard": (guard(CircuitBreaker()), 4.5),
        "call, slow=": (calls(CircuitBreaker(slow=10.0).call, answer), 5.0),
        "call, window": (calls(windowed.call, answer), 8.0),
        "call, half-open": (calls(half_open().call, answer), 12.0),
        "call, disabled": (calls(disabled().call, answer), 2.0),
        "call, CallSettled listener": (calls(listened().call, answer), None),
    }


def failing_rows() -> dict[str, Row]:
    """Rows that raise, against the empty wrapper around the same failure."""
    return {
        "bare, failing": failures(fail),
        "wrapper, failing": failures(wrapper, fail),
        "call, failing": failures(CircuitBreaker(trip=never).call, fail),
        "rejection": failures(opened().call, answer),
    }


async def measure(rows: dict[str, Row], rounds: int, times: int) -> dict[str, float]:
    """Return each row's fastest seconds per call, over rounds that take turns."""
    best = dict.fromkeys(rows, float("inf"))
    for _ in range(rounds):
        for name, row in rows.items():
            start = time.perf_counter()
            await row(times)
            best[name] = min(best[name], (time.perf_counter() - start) / times)
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--times", type=int, default=2000, help="calls per round")
    chosen = parser.parse_args()

    limits = rows()
    measured = {"bare": calls(answer), "wrapper": calls(wrapper, answer)}
    measured |= {name: row for name, (row, _) in limits.items()} | failing_rows()
    best = asyncio.run(measure(measured, chosen.rounds, chosen.times))

    bare, unit = best["bare"], best["wrapper"] - best["bare"]
    print(f"CPython {platform.python_version()}, {chosen.rounds} rounds of {chosen.times} calls")
    print(f"bare await {bare * 1e9:.0f} ns; the empty wrapper adds {unit * 1e9:.0f} ns = 1.00")
    for name, (_, limit) in limits.items():
        ratio = (best[name] - bare) / unit
        print(f"{name:28} {ratio:6.2f}" + (f"   (limit {limit})" if limit else ""))
    failing = (best["call, failing"] - best["bare, failing"]) / (
        best["wrapper, failing"] - best["bare, failing"]
    )
    print(f"{'call, failing':28} {failing:6.2f}   of the wrapper around the same failure")
    print(
        f"{'rejection':28} {best['rejection'] * 1e6:6.2f} us, where the wrapper costs "
        f"{unit * 1e6:.2f} us: {best['rejection'] / unit:.1f} (limit {2 / 0.13:.1f})"
    )


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
