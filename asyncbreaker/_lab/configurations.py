"""The configurations that the lab compares: the user's own, and what else there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from asyncbreaker import (
    Backoff,
    CircuitBreaker,
    Recovery,
    TripRule,
    consecutive_failures,
    failure_lead,
    probing,
    slow_start,
)
from asyncbreaker._lab.spelling import Spelled, seeded
from asyncbreaker.backoff import DEFAULT, as_callable

LEAD, SLOW_START = failure_lead(), slow_start()


@dataclass(frozen=True, slots=True)
class Setup:
    """What the lab varies of a breaker; the defaults are those of ``CircuitBreaker``."""

    trip: TripRule = LEAD
    backoff: Backoff | float = DEFAULT
    recovery: Recovery = SLOW_START
    slow: float | None = None

    def breaker(self, *, clock: Callable[[], float], random: Callable[[], float]) -> CircuitBreaker:
        """Make a breaker whose time and chance are the lab's."""
        return CircuitBreaker(
            trip=self.trip,
            backoff=seeded(self.backoff, random),
            recovery=self.recovery,
            slow=self.slow,
            clock=clock,
        )

    def equals(self, other: Setup) -> bool:
        """Tell whether both make the same breaker, however they were spelled."""
        return self._comparable() == other._comparable()

    def _comparable(self) -> tuple[object, ...]:
        # A number and its constant() are one backoff; where chance comes from is no difference.
        backoff = as_callable(seeded(self.backoff, float))
        return (self.trip, backoff, self.recovery, self.slow)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A row of the table."""

    name: str
    spelled: str
    setup: Setup | None = None
    """None: no breaker."""


DEFAULTS = Configuration("defaults", "CircuitBreaker()", Setup())
CLASSIC = Configuration(
    "classic",
    "CircuitBreaker(trip=consecutive_failures(5), backoff=60, recovery=probing())",
    Setup(consecutive_failures(5), 60, probing()),
)
NONE = Configuration("no breaker", "every call is sent")


def yours(given: Mapping[str, Spelled]) -> Configuration:
    """Make the user's configuration from what was spelled, by parameter."""
    meant: dict[str, Any] = {name: spelled.meaning for name, spelled in given.items()}
    text = ", ".join(f"{name}={spelled.text}" for name, spelled in given.items())
    return Configuration("yours", f"CircuitBreaker({text})", Setup(**meant))


def compared(setup: Setup, *, slow: float) -> list[Configuration]:
    """Return what is compared with *setup* and differs; *slow* is for the one with ``slow=``."""
    watched = Configuration("defaults+slow", f"CircuitBreaker(slow={slow:g})", Setup(slow=slow))
    return [
        each
        for each in (DEFAULTS, watched, CLASSIC, NONE)
        if each.setup is None or not each.setup.equals(setup)
    ]
