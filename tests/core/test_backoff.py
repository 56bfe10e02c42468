"""Backoffs: formulas, chance, and the early end of a wait."""

import math
import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbreaker.backoff import (
    DEFAULT,
    NOMINAL,
    Backoff,
    Wait,
    _Wrapper,
    as_callable,
    as_wait,
    constant,
    equal_jitter,
    exponential,
    full_jitter,
    hasten,
    linear,
    spread,
)
from tests.core.hand import FAILURE, HALF_OPEN, OPEN, Hand

SECONDS = st.floats(0.0, 1e6)
ATTEMPTS = st.integers(1, 10**6)


def draws(*values: float) -> Callable[[], float]:
    """Return a source of chance that gives these."""
    return iter(values).__next__


def test_constant_is_the_same_at_every_attempt() -> None:
    """
    A constant backoff knows no attempts.
    """
    assert [2.5, 2.5, 2.5] == [constant(2.5)(n) for n in (1, 2, 10**6)]


def test_linear_grows_by_its_step_from_the_second_attempt() -> None:
    """
    The first attempt waits the initial time; each further one a step more, up to the maximum.
    """
    assert [1.0, 3.0, 5.0, 6.0, 6.0] == [linear(1.0, 2.0, 6.0)(n) for n in (1, 2, 3, 4, 10**6)]


def test_exponential_grows_by_its_factor_from_the_second_attempt() -> None:
    """
    The first attempt waits the initial time; each further one the factor more, to the maximum.
    """
    backoff = exponential(0.5, maximum=10.0)

    assert [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0] == [backoff(n) for n in range(1, 8)]


def test_exponential_of_nothing_stays_nothing() -> None:
    """
    No time, multiplied as often as may be, is no time (and not NaN).
    """
    assert [0.0, 0.0] == [exponential(0.0)(n) for n in (1, 10**6)]


@given(initial=SECONDS, step=SECONDS, maximum=SECONDS, attempt=ATTEMPTS)
def test_linear_is_its_formula(initial: float, step: float, maximum: float, attempt: int) -> None:
    """
    Whatever the numbers, linear is ``min(maximum, initial + step * (attempt - 1))``.
    """
    assert min(maximum, initial + step * (attempt - 1)) == linear(initial, step, maximum)(attempt)


@given(
    initial=st.floats(1e-3, 1e6),
    factor=st.floats(1.0, 1e3),
    maximum=st.floats(0.0, 1e6),
    attempt=ATTEMPTS,
)
def test_exponential_is_its_formula(
    initial: float, factor: float, maximum: float, attempt: int
) -> None:
    """
    Whatever the numbers, it is ``min(maximum, initial * factor ** (attempt - 1))``, by logarithms.
    """
    exponent = math.log(initial) + (attempt - 1) * math.log(factor)
    expected = min(maximum, math.exp(exponent) if exponent < 700 else math.inf)

    assert pytest.approx(expected, rel=1e-6) == exponential(initial, factor, maximum)(attempt)


@pytest.mark.parametrize(
    "backoff",
    [
        constant(1e308),
        linear(1e308, 1e308, 60.0),
        linear(10**308, 10**308, 60),
        exponential(1e308, 1e308, 60.0),
        exponential(1, 10, 60),
        exponential(0.5, maximum=60.0),
        equal_jitter(exponential(0.5)),
        DEFAULT,
    ],
)
@pytest.mark.parametrize("attempt", [1, 2, 1024, 1025, 10**6, 10**12])
def test_no_attempt_overflows(backoff: Backoff, attempt: int) -> None:
    """
    However often it opened in a row, the answer is a finite number, and quick.
    """
    assert True is math.isfinite(as_wait(backoff(attempt)).seconds)


@pytest.mark.parametrize(
    "backoff", [linear(1.0, 1e308, math.inf), exponential(1.0, 1e300, math.inf)]
)
def test_without_a_maximum_it_grows_beyond_all_numbers(backoff: Backoff) -> None:
    """
    Where no maximum holds, too large is infinite, and no exception.
    """
    assert math.inf == backoff(10**6)


