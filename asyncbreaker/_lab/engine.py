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
from asyncbreaker._lab.scenarios import Scenario

BIN = 0.1  # seconds per entry of a record
PER_SECOND = round(1 / BIN)
RETRY_AFTER = 0.1  # seconds, doubling, times U(0.5, 1.5)
LEAST_CAPACITY = 100.0  # calls per second: a queue for one call at a time models no service

Say = Callable[[float], object]
"""Told now and then which share of the time is simulated."""


@dataclass(slots=True)
class Record:
    """What happened, in bins of ``BIN`` seconds; a call counts in the bin in which it came."""

    seconds: float
    clients: int
    overtime: float
    """Seconds after the end in which the last calls may still be tried."""
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

    def __post_init__(self) -> None:
        bins = int((self.seconds + self.overtime) * PER_SECOND) + 1
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
        self._rate = rate * len(clients)  # calls per second, all clients together
        self._clock = clock
        # Arrivals have chance of their own: every breaker meets the same calls.
        self._arrivals = random.Random(seed)
        self._chance = random.Random(seed + 1)
        self._dependency = Dependency(
            capacity=max(LEAST_CAPACITY, self._rate / scenario.utilisation),
            timeout=scenario.timeout,
            latency=scenario.latency,
            failing=scenario.failing,
            chance=self._chance,
        )
        self._record = Record(
            scenario.seconds, len(clients), scenario.tries * (scenario.timeout + 1.0)
        )
        # When, a number to order equals, the client, its call (None: to be tried
        # again), whether it ends well, when the first and this try came, tries left.
        self._events: list[tuple[float, int, Client, Any, bool, float, float, int]] = []
        self._numbers = count()

    def run(self, say: Say = lambda share: None) -> Record:
        """Run it to the end of the last call."""
        now = 0.0
        for phase in self._scenario.phases:
            self._dependency.enter(phase, now)
            self._pass(phase, now, say)
            now += phase.seconds
        while self._events:
            self._happen()
        self._record.openings = [client.openings for client in self._clients]
        return self._record

    def _pass(self, phase: Phase, began: float, say: Say) -> None:
        events, clients, calls = self._events, self._clients, self._record.calls
        chance, between = self._arrivals.random, self._arrivals.expovariate
        rate, tries = self._rate * phase.load, self._scenario.tries
        ends, many = began + phase.seconds, len(clients)
        comes = began + between(rate)
        while True:
            while events and events[0][0] <= comes and events[0][0] <= ends:
                self._happen()
            if comes >= ends:
                return
            self._clock.now = comes
            calls[int(comes * PER_SECOND)] += 1
            self._try(clients[int(chance() * many)], comes, comes, tries)
            comes += between(rate)

    def _try(self, client: Client, now: float, born: float, tries: int) -> None:
        call = client.admit(now)
        if call is None:
            return  # a rejection is not tried again: it would only come back sooner
        self._record.sent[int(now * PER_SECOND)] += 1
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
            record.good[int(born * PER_SECOND)] += 1
            return
        record.failed[int(sent * PER_SECOND)] += 1
        record.sunk[int(sent * PER_SECOND)] += now - sent
        if tries:
            made = self._scenario.tries - tries
            again = now + RETRY_AFTER * 2 ** (made - 1) * (0.5 + self._chance.random())
            heappush(self._events, (again, number, client, None, False, born, sent, tries))
