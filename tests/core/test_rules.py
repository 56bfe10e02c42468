"""The judge: which window each rule sees, what combinations say, and what stays on a change."""

from __future__ import annotations

import pytest

from asyncbreaker._core.permits import Era
from asyncbreaker._core.rules import Combination, Judge, LeadLimits, lead_limits, leaves
from asyncbreaker._core.windows import Counts
from asyncbreaker.trip import (
    LastCalls,
    LastSeconds,
    TripRule,
    consecutive_failures,
    failure_count,
    failure_lead,
    failure_rate,
    slow_rate,
)
from tests.core.hand import judge

ERA = Era(0.0)


def yes(counts: Counts) -> bool:
    return True


def no(counts: Counts) -> bool:
    return False


def broken(counts: Counts) -> bool:
    raise ZeroDivisionError("rule")


def fill(judge: Judge, calls: int = 10, now: float = 0.0) -> None:
    for _ in range(calls):
        judge.count(False, True, False, now)


def seen(judge: Judge, now: float = 0.0) -> list[int]:
    """Return how many calls each part of the rule is shown."""
    return [counts.calls for counts in judge.look(ERA, now)]


def says_yes(rule: TripRule) -> bool:
    asked = judge(rule)
    return asked.says_yes(asked.look(ERA, 0.0))


def test_each_rule_sees_its_own_window() -> None:
    """
    In a combination every part is shown its window; a rule without one sees run and lead alone.
    """
    rule = (
        failure_rate(minimum=1, window=LastCalls(3))
        | (failure_count(5, window=LastCalls(5)) & consecutive_failures(9))
        | yes
        | failure_lead()
    )
    asked = judge(rule)
    fill(asked)

    assert [3, 5, 0, 10, 0] == seen(asked)


def test_a_plain_function_sees_the_last_30_seconds() -> None:
    """
    A function that names no window is shown the default one.
    """
    asked = judge(yes)
    fill(asked, now=0.0)

    assert [[10], [10], [0]] == [seen(asked, now) for now in (0.0, 29.0, 30.0)]


def test_a_function_may_name_its_window() -> None:
    """
    An attribute ``window`` is honoured on any callable, and ignored if it is none.
    """

    class Named:
        window = LastCalls(2)

        def __call__(self, counts: Counts) -> bool:
            return False

    class Odd(Named):
        window = "30 s"  # type: ignore[assignment]

    asked = judge(failure_lead() | Named() | Odd())
    fill(asked)

    assert [0, 2, 10] == seen(asked)


def test_equal_windows_are_kept_once() -> None:
    """
    Rules that ask for the same window share it, and only what is asked for is kept.
    """
    rule = failure_rate() | slow_rate() | failure_count(3, window=LastCalls(9))
    same, without = judge(rule), judge(failure_lead() | consecutive_failures())

    assert [LastSeconds(30), LastCalls(9)] == list(same.windows)
    assert [] == list(without.windows)


def test_run_and_lead_are_shown_to_every_rule() -> None:
    """
    Failures in a row and the lead are of the era, and bound to no window.
    """
    era = Era(0.0)
    era.run, era.lead, era.since = 3, 4, 2.0
    asked = judge(failure_rate(minimum=1, window=LastCalls(3)) | failure_lead())

    views = asked.look(era, 12.0)
    assert [(3, 4, 10.0)] * 2 == [(v.consecutive_failures, v.lead, v.lead_seconds) for v in views]


def test_the_counts_shown_outside_are_of_the_leftmost_window() -> None:
    """
    A snapshot shows the window of the first rule that has one.
    """
    rule = failure_lead() | failure_count(4, window=LastCalls(4)) | failure_rate()
    asked = judge(rule)
    fill(asked)

    assert 4 == asked.counts(ERA, 0.0).calls


def test_without_a_window_only_run_and_lead_are_shown_outside() -> None:
    """
    The default rule keeps no window, so calls are not counted.
    """
    era = Era(0.0)
    era.run, era.lead, era.since = 1, 2, 3.0
    asked = judge(failure_lead())
    fill(asked)

    expected = Counts(consecutive_failures=1, lead=2, lead_seconds=1.0)
    assert expected == asked.counts(era, 4.0)


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        (yes, True),
        (no, False),
        (failure_lead() | yes, True),
        (no | failure_lead(), False),
        (failure_lead() & yes, False),
        ((failure_lead() | yes) & yes, True),
        ((failure_lead() | yes) & no, False),
    ],
)
def test_combinations_answer_as_they_read(rule: TripRule, answer: bool) -> None:
    """
    ``|`` opens when one part says so, ``&`` when both do.
    """
    assert answer is says_yes(rule)


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        (broken, False),
        (failure_lead() | broken | yes, True),
        (broken | failure_lead() | no, False),
        ((failure_lead() | yes) & broken, False),
    ],
)
def test_a_rule_that_raises_means_no_for_itself(rule: TripRule, answer: bool) -> None:
    """
    The others of a combination are still asked, and the complaint names the one that raised.
    """
    complaints: list[tuple[object, Exception]] = []
    asked = judge(rule, complaints)

    assert answer is asked.says_yes(asked.look(ERA, 0.0))
    assert [broken] == [source for source, _ in complaints]
    assert "rule" == str(complaints[0][1])


def test_an_answer_that_has_no_truth_means_no() -> None:
    """
    What a rule returns is taken for true or false within the same safety.
    """

    class Odd:
        def __bool__(self) -> bool:
            raise ValueError("neither")

    complaints: list[tuple[object, Exception]] = []
    asked = judge(lambda counts: Odd(), complaints)  # type: ignore[arg-type, return-value]

    assert False is asked.says_yes(asked.look(ERA, 0.0))
    assert ["neither"] == [str(error) for _, error in complaints]


