"""What each policy around a call costs, and a pipeline of five: against wrappers by hand.

``python benchmarks/policies.py``. Units and rounds are those of ``overhead.py``: what an
empty wrapper adds to a bare await is 1. Beside each policy stands the least that somebody
would write by hand for the same purpose, and a pipeline stands beside the same five
wrappers nested. The wrappers by hand lack most of what the policies do (see the
README), so they are a floor, not a rival.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from overhead import Row, answer, calls, failures, measure, wrapper

from asyncbreaker import (
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Hedge,
    LastGood,
    Pipeline,
    Policy,
    Retry,
    RetryBudget,
    Timeout,
)

Fn = Callable[..., Awaitable[Any]]
Wrap = Callable[[Fn], Fn]


async def fail() -> None:
    """A dependency that is ill."""
    raise ConnectionError


def by_hand_retry(fn: Fn) -> Fn:
    """Three tries, with a pause between them."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        for attempt in range(2):
            try:
                return await fn(*args, **kwargs)
            except OSError:
                await asyncio.sleep(random.random() * 0.1 * 2**attempt)
        return await fn(*args, **kwargs)

    return call


def by_hand_timeout(fn: Fn) -> Fn:
    """``asyncio.timeout``."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        async with asyncio.timeout(10.0):
            return await fn(*args, **kwargs)

    return call


def by_hand_bulkhead(fn: Fn) -> Fn:
    """``asyncio.Semaphore``."""
    places = asyncio.Semaphore(100)

    async def call(*args: Any, **kwargs: Any) -> Any:
        async with places:
            return await fn(*args, **kwargs)

    return call


def by_hand_fallback(fn: Fn) -> Fn:
    """``try`` and ``except``."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return await fn(*args, **kwargs)
        except ConnectionError:
            return None

    return call


def by_hand_cache(fn: Fn) -> Fn:
    """A dictionary."""
    answers: dict[Any, Any] = {}

    async def call(*args: Any, **kwargs: Any) -> Any:
        try:
            result = answers[args] = await fn(*args, **kwargs)
        except ConnectionError:
            return answers[args]
        return result

    return call


def by_hand_hedge(fn: Fn) -> Fn:
    """``asyncio.wait`` on a task, and on a second one when it is slow."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        tries = [asyncio.ensure_future(fn(*args, **kwargs))]
        done, _ = await asyncio.wait(tries, timeout=10.0)
        if not done:
            tries.append(asyncio.ensure_future(fn(*args, **kwargs)))
            done, _ = await asyncio.wait(tries, return_when=asyncio.FIRST_COMPLETED)
        for other in tries:
            other.cancel()
        return done.pop().result()

    return call


def by_hand_breaker(fn: Fn) -> Fn:
    """A counter of failures in a row, and a date."""
    failed, opened = 0, 0.0
    clock = asyncio.get_running_loop().time

    async def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal failed, opened
        if failed >= 5 and clock() < opened + 10.0:
            raise ConnectionError
        try:
            result = await fn(*args, **kwargs)
        except Exception:
            failed, opened = failed + 1, clock()
            raise
        failed = 0
        return result

    return call


def stacked(*wraps: Wrap) -> Fn:
    """The wrappers around ``answer``, the first outermost."""
    fn: Fn = answer
    for wrap in reversed(wraps):
        fn = wrap(fn)
    return fn


def five() -> Pipeline[None]:
    """The pipeline that the README recommends."""
    return Pipeline(Fallback(value=None), Retry(), CircuitBreaker(), Bulkhead(100), Timeout(10.0))


Pair = tuple[Row, Row | None]


def rows() -> dict[str, Pair]:
    """Every row: ours, and by hand."""

    def pair(policy: Policy[Any], by_hand: Wrap | None) -> Pair:
        return calls(policy.call, answer), by_hand and calls(by_hand(answer))

    by_hand_five = stacked(
        by_hand_fallback, by_hand_retry, by_hand_breaker, by_hand_bulkhead, by_hand_timeout
    )
    return {
        "CircuitBreaker": pair(CircuitBreaker(), by_hand_breaker),
        "Retry": pair(Retry(), by_hand_retry),
        "Retry, budget": pair(Retry(budget=RetryBudget()), None),
        "Timeout": pair(Timeout(10.0), by_hand_timeout),
        "Bulkhead": pair(Bulkhead(100), by_hand_bulkhead),
        "Fallback": pair(Fallback(value=None), by_hand_fallback),
        "LastGood": pair(LastGood(), by_hand_cache),
        "Hedge": pair(Hedge(10.0), by_hand_hedge),
        "pipeline of five, call": pair(five(), None),
        "pipeline of five, decorated": (calls(five()(answer)), calls(by_hand_five)),
        "Fallback, used": (
            failures(Fallback(value=None, on=OSError).call, fail),
            failures(by_hand_fallback(fail)),
        ),
    }


async def run(rounds: int, times: int) -> None:
    """Measure and print."""
    pairs = rows()
    measured = {"bare": calls(answer), "wrapper": calls(wrapper, answer)}
    for name, (ours, by_hand) in pairs.items():
        measured[name] = ours
        if by_hand is not None:
            measured[f"{name}, by hand"] = by_hand
    best = await measure(measured, rounds, times)

    bare, unit = best["bare"], best["wrapper"] - best["bare"]
    print(f"CPython {platform.python_version()}, {rounds} rounds of {times} calls")
    print(f"bare await {bare * 1e9:.0f} ns; the empty wrapper adds {unit * 1e9:.0f} ns = 1.00")
    print(f"{'':28} {'ours':>7} {'by hand':>8} {'ratio':>6}")
    for name, (_, by_hand) in pairs.items():
        ours = (best[name] - bare) / unit
        line = f"{name:28} {ours:7.2f}"
        if by_hand is not None:
            hand = (best[f"{name}, by hand"] - bare) / unit
            line += f" {hand:8.2f} {ours / hand:6.2f}"
        print(line)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--times", type=int, default=500, help="calls per round")
    chosen = parser.parse_args()
    asyncio.run(run(chosen.rounds, chosen.times))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
