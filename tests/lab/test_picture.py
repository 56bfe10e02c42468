"""The picture: strips over one time axis, to the character."""

from __future__ import annotations

import pytest

from asyncbreaker import Cause, Counts, State, StateChanged
from asyncbreaker._lab.dependency import Down, Phase
from asyncbreaker._lab.engine import Record
from asyncbreaker._lab.picture import LEVELS, PLAIN_LEVELS, picture
from asyncbreaker._lab.scenarios import Scenario

SCENARIO = Scenario((Phase(6.0, Down.REFUSES),), (Phase(10.0),), before=4.0)


def record(scenario: Scenario = SCENARIO, clients: int = 1) -> Record:
    """Ten calls a second; down from 4 s to 10 s; one call a second is let through from 5 s on."""
    made = Record(scenario, clients, 10.0, 20.0)
    for place in range(round(scenario.seconds * 10)):
        made.calls[place] = 1
        in_trouble, opened = 40 <= place < 100, 50 <= place < 105
        made.sent[place] = place % 10 == 0 if opened else 1
        made.failed[place] = made.sent[place] if in_trouble else 0
    return made


def move(old: State, new: State, at: float) -> StateChanged:
    return StateChanged("b", old, new, Cause.TRIPPED, "", Counts(), at)


MOVES = [
    move(State.CLOSED, State.OPEN, 5.0),
    move(State.OPEN, State.HALF_OPEN, 9.1),
    move(State.HALF_OPEN, State.OPEN, 9.2),
    move(State.OPEN, State.HALF_OPEN, 10.5),
    move(State.HALF_OPEN, State.CLOSED, 16.0),
]

EXPECTED = "\n".join(
    (
        "load     to 10/s    ████████████████████",
        "admitted to 10/s    █████▁▁▁▁▁▅█████████",
        "failed   to 10/s        █▁▁▁▁▁          ",
        "state               .....OOOOOOhhhhh....",
        "time                ----B-----E---------",
        "                    0               20 s",
        "B: the outage begins, at 4 s. E: it",
        "ends, at 10 s. A column is 1 s.",
        "Bars are calls per second: █ the figure",
        "on the left, ▁ very few, blank none.",
        "State: . closed, O open, h half-open.",
    )
)


def test_a_picture_of_one_client() -> None:
    """
    Everything stands above its time.
    """
    assert EXPECTED == picture(record(), [MOVES], width=40)


def test_a_picture_without_unicode() -> None:
    """
    The same in ASCII.
    """
    plain = EXPECTED.translate(str.maketrans(LEVELS, PLAIN_LEVELS))
    drawn = picture(record(), [MOVES], width=40, levels=PLAIN_LEVELS)

    assert plain == drawn
    assert drawn.isascii()


def test_most_clients_say_the_state() -> None:
    """
    Of several clients the strip shows the state that most were in.
    """
    drawn = picture(record(clients=3), [MOVES, [], []], width=40).splitlines()

    assert f"{'state':<20}{'.' * 20}" == drawn[3]
    assert "Bars are calls per second of all clients" in " ".join(drawn)
    assert drawn[-2].startswith("State of most clients: ")


@pytest.mark.parametrize("width", [40, 57, 80, 100])
def test_no_line_is_wider_than_asked(width: int) -> None:
    """
    The strips fill the width, and nothing passes it.
    """
    lines = picture(record(), [MOVES], width=width).splitlines()

    assert {width} == {len(line) for line in lines[:5]}
    assert max(map(len, lines)) <= width


def test_a_moment_of_trouble_is_marked() -> None:
    """
    An outage that begins and ends in one column has one mark.
    """
    scenario = Scenario((Phase(0.01, Down.REFUSES),), (Phase(10.0),), before=4.0)
    lines = picture(record(scenario), [[]], width=40).splitlines()

    assert f"{'time':<20}{'-' * 5}X{'-' * 14}" == lines[4]
    assert "X: the outage begins, at 4 s. X: it ends, at 4.01 s." in " ".join(lines)


def test_a_short_run_has_as_many_columns_as_bins() -> None:
    """
    No column is empty because nothing is known of it; nothing at all is said in words.
    """
    scenario = Scenario((Phase(0.5, Down.REFUSES),), (Phase(0.4),), before=0.0)
    made = Record(scenario, 1, 10.0, 20.0)
    lines = picture(made, [[]], width=80).splitlines()

    assert f"{'load':<9}none{' ' * 16}" == lines[0]
    assert f"{'time':<20}B----E---" == lines[4]
    assert f"{'':<20}0   0.9 s" == lines[5]


def test_moves_after_the_end_are_not_drawn() -> None:
    """
    The last calls end when nobody watches any more.
    """
    late = [move(State.CLOSED, State.OPEN, 20.5), move(State.OPEN, State.HALF_OPEN, 21.0)]

    assert f"{'state':<20}{'.' * 20}" == picture(record(), [late], width=40).splitlines()[3]