def test_truthy_answers_count() -> None:
    """
    A rule need not return a bool.
    """
    assert True is says_yes(lambda counts: 3)  # type: ignore[arg-type, return-value]


ONE, TWO = failure_lead() | yes, failure_lead() & yes


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (yes, yes),
        (ONE, yes),
        (yes | failure_lead(), yes),
        (yes | TWO, yes),  # a part of what said no is no reason
        (TWO | yes, yes),
        ((yes & ONE) | failure_lead(), yes & ONE),
        (yes & ONE, yes & ONE),
    ],
)
def test_the_reason_is_the_part_that_said_yes(rule: TripRule, reason: TripRule) -> None:
    """
    Of ``|`` the part that opened is named, of ``&`` the whole.
    """
    asked = judge(rule)
    asked.says_yes(asked.look(ERA, 0.0))

    assert reason == asked.reason


def test_leaves_are_the_single_rules_from_left_to_right() -> None:
    """
    However deep a combination is, its rules are found.
    """
    rule = (failure_lead() | yes) & (no | consecutive_failures(2))

    assert [failure_lead(), yes, no, consecutive_failures(2)] == list(leaves(rule))


@pytest.mark.parametrize(
    ("rule", "limits"),
    [
        (yes, LeadLimits(5, 1.0, 20, 600.0)),
        (consecutive_failures(2), LeadLimits()),
        (failure_lead(2, burst=3), LeadLimits(2, 1.0, 3, 600.0)),
        (yes | failure_lead(2) & failure_lead(3), LeadLimits(2)),
    ],
)
def test_the_limits_of_the_lead_are_of_the_leftmost_rule_that_has_any(
    rule: TripRule, limits: LeadLimits
) -> None:
    """
    Without a ``failure_lead`` the default's numbers hold.
    """
    assert limits == lead_limits(rule)


def test_a_combination_must_say_how_it_combines() -> None:
    """
    The bare class combines nothing.
    """
    with pytest.raises(NotImplementedError):
        Combination((yes,))(Counts())


def changed(old: TripRule, new: TripRule, *, after: float = 0.0) -> Judge:
    """Return a judge with ten failures in its windows, and then another rule."""
    asked = judge(old)
    fill(asked)
    asked.set_rule(new, after)
    return asked


@pytest.mark.parametrize(
    ("old", "new", "calls"),
    [
        (failure_rate(), failure_rate(0.9), [10]),
        (failure_rate(), failure_rate(window=LastSeconds(60)), [10]),
        (failure_rate(), failure_rate(window=LastSeconds(10, 20)), [10]),
        (failure_count(1, window=LastCalls(9)), failure_count(2, window=LastCalls(4)), [4]),
        (failure_count(1, window=LastCalls(9)), failure_count(2, window=LastCalls(99)), [9]),
        (failure_count(1, window=LastCalls(9)), failure_rate(), [0]),
        (failure_rate(), failure_count(1, window=LastCalls(9)), [0]),
        (failure_lead(), failure_rate(), [0]),
        (failure_rate(), yes, [10]),
        (failure_rate(), failure_lead(), [0]),
        (
            failure_count(1, window=LastCalls(9)),
            failure_count(1, window=LastCalls(4)) | failure_count(1, window=LastCalls(9)),
            [0, 9],
        ),
        (
            failure_count(1, window=LastCalls(9)) | failure_rate(),
            failure_rate(window=LastSeconds(20)) | failure_count(1, window=LastCalls(5)),
            [10, 5],
        ),
    ],
)
def test_a_new_rule_keeps_what_fits_of_the_windows(
    old: TripRule, new: TripRule, calls: list[int]
) -> None:
    """
    A window of the same size stays, one of the same kind is resized, any other starts empty.
    """
    assert calls == seen(changed(old, new))


def test_a_new_size_in_seconds_goes_by_date() -> None:
    """
    What the new window no longer covers is left out, and what stays expires at its own time.
    """
    shorter = failure_rate(window=LastSeconds(10))
    longer = failure_rate(window=LastSeconds(60))

    assert [0] == seen(changed(failure_rate(), shorter, after=15.0), 15.0)
    assert [[10], [0]] == [seen(changed(failure_rate(), longer), now) for now in (59.0, 60.0)]


def test_a_rule_that_is_gone_keeps_no_window() -> None:
    """
    Only the windows of the present rule are kept and counted in.
    """
    asked = changed(failure_rate() | failure_count(1, window=LastCalls(9)), failure_rate())
    fill(asked)

    assert ([LastSeconds(30)], [20]) == (list(asked.windows), seen(asked))


def test_clearing_empties_every_window() -> None:
    """
    Each era counts anew, under the same rule.
    """
    asked = judge(failure_rate() | failure_count(1, window=LastCalls(9)))
    fill(asked)
    asked.clear()

    assert [0, 0] == seen(asked)
    fill(asked, 2)
    assert [2, 2] == seen(asked)


def test_a_marked_call_is_amended_in_every_window() -> None:
    """
    Counted once when it was marked, it is judged later wherever it still counts.
    """
    asked = judge(failure_rate() | failure_count(1, window=LastCalls(9)))
    entries = asked.count(False, False, True, 0.0)
    asked.amend(entries, failure=True, now=1.0)

    assert [(1, 0, 1, 1)] * 2 == [view[:4] for view in asked.look(ERA, 1.0)]
