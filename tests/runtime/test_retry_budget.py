"""RetryBudget: how many retries it allows, whoever asks."""

from __future__ import annotations

import copy
import math
import pickle
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbreaker import Retry, RetryBudget
from asyncbreaker.testing import ManualClock

WINDOW = 10.0
BUCKET = WINDOW / 10

# Seconds in quarters and ratios in quarters: sums are exact.
steps = st.lists(
    st.tuples(st.sampled_from([*[0.0, 0.25, 0.5, 1.0] * 4, 3.0, 11.0]), st.booleans()),
    max_size=120,
)
ratios = st.sampled_from([0.0, 0.25, 0.5, 1.0])
floors = st.sampled_from([0.0, 0.1, 0.5, 2.0])


def spend(budget: RetryBudget, most: int, now: float = 100.0) -> int:
    """Take all that is left, at most so many."""
    return sum(budget.withdraw(now) for _ in range(most))


def within(dates: Sequence[float], now: float, seconds: float) -> int:
    """Count those of the last *seconds*."""
    return sum(now - seconds < date <= now for date in dates)


def play(
    budget: RetryBudget, moves: Sequence[tuple[float, bool]]
) -> list[tuple[float, bool, bool]]:
    """Make calls and ask for retries; return when, and what was asked and answered."""
    now = 100.0
    played: list[tuple[float, bool, bool]] = []
    for pause, asks in moves:
        now += pause
        if not asks:
            budget.deposit(now)
        played.append((now, asks, asks and budget.withdraw(now)))
    return played


@given(moves=steps, ratio=ratios, floor=floors)
def test_a_retry_is_allowed_by_what_the_window_holds(
    moves: list[tuple[float, bool]], ratio: float, floor: float
) -> None:
    """
    Exactly when floor and ratio leave one, of the calls in the ten last buckets and the retries.
    """
    calls: list[float] = []
    retries: list[float] = []
    budget = RetryBudget(ratio, floor=floor, window=WINDOW)
    for now, asks, allowed in play(budget, moves):
        oldest = (math.floor(now / BUCKET) - 9) * BUCKET
        made, paid = sum(date >= oldest for date in calls), within(retries, now, WINDOW)
        if asks:
            assert allowed is (floor * WINDOW + ratio * made - paid >= 1)
        (calls if not asks else retries if allowed else []).append(now)


@given(moves=steps, ratio=ratios, floor=floors)
def test_a_refused_retry_is_refused_by_the_window_too(
    moves: list[tuple[float, bool]], ratio: float, floor: float
) -> None:
    """
    Never fewer than the calls of the window less one bucket give, less the retries of all of it.
    """
    calls: list[float] = []
    retries: list[float] = []
    for now, asks, allowed in play(RetryBudget(ratio, floor=floor, window=WINDOW), moves):
        least = floor * WINDOW + ratio * within(calls, now, WINDOW - BUCKET)
        if asks and least - within(retries, now, WINDOW) >= 1:
            assert allowed
        (calls if not asks else retries if allowed else []).append(now)


@given(moves=steps, ratio=ratios, floor=floors)
def test_in_the_window_there_are_never_more(
    moves: list[tuple[float, bool]], ratio: float, floor: float
) -> None:
    """
    Retries of any window never exceed what the floor and the calls of that window give.
    """
    calls: list[float] = []
    retries: list[float] = []
    for now, asks, allowed in play(RetryBudget(ratio, floor=floor, window=WINDOW), moves):
        (calls if not asks else retries if allowed else []).append(now)
        if asks and allowed:
            most = floor * WINDOW + ratio * within(calls, now, WINDOW)
            assert within(retries, now, WINDOW) <= most


def test_in_no_window_there_are_more_than_it_says() -> None:
    """
    In any ten seconds, also in those that begin at the end of a bucket.
    """
    budget = RetryBudget(0.0, floor=10.0, window=10.0)
    spent = spend(budget, 200, 100.95) + spend(budget, 200, 110.0)

    assert 100 == spent


@pytest.mark.parametrize(
    ("ratio", "floor", "window", "calls", "allowed"),
    [
        (0.1, 10.0, 10.0, 0, 100),
        (0.1, 10.0, 10.0, 1000, 200),
        (0.25, 0.0, 10.0, 3, 0),
        (0.25, 0.0, 10.0, 4, 1),
        (0.0, 0.0, 10.0, 100, 0),
        (0.0, 0.5, 10.0, 100, 5),
        (1.0, 0.0, 10.0, 100, 100),
        (0.5, 0.1, 5.0, 1, 1),
        (0.5, 1.0, 60.0, 10, 65),
        (1, 1, 1, 1, 2),
    ],
)
def test_floor_and_ratio_add_up(
    ratio: float, floor: float, window: float, calls: int, allowed: int
) -> None:
    """
    ``floor * window + ratio * calls``, rounded down.
    """
    budget = RetryBudget(ratio, floor=floor, window=window)
    for _ in range(calls):
        budget.deposit(100.0)

    assert floor * window + ratio * calls == budget.balance(100.0)
    assert allowed == spend(budget, 500)
    assert 0 <= budget.balance(100.0) < 1


