"""The scenarios: how long they last, and what can be served when."""

from __future__ import annotations

import pytest

from asyncbreaker._lab import scenarios
from asyncbreaker._lab.dependency import Down
from asyncbreaker._lab.scenarios import Scenario

ALL = {
    "hard": (scenarios.hard_outage(10.0), 30.0, 150.0),
    "hanging": (scenarios.hanging_outage(10.0), 30.0, 150.0),
    "cold": (scenarios.cold_caches(10.0), 30.0, 150.0),
    "partial": (scenarios.partial_outage(10.0), 30.0, 150.0),
    "brown-out": (scenarios.brown_out(10.0), 30.0, 150.0),
    "flapping": (scenarios.flapping(3), 50.0, 51.0),
    "blip": (scenarios.blip(0.3), 20.3, 50.3),
    "overload": (scenarios.overload(), 100.0, 220.0),
    "storm": (scenarios.retry_storm(), 30.0, 128.0),
    "background": (scenarios.background(1000, 10.0, 0.01), 100.0, 100.0),
    "quick": (scenarios.quick_first_answers(10.0), 30.0, 150.0),
}


@pytest.mark.parametrize("name", ALL)
def test_how_long_it_lasts(name: str) -> None:
    scenario, ends, seconds = ALL[name]

    assert scenario.ends == pytest.approx(ends)
    assert scenario.seconds == pytest.approx(seconds)


def capacities(scenario: Scenario, *times: float) -> list[float]:
    return [scenario.capacity_at(at) for at in times]


def test_capacity() -> None:
    cold = scenarios.cold_caches(10.0)

    assert capacities(cold, 0.0, 19.9, 20.0, 29.9) == [1.0, 1.0, 0.0, 0.0]
    assert capacities(cold, 30.0, 60.0, 90.0, 149.0, 1000.0) == pytest.approx([0.1, 0.55, 1, 1, 1])


def test_phases_in_order() -> None:
    flapping = scenarios.flapping(2, up=3.0, down=2.0)

    assert [phase.down for phase in flapping.phases] == [
        None,
        *(Down.REFUSES, None) * 2,
        None,
    ]
    assert flapping.phase_at(23.0) == (flapping.trouble[1], 1.0)
