"""What the tests of the lab share: a run of a scenario, and clients that keep a diary."""

from __future__ import annotations

import random
from typing import Any

from asyncbreaker._lab.clients import Client, Clock, Guarded, Unguarded
from asyncbreaker._lab.configurations import Setup
from asyncbreaker._lab.engine import Record, Simulation
from asyncbreaker._lab.scenarios import Scenario


def guarded(clock: Clock, setup: Setup | None = None, seed: int = 1) -> Guarded:
    """Return a client with a breaker of ours."""
    chance = random.Random(seed).random
    return Guarded((setup or Setup()).breaker(clock=clock, random=chance))


def simulate(
    scenario: Scenario,
    setup: Setup | None,
    *,
    clients: int = 1,
    rate: float = 100.0,
    seed: int = 1,
) -> Record:
    """Run *scenario*; without a setup there is no breaker."""
    clock = Clock()
    made: list[Client] = [
        guarded(clock, setup, number) if setup else Unguarded() for number in range(clients)
    ]
    return Simulation(scenario, made, rate=rate, clock=clock, seed=seed).run()


class Diary:
    """A client that lets another decide, and notes down what was asked and answered."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.openings, self.trips = client.openings, client.trips
        self.entries: list[tuple[float, int, object]] = []
        self._numbers: dict[int, int] = {}

    def admit(self, now: float) -> Any:
        call = self._client.admit(now)
        number = len(self.entries)
        self.entries.append((now, number, "sent" if call is not None else "rejected"))
        if call is not None:
            self._numbers[id(call)] = number
        return call

    def settle(self, call: Any, good: bool, now: float) -> None:
        self.entries.append((now, self._numbers[id(call)], good))
        self._client.settle(call, good, now)