@pytest.mark.parametrize("attempt", [0, -1])
@pytest.mark.parametrize("backoff", [linear(1.0, 1.0, 9.0), exponential(1.0)])
def test_attempts_count_from_1(backoff: Backoff, attempt: int) -> None:
    """
    An attempt of 0 is a slip of the caller, and said so.
    """
    with pytest.raises(ValueError, match=f"attempt counts from 1, not {attempt}"):
        backoff(attempt)


@pytest.mark.parametrize(
    ("wrapper", "lowest", "middle", "highest"),
    [
        (full_jitter, 0.0, 5.0, 10.0),
        (equal_jitter, 5.0, 7.5, 10.0),
        (spread, 5.0, 10.0, 15.0),
        (lambda b, random: spread(b, 0.2, random=random), 8.0, 10.0, 12.0),
        (lambda b, random: spread(b, 0, random=random), 10.0, 10.0, 10.0),
        (lambda b, random: spread(b, 1, random=random), 0.0, 10.0, 20.0),
    ],
)
def test_chance_moves_within_its_range(
    wrapper: Callable[..., Backoff], lowest: float, middle: float, highest: float
) -> None:
    """
    Draws of 0, 1/2 and (as good as) 1 give the ends and the middle of the documented range.
    """
    backoff = wrapper(constant(10.0), random=draws(0.0, 0.5, 1.0))

    assert pytest.approx([lowest, middle, highest]) == [backoff(1) for _ in range(3)]


@given(st.floats(0.0, 1.0, exclude_max=True), st.floats(0.0, 1.0), SECONDS, ATTEMPTS)
def test_no_draw_leaves_the_range(draw: float, share: float, seconds: float, attempt: int) -> None:
    """
    Every draw stays within U(0,1), U(1/2,1) and U(1-share,1+share) times the backoff.
    """
    slack = 1e-9 * seconds
    full = full_jitter(seconds, random=draws(draw))(attempt)
    equal = equal_jitter(seconds, random=draws(draw))(attempt)
    around = spread(seconds, share, random=draws(draw))(attempt)

    assert isinstance(full, float)
    assert isinstance(equal, float)
    assert isinstance(around, float)
    assert 0.0 <= full <= seconds
    assert seconds / 2 - slack <= equal <= seconds + slack
    assert seconds * (1 - share) - slack <= around <= seconds * (1 + share) + slack


@pytest.mark.parametrize(
    ("wrapper", "expected"),
    [
        (full_jitter, Wait(2.5, 50, 0.75)),
        (equal_jitter, Wait(6.25, 50, 0.875)),
        (spread, Wait(7.5, 50, 1.25)),
    ],
)
def test_both_times_of_a_wait_are_drawn_separately(
    wrapper: Callable[..., Backoff], expected: Wait
) -> None:
    """
    Chance moves the open time and the earliest end each by a draw of its own, not the count.
    """
    backoff = wrapper(hasten(10.0, rejections=50, at_least=1.0), random=draws(0.25, 0.75))

    assert expected == backoff(1)


@pytest.mark.parametrize("wrapper", [full_jitter, equal_jitter, spread])
def test_chance_is_drawn_by_default(wrapper: Callable[..., Backoff]) -> None:
    """
    Without a source of chance handed in, answers differ.
    """
    backoff = wrapper(10.0)

    assert 1 < len({backoff(1) for _ in range(10)})


def test_wrappers_take_any_function() -> None:
    """
    A plain function of the attempt is a backoff.
    """
    backoff = spread(lambda attempt: 2.0 * attempt, random=draws(0.5))

    assert 6.0 == backoff(3)


def test_a_wrapper_of_ones_own_must_draw() -> None:
    """
    The bare base class changes nothing.
    """
    with pytest.raises(NotImplementedError):
        _Wrapper(1.0)(1)


