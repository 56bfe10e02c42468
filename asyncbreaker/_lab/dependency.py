"""The dependency as the lab models it: a queue with a capacity, and what may befall it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from math import inf
from typing import Any

REFUSAL = 0.005  # seconds until a caller is refused
LONGEST_QUEUE = 5.0  # seconds; a longer queue refuses
REFUSAL_COST = 0.1  # of a served call
DRAWS = 1 << 14  # latencies drawn in advance: one from this many costs a tenth of a new one


class Down(Enum):
    """How a dependency is down."""

    REFUSES = "refuses"  # at once
    HANGS = "hangs"  # until the caller gives up


@dataclass(frozen=True, slots=True)
class Phase:
    """How the dependency fares, and how much is asked of it, for some seconds."""

    seconds: float
    down: Down | None = None
    failing: float = 0.0
    """Share of the calls that fail, in the time that a good answer takes."""
    slower: float = 1.0
    """Factor of the latency."""
    capacity: float = 1.0
    """Share of the full capacity at the phase's beginning ..."""
    capacity_after: float | None = None
    """... and at its end, if it grows or shrinks."""
    load: float = 1.0
    """Factor of the arrivals."""

    def capacity_at(self, second: float) -> float:
        """Share of the full capacity, so many seconds into the phase."""
        if self.down is not None:
            return 0.0
        if self.capacity_after is None:
            return self.capacity
        share = min(1.0, second / self.seconds)
        return self.capacity + (self.capacity_after - self.capacity) * share


Latency = Callable[[random.Random], float]
"""Draws how long a served call takes, in seconds, beyond its time in the queue."""


@dataclass(frozen=True, slots=True)
class lognormal:
    """Latencies as services have them: few are much longer than the median."""

    median: float = 0.05
    sigma: float = 0.35

    def __call__(self, chance: random.Random, /) -> float:
        return self.median * chance.lognormvariate(0.0, self.sigma)


@dataclass(frozen=True, slots=True)
class either:
    """One of two latencies, each as often as the other."""

    one: float
    other: float

    def __call__(self, chance: random.Random, /) -> float:
        return chance.choice((self.one, self.other))


USUAL = lognormal()


@lru_cache(maxsize=8)
def _drawn(latency: Latency, state: tuple[Any, ...]) -> tuple[Sequence[float], tuple[Any, ...]]:
    """Draw latencies from a state of chance; return the state after it as well.

    Kept, since every breaker meets the same dependency, from the same seed.
    """
    chance = random.Random()
    chance.setstate(state)
    return [latency(chance) for _ in range(DRAWS)], chance.getstate()


class Dependency:
    """A backend that serves first come, first served.

    What becomes of a call is decided when it comes: nothing that happens later reaches
    the calls that are queued already.
    """

    def __init__(
        self,
        *,
        capacity: float,
        timeout: float,
        latency: Latency,
        failing: float,
        chance: random.Random,
    ) -> None:
        self.capacity = capacity  # calls per second when well
        self._timeout = timeout  # seconds after which the callers give up
        self._failing = failing  # share of calls that fail when all is well
        self._random = chance.random
        self._latencies, state = _drawn(latency, chance.getstate())
        chance.setstate(state)
        self._phase = Phase(inf)
        self._began = 0.0
        self._free_at = 0.0  # when all that is queued will be done

    def enter(self, phase: Phase, now: float) -> None:
        """Fare as *phase* says from now on."""
        self._phase, self._began = phase, now

    def serve(self, now: float) -> tuple[float, bool]:
        """Take a call; return when its caller knows more, in seconds, and whether all is well."""
        phase = self._phase
        if phase.down is not None:
            return (REFUSAL if phase.down is Down.REFUSES else self._timeout), False
        starts = max(now, self._free_at)
        share = phase.capacity_at(starts - self._began)
        cost = 1.0 / (self.capacity * share)
        if starts - now > LONGEST_QUEUE:
            self._free_at = starts + REFUSAL_COST * cost
            return REFUSAL, False
        self._free_at = starts + cost  # also if the caller will be gone: such work is wasted
        latency = self._latencies[int(self._random() * DRAWS)]
        seconds = starts - now + latency * phase.slower
        if seconds > self._timeout:
            return self._timeout, False
        failing = phase.failing or self._failing
        return seconds, not failing or self._random() >= failing