def test_a_tenth_of_the_calls_is_a_tenth_to_the_last() -> None:
    """
    Fractions are kept, not lost: the tenth call of each ten gives one, for any number of them.
    """
    budget, allowed = RetryBudget(0.1, floor=0.0), []
    for _ in range(100):
        budget.deposit(100.0)
        allowed.append(budget.withdraw(100.0))

    assert ([False] * 9 + [True]) * 10 == allowed


@pytest.mark.parametrize(("made", "left"), [(100.0, 110.0), (100.99, 110.0), (101.0, 111.0)])
def test_calls_are_forgotten_by_tenths_of_the_window(made: float, left: float) -> None:
    """
    A call counts until its tenth has left, and no longer.
    """
    budget = RetryBudget(1.0, floor=0.0, window=10.0)
    budget.deposit(made)

    assert 1.0 == budget.balance(math.nextafter(left, 0.0))
    assert 0.0 == budget.balance(left)


def test_retries_count_on_when_the_calls_that_paid_for_them_are_forgotten() -> None:
    """
    Until they have left the window themselves: no window has more than its calls and floor.
    """
    budget = RetryBudget(1.0, floor=0.1, window=10.0)
    for _ in range(4):
        budget.deposit(100.0)
    assert 5 == spend(budget, 10, 109.0)
    assert (0, 0) == (spend(budget, 5, 110.0), spend(budget, 5, 118.9))
    assert 1 == spend(budget, 5, 119.0)


def test_there_are_never_fewer_than_none_left() -> None:
    """
    The balance is how many retries are left, and no debt.
    """
    budget = RetryBudget(1.0, floor=0.0, window=10.0)
    budget.deposit(100.0)
    assert budget.withdraw(109.0)
    assert 0.0 == budget.balance(110.0)


def test_it_can_neither_be_copied_nor_pickled() -> None:
    """
    A copy would allow everything twice.
    """
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot pickle or copy <RetryBudget"):
            copied(RetryBudget())


def test_a_refused_retry_costs_nothing() -> None:
    """
    Asking in vain, however often, puts nobody into debt.
    """
    budget = RetryBudget(1.0, floor=0.0)
    assert 0 == spend(budget, 50)
    budget.deposit(100.0)
    assert 1 == spend(budget, 50)


def test_what_is_spent_comes_back_after_the_window() -> None:
    """
    And calls are forgotten with it.
    """
    budget = RetryBudget(1.0, floor=0.1, window=10.0)
    budget.deposit(100.0)
    assert 2 == spend(budget, 5, 100.0)
    assert 0 == spend(budget, 5, 109.9)
    assert 1 == spend(budget, 5, 110.0)


def test_the_balance_takes_nothing() -> None:
    """
    It may be read at any time.
    """
    budget = RetryBudget(floor=1.0)
    assert [10.0] * 3 == [budget.balance(100.0) for _ in range(3)]
    assert 10 == spend(budget, 20)


def test_a_clock_that_runs_backwards_breaks_nothing() -> None:
    """
    What is earlier counts as now.
    """
    budget = RetryBudget(0.0, floor=0.2)
    assert 1 == spend(budget, 1, 100.0)
    assert 1 == spend(budget, 5, 50.0)
    assert 0 == spend(budget, 5, 100.0)


def test_a_clock_of_its_own_is_asked(clock: ManualClock) -> None:
    """
    Then the caller's date plays no part.
    """
    budget = RetryBudget(0.0, floor=0.1, clock=clock)
    assert 1 == spend(budget, 5, 0.0)
    assert (0, 0.0) == (spend(budget, 5, 9999.0), budget.balance(9999.0))
    clock.advance(10.0)
    assert (1.0, 1) == (budget.balance(0.0), spend(budget, 5, 0.0))
    clock.advance(10.0)
    budget.deposit(0.0)
    assert 1 == spend(budget, 5, 0.0)


def test_calls_are_dated_by_its_own_clock(clock: ManualClock) -> None:
    """
    A caller with another clock does not make them last.
    """
    budget = RetryBudget(1.0, floor=0.0, clock=clock)
    budget.deposit(1e6)
    assert (1.0, 1.0) == (budget.balance(0.0), budget.balance(1e6))
    clock.advance(11.0)
    assert 0.0 == budget.balance(1e6)


@pytest.mark.anyio
async def test_a_retry_brings_its_clock_unless_the_budget_has_one(clock: ManualClock) -> None:
    """
    By default both go by the same time.
    """
    other = ManualClock(5.0)
    by_caller, by_itself = RetryBudget(1.0, floor=0.0), RetryBudget(1.0, floor=0.0, clock=other)

    async def good() -> None: ...

    for budget in (by_caller, by_itself):
        await Retry(budget=budget, clock=clock).call(good)
    clock.advance(1000.0)

    assert (0.0, 1.0) == (by_caller.balance(clock()), by_itself.balance(clock()))


