"""The circuit: admission, judgement, eras, slow calls, openings and orders."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbreaker._core.permits import Permit
from asyncbreaker._core.states import Cause, Outcome, Reason, State
from asyncbreaker._core.windows import Counts
from asyncbreaker.backoff import hasten
from asyncbreaker.recovery import probing, slow_start
from asyncbreaker.trip import (
    LastCalls,
    TripRule,
    consecutive_failures,
    failure_count,
    failure_lead,
    failure_rate,
    slow_rate,
)
from tests.core.hand import CLOSED, FAILURE, HALF_OPEN, IGNORED, OPEN, SUCCESS, Hand

FORCED_OPEN, DISABLED = State.FORCED_OPEN, State.DISABLED


def never(counts: Counts) -> bool:
    return False


def counted(hand: Hand, now: float) -> tuple[int, int, int, int]:
    """Return calls, successes, failures and slow ones."""
    return hand.circuit.counts(now)[:4]


def totals(hand: Hand) -> dict[str, int]:
    circuit = hand.circuit
    return {
        "succeeded": circuit.succeeded,
        "failed": circuit.failed,
        "ignored": circuit.ignored,
        "slow": circuit.slow_calls,
        "stale": circuit.stale,
        "rejected": circuit.rejected,
        "opened": circuit.opened,
        "reopened": circuit.reopened,
    }


# Judgement in CLOSED.


def test_a_new_circuit_is_closed_and_has_counted_nothing() -> None:
    """
    It begins well: closed, attempt 1, no trouble, every total 0.
    """
    hand = Hand()

    assert (CLOSED, 1, None, "") == (
        hand.state,
        hand.circuit.attempt,
        hand.circuit.trouble,
        hand.circuit.reason,
    )
    assert {0} == set(totals(hand).values())


def test_every_outcome_is_counted_where_it_belongs() -> None:
    """
    Successes and failures stand in the window; what taught nothing only in its total.
    """
    hand = Hand(never)
    for outcome in (SUCCESS, SUCCESS, SUCCESS, FAILURE, FAILURE, IGNORED):
        hand.call(outcome, 0.0)

    assert (5, 3, 2, 0) == counted(hand, 0.0)
    assert (3, 2, 1) == (hand.circuit.succeeded, hand.circuit.failed, hand.circuit.ignored)


@pytest.mark.parametrize(
    ("outcomes", "run", "lead"),
    [
        ([FAILURE] * 3, 3, 3),
        ([FAILURE, FAILURE, SUCCESS], 0, 1),
        ([FAILURE, IGNORED, FAILURE], 2, 2),
        ([SUCCESS, SUCCESS, FAILURE], 1, 1),
        ([FAILURE, SUCCESS, SUCCESS, SUCCESS], 0, 0),
    ],
)
@pytest.mark.parametrize("short", [False, True])
def test_run_and_lead_follow_the_outcomes(
    outcomes: list[Outcome], run: int, lead: int, short: bool
) -> None:
    """
    A success ends the run and takes 1 from the lead, by either way of settling it.
    """
    hand = Hand(never)
    for outcome in outcomes:
        if short and outcome is SUCCESS:
            hand.succeed(hand.admit(0.0), 0.0)
        else:
            hand.call(outcome, 0.0)

    counts = hand.circuit.counts(0.0)
    assert (run, lead) == (counts.consecutive_failures, counts.lead)


def test_an_era_is_a_permit_for_calls_that_need_no_record() -> None:
    """
    Calls that share their era as a permit are judged like any other.
    """
    hand = Hand(never)
    era = hand.circuit.era
    hand.settle(era, FAILURE, 0.0)
    hand.settle(era, FAILURE, 0.0)
    hand.succeed(era, 0.0)

    assert (3, 1, 2, 0) == counted(hand, 0.0)
    assert (0, 1) == hand.circuit.counts(0.0)[4:6]


@pytest.mark.parametrize(
    ("rule", "first"),
    [
        (failure_rate(0.5, minimum=4, window=LastCalls(4)), [FAILURE] * 3),
        (failure_rate(0.1, minimum=10), [FAILURE] * 9),
        (failure_lead(sustain=1.0), [FAILURE] * 9),
    ],
)
def test_a_success_that_completes_a_minimum_does_not_open(
    rule: TripRule, first: list[Outcome]
) -> None:
    """
    Only a bad call opens; the next one does.
    """
    hand = Hand(rule)
    for outcome in first:
        hand.call(outcome, 0.0)
    for _ in range(2):
        hand.call(SUCCESS, 2.0)
        hand.succeed(hand.admit(2.0), 2.0)
    assert CLOSED is hand.state


def test_an_ignored_call_does_not_ask_the_rule() -> None:
    """
    Nothing learned is no reason to ask.
    """
    asked: list[Counts] = []
    hand = Hand(lambda counts: bool(asked.append(counts)))
    for outcome in (SUCCESS, IGNORED, FAILURE):
        hand.call(outcome, 0.0)

    assert [Counts(2, 1, 1, 0, 1, 1)] == asked


def test_a_rule_that_raises_opens_nothing() -> None:
    """
    The circuit stays as it is, and the complaint is handed on.
    """

    def broken(counts: Counts) -> bool:
        raise ZeroDivisionError

    hand = Hand(broken | failure_lead(2, sustain=0))
    hand.call(FAILURE, 0.0)
    assert (CLOSED, 1) == (hand.state, len(hand.complaints))

    hand.call(FAILURE, 0.0)
    assert OPEN is hand.state


# Eras.

CAUSES = ["tripped", "forced", "disabled", "reset"]


def moved_on(cause: str) -> tuple[Hand, Permit, list[object]]:
    """Return a circuit that left the era of the permit, and what must not change."""
    hand = Hand(consecutive_failures(2), slow=100.0)
    permit = hand.admit(0.0)
    match cause:
        case "tripped":
            hand.trip(1.0)
        case "forced":
            hand.command(Cause.FORCED, 1.0)
        case "disabled":
            hand.command(Cause.DISABLED, 1.0)
        case "reset":
            hand.command(Cause.RESET, 1.0)
    return hand, permit, shape(hand)


def shape(hand: Hand) -> list[object]:
    circuit = hand.circuit
    return [
        hand.state,
        circuit.era,
        circuit.attempt,
        circuit.counts(5.0),
        circuit.ready_at(5.0),
        circuit.retry_after(5.0),
        circuit.trouble,
        {**totals(hand), "stale": 0},
        list(hand.told),
    ]


STALE: dict[str, Callable[[Hand, Permit], None]] = {
    "success": lambda hand, permit: hand.settle(permit, SUCCESS, 5.0),
    "short success": lambda hand, permit: hand.succeed(permit, 5.0),
    "failure": lambda hand, permit: hand.settle(permit, FAILURE, 5.0),
    "slow": lambda hand, permit: hand.settle(permit, SUCCESS, 500.0),
    "ignored": lambda hand, permit: hand.settle(permit, IGNORED, 5.0),
    "pause": lambda hand, permit: hand.settle(permit, FAILURE, 5.0, pause=99.0),
}


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("kind", STALE)
def test_a_stale_result_changes_nothing_but_its_count(cause: str, kind: str) -> None:
    """
    What a call of a dead era reports moves no state, no count, no timer and no attempt.
    """
    hand, permit, before = moved_on(cause)
    STALE[kind](hand, permit)

    assert (before, 1) == (shape(hand), hand.circuit.stale)


@pytest.mark.parametrize("cause", CAUSES)
def test_a_stale_call_that_becomes_slow_is_not_marked(cause: str) -> None:
    """
    What runs on from a dead era is not counted as slow either.
    """
    hand, permit, before = moved_on(cause)
    overdue = hand.circuit.running.overdue(500.0)
    assert permit is overdue
    hand.commit(permit.era, hand.circuit.mark(permit, 500.0), 500.0)

    assert (before, 0) == (shape(hand), hand.circuit.stale)


def test_a_probe_of_an_earlier_half_open_says_nothing_about_the_present_one() -> None:
    """
    A probe that outlives its round neither closes the next one nor frees a place in it.
    """
    hand = Hand(backoff=10.0, recovery=probing(2))
    hand.trip(0.0)
    late, bad = hand.admit(10.0), hand.admit(10.0)
    hand.settle(bad, FAILURE, 10.5)
    hand.admit(21.0)
    hand.admit(21.0)
    hand.settle(late, SUCCESS, 22.0)

    assert (HALF_OPEN, 1, None) == (hand.state, hand.circuit.stale, hand.arrive(22.0))


def test_a_dead_era_takes_the_long_way() -> None:
    """
    A late success on the short path is noticed by the lead that a dead era keeps.
    """
    hand = Hand()
    era = hand.circuit.era
    assert 0 == era.lead
    hand.command(Cause.RESET, 0.0)

    assert 1 == era.lead
    hand.succeed(era, 1.0)
    assert 1 == hand.circuit.stale


def test_a_move_for_a_dead_era_does_not_happen() -> None:
    """
    Of two that would move the same era only the first does.
    """
    hand = Hand()
    era = hand.circuit.era
    hand.circuit.move(era, Cause.TRIPPED, 0.0)
    hand.circuit.move(era, Cause.TRIPPED, 0.0)

    assert 1 == hand.circuit.opened == len(hand.circuit.moves)


def test_a_backoff_that_answers_too_late_sets_no_timer() -> None:
    """
    An answer for an era that is over is dropped.
    """
    hand = Hand()
    hand.circuit.move(hand.circuit.era, Cause.TRIPPED, 0.0)
    asking = hand.circuit.asking
    assert asking is not None
    hand.command(Cause.RESET, 1.0)
    hand.trip(2.0)
    hand.circuit.give_wait(asking, 1000.0)

    assert 12.0 == hand.circuit.ready_at(2.0)


def test_until_the_backoff_has_answered_the_default_holds() -> None:
    """
    The state moves first: a backoff that never answers leaves a circuit that opens again.
    """
    hand = Hand()
    hand.circuit.move(hand.circuit.era, Cause.TRIPPED, 100.0)

    assert (OPEN, 100.5) == (hand.state, hand.circuit.ready_at(100.0))


# Slow calls.


def slow_hand(rule: TripRule = never, limit: float = 1.0) -> Hand:
    return Hand(rule, slow=limit)


def test_a_slow_call_is_counted_while_it_runs() -> None:
    """
    The next arrival marks it, and it stands in the window without being judged.
    """
    hand = slow_hand()
    hand.admit(0.0)
    hand.admit(1.0)

    assert (1, 0, 0, 1) == counted(hand, 1.0)
    assert (0, 1) == hand.circuit.counts(1.0)[4:6]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [(SUCCESS, (1, 1, 0, 1)), (FAILURE, (1, 0, 1, 1)), (IGNORED, (1, 0, 0, 1))],
)
@pytest.mark.parametrize("marked", [False, True])
def test_a_slow_call_is_counted_once(
    outcome: Outcome, expected: tuple[int, ...], marked: bool
) -> None:
    """
    Marked and amended, or noticed at its end: the entry and the lead are the same.
    """
    hand = slow_hand()
    permit = hand.admit(0.0)
    if marked:
        hand.settle(hand.admit(1.0), IGNORED, 1.0)
    hand.settle(permit, outcome, 2.0)

    assert expected == counted(hand, 2.0)
    assert (1, 1) == (hand.circuit.counts(2.0).lead, hand.circuit.slow_calls)


@pytest.mark.parametrize("marked", [False, True])
def test_a_slow_success_ends_the_run_of_failures(marked: bool) -> None:
    """
    The dependency has answered, late.
    """
    hand = slow_hand()
    permit = hand.admit(0.0)
    for _ in range(3):
        hand.call(FAILURE, 0.5)
    if marked:
        hand.settle(hand.admit(1.0), IGNORED, 1.0)
        assert 3 == hand.circuit.counts(1.0).consecutive_failures  # a mark alone does not
    hand.settle(permit, SUCCESS, 2.0)

    assert 0 == hand.circuit.counts(2.0).consecutive_failures


def test_a_marked_call_that_fails_late_does_not_prolong_a_run_for_ever() -> None:
    """
    A run of one failure, without a lead, is ended by the next success on the short path.
    """
    hand = slow_hand(failure_lead() | consecutive_failures(2))
    for start in (0.0, 10.0):
        permit = hand.admit(start)
        hand.succeed(hand.admit(start + 1.0), start + 1.0)
        hand.settle(permit, FAILURE, start + 2.0)
        hand.succeed(hand.admit(start + 2.0), start + 2.0)

    assert (CLOSED, 0) == (hand.state, hand.circuit.counts(12.0).consecutive_failures)


def test_a_cancelled_slow_call_is_a_bad_one() -> None:
    """
    So a timeout around the call is noticed, though a cancelled call by itself proves nothing.
    """
    hand = slow_hand(failure_lead(2, sustain=0.0))
    for _ in range(2):
        hand.call(IGNORED, 0.0, 1.0)

    assert (OPEN, 2, 2) == (hand.state, hand.circuit.ignored, hand.circuit.slow_calls)


def test_marks_open_without_any_call_having_ended() -> None:
    """
    A dependency that hangs is noticed by those who come after.
    """
    hand = slow_hand(slow_rate(1.0, minimum=3, window=LastCalls(9)))
    for second in range(3):
        hand.admit(second / 4)
    assert None is hand.arrive(1.5)

    assert (OPEN, 3, 0) == (hand.state, hand.circuit.slow_calls, hand.circuit.failed)


def test_a_marked_call_that_fails_asks_the_rule() -> None:
    """
    Its end moves no lead, yet a failure in the window may open.
    """
    hand = slow_hand(failure_count(1, window=LastCalls(9)))
    permit = hand.admit(0.0)
    hand.admit(1.0)
    assert CLOSED is hand.state
    hand.settle(permit, FAILURE, 2.0)

    assert OPEN is hand.state


@pytest.mark.parametrize("outcome", [SUCCESS, IGNORED])
def test_a_marked_call_that_does_not_fail_does_not_ask_the_rule(outcome: Outcome) -> None:
    """
    Only a bad call opens.
    """
    asked: list[Counts] = []
    hand = slow_hand(lambda counts: bool(asked.append(counts)))
    permit = hand.admit(0.0)
    hand.admit(1.0)
    hand.settle(permit, outcome, 2.0)

    assert 1 == len(asked)


def test_the_end_of_a_marked_call_that_left_the_window_is_not_counted() -> None:
    """
    A window counts what is in it.
    """
    hand = slow_hand(failure_rate(1.0, minimum=2, window=LastCalls(2)))
    permit = hand.admit(0.0)
    hand.admit(1.0)
    for _ in range(2):
        hand.call(SUCCESS, 1.0)
    hand.settle(permit, FAILURE, 1.5)

    assert (2, 2, 0, 0) == counted(hand, 1.5)


def test_a_new_limit_holds_for_calls_that_come_later() -> None:
    """
    A call is held to the limit under which it was admitted, in either direction.
    """
    hand = slow_hand(limit=1.0)
    old = hand.admit(0.0)
    hand.circuit.running.set_limit(10.0)
    new = hand.admit(0.0)
    hand.settle(new, SUCCESS, 5.0)
    hand.settle(old, SUCCESS, 5.0)

    assert (2, 2, 0, 1) == counted(hand, 5.0)


def test_a_stream_is_as_slow_as_its_first_item() -> None:
    """
    Marked at its late first item, or never.
    """
    hand = slow_hand()
    fast, late = hand.admit(0.0), hand.admit(0.0)
    hand.answer(fast, 0.5)
    hand.answer(late, 1.0)
    hand.settle(fast, SUCCESS, 9.0)
    hand.settle(late, FAILURE, 9.0)

    assert (2, 1, 1, 1) == counted(hand, 9.0)


def test_a_marked_stream_is_not_marked_again_by_its_first_item() -> None:
    """
    One call, one entry.
    """
    hand = slow_hand()
    stream = hand.admit(0.0)
    hand.admit(1.0)
    hand.answer(stream, 2.0)

    assert (1, 0, 0, 1) == counted(hand, 2.0)


def test_a_call_that_ended_is_not_marked() -> None:
    """
    Whoever took it out of the line before its end comes too late.
    """
    hand = slow_hand()
    permit = hand.admit(0.0)
    assert permit is hand.circuit.running.overdue(1.0)
    hand.settle(permit, SUCCESS, 1.0)
    assert None is hand.circuit.mark(permit, 1.0)

    assert (1, 1, 0, 1) == counted(hand, 1.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["arrive", "success", "failure", "ignored"]),
            st.sampled_from([0.0, 0.25, 1.0, 4.0]),
            st.integers(0, 99),
        ),
        max_size=80,
    )
)
def test_calls_are_successes_failures_and_what_is_not_judged(
    script: list[tuple[str, float, int]],
) -> None:
    """
    Through any mix of ends and marks the counts are those of a ledger of single calls.
    """
    hand, now = slow_hand(failure_count(10**6, window=LastCalls(10**6))), 0.0
    ledger: dict[Permit, set[str]] = {}
    lead = 0
    for what, step, pick in script:
        now += step
        if what == "arrive" or not hand.running:
            for permit in hand.running:
                if now - permit.started >= 1.0 and permit not in ledger:
                    ledger[permit] = {"slow"}
                    lead += 1
            hand.admit(now)
        else:
            permit = hand.running[pick % len(hand.running)]
            slow, marked = now - permit.started >= 1.0, permit in ledger
            known = {"slow"} if slow else set()
            if what != "ignored":
                known.add(what)
            if known:
                ledger[permit] = known
            if not marked and known:
                lead = lead + 1 if known != {"success"} else max(0, lead - 1)
            hand.settle(permit, Outcome(what), now)

        counts = hand.circuit.counts(now)
        entries = ledger.values()
        assert (
            len(entries),
            sum("success" in e for e in entries),
            sum("failure" in e for e in entries),
            sum("slow" in e for e in entries),
            lead,
        ) == (counts.calls, counts.successes, counts.failures, counts.slow, counts.lead)
        unjudged = sum(e == {"slow"} for e in entries)
        assert counts.calls == counts.successes + counts.failures + unjudged


# Opening, and what is told of it.


def test_an_opening_keeps_the_counts_that_led_to_it() -> None:
    """
    While open, the counts at the opening are shown, and told with the move.
    """
    hand = Hand(failure_count(2, window=LastCalls(9)))
    for outcome in (SUCCESS, FAILURE, FAILURE):
        hand.call(outcome, 0.0)

    assert (3, 1, 2, 0) == counted(hand, 5.0) == hand.told[0].counts[:4]


def test_counts_start_anew_in_every_era() -> None:
    """
    What was counted before an opening, or before a reset, is forgotten.
    """
    hand = Hand(failure_count(2, window=LastCalls(9)))
    hand.trip(0.0)
    hand.call(SUCCESS, 10.0)
    assert (CLOSED, Counts()) == (hand.state, hand.circuit.counts(10.0))

    hand.call(FAILURE, 10.0)
    hand.command(Cause.RESET, 11.0)
    assert (CLOSED, Counts()) == (hand.state, hand.circuit.counts(11.0))


def test_failures_that_end_after_the_opening_do_not_prolong_it() -> None:
    """
    The end of the wait is fixed when the circuit opens.
    """
    hand = Hand(backoff=10.0)
    late = hand.admit(0.0)
    hand.trip(0.0)
    hand.settle(late, FAILURE, 9.0)
    hand.admit(10.0)

    assert HALF_OPEN is hand.state


@pytest.mark.parametrize(("pause", "end"), [(5.0, 10.0), (30.0, 30.0), (0.0, 10.0)])
def test_a_pause_opens_at_once_for_the_longer_of_two_times(pause: float, end: float) -> None:
    """
    The dependency asked to be left alone: for its pause or the backoff, whichever is longer.
    """
    hand = Hand(never, backoff=10.0)
    hand.settle(hand.admit(0.0), FAILURE, 0.0, pause)

    assert (OPEN, Cause.RETRY_AFTER) == (hand.state, hand.told[0].cause)
    assert (end, end) == (hand.circuit.ready_at(0.0), hand.circuit.retry_after(0.0))


def test_a_pause_holds_for_one_opening() -> None:
    """
    The next opening waits as the backoff says, and may end early again.
    """
    hand = Hand(backoff=hasten(10.0, rejections=1, at_least=0.0))
    hand.settle(hand.admit(0.0), FAILURE, 0.0, 30.0)
    hand.call(FAILURE, 30.0)
    assert 40.0 == hand.circuit.ready_at(30.0)
    assert None is hand.arrive(30.0)

    hand.admit(30.0)


@pytest.mark.parametrize(("recovery", "attempt"), [(probing(), 2), (slow_start(), 2)])
def test_a_pause_in_half_open_counts_as_any_bad_call_there(
    recovery: probing | slow_start, attempt: int
) -> None:
    """
    It opens again, with the attempt that a bad first answer would have.
    """
    hand = Hand(backoff=10.0, recovery=recovery)
    hand.trip(0.0)
    hand.settle(hand.admit(10.0), FAILURE, 10.0, 30.0)

    assert (OPEN, attempt, 40.0, 1) == (
        hand.state,
        hand.circuit.attempt,
        hand.circuit.ready_at(10.0),
        hand.circuit.reopened,
    )


def test_a_pause_after_a_good_answer_in_a_slow_start_is_attempt_1() -> None:
    """
    Whoever has answered once has been well.
    """
    hand = Hand(backoff=10.0, recovery=slow_start())
    hand.trip(0.0)
    hand.call(SUCCESS, 10.0)
    hand.settle(hand.admit(11.0), FAILURE, 11.0, 30.0)

    assert (OPEN, 1) == (hand.state, hand.circuit.attempt)


# Rejections.


def test_a_rejection_says_why() -> None:
    """
    Open, no place free, or held by hand; only the first knows how long.
    """
    hand = Hand(backoff=10.0)
    hand.trip(0.0)
    assert (Reason.OPEN, 8.0) == hand.circuit.why(2.0)
    hand.admit(10.0)
    assert (Reason.HALF_OPEN, None) == hand.circuit.why(10.0)
    hand.command(Cause.FORCED, 11.0)

    assert (Reason.FORCED, None) == hand.circuit.why(11.0)


@pytest.mark.parametrize(("now", "refused"), [(9.0, True), (10.0, False), (99.0, False)])
def test_a_call_during_the_wait_is_refused_at_once(now: float, refused: bool) -> None:
    """
    Before the end of the wait no more is asked, and the rejection is counted.
    """
    hand = Hand(backoff=10.0)
    hand.trip(0.0)

    assert (refused, int(refused)) == (hand.circuit.refuses(now), hand.circuit.rejected)


def test_only_an_open_circuit_refuses_at_once() -> None:
    """
    Whatever else may reject a call, it is not the wait.
    """
    hand = Hand()
    assert False is hand.circuit.refuses(0.0)
    hand.command(Cause.FORCED, 0.0)

    assert False is hand.circuit.refuses(0.0)


def test_what_is_turned_away_is_counted() -> None:
    """
    Every call that is not admitted is one rejection.
    """
    hand = Hand(backoff=10.0)
    hand.trip(0.0)
    for now in (1.0, 2.0, 10.0, 10.0, 10.0):
        hand.arrive(now)

    assert 4 == hand.circuit.rejected


def test_totals_go_on_over_all_eras() -> None:
    """
    They count since the creation, successes of past eras included.
    """
    hand = Hand(backoff=10.0, recovery=probing(successes=2))
    hand.call(SUCCESS, 0.0)
    hand.trip(0.0)
    hand.call(FAILURE, 10.0)
    hand.call(SUCCESS, 20.0)
    hand.call(SUCCESS, 20.0)
    hand.call(SUCCESS, 21.0)
    hand.call(IGNORED, 21.0)

    expected = {"succeeded": 4, "failed": 2, "ignored": 1, "slow": 0, "stale": 0}
    assert {**expected, "rejected": 0, "opened": 1, "reopened": 1} == totals(hand)


# Orders.


def test_forced_open_rejects_for_ever() -> None:
    """
    No time ends an operator's order.
    """
    hand = Hand()
    hand.command(Cause.FORCED, 0.0, "maintenance")

    assert (None, None, None) == (
        hand.arrive(1e9),
        hand.circuit.ready_at(1e9),
        hand.circuit.retry_after(1e9),
    )
    assert (FORCED_OPEN, "maintenance") == (hand.state, hand.circuit.reason)


def test_disabled_admits_and_records_nothing() -> None:
    """
    Whatever its calls do, no count, total or state moves.
    """
    hand = Hand()
    hand.command(Cause.DISABLED, 0.0, "trial")
    before = totals(hand)
    for outcome in Outcome:
        permit = hand.arrive(1.0)
        assert permit is hand.circuit.void
        hand.settle(permit, outcome, 2.0)
        hand.succeed(permit, 2.0)
        hand.settle(permit, outcome, 2.0, pause=9.0)

    assert (before, DISABLED, Counts(), 5.0) == (
        totals(hand),
        hand.state,
        hand.circuit.counts(2.0),
        hand.circuit.ready_at(5.0),
    )


@pytest.mark.parametrize("cause", [Cause.FORCED, Cause.DISABLED, Cause.RESET])
def test_after_an_order_attempts_start_anew(cause: Cause) -> None:
    """
    An order ends the row of openings.
    """
    hand = Hand(backoff=10.0, recovery=probing())
    hand.trip(0.0)
    hand.call(FAILURE, 10.0)
    assert 2 == hand.circuit.attempt
    hand.command(cause, 11.0)
    hand.command(Cause.RESET, 11.0)
    hand.trip(11.0)

    assert 1 == hand.circuit.attempt


def test_a_reset_while_closed_starts_an_era_and_tells_nothing() -> None:
    """
    Counts are gone, calls in flight are stale, and no transition has happened.
    """
    hand = Hand(never)
    permit = hand.admit(0.0)
    hand.call(FAILURE, 0.0)
    hand.command(Cause.RESET, 1.0, "fresh start")
    hand.settle(permit, FAILURE, 2.0)

    assert ([], 1, Counts(), "fresh start") == (
        hand.told,
        hand.circuit.stale,
        hand.circuit.counts(2.0),
        hand.circuit.reason,
    )


def test_an_open_timer_goes_on_as_it_was() -> None:
    """
    A new recovery holds from the next half-open, and the wait is not drawn again.
    """
    hand = Hand(backoff=10.0, recovery=probing())
    hand.trip(0.0)
    hand.circuit.recovery = probing(2)
    hand.backoff = lambda attempt: 99.0
    hand.admit(10.0)
    hand.admit(10.0)

    assert [1] == hand.attempts
