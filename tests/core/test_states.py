"""The table, entry by entry, and what only the circuit can get wrong about it."""

import pytest

from asyncbreaker._core.states import TRANSITIONS, Cause, State
from tests.core.hand import CLOSED, FAILURE, HALF_OPEN, OPEN, SUCCESS, Hand

FORCED_OPEN, DISABLED = State.FORCED_OPEN, State.DISABLED

EXPECTED = {
    (CLOSED, Cause.TRIPPED): OPEN,
    (CLOSED, Cause.RETRY_AFTER): OPEN,
    (CLOSED, Cause.FORCED): FORCED_OPEN,
    (CLOSED, Cause.DISABLED): DISABLED,
    (CLOSED, Cause.RESET): CLOSED,
    (OPEN, Cause.WAIT_OVER): HALF_OPEN,
    (OPEN, Cause.FORCED): FORCED_OPEN,
    (OPEN, Cause.DISABLED): DISABLED,
    (OPEN, Cause.RESET): CLOSED,
    (HALF_OPEN, Cause.RECOVERED): CLOSED,
    (HALF_OPEN, Cause.PROBE_FAILED): OPEN,
    (HALF_OPEN, Cause.RETRY_AFTER): OPEN,
    (HALF_OPEN, Cause.FORCED): FORCED_OPEN,
    (HALF_OPEN, Cause.DISABLED): DISABLED,
    (HALF_OPEN, Cause.RESET): CLOSED,
    (FORCED_OPEN, Cause.DISABLED): DISABLED,
    (FORCED_OPEN, Cause.RESET): CLOSED,
    (DISABLED, Cause.FORCED): FORCED_OPEN,
    (DISABLED, Cause.RESET): CLOSED,
}


def in_state(state: State) -> Hand:
    """Return a circuit that came into *state* at 10.0, where it needs to move at all."""
    hand = Hand()
    match state:
        case State.OPEN:
            hand.trip(10.0)
        case State.HALF_OPEN:
            hand.trip(0.0)
            hand.admit(10.0)
        case State.FORCED_OPEN:
            hand.command(Cause.FORCED, 10.0)
        case State.DISABLED:
            hand.command(Cause.DISABLED, 10.0)
        case State.CLOSED:
            pass
    return hand


def bring_about(cause: Cause, hand: Hand) -> None:
    """Let happen at 20.0 what *cause* stands for, by the ways in that a breaker has."""
    if cause in (Cause.FORCED, Cause.DISABLED, Cause.RESET):
        hand.command(cause, 20.0)
        return
    if cause is Cause.WAIT_OVER:
        hand.admit(20.0)
        return
    outcome = SUCCESS if cause is Cause.RECOVERED else FAILURE
    pause = 5.0 if cause is Cause.RETRY_AFTER else None
    if hand.circuit.trial is None:
        hand.settle(hand.admit(20.0), outcome, 20.0, pause)
    else:
        hand.settle(hand.running[-1], outcome, 20.0, pause)


def test_the_table_holds_these_transitions_and_no_others() -> None:
    """
    What is not in the table does not exist.
    """
    assert EXPECTED == {
        (state, cause): new for state, row in TRANSITIONS.items() for cause, new in row.items()
    }


def test_every_state_has_a_row() -> None:
    """
    A state without a row would be a dead end, even for an operator.
    """
    assert list(State) == list(TRANSITIONS)


@pytest.mark.parametrize("state", State)
def test_an_operator_can_close_every_state(state: State) -> None:
    """
    A reset leads out of every state.
    """
    assert CLOSED is TRANSITIONS[state][Cause.RESET]


@pytest.mark.parametrize(("state", "cause"), EXPECTED)
def test_every_transition_happens(state: State, cause: Cause) -> None:
    """
    Each entry of the table is reached by what its cause stands for.
    """
    hand = in_state(state)
    bring_about(cause, hand)

    assert EXPECTED[state, cause] is hand.state


@pytest.mark.parametrize(("state", "cause"), EXPECTED)
def test_every_transition_is_told_once_unless_nothing_is_different(
    state: State, cause: Cause
) -> None:
    """
    A move tells the old state, the new one, its cause and its time; a reset of CLOSED nothing.
    """
    hand = in_state(state)
    hand.told.clear()
    bring_about(cause, hand)

    new = EXPECTED[state, cause]
    expected = [] if new is state else [(state, new, cause, 20.0)]
    assert expected == [(move.old, move.new, move.cause, move.at) for move in hand.told]


@pytest.mark.parametrize(("state", "cause"), EXPECTED)
def test_every_transition_begins_an_era(state: State, cause: Cause) -> None:
    """
    After each move what was admitted before is stale.
    """
    hand = in_state(state)
    before = hand.circuit.era
    bring_about(cause, hand)

    assert before is not hand.circuit.era


@pytest.mark.parametrize(
    ("state", "cause"),
    [(FORCED_OPEN, Cause.FORCED), (DISABLED, Cause.DISABLED)],
)
def test_a_repeated_order_changes_only_the_reason(state: State, cause: Cause) -> None:
    """
    An operator who repeats an order tells nothing and starts nothing anew.
    """
    hand = in_state(state)
    era, told = hand.circuit.era, list(hand.told)
    hand.command(cause, 20.0, "still broken")

    assert (era, told, "still broken") == (hand.circuit.era, hand.told, hand.circuit.reason)
