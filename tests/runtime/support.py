"""Calls and breakers that several of these files use."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio.lowlevel
import pytest

from asyncbreaker import CircuitBreaker, CircuitOpenError, consecutive_failures, probing
from asyncbreaker.testing import ManualClock


async def answer(value: int = 42) -> int:
    return value


async def fail(text: str = "refused") -> None:
    raise ConnectionError(text)


def fragile(clock: ManualClock, **settings: Any) -> CircuitBreaker:
    """Opens at the first failure, for 10 seconds; one good probe closes it."""
    chosen: dict[str, Any] = {
        "trip": consecutive_failures(1),
        "backoff": 10.0,
        "recovery": probing(),
        "clock": clock,
        **settings,
    }
    return CircuitBreaker("api", **chosen)


async def failing_call(breaker: CircuitBreaker, text: str = "refused") -> None:
    with suppress(ConnectionError):
        await breaker.call(fail, text)


async def rejected_call(breaker: CircuitBreaker) -> CircuitOpenError:
    with pytest.raises(CircuitOpenError) as caught:
        await breaker.call(answer)
    return caught.value


async def settled() -> None:
    """Let every other task run until it waits for something that does not come by itself."""
    for _ in range(30):
        await anyio.lowlevel.checkpoint()
