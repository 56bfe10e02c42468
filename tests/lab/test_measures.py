"""The figures of a record, on records made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asyncbreaker._lab import measures
from asyncbreaker._lab.dependency import Down, Phase
from asyncbreaker._lab.engine import Record
from asyncbreaker._lab.scenarios import Scenario

# 2 s well, 4 s down, then 4 s with half of the capacity, which is 20 a second.
SCENARIO = Scenario((Phase(4.0, Down.REFUSES),), (Phase(4.0, capacity=0.5),), before=2.0, bin=1.0)


def record(clients: int = 1, **bins: list[float]) -> Record:
    made = Record(SCENARIO, clients, load=16.0, capacity=20.0)
    for name, values in bins.items():
        for second, value in enumerate(values):
            getattr(made, name)[second] = value
    return made


def test_detection_is_the_mean_of_first_openings_in_the_trouble() -> None:
    made = record(3)
    made.openings = [[1.0, 3.0, 4.0], [2.5], [7.5]]

    assert measures.detection(made) == 0.75
    assert measures.detected(made) == 2 / 3
    assert measures.detection(record()) is None


def test_what_a_call_of_the_trouble_opens_is_detected_late() -> None:
    """
    A call that was sent in the trouble may take the callers' timeout to fail.
    """
    made = record()
    made.openings = [[7.0]]

    assert measures.detection(made) == 5.0


def test_what_is_sent_before_and_after_it_opened() -> None:
    made = record(2, sent=[9, 9, 5, 3, 1, 1, 9, 9, 9, 9])
    made.wasted = 6
    made.openings = [[3.0], [3.0]]

    assert measures.wasted(made) == 3.0
    assert measures.sent_per_minute(made) == (10 - 6) / 2 / 3.0 * 60


def test_without_an_opening_all_is_wasted_and_goes_on() -> None:
    made = record(sent=[0, 0, 5, 5, 5, 5])
    made.wasted = 20

    assert measures.wasted(made) == 20
    assert measures.sent_per_minute(made) == 300


def test_an_opening_at_the_very_end_leaves_no_time_for_a_rate() -> None:
    made = record(sent=[0, 0, 5, 5, 5, 5])
    made.wasted = 20
    made.openings = [[6.0]]

    assert measures.sent_per_minute(made) is None


def test_who_never_opened_has_no_part_in_the_rate_after_the_opening() -> None:
    """
    Of two clients one opens after a second; what it sends then, in 3 s, is the rate.
    """
    made = record(2, sent=[0, 0, 10, 7, 7, 7])
    made.wasted = 25
    made.openings = [[3.0], []]

    assert measures.sent_per_minute(made) == (31 - 25) / 3.0 * 60


def test_lost_is_held_against_load_or_capacity_whichever_is_less() -> None:
    """
    16 calls come in each second, 10 can be served: 4 + 0 + 2 + 10 that could be were not.
    """
    made = record(calls=[16] * 9 + [5], good=[16, 16, 0, 0, 0, 0, 6, 10, 8, 0])

    assert measures.lost(made) == (4 + 0 + 2 + 5) / 16


def test_what_is_served_in_the_next_moment_is_not_lost() -> None:
    """
    Where there is capacity for the load, a busy second is not cut to the capacity.
    """
    well = Scenario((Phase(4.0, Down.REFUSES),), (Phase(4.0),), before=2.0, bin=1.0)
    made = Record(well, 1, load=16.0, capacity=20.0)
    for second, (calls, good) in enumerate([(24, 20), (8, 12), (16, 16), (16, 8)]):
        made.calls[6 + second], made.good[6 + second] = calls, good

    assert measures.lost(made) == 8 / 16


def test_what_fails_when_all_is_well_is_not_lost() -> None:
    """
    Of three tries that each fail half of the time, an eighth of the calls has none left.
    """
    well = replace(SCENARIO, after=(Phase(2.0),), failing=0.5, tries=3)
    made = Record(well, 1, load=16.0, capacity=20.0)
    for second, good in enumerate([14, 6]):
        made.calls[6 + second], made.good[6 + second] = 16, good

    assert measures.lost(made) == 8 / 16


def test_peak_is_held_against_the_capacity_of_its_second() -> None:
    made = record(sent=[99, 99, 99, 0, 0, 0, 5, 25, 10, 10])

    assert measures.peak(made) == 2.5


def test_nothing_watched_afterwards() -> None:
    made = Record(Scenario((Phase(1.0),), ()), 1, 1.0, 1.0)

    assert measures.peak(made) == 0.0
    assert measures.lost(made) == 0.0


def test_relapses_and_setbacks() -> None:
    """
    What opens within the callers' timeout after the end is still the trouble's doing.
    """
    made = record(2)
    made.openings = [[1.0, 6.5, 7.5, 8.0], [9.0]]
    made.trips = [[1.0, 6.5], [9.0]]

    assert measures.relapses(made) == 0.5
    assert measures.setbacks(made) == 1.0
    assert measures.openings(made.trips, 0.0, 2.0) == 1


def test_shares() -> None:
    made = record(calls=[10, 10, 10], good=[10, 5, 0], sunk=[1.0, 1.0, 2.5, 0.5, 0, 0, 7])

    assert measures.goodput(made, 0, 2) == 0.75
    assert measures.goodput(made, 5, 6) == 0.0
    assert measures.sunk(made) == pytest.approx(3.0)
