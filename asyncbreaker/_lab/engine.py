"""The lab's engine: calls come, are admitted or not, and end, each at its virtual time."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any

from asyncbreaker._lab.clients import Client, Clock
from asyncbreaker._lab.dependency import Dependency, Phase
from asyncbreaker._lab.scenarios import RETRY_AFTER, Scenario

SLICES = 100  # of a run, after each of which it is told how far it has come
LEAST_CAPACITY = 10.0  # calls per second: who can serve only one a second is no service

Say = Callable[[float], object]
"""Told now and then which share of the time is simulated."""


@dataclass(slots=True)
class Record:
    """What happened, in bins of equal seconds; a call counts in the bin in which it came."""

    scenario: Scenario
    clients: int
    load: float
    """Calls per second, all clients together, when nothing special is asked."""
    capacity: float
    """Calls per second that the dependency can serve when it is well."""
    per_second: float = field(init=False)
    """Bins per second."""
    calls: array[int] = field(init=False)
    sent: array[int] = field(init=False)
    """Tries that reached the dependency."""
    failed: array[int] = field(init=False)
    """Tries that reached it and failed."""
    good: array[int] = field(init=False)
    """Calls that were answered in the end."""
    sunk: array[float] = field(init=False)
    """Seconds that callers spent on tries that failed."""
    openings: list[list[float]] = field(default_factory=list[list[float]])
    """When each client's breaker opened."""
    trips: list[list[float]] = field(default_factory=list[list[float]])
    """The same, only from CLOSED."""
    wasted: int = 0
    """Tries sent while the dependency was in trouble, before their client had opened for it."""

    def __post_init__(self) -> None:
        self.per_second = 1 / self.scenario.bin
        bins = int((self.scenario.seconds + self.scenario.overtime) * self.per_second) + 2
        for name in ("calls", "sent", "failed", "good"):
            setattr(self, name, array("q", bytes(8 * bins)))
        self.sunk = array("d", bytes(8 * bins))


class Simulation:
    """One run of one scenario."""

    def __init__(
        self,
        scenario: Scenario,
        clients: Sequence[Client],
        *,
        rate: float,
        clock: Clock,
        seed: int,
    ) -> None:
        self._scenario = scenario
        self._clients = clients
        self._clock = clock
        # Arrivals have chance of their own: every breaker meets the same calls.
        self._arrivals = random.Random(f"arrivals {seed}")
        self._chance = random.Random(f"dependency {seed}")
        load = rate * len(clients)
        capacity = max(LEAST_CAPACITY, load / scenario.utilisation)
        self._record = Record(scenario, len(clients), load, capacity)
        self._per_second = self._record.per_second
        self._dependency = Dependency(
            capacity=capacity,
            timeout=scenario.timeout,
            latency=scenario.latency,
            failing=scenario.failing,
            chance=self._chance,
        )
        self._in_trouble = False
        self._opened: dict[Client, int] = {}  # how often before the trouble
        # When, a number to order equals, the client, its call (None: to be tried
        # again), whether it ends well, when the first and this try came, tries left.
        self._events: list[tuple[float, int, Client, Any, bool, float, float, int]] = []
        self._numbers = count()

    def run(self, say: Say = lambda share: None) -> Record:
        """Run it to the end of the last call."""
        scenario, now = self._scenario, 0.0
        for phase in scenario.phases:
            self._dependency.enter(phase, now)
            if now == scenario.before:
                self._opened = {client: len(client.openings) for client in self._clients}
            self._in_trouble = scenario.before <= now < scenario.ends
            ends = now + phase.seconds
            while now < ends:
                until = min(ends, now + scenario.seconds / SLICES)
                self._pass(phase, now, until)
                now = until
                say(now / scenario.seconds)
        while self._events:
            self._happen()
        self._record.openings = [client.openings for client in self._clients]
        self._record.trips = [client.trips for client in self._clients]
        return self._record

    def _pass(self, phase: Phase, now: float, until: float) -> None:
        events, clients, calls = self._events, self._clients, self._record.calls
        chance, between = self._arrivals.random, self._arrivals.expovariate
        rate, tries = self._record.load * phase.load, self._scenario.tries
        many, per_second = len(clients), self._per_second
        comes = now + between(rate)
        while True:
            while events and events[0][0] <= comes and events[0][0] <= until:
                self._happen()
            if comes >= until:
                return
            self._clock.now = comes
            calls[int(comes * per_second)] += 1
            self._try(clients[int(chance() * many)], comes, comes, tries)
            comes += between(rate)

    def _try(self, client: Client, now: float, born: float, tries: int) -> None:
        call = client.admit(now)
        if call is None:
            return  # a rejection is not tried again: it would only come back sooner
        record = self._record
        record.sent[int(now * self._per_second)] += 1
        if self._in_trouble and len(client.openings) == self._opened[client]:
            record.wasted += 1
        seconds, good = self._dependency.serve(now)
        number = next(self._numbers)
        heappush(self._events, (now + seconds, number, client, call, good, born, now, tries - 1))

    def _happen(self) -> None:
        now, number, client, call, good, born, sent, tries = heappop(self._events)
        self._clock.now = now
        if call is None:
            self._try(client, now, born, tries)
            return
        client.settle(call, good, now)
        record = self._record
        if good:
            record.good[int(born * self._per_second)] += 1
            return
        record.failed[int(sent * self._per_second)] += 1
        record.sunk[int(sent * self._per_second)] += now - sent
        if tries:
            made = self._scenario.tries - tries
            again = now + RETRY_AFTER * 2 ** (made - 1) * (0.5 + self._chance.random())
            heappush(self._events, (again, number, client, None, False, born, sent, tries))
