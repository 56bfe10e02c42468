"""Breakers that several of these files use, and what their calls ended as."""

from __future__ import annotations

from typing import Any

from asyncbreaker import CallSettled, CircuitBreaker, Outcome, consecutive_failures
from asyncbreaker.testing import ManualClock
from tests.runtime.support import fragile


def breaker_of(clock: ManualClock, failures: int = 1, **settings: Any) -> CircuitBreaker:
    """Opens after so many failures, for 10 seconds; one good probe closes it."""
    return fragile(clock, trip=consecutive_failures(failures), **settings)


def outcomes(events: list[Any]) -> list[Outcome]:
    """What the calls among *events* ended as."""
    return [event.outcome for event in events if isinstance(event, CallSettled)]