def test_hasten_lets_a_plain_backoff_end_early() -> None:
    """
    The open time stays; the count and the earliest end come with it.
    """
    assert Wait(4.0, 7, 2.0) == hasten(exponential(1.0), rejections=7, at_least=2.0)(3)


def test_the_outer_hasten_wins() -> None:
    """
    Of two early ends the outer one holds.
    """
    assert Wait(4.0, 7, 2.0) == hasten(hasten(4.0), rejections=7, at_least=2.0)(1)


def test_a_plain_number_is_constant_and_never_ends_early() -> None:
    """
    ``backoff=10`` means 10 seconds at every attempt, and no sooner.
    """
    assert [Wait(10), Wait(10)] == [as_wait(as_callable(10)(n)) for n in (1, 9)]


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -1.0, True, "1", None])
def test_nonsense_is_no_wait(nonsense: object) -> None:
    """
    What a backoff answers is checked like a parameter.
    """
    with pytest.raises((TypeError, ValueError), match="seconds"):
        as_wait(nonsense)  # type: ignore[arg-type]


@pytest.mark.parametrize("attempt", range(1, 9))
def test_the_default_is_the_nominal_one_times_a_half_to_three_halves(attempt: int) -> None:
    """
    By default it waits 0.5 s, 1, 2, 4, 8, 10 ..., spread by a half, and may end early.
    """
    waits = [as_wait(DEFAULT(attempt)) for _ in range(200)]
    nominal = min(10.0, 2.0 ** (attempt - 2))

    assert nominal == NOMINAL(attempt)
    assert {50} == {wait.rejections for wait in waits}
    assert all(nominal / 2 <= wait.seconds <= nominal * 1.5 for wait in waits)
    assert all(0.5 <= wait.at_least <= 1.5 for wait in waits)


def test_circuits_that_open_together_come_back_spread_out() -> None:
    """
    Of a hundred circuits opened at one instant no tenth of the range gets more than a quarter.
    """
    chance = random.Random(1954)
    backoff = spread(10.0, random=chance.random)
    ends: list[float] = []
    for _ in range(100):
        hand = Hand(backoff=backoff)
        hand.trip(1000.0)
        until = hand.circuit.ready_at(1000.0)
        assert until is not None
        ends.append(until - 1000.0)
    tenths = [sum(5.0 + i <= end < 6.0 + i for end in ends) for i in range(10)]

    assert 100 == sum(tenths) == len(set(ends))
    assert 25 > max(tenths)
    assert 0 < min(tenths)


# The early end, at a circuit.


def turned_away(hand: Hand, times: int, now: float) -> list[object]:
    return [permit for _ in range(times) if (permit := hand.arrive(now)) is not None]


def test_a_wait_ends_early_for_the_call_after_enough_rejections() -> None:
    """
    Fifty calls are turned away, the next one asks.
    """
    hand = Hand(backoff=hasten(10.0, rejections=50, at_least=1.0))
    hand.trip(0.0)

    assert [] == turned_away(hand, 50, 1.0)
    assert OPEN is hand.state
    hand.admit(1.0)
    assert HALF_OPEN is hand.state


def test_a_wait_does_not_end_before_its_least_time() -> None:
    """
    However many calls are turned away, it lasts at least so long, inclusive.
    """
    hand = Hand(backoff=hasten(10.0, rejections=50, at_least=1.0))
    hand.trip(0.0)

    assert [] == turned_away(hand, 500, math.nextafter(1.0, 0.0))
    hand.admit(1.0)


def test_a_wait_does_not_end_early_with_too_few_rejections() -> None:
    """
    An idle client asks as the backoff says.
    """
    hand = Hand(backoff=hasten(10.0, rejections=50, at_least=1.0))
    hand.trip(0.0)

    assert [] == turned_away(hand, 49, 2.0)
    assert [] == turned_away(hand, 1, 9.5)
    hand.admit(10.0)


