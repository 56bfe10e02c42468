"""Trip rules: when each says yes, and the default one against a reference by its definition."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbreaker._core.rules import LeadLimits
from asyncbreaker.trip import (
    AllOf,
    AnyOf,
    Counts,
    LastCalls,
    LastSeconds,
    Rule,
    TripRule,
    blind_to_slow,
    consecutive_failures,
    failure_count,
    failure_lead,
    failure_rate,
    slow_rate,
)
from tests.core.hand import CLOSED, FAILURE, IGNORED, OPEN, SUCCESS, Hand


def plain(counts: Counts) -> bool:
    """Open on the third failure, as a user might write it."""
    return counts.failures >= 3


@pytest.mark.parametrize(
    ("rule", "no", "yes"),
    [
        (failure_lead(), Counts(lead=4, lead_seconds=9.0), Counts(lead=5, lead_seconds=1.0)),
        (failure_lead(), Counts(lead=19, lead_seconds=0.99), Counts(lead=20)),
        (failure_lead(2, sustain=0.0), Counts(lead=1, lead_seconds=9.0), Counts(lead=2)),
        (consecutive_failures(), Counts(consecutive_failures=4), Counts(consecutive_failures=5)),
        (
            failure_rate(0.5, minimum=4),
            Counts(calls=4, failures=1),
            Counts(calls=4, failures=2),
        ),
        (failure_rate(0.5, minimum=4), Counts(calls=3, failures=3), Counts(calls=5, failures=5)),
        (failure_count(3, window=LastCalls(9)), Counts(failures=2), Counts(failures=3)),
        (slow_rate(0.5, minimum=4), Counts(calls=4, slow=1), Counts(calls=4, slow=2)),
        (slow_rate(0.5, minimum=4), Counts(calls=3, slow=3), Counts(calls=5, slow=5)),
    ],
)
def test_a_rule_says_yes_from_its_limit_on(rule: TripRule, no: Counts, yes: Counts) -> None:
    """
    Limits are inclusive: just below them a rule says no, at them yes.
    """
    assert (False, True) == (rule(no), rule(yes))


@pytest.mark.parametrize(("seconds", "buckets"), [(5e-324, 10), (1e-310, 1), (9e-6, 10)])
def test_a_window_too_short_to_be_dated_is_refused(seconds: float, buckets: int) -> None:
    """
    No date falls into a bucket without width: the first call would have failed of it.
    """
    with pytest.raises(ValueError, match="seconds must be at least a microsecond"):
        LastSeconds(seconds, buckets)


def test_the_defaults_are_the_documented_ones() -> None:
    """
    What the documentation promises of a rule without parameters holds.
    """
    assert failure_lead(5, sustain=1.0, burst=20, forget=600.0) == failure_lead()
    assert consecutive_failures(5) == consecutive_failures()
    assert failure_rate(0.5, minimum=20, window=LastSeconds(30, 10)) == failure_rate()
    assert slow_rate(0.5, minimum=20, window=LastSeconds(30, 10)) == slow_rate()


def test_limits_are_the_numbers_of_the_rule() -> None:
    """
    A recovery holds on to the numbers of the user's own lead.
    """
    rule = failure_lead(3, sustain=2.0, burst=9, forget=60.0)

    assert LeadLimits(3, 2.0, 9, 60.0) == rule.limits


@pytest.mark.parametrize(
    ("rule", "blind"),
    [
        (failure_lead(), False),
        (slow_rate(), False),
        (plain, False),
        (consecutive_failures(), True),
        (failure_rate(), True),
        (failure_count(3, window=LastCalls(9)), True),
        (consecutive_failures() | failure_rate(), True),
        (consecutive_failures() & (failure_rate() | slow_rate()), False),
        (consecutive_failures() | plain, False),
    ],
)
def test_a_rule_tells_whether_it_sees_slow_calls(rule: TripRule, blind: bool) -> None:
    """
    A combination sees slow calls when one of its parts does; a plain function may.
    """
    assert blind is blind_to_slow(rule)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (
            consecutive_failures(2) | failure_count(3, window=LastCalls(9)),
            "consecutive_failures(count=2) | failure_count(count=3, window=LastCalls(size=9))",
        ),
        (
            consecutive_failures(1) & consecutive_failures(2) | consecutive_failures(3),
            (
                "(consecutive_failures(count=1) & consecutive_failures(count=2))"
                " | consecutive_failures(count=3)"
            ),
        ),
        (
            consecutive_failures(1) & (consecutive_failures(2) | consecutive_failures(3)),
            (
                "consecutive_failures(count=1)"
                " & (consecutive_failures(count=2) | consecutive_failures(count=3))"
            ),
        ),
    ],
)
def test_a_combination_reads_as_it_was_written(rule: TripRule, text: str) -> None:
    """
    The log and the errors show rules as users write them.
    """
    assert text == repr(rule)


@pytest.mark.parametrize(
    ("rule", "kind", "parts"),
    [
        (failure_lead() | plain, AnyOf, (failure_lead(), plain)),
        (plain | failure_lead(), AnyOf, (plain, failure_lead())),
        (failure_lead() & plain, AllOf, (failure_lead(), plain)),
        (plain & failure_lead(), AllOf, (plain, failure_lead())),
        (failure_lead() | failure_rate(), AnyOf, (failure_lead(), failure_rate())),
    ],
)
def test_plain_functions_combine_on_either_side(
    rule: AnyOf | AllOf, kind: type, parts: tuple[TripRule, ...]
) -> None:
    """
    ``|`` and ``&`` keep the order, whichever side our rule is on.
    """
    assert (kind, parts) == (type(rule), rule.parts)


@pytest.mark.parametrize("failures", range(5))
@pytest.mark.parametrize("run", range(4))
def test_a_combination_can_be_asked_about_one_view(failures: int, run: int) -> None:
    """
    Called like any rule, ``|`` means any part and ``&`` all of them.
    """
    counts = Counts(failures=failures, consecutive_failures=run)
    either, both = plain | consecutive_failures(2), plain & consecutive_failures(2)

    assert (failures >= 3 or run >= 2) is either(counts)
    assert (failures >= 3 and run >= 2) is both(counts)


def test_a_rule_of_ones_own_must_say_when() -> None:
    """
    The bare base class judges nothing.
    """
    with pytest.raises(NotImplementedError):
        Rule()(Counts())


def test_rules_can_be_shared_and_compared() -> None:
    """
    Equal parameters make equal rules.
    """
    assert 1 == len({failure_lead() | consecutive_failures(3) for _ in range(2)})


# The default rule, against all of the past.

GOOD, BAD, SLOW_SUCCESS, SLOW_CANCELLED, CANCELLED = range(5)
STEPS = [0.0, 0.0, 0.125, 0.125, 0.5, 1.0, 3.0, 599.875, 600.0, 700.0]  # exact in floats

Happened = list[tuple[float, bool]]  # when, and whether it was bad


def lead_and_since(happened: Happened, forget: float) -> tuple[int, float]:
    """Return the lead as the height above the lowest point of all sums, and when it began."""
    bad = [at for at, is_bad in happened if is_bad]
    starts = [b for a, b in pairwise(bad) if b - a >= forget]
    first = 0
    if starts:  # the bad call after the last long pause, and what came since
        first = max(
            i
            for i, (at, is_bad) in enumerate(happened)
            if is_bad and at == starts[-1] and not any(b and a == at for a, b in happened[:i])
        )
    sums, dates = [0], [0.0]
    for at, is_bad in happened[first:]:
        sums.append(sums[-1] + (1 if is_bad else -1))
        dates.append(at)
    lowest = min(sums)
    last_low = max(i for i, height in enumerate(sums) if height == min(sums[: i + 1]))
    lead = sums[-1] - lowest
    return lead, dates[last_low + 1] if lead else 0.0


def opens_at(happened: Happened, rule: failure_lead) -> bool:
    """Tell whether the last thing that happened opens."""
    now, is_bad = happened[-1]
    if not is_bad:
        return False
    lead, since = lead_and_since(happened, rule.forget)
    return lead >= rule.lead and (now - since >= rule.sustain or lead >= rule.burst)


@st.composite
def rules(draw: st.DrawFn) -> failure_lead:
    lead = draw(st.integers(1, 6))
    return failure_lead(
        lead,
        sustain=draw(st.sampled_from([0.0, 0.125, 1.0, 4.0])),
        burst=lead + draw(st.integers(0, 8)),
        forget=draw(st.sampled_from([0.5, 3.0, 600.0])),
    )


@given(
    rules(),
    st.lists(
        st.tuples(
            st.sampled_from([GOOD, GOOD, BAD, BAD, BAD, SLOW_SUCCESS, SLOW_CANCELLED, CANCELLED]),
            st.sampled_from(STEPS),
        ),
        min_size=10,
        max_size=80,
    ),
)
def test_the_lead_is_what_its_definition_says(
    rule: failure_lead, script: list[tuple[int, float]]
) -> None:
    """
    Lead, its age and the decision to open are those computed anew from all of the past.
    """
    hand, now = Hand(rule, slow=0.25), 0.0
    happened: Happened = []
    for kind, step in script:
        now += step
        permit = hand.admit(now)
        if kind in (SLOW_SUCCESS, SLOW_CANCELLED):
            now += 0.25
        outcome = (SUCCESS, FAILURE, SUCCESS, IGNORED, IGNORED)[kind]
        hand.settle(permit, outcome, now)
        if kind != CANCELLED:
            happened.append((now, kind != GOOD))
        if happened and kind != CANCELLED and opens_at(happened, rule):
            assert OPEN is hand.state
            return

        assert CLOSED is hand.state
        lead, since = lead_and_since(happened, rule.forget)
        counts = hand.circuit.counts(now)
        assert (lead, now - since if lead else 0.0) == (counts.lead, counts.lead_seconds)


@pytest.mark.parametrize(
    ("rule", "seconds", "calls"),
    [(failure_lead(), 1.0, 5), (failure_lead(), 0.01, 20), (failure_lead(), 0.1, 11)],
)
def test_a_dead_service_opens_it_after_five_to_twenty_calls(
    rule: failure_lead, seconds: float, calls: int
) -> None:
    """
    At one failure a second the fifth opens, at a hundred the twentieth, between as time says.
    """
    hand, made = Hand(rule), 0
    while hand.state is CLOSED:
        hand.call(FAILURE, made * seconds)
        made += 1

    assert calls == made


def test_failures_at_one_instant_open_only_as_a_burst() -> None:
    """
    A glitch without duration needs the burst, here the twentieth.
    """
    hand = Hand(failure_lead())
    for _ in range(19):
        hand.call(FAILURE, 5.0)

    assert CLOSED is hand.state
    hand.call(FAILURE, 5.0)
    assert OPEN is hand.state


@pytest.mark.parametrize(("pause", "lead"), [(599.0, 5), (600.0, 1)])
def test_an_old_lead_is_forgotten(pause: float, lead: int) -> None:
    """
    A bad call that comes 600 s or more after the last one starts anew, at 1.
    """
    hand = Hand(failure_lead(9))
    for second in range(4):
        hand.call(FAILURE, float(second))
    hand.call(FAILURE, 3.0 + pause)

    assert lead == hand.circuit.counts(3.0 + pause).lead


@pytest.mark.parametrize(
    "make", [lambda: failure_lead(sustain=1.0), lambda: failure_lead() | consecutive_failures(9)]
)
def test_a_success_never_opens(make: Callable[[], TripRule]) -> None:
    """
    Although the lead is long and old enough, the success after it is no reason to open.
    """
    hand = Hand(make())
    for _ in range(6):
        hand.call(FAILURE, 0.0)
    hand.call(SUCCESS, 5.0)

    assert CLOSED is hand.state
    assert 5 == hand.circuit.counts(5.0).lead
