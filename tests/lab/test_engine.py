"""The engine: every call comes, is sent or not, and ends, and is counted where it came."""

from __future__ import annotations

from typing import Any

import pytest

from asyncbreaker import consecutive_failures, probing
from asyncbreaker._lab import measures, scenarios
from asyncbreaker._lab.clients import Clock, Unguarded
from asyncbreaker._lab.configurations import Setup
from asyncbreaker._lab.dependency import Down, Phase
from asyncbreaker._lab.engine import Record, Simulation
from asyncbreaker._lab.scenarios import Scenario
from tests.lab.support import simulate

CLASSIC = Setup(consecutive_failures(5), 60, probing())


def within(record: Record, name: str, begin: float, end: float) -> float:
    return measures.total(record, getattr(record, name), begin, end)


def test_arrivals_are_poisson() -> None:
    """
    As many calls as the rate says; in a tenth of a second as spread as chance makes them.
    """
    bins = simulate(Scenario((Phase(400.0),), (), before=0.0), None).calls[:4000]
    mean = sum(bins) / len(bins)
    variance = sum((calls - mean) ** 2 for calls in bins) / len(bins)
    assert mean == pytest.approx(10.0, rel=0.02)
    assert variance / mean == pytest.approx(1.0, abs=0.1)


def test_the_same_calls_come_to_every_breaker() -> None:
    scenario = scenarios.hard_outage(20.0)
    assert simulate(scenario, None).calls == simulate(scenario, CLASSIC).calls
    assert simulate(scenario, None, seed=2).calls != simulate(scenario, None).calls


def test_every_call_is_answered_failed_or_rejected() -> None:
    record = simulate(scenarios.hard_outage(20.0), CLASSIC)

    assert sum(record.good) + sum(record.failed) == sum(record.sent)
    assert sum(record.sent) < sum(record.calls)


def test_an_outage() -> None:
    """
    Before and after it all is answered, in it nothing; what was in flight when it began
    ends well.
    """
    record = simulate(scenarios.hard_outage(20.0), None)

    assert within(record, "good", 0, 20) == within(record, "calls", 0, 20)
    assert within(record, "good", 20, 40) == 0
    assert within(record, "failed", 20, 40) == within(record, "calls", 20, 40)
    assert within(record, "good", 40, 60) == within(record, "calls", 40, 60)
    assert within(record, "sunk", 20, 40) == pytest.approx(0.005 * within(record, "failed", 20, 40))


def test_load() -> None:
    record = simulate(scenarios.overload(), None)

    assert within(record, "calls", 20, 100) == pytest.approx(80 * 150, rel=0.03)
    assert record.capacity == 125.0
    assert within(record, "good", 60, 100) == 0  # every answer comes too late


@pytest.mark.parametrize("tries", [1, 3, 10])
def test_the_last_tries_find_room_in_the_record(tries: int) -> None:
    """
    Every call of the last moment is tried to its end, however long the waits have become.
    """
    scenario = Scenario((Phase(1.0, Down.HANGS),), (), before=0.0, tries=tries)
    record = simulate(scenario, None, rate=200.0)

    assert sum(record.sent) == tries * sum(record.calls)


def test_waits_between_tries_double() -> None:
    """
    0.1 s on average before the second try and 0.2 s before the third, each as the client
    sees it from the end of the try before.
    """
    waits = {1: [], 2: [], 3: []}

    class Watcher(Unguarded):
        def __init__(self) -> None:
            super().__init__()
            self.made, self.ended = 0, 0.0

        def admit(self, now: float) -> Any:
            if self.made:
                waits[self.made].append(now - self.ended)
            self.made = (self.made + 1) % 4
            return self

        def settle(self, call: Any, good: bool, now: float) -> None:
            self.ended = now

    scenario = Scenario((Phase(1000.0, Down.REFUSES),), (), before=0.0, tries=4)
    # One call in ten seconds: the next comes when all four tries are made.
    clients = [Watcher() for _ in range(100)]
    Simulation(scenario, clients, rate=0.02, clock=Clock(), seed=1).run()

    means = {made: sum(all_) / len(all_) for made, all_ in waits.items()}
    assert means == pytest.approx({1: 0.1, 2: 0.2, 3: 0.4}, rel=0.15)


def test_a_failed_try_sinks_its_own_time() -> None:
    """
    The waits between tries are not spent on the dependency.
    """
    scenario = Scenario((Phase(20.0, Down.REFUSES),), (Phase(20.0),), tries=3)
    record = simulate(scenario, None, rate=10.0)

    assert sum(record.sunk) == pytest.approx(0.005 * sum(record.failed))


def test_tries() -> None:
    """
    A call is tried three times.
    """
    scenario = Scenario((Phase(20.0, Down.REFUSES),), (Phase(20.0),), tries=3)
    record = simulate(scenario, None, rate=10.0)

    assert within(record, "sent", 20, 38) == pytest.approx(
        3 * within(record, "calls", 20, 38), rel=0.05
    )
    # The last calls of the outage are answered in the end, at the second try or third.
    assert 0 < within(record, "good", 39, 40) < within(record, "calls", 39, 40)


def test_a_rejection_is_not_tried_again() -> None:
    """
    What the breaker turns away does not come back a moment later.
    """
    scenario = Scenario((Phase(20.0, Down.REFUSES),), (Phase(20.0),), tries=3)
    record = simulate(scenario, CLASSIC, rate=10.0)

    assert within(record, "sent", 20, 40) == 5
    assert record.wasted == 5


def test_tries_that_go_on_after_the_end() -> None:
    scenario = Scenario((Phase(1.0, Down.HANGS),), (), before=0.0, tries=3)
    record = simulate(scenario, None, rate=50.0)

    assert sum(record.sent) == 3 * sum(record.calls)
    assert sum(record.good) == 0


def test_a_small_dependency_serves_ten_a_second_all_the_same() -> None:
    assert 10.0 == simulate(scenarios.hard_outage(1.0), None, rate=0.1).capacity


def test_progress() -> None:
    told: list[float] = []
    clock = Clock()
    scenario = scenarios.hard_outage(20.0)
    Simulation(scenario, [Unguarded()], rate=1.0, clock=clock, seed=1).run(told.append)

    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) >= 100


def test_many_clients_share_the_dependency_and_the_calls() -> None:
    record = simulate(scenarios.hard_outage(60.0), CLASSIC, clients=20, rate=5.0)

    assert len(record.openings) == 20
    assert all(record.openings)
    assert record.load == 100.0
    assert measures.wasted(record) == pytest.approx(5, abs=1)