def test_rejections_count_anew_in_every_opening() -> None:
    """
    What was turned away in one opening hastens no later one.
    """
    hand = Hand(backoff=hasten(10.0, rejections=50, at_least=1.0))
    hand.trip(0.0)
    turned_away(hand, 50, 1.0)
    probe = hand.admit(1.0)
    turned_away(hand, 100, 1.5)  # no place is free
    hand.settle(probe, FAILURE, 2.0)

    assert [] == turned_away(hand, 50, 4.0)
    hand.admit(4.0)


@pytest.mark.parametrize("backoff", [10.0, constant(10.0), lambda attempt: Wait(10.0)])
def test_a_plain_wait_never_ends_early(backoff: Backoff | float) -> None:
    """
    Without a number of rejections only time ends the wait.
    """
    hand = Hand(backoff=backoff)
    hand.trip(0.0)

    assert [] == turned_away(hand, 1000, math.nextafter(10.0, 0.0))
    hand.admit(10.0)


def test_a_pause_the_dependency_asked_for_never_ends_early() -> None:
    """
    Calls that are turned away do not shorten a pause, even where the backoff would be hastened.
    """
    hand = Hand(backoff=hasten(10.0, rejections=50, at_least=1.0))
    hand.settle(hand.admit(0.0), FAILURE, 0.0, pause=5.0)

    assert [] == turned_away(hand, 1000, 9.0)
    hand.admit(10.0)


@given(
    now=st.floats(-1e9, 1e12),
    seconds=st.floats(0.0, 1e6),
    passed=st.floats(0.0, 1.0),
)
def test_retry_after_is_never_too_early(now: float, seconds: float, passed: float) -> None:
    """
    Whoever waits ``retry_after`` seconds is admitted, however awkward the floats.
    """
    hand = Hand(backoff=seconds)
    hand.trip(now)
    until = hand.circuit.ready_at(now)
    asked = now + passed * seconds
    wait = hand.circuit.retry_after(asked)

    assert until is not None
    assert wait is not None
    assert wait >= 0.0
    assert asked + wait >= until
    # ... and not a bit longer than that, but for what a float can say.
    assert asked + math.nextafter(wait, 0.0) <= until
    hand.admit(asked + wait)


def test_retry_after_is_rounded_up() -> None:
    """
    0.2 + (0.9 - 0.2) is less than 0.9 in floating point, and so would be too early.
    """
    hand = Hand(backoff=lambda attempt: 0.9)
    hand.trip(0.0)
    wait = hand.circuit.retry_after(0.2)

    assert 0.2 + (0.9 - 0.2) < 0.9
    assert wait is not None
    assert 0.9 <= 0.2 + wait
    assert pytest.approx(0.7) == wait


def test_retry_after_speaks_of_the_whole_wait() -> None:
    """
    A possible early end is not promised.
    """
    hand = Hand(backoff=hasten(10.0, rejections=50, at_least=1.0))
    hand.trip(0.0)
    turned_away(hand, 49, 2.0)

    assert 8.0 == hand.circuit.retry_after(2.0)


def test_retry_after_is_0_when_the_wait_is_over() -> None:
    """
    Between the end of the wait and the call that half-opens, nothing is left to wait for.
    """
    hand = Hand(backoff=10.0)
    hand.trip(0.0)

    assert 0.0 == hand.circuit.retry_after(11.0)


def test_a_backoff_is_asked_once_per_opening() -> None:
    """
    Chance is rolled once and kept, however many calls are turned away.
    """

    def answers() -> Iterator[float]:
        yield 10.0
        raise AssertionError("asked twice")

    given = answers()
    hand = Hand(backoff=lambda attempt: next(given))
    hand.trip(0.0)
    turned_away(hand, 100, 5.0)

    assert [1] == hand.attempts
    assert 5.0 == hand.circuit.retry_after(5.0)