@pytest.mark.anyio
@pytest.mark.parametrize("attempts", [2, 3, 10])
@pytest.mark.parametrize(("ratio", "floor"), [(0.1, 0.0), (0.1, 1.0), (0.5, 0.0), (0.0, 0.0)])
async def test_an_outage_gets_no_storm(
    attempts: int, ratio: float, floor: float, clock: ManualClock
) -> None:
    """
    A dependency that fails each of a hundred calls a second gets a share more, not a multiple.
    """
    tries, seconds = 0, 20
    budget = RetryBudget(ratio, floor=floor)
    retries = [Retry(attempts, backoff=0.0, budget=budget, clock=clock) for _ in range(2)]

    async def down() -> None:
        nonlocal tries
        tries += 1
        raise ConnectionError

    calls = 100 * seconds
    for call in range(calls):
        with pytest.raises(ConnectionError):
            await retries[call % 2].call(down)
        clock.advance(0.01)

    # The floor of the window that began before, too, and the bucket that leaves early.
    most = calls * (1 + ratio) + floor * (seconds + 10)
    assert calls * (1 + ratio) * 0.99 <= tries <= most * 1.01


@pytest.mark.anyio
@pytest.mark.parametrize(("ratio", "floor"), [(0.1, 0.0), (0.1, 1.0), (0.0, 2.0), (0.5, 0.0)])
async def test_in_an_outage_no_window_has_more(
    ratio: float, floor: float, clock: ManualClock
) -> None:
    """
    Whenever a window of ten seconds ends, its retries are within floor and ratio.
    """
    retry = Retry(
        10, backoff=0.0, budget=RetryBudget(ratio, floor=floor, window=WINDOW), clock=clock
    )
    calls: list[float] = []
    tries: list[float] = []

    async def down() -> None:
        tries.append(clock())
        raise ConnectionError

    for _ in range(100 * 25):
        calls.append(clock())
        with pytest.raises(ConnectionError):
            await retry.call(down)
        clock.advance(1 / 128)

    for end in range(100, 121):
        made = within(calls, end, WINDOW)
        assert within(tries, end, WINDOW) - made <= floor * WINDOW + ratio * made


def test_threads_take_no_more_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Two that ask at once do not both get the last one.
    """
    budget = RetryBudget(0.0, floor=0.1)
    taken: list[bool] = []
    both = threading.Barrier(2)
    left = RetryBudget._left

    def left_for_both(budget: RetryBudget, now: float) -> float:
        seen = left(budget, now)
        with suppress(threading.BrokenBarrierError):  # the other one is kept out
            both.wait(timeout=0.02)
        return seen

    monkeypatch.setattr(RetryBudget, "_left", left_for_both)
    threads = [threading.Thread(target=lambda: taken.append(budget.withdraw(1.0))) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [False, True] == sorted(taken)


def test_it_shows_its_rule() -> None:
    """
    What it allows, in the representation.
    """
    assert "<RetryBudget ratio=0.1, always 100 per window>" == repr(RetryBudget())


async def async_clock() -> float:
    return 0.0


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        *[("ratio", value, ValueError) for value in (-0.1, 1.1, 2, math.nan, math.inf)],
        *[("ratio", value, TypeError) for value in (True, "0.1", None, float)],
        *[("floor", value, ValueError) for value in (-1.0, math.nan, math.inf)],
        *[("floor", value, TypeError) for value in (True, "1", None, float)],
        *[("window", value, ValueError) for value in (0, 0.0, -1.0, math.nan, math.inf)],
        *[("window", value, TypeError) for value in (False, "1", None, float)],
        *[("clock", value, TypeError) for value in (7.0, "now", async_clock)],
    ],
)
def test_a_wrong_value_is_refused(name: str, value: Any, error: type[Exception]) -> None:
    """
    At construction, by an error that names parameter and value.
    """
    with pytest.raises(error) as caught:
        RetryBudget(**{name: value})

    assert str(caught.value).startswith(f"{name} must ")
    assert repr(value) in str(caught.value)


def test_no_fraction_of_a_retry_is_lost() -> None:
    """
    A hundred calls at a ratio of 0.29 give 29, although their sum is a little less.
    """
    budget = RetryBudget(0.29, floor=0.0)
    for _ in range(100):
        budget.deposit(100.0)

    assert 29 == spend(budget, 50)


@pytest.mark.parametrize("window", [5e-324, 1e-320, 9e-6])
def test_a_window_that_no_clock_can_tell_is_refused(window: float) -> None:
    """
    At construction, not at the first call.
    """
    with pytest.raises(ValueError, match=f"^window must be at least 10 microseconds, not {window}"):
        RetryBudget(window=window)
