"""Recoveries against models written from their description, and by hand where it matters."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbreaker._core.permits import Permit
from asyncbreaker._core.states import Cause, Outcome
from asyncbreaker.recovery import probing, slow_start
from asyncbreaker.trip import TripRule, consecutive_failures, failure_lead
from tests.core.hand import CLOSED, FAILURE, HALF_OPEN, IGNORED, OPEN, SUCCESS, Hand


def wait_of(attempt: int) -> float:
    """Seconds of the n-th opening; binary fractions, so that models compute the same."""
    return min(0.5 * 2.0**attempt, 10.0)


@dataclass(eq=False)
class Call:
    """One call, as the models see it."""

    permit: Permit
    era: int
    at: float
    window: float = math.inf  # the one it found
    holds: bool = True
    marked: bool = False


@dataclass
class Model:
    """What both models share: eras, places, and the opening by any failure while closed."""

    lease: float
    slow: float
    state: str = "closed"
    attempt: int = 1
    era: int = 0
    until: float = 0.0
    asked: list[int] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    trouble: float | None = None
    closed_at: float = -math.inf
    quiet: float = 0.0

    def in_flight(self) -> int:
        return sum(call.holds and call.era == self.era for call in self.calls)

    def arrive(self, now: float) -> bool:
        for call in self.calls:
            if call.era == self.era and not call.marked and now - call.at >= self.slow:
                call.marked = True
                self.bad(now)
        if self.state == "open" and now >= self.until:
            self.state, self.era = "half_open", self.era + 1
            self.begin(now)
        if self.state == "half_open":
            for call in self.calls:
                call.holds &= now - call.at < self.lease
            return self.place(now)
        return self.state == "closed"

    def end(self, call: Call, outcome: Outcome, now: float) -> None:
        self.calls.remove(call)
        if call.era != self.era or call.marked:
            return
        if outcome is FAILURE or now - call.at >= self.slow:
            self.bad(now)
        elif outcome is SUCCESS and self.state == "half_open":
            self.good(call, now - call.at, now)

    def bad(self, now: float) -> None:
        if self.state == "half_open":
            self.bad_probe(now)
            return
        closed_for = now - self.closed_at
        if self.trouble is None or closed_for > max(10.0, self.quiet):
            self.trouble = now
        self.open(now, self.attempt_after(closed_for))

    def open(self, now: float, attempt: int) -> None:
        self.state, self.era = "open", self.era + 1
        self.attempt, self.until = attempt, now + wait_of(attempt)
        self.asked.append(attempt)

    def close(self, now: float) -> None:
        self.state, self.era, self.closed_at = "closed", self.era + 1, now

    # What differs.

    def begin(self, now: float) -> None:
        raise NotImplementedError

    def place(self, now: float) -> bool:
        raise NotImplementedError

    def good(self, call: Call, seconds: float, now: float) -> None:
        raise NotImplementedError

    def bad_probe(self, now: float) -> None:
        raise NotImplementedError

    def attempt_after(self, closed_for: float) -> int:
        raise NotImplementedError


@dataclass
class ProbingModel(Model):
    """The classic half-open."""

    settings: probing = field(default_factory=probing)
    run: int = 0

    def begin(self, now: float) -> None:
        self.run = 0

    def place(self, now: float) -> bool:
        return self.in_flight() < self.settings.probes

    def good(self, call: Call, seconds: float, now: float) -> None:
        self.run += 1
        if self.run == self.settings.successes:
            assert self.trouble is not None
            self.quiet = min(60.0, now - self.trouble)
            self.close(now)

    def bad_probe(self, now: float) -> None:
        self.open(now, self.attempt + 1)

    def attempt_after(self, closed_for: float) -> int:
        if not self.asked or closed_for >= wait_of(self.asked[-1]):
            return 1
        return self.attempt + 1


@dataclass
class SlowStartModel(Model):
    """Calls in flight that grow from one."""

    settings: slow_start = field(default_factory=slow_start)
    limits: failure_lead = field(default_factory=failure_lead)
    seen: set[str] = field(default_factory=set)

    def begin(self, now: float) -> None:
        self.window, self.round, self.ended = 1.0, 1, 0
        self.wanted, self.last_rejected = True, now
        self.lead, self.since = self.limits.lead - 1, now
        self.was_0 = self.lead == 0
        self.answered = False
        self.ask_again = now + wait_of(self.attempt)
        self.asked.append(self.attempt)
        self.sample: list[float] = []
        self.slow_alone: list[float] = []

    def place(self, now: float) -> bool:
        if self.in_flight() < self.window:
            return True
        if not self.answered and now >= self.ask_again:
            self.seen.add("asked again")
            self.attempt += 1
            self.ask_again = now + wait_of(self.attempt)
            self.asked.append(self.attempt)
            return True
        self.wanted, self.last_rejected = True, now
        return False

    def bad_probe(self, now: float) -> None:
        if not self.answered:
            self.seen.add("never answered")
            self.open(now, self.attempt + 1)
            return
        if self.lead == 0:
            self.since = now
        self.lead += 1
        if self.lead >= self.limits.lead and (
            now - self.since >= self.limits.sustain
            or self.lead >= self.limits.burst
            or not self.was_0
        ):
            self.seen.add("relapse" if self.was_0 else "relapse at once")
            self.open(now, 1)
            return
        self.end_of_answer(now)

    def good(self, call: Call, seconds: float, now: float) -> None:
        settings = self.settings
        if not self.answered:
            self.answered, self.first = True, now
            assert self.trouble is not None
            self.quiet_now = min(settings.calm, now - self.trouble)
        self.lead = max(0, self.lead - 1)
        self.was_0 |= self.lead == 0
        growth = 1.0 if seconds <= 1.0 else 2.0 ** min(seconds, 20.0) - 1.0
        if len(self.sample) < settings.sample:
            self.sample.append(seconds)
            if self.wanted:
                self.window = min(settings.sample, self.window + growth)
        elif (
            seconds <= settings.tolerance * fmean(self.sample)
            or seconds <= max(self.sample)
            or now - self.first > settings.calm
        ):
            self.slow_alone = []
            if self.wanted:
                self.seen.add("grew")
                self.window += growth
        else:
            self.seen.add("narrowed")
            self.window = max(1.0, self.window - settings.backstep)
            self.slow_alone = [*self.slow_alone, seconds] if call.window == 1.0 else []
            if len(self.slow_alone) == settings.sample:
                self.seen.add("measured anew")
                self.sample, self.slow_alone = self.slow_alone, []
        self.end_of_answer(now)

    def end_of_answer(self, now: float) -> None:
        self.ended += 1
        if self.ended < self.round:
            return
        if self.lead == 0 and now - self.last_rejected >= self.quiet_now:
            self.seen.add("closed")
            self.quiet = self.quiet_now
            self.close(now)
            return
        self.wanted, self.round, self.ended = False, max(1, self.in_flight()), 0

    def attempt_after(self, closed_for: float) -> int:
        return 1


@dataclass(frozen=True)
class Mix:
    """A random life: how often what happens."""

    seed: int
    good: int
    bad: int
    ignored: int
    steps: tuple[float, ...]
    arrivals: int


mixes = st.builds(
    Mix,
    seed=st.integers(0, 2**32),
    good=st.sampled_from([5, 20, 60]),
    bad=st.sampled_from([0, 1, 3, 10]),
    ignored=st.sampled_from([0, 1, 4]),
    steps=st.sampled_from(
        [
            (0.0, 0.125),
            (0.0, 0.0, 0.125, 2.0),
            (0.0, 0.5, 1.0, 6.0),
            (0.0, 0.125, 0.5, 5.0, 11.0, 61.0),
        ]
    ),
    arrivals=st.sampled_from([10, 30]),
)


def live(hand: Hand, model: Model, mix: Mix, compare: Callable[[float], None]) -> None:
    """Let both live through the same 300 events, and compare after each."""
    chance, now = random.Random(mix.seed), 0.0
    events = [SUCCESS, FAILURE, IGNORED, None]
    weights = [mix.good, mix.bad, mix.ignored, mix.arrivals]
    for _ in range(300):
        now += chance.choice(mix.steps)
        event = chance.choices(events, weights)[0]
        if event is not None and model.calls:
            # Mostly the oldest, so that calls do not all hang.
            call = model.calls[0] if chance.random() < 0.7 else chance.choice(model.calls)
            hand.settle(call.permit, event, now)
            model.end(call, event, now)
        else:
            permit, admitted = hand.arrive(now), model.arrive(now)
            assert admitted is (permit is not None)
            if isinstance(permit, Permit):
                window = getattr(model, "window", math.inf)
                model.calls.append(Call(permit, model.era, now, window))
        assert (model.state, model.asked) == (hand.state.value, hand.attempts)
        if model.state != "closed":
            assert model.attempt == hand.circuit.attempt
        if hand.circuit.trial is not None:
            in_flight = sum(now - c.at < model.lease for c in model.calls if c.era == model.era)
            assert in_flight == hand.circuit.trial.in_flight(now)
        compare(now)


@given(
    mixes,
    st.builds(
        slow_start,
        sample=st.sampled_from([1, 2, 4, 8]),
        backstep=st.sampled_from([0.0, 0.5, 1.0]),
        calm=st.sampled_from([0.0, 5.0, 60.0]),
        lease=st.sampled_from([3.0, 60.0]),
    ),
    st.builds(
        failure_lead,
        st.sampled_from([1, 3, 5]),
        sustain=st.sampled_from([0.0, 1.0]),
        burst=st.sampled_from([5, 20]),
    ),
    st.sampled_from([1.0, 4.0, 1e6]),
)
def test_slow_start_does_what_its_description_says(
    mix: Mix, settings: slow_start, limits: failure_lead, slow: float
) -> None:
    """
    Through any life of a service it decides as the model does, at every step.
    """
    compare_slow_start(mix, settings, limits, slow)


def compare_slow_start(
    mix: Mix, settings: slow_start, limits: failure_lead, slow: float
) -> set[str]:
    trip = or_at_once(limits)
    hand = Hand(trip, backoff=wait_of, recovery=settings, slow=slow)
    model = SlowStartModel(settings.lease, slow, settings=settings, limits=limits)

    def compare(now: float) -> None:
        trial = hand.circuit.trial
        if trial is not None:
            expected = (model.window, model.lead, model.trouble)
            assert expected == (trial.progress.window, trial.progress.lead, hand.circuit.trouble)

    live(hand, model, mix, compare)
    return model.seen


def or_at_once(limits: failure_lead) -> TripRule:
    """Return a rule with these limits that opens at any bad call."""
    return limits | failure_lead(1, sustain=0.0, burst=1)


def test_the_comparison_has_seen_every_corner() -> None:
    """
    Random lives reach all that can happen in a slow start, so that comparing means something.
    """
    seen: set[str] = set()
    for seed in range(12):
        for steps in ((0.0, 0.125), (0.0, 0.0, 0.125, 2.0), (0.0, 0.125, 0.5, 5.0, 11.0, 61.0)):
            mix = Mix(seed, 30, 1 + seed % 3, 1, steps, 30)
            settings = slow_start(sample=1 + seed % 3, calm=60.0)
            seen |= compare_slow_start(mix, settings, failure_lead(3), 1e6)

    assert {
        "asked again",
        "never answered",
        "relapse",
        "relapse at once",
        "grew",
        "narrowed",
        "measured anew",
        "closed",
    } == seen


@given(
    mixes,
    st.builds(
        probing,
        st.integers(1, 3),
        st.integers(1, 4),
        lease=st.sampled_from([1.0, 3.0, 60.0]),
    ),
    st.sampled_from([1.0, 4.0, 1e6]),
)
def test_probing_does_what_its_description_says(mix: Mix, settings: probing, slow: float) -> None:
    """
    Through any life of a service it decides as the model does, at every step.
    """
    hand = Hand(
        failure_lead(1, sustain=0.0, burst=1), backoff=wait_of, recovery=settings, slow=slow
    )
    model = ProbingModel(settings.lease, slow, settings=settings)

    def compare(now: float) -> None:
        assert model.trouble == hand.circuit.trouble

    live(hand, model, mix, compare)


# By hand: what is easily got wrong in a slow start.


def half_open(*, opened: float = 0.0, recovery: slow_start | None = None) -> Hand:
    """Return a circuit that opened at *opened* for half a second: the next call is a probe."""
    hand = Hand(backoff=lambda attempt: 0.5 * attempt, recovery=recovery or slow_start())
    hand.trip(opened)
    return hand


def progress(hand: Hand) -> tuple[float | None, int]:
    """Return window and lead."""
    assert hand.circuit.trial is not None
    return hand.circuit.trial.progress.window, hand.circuit.trial.progress.lead


def test_it_begins_with_one_place_and_a_lead_one_below_the_limit() -> None:
    """
    One call is admitted; the next one is not.
    """
    hand = half_open()
    hand.admit(100.0)

    assert (1.0, 4) == progress(hand)
    assert None is hand.arrive(100.0)


def test_a_good_answer_makes_a_place_and_takes_from_the_lead() -> None:
    """
    After the first answer two calls may be in flight.
    """
    hand = half_open()
    hand.call(SUCCESS, 100.0, 0.1)

    assert (2.0, 3) == progress(hand)
    hand.admit(101.0)
    hand.admit(101.0)
    assert None is hand.arrive(101.0)


def test_the_window_does_not_grow_where_nothing_is_rejected() -> None:
    """
    A wider window has no use while all that come are admitted.
    """
    hand = half_open()
    for second in range(100, 106):
        hand.call(SUCCESS, float(second), 0.1)

    assert (2.0, 0) == progress(hand)


def flood(hand: Hand, now: float) -> list[Permit]:
    """Let calls come until one is rejected."""
    permits = []
    while (permit := hand.arrive(now)) is not None:
        assert isinstance(permit, Permit)
        permits.append(permit)
    return permits


def test_the_window_doubles_per_round_trip() -> None:
    """
    Where calls are always waiting and answers fast; the eighth and last of the yardstick adds none.
    """
    hand, sizes = half_open(), []
    flood(hand, 100.0)
    for turn in range(1, 7):
        sizes.append(len(hand.running))
        for permit in list(hand.running):
            hand.settle(permit, SUCCESS, 100.0 + turn / 2)
            flood(hand, 100.0 + turn / 2)

    assert [1, 2, 4, 8, 15, 30] == sizes


def test_the_yardstick_is_taken_with_no_more_calls_in_flight_than_it_needs() -> None:
    """
    Also the answer that completes the yardstick, even a long one, leaves the window at its size.
    """
    hand = half_open(recovery=slow_start(sample=2))
    for _ in range(2):
        answer_in_company(hand, 100.0, 10.0)

    assert (2.0, 2) == progress(hand)


@pytest.mark.parametrize(
    ("seconds", "growth"),
    [
        (0.5, 1.0),
        (1.0, 1.0),
        (2.0, 3.0),
        (5.0, 31.0),
        (20.0, 2.0**20 - 1),
        (21.0, 2.0**20 - 1),
        (59.0, 2.0**20 - 1),
    ],
)
def test_long_answers_widen_by_as_much_as_doubling_per_second(
    seconds: float, growth: float
) -> None:
    """
    An answer of t seconds, if t is above 1, is worth 2^t - 1 places; t counts up to 20.
    """
    hand = half_open(recovery=slow_start(sample=1, tolerance=100.0))
    hand.call(SUCCESS, 100.0, 1.0)
    permit = flood(hand, 101.0)[0]
    hand.settle(permit, SUCCESS, 101.0 + seconds)

    assert (1.0 + growth, 2) == progress(hand)


def answer_in_company(hand: Hand, now: float, seconds: float) -> None:
    """Fill all places, let one call end well after *seconds*, and forget the others."""
    permit, *others = flood(hand, now)
    hand.settle(permit, SUCCESS, now + seconds)
    for other in others:
        hand.settle(other, IGNORED, now + seconds)


def measured(seconds: float = 0.125) -> Hand:
    """Return a circuit whose yardstick is eight answers of *seconds* each; the window is 8."""
    hand = half_open()
    for turn in range(8):
        answer_in_company(hand, 100.0 + turn / 4, seconds)
    assert (8.0, 0) == progress(hand)
    return hand


@pytest.mark.parametrize(("seconds", "fast"), [(0.25, True), (0.25 + 2**-20, False)])
def test_fast_is_up_to_twice_the_mean(seconds: float, fast: bool) -> None:
    """
    Up to twice the mean of the yardstick, inclusive, an answer widens; beyond it narrows by half.
    """
    hand = measured()
    answer_in_company(hand, 104.0, seconds)

    assert (9.0 if fast else 7.5) == progress(hand)[0]


def test_fast_is_also_up_to_the_slowest_of_the_yardstick() -> None:
    """
    What was seen while the yardstick was taken cannot be slow.
    """
    hand = half_open(recovery=slow_start(sample=4))
    for seconds in (0.0, 0.0, 0.0, 0.5):
        answer_in_company(hand, 100.0, seconds)
    answer_in_company(hand, 101.0, 0.5)

    assert 5.0 == progress(hand)[0]


@pytest.mark.parametrize(("at", "fast"), [(160.0, False), (160.0 + 2**-10, True)])
def test_after_calm_every_answer_is_fast(at: float, fast: bool) -> None:
    """
    More than *calm* seconds after the first answer the yardstick holds no more.
    """
    hand = half_open(recovery=slow_start(sample=1, calm=60.0))
    hand.call(SUCCESS, 100.0)
    permit = flood(hand, 101.0)[0]
    flood(hand, at - 1)  # somebody wants more
    hand.settle(permit, SUCCESS, at)

    assert fast is ((progress(hand)[0] or 0.0) > 1.0)


def narrowed_to_one() -> Hand:
    """Return a circuit with a yardstick of eight answers of 0.0 s and a window of 1."""
    hand = half_open()
    for _ in range(8):
        hand.call(SUCCESS, 100.0)
    while (progress(hand)[0] or 0.0) > 1.0:
        hand.call(SUCCESS, 100.0, 1.0)
    return hand


def yardstick(hand: Hand) -> float:
    assert hand.circuit.trial is not None
    return hand.circuit.trial.progress._mean  # type: ignore[attr-defined, no-any-return]


def test_eight_slow_answers_that_came_alone_are_the_new_yardstick() -> None:
    """
    What is slow without our load is not slowed by it: the yardstick was wrong.
    """
    hand = narrowed_to_one()
    means = []
    for _ in range(8):
        hand.call(SUCCESS, 101.0, 1.0)
        means.append(yardstick(hand))

    assert [0.0] * 7 + [1.0] == means


def test_a_fast_answer_ends_the_row_of_slow_ones() -> None:
    """
    Seven slow answers alone, a fast one and seven more leave the yardstick as it is.
    """
    hand = narrowed_to_one()
    for seconds in [1.0] * 7 + [0.0] + [1.0] * 7:
        hand.call(SUCCESS, 101.0, seconds)

    assert 0.0 == yardstick(hand)


def test_slow_answers_that_came_in_company_measure_nothing() -> None:
    """
    An answer that was slow while others were allowed beside it may be slow for our load.
    """
    hand = measured(0.0)
    for turn in range(8):
        answer_in_company(hand, 104.0 + turn, 1.0)

    assert 0.0 == yardstick(hand)


# Opening again.


def test_a_bad_first_answer_opens_with_the_next_attempt() -> None:
    """
    While nothing good was heard, attempts go on counting.
    """
    hand = half_open()
    hand.call(FAILURE, 100.0)

    assert (OPEN, 2) == (hand.state, hand.circuit.attempt)
    assert [1, 1, 2] == hand.attempts  # the opening, the time to ask again, the next opening


def test_a_lead_that_was_never_0_opens_at_the_limit() -> None:
    """
    One good answer, and two bad ones that restore the lead, open it at once, at attempt 1.
    """
    hand = half_open()
    hand.call(SUCCESS, 100.0)
    hand.call(FAILURE, 100.0)
    assert HALF_OPEN is hand.state

    hand.call(FAILURE, 100.0)
    assert (OPEN, 1) == (hand.state, hand.circuit.attempt)


@pytest.mark.parametrize(("later", "state"), [(0.5, HALF_OPEN), (1.0, OPEN)])
def test_a_lead_that_was_0_opens_when_it_is_sustained(later: float, state: object) -> None:
    """
    Once it was 0, the lead must have lasted for a second, as in CLOSED.
    """
    hand = half_open()
    for _ in range(4):
        hand.call(SUCCESS, 100.0)
    assert (2.0, 0) == progress(hand)
    for _ in range(4):
        hand.call(FAILURE, 101.0)
    hand.call(FAILURE, 101.0 + later)

    assert state is hand.state


def test_a_lead_that_was_0_opens_as_a_burst() -> None:
    """
    Twenty bad answers at one instant open it as well.
    """
    hand = half_open()
    for _ in range(4):
        hand.call(SUCCESS, 100.0)
    for _ in range(19):
        hand.call(FAILURE, 101.0)
    assert HALF_OPEN is hand.state

    hand.call(FAILURE, 101.0)
    assert OPEN is hand.state


def test_the_limits_are_those_of_the_leftmost_lead_rule() -> None:
    """
    A user's own lead holds in HALF_OPEN too; of several the leftmost.
    """
    rule = consecutive_failures(1) | failure_lead(2) | failure_lead(9)
    hand = Hand(rule, recovery=slow_start())
    hand.trip(0.0)
    hand.admit(100.0)

    assert (1.0, 1) == progress(hand)


def test_a_lead_limit_of_1_begins_at_0() -> None:
    """
    With a lead of 1 allowed, a bad answer after a good one still needs its second.
    """
    hand = Hand(failure_lead(1, sustain=1.0, burst=3), recovery=slow_start())
    for _ in range(3):
        hand.call(FAILURE, 0.0)
    hand.call(SUCCESS, 100.0)
    hand.call(FAILURE, 100.0)

    assert (HALF_OPEN, (2.0, 1)) == (hand.state, progress(hand))


# A probe that hangs.


def test_a_hanging_probe_lets_another_one_come_after_the_backoff() -> None:
    """
    Each further probe counts as an attempt, and waits for that attempt's backoff.
    """
    hand = half_open()  # waits 0.5 s per attempt
    hand.admit(100.0)
    assert [None, None] == [hand.arrive(100.0), hand.arrive(100.499)]
    hand.admit(100.5)
    assert [2, None, None] == [hand.circuit.attempt, hand.arrive(100.5), hand.arrive(101.499)]
    hand.admit(101.5)

    assert (3, [1, 1, 2, 3]) == (hand.circuit.attempt, hand.attempts)


def test_after_hanging_probes_a_bad_answer_counts_on() -> None:
    """
    The next opening is one attempt after the last probe.
    """
    hand = half_open()
    probe = hand.admit(100.0)
    hand.admit(100.5)
    hand.settle(probe, FAILURE, 101.0)

    assert (OPEN, 3) == (hand.state, hand.circuit.attempt)


def test_once_answered_nobody_is_admitted_beyond_the_window() -> None:
    """
    The rule for hanging probes ends with the first good answer.
    """
    hand = half_open()
    hand.call(SUCCESS, 100.0)
    flood(hand, 101.0)

    assert None is hand.arrive(150.0)


def test_a_probe_that_outlives_its_lease_still_answers() -> None:
    """
    Its place is free for another, but what it says in the end counts.
    """
    hand = half_open(recovery=slow_start(lease=10.0))
    probe = hand.admit(100.0)
    second = hand.admit(110.0)
    hand.settle(probe, SUCCESS, 115.0)

    assert 3 == progress(hand)[1]
    hand.settle(second, SUCCESS, 116.0)
    assert 2 == progress(hand)[1]


def test_the_place_of_a_lost_probe_is_given_once() -> None:
    """
    Its late end gives back no place that it holds no more.
    """
    hand = Hand(backoff=10.0, recovery=probing(lease=10.0))
    hand.trip(0.0)
    probe = hand.admit(10.0)
    hand.admit(20.0)
    hand.settle(probe, IGNORED, 20.5)

    assert None is hand.arrive(20.5)


# Closing.


@pytest.mark.parametrize(
    ("opened", "first", "quiet"),
    [(90.0, 100.0, 10.0), (0.0, 59.0, 59.0), (0.0, 100.0, 60.0), (0.0, 1e6, 60.0)],
)
def test_it_closes_after_as_much_quiet_as_there_was_trouble(
    opened: float, first: float, quiet: float
) -> None:
    """
    Nothing may have been rejected for as long as the trouble lasted, at most a minute.
    """
    hand = half_open(opened=opened)
    for _ in range(6):
        hand.call(SUCCESS, first)
    for permit in flood(hand, first):
        hand.settle(permit, SUCCESS, first)
    hand.call(SUCCESS, first + quiet - 0.125)
    assert HALF_OPEN is hand.state

    hand.call(SUCCESS, first + quiet)
    assert CLOSED is hand.state


def test_it_does_not_close_while_bad_answers_lead() -> None:
    """
    However quiet it is, the lead must have gone.
    """
    hand = half_open(opened=99.0)
    for second in (200.0, 300.0, 400.0):
        hand.call(SUCCESS, second)
    assert HALF_OPEN is hand.state

    hand.call(SUCCESS, 500.0)
    assert CLOSED is hand.state


def test_it_closes_only_at_the_end_of_a_round() -> None:
    """
    A round is as many answers as calls were in flight at its start.
    """
    hand = half_open(opened=99.0, recovery=slow_start(calm=0.0))
    for _ in range(3):
        for permit in flood(hand, 100.0):
            hand.settle(permit, SUCCESS, 100.5)
    assert CLOSED is hand.state

    hand = half_open(opened=99.0, recovery=slow_start(calm=1.0))
    for _ in range(4):
        hand.call(SUCCESS, 100.0)
    first, second = hand.admit(100.0), hand.admit(100.0)
    hand.settle(first, IGNORED, 100.0)
    assert HALF_OPEN is hand.state
    hand.settle(second, SUCCESS, 101.0)
    assert CLOSED is hand.state


def test_answers_that_are_ignored_end_no_round() -> None:
    """
    A cancelled call is no answer: nothing is learned, nothing closes.
    """
    hand = half_open(recovery=slow_start(calm=0.0))
    for _ in range(3):
        hand.call(SUCCESS, 100.0)
    for _ in range(100):
        hand.call(IGNORED, 200.0)

    assert (HALF_OPEN, (2.0, 1)) == (hand.state, progress(hand))


def test_slow_answers_do_not_keep_it_from_closing() -> None:
    """
    A healthy service whose calls take 30 s closes within a few minutes, at one call a second.
    """
    hand = half_open(opened=0.0)
    running: list[Permit] = []
    now = 60.0
    while hand.state is not CLOSED and now < 600.0:
        while running and running[0].started + 30.0 <= now:
            hand.settle(running.pop(0), SUCCESS, now)
        permit = hand.arrive(now)
        if isinstance(permit, Permit):
            running.append(permit)
        now += 1.0

    assert CLOSED is hand.state
    assert now < 300.0


# The same trouble.


def recovered(closed_at: float, *, opened: float) -> Hand:
    """Return a circuit with one trouble, from *opened* to *closed_at*."""
    hand = half_open(opened=opened, recovery=slow_start(calm=20.0))
    for _ in range(4):
        hand.call(SUCCESS, closed_at - 30.0)
    hand.call(SUCCESS, closed_at)
    assert CLOSED is hand.state
    return hand


@pytest.mark.parametrize(
    ("opened", "later", "trouble"),
    [
        (69.0, 10.0, 69.0),  # one second of trouble: 10 s decide
        (69.0, 10.125, 110.125),
        (55.0, 15.0, 55.0),  # fifteen seconds: those
        (55.0, 15.125, 115.125),
        (0.0, 20.0, 0.0),  # longer than calm: calm
        (0.0, 20.125, 120.125),
    ],
)
def test_a_trip_soon_after_closing_belongs_to_the_same_trouble(
    opened: float, later: float, trouble: float
) -> None:
    """
    Within 10 s of closing, or as long as it had to be quiet, it is still the old trouble.
    """
    hand = recovered(100.0, opened=opened)
    hand.trip(100.0 + later)

    assert trouble == hand.circuit.trouble
    assert (trouble != opened) is hand.told[-1].new_trouble
    assert 1 == hand.circuit.attempt


def test_the_quiet_that_decides_is_the_one_before_closing() -> None:
    """
    A trouble answered at its very instant needed no quiet, however long it took to close.
    """
    hand = Hand(consecutive_failures(1), backoff=0.0, recovery=slow_start())
    hand.trip(100.0)
    hand.call(SUCCESS, 100.0)
    for _ in range(3):
        hand.call(SUCCESS, 150.0)
    assert CLOSED is hand.state
    hand.trip(165.0)

    assert 165.0 == hand.circuit.trouble


def test_after_a_reset_every_trouble_is_new() -> None:
    """
    An operator's order ends the trouble.
    """
    hand = half_open(opened=0.0)
    hand.command(Cause.RESET, 1.0)
    hand.trip(2.0)

    assert (2.0, True) == (hand.circuit.trouble, hand.told[-1].new_trouble)


# Probing, by hand.


def test_attempts_go_on_when_it_trips_sooner_than_its_last_open_time() -> None:
    """
    Closed for less than it was open, as drawn, the circuit has not recovered.
    """
    hand = Hand(consecutive_failures(1), backoff=lambda attempt: 10.0 * attempt, recovery=probing())
    hand.trip(0.0)
    hand.call(FAILURE, 10.0)
    hand.call(SUCCESS, 30.0)  # the second opening was for 20 s
    hand.trip(49.875)

    assert (OPEN, 3) == (hand.state, hand.circuit.attempt)


def test_attempts_start_anew_when_it_was_closed_as_long_as_open() -> None:
    """
    Closed for its last open time, inclusive, the next opening is the first again.
    """
    hand = Hand(consecutive_failures(1), backoff=lambda attempt: 10.0 * attempt, recovery=probing())
    hand.trip(0.0)
    hand.call(FAILURE, 10.0)
    hand.call(SUCCESS, 30.0)
    hand.trip(50.0)

    assert (OPEN, 1) == (hand.state, hand.circuit.attempt)


def test_attempts_count_on_over_several_short_recoveries() -> None:
    """
    A service that falls each time it comes back is asked ever less often.
    """
    hand, now = Hand(backoff=lambda attempt: 2.0**attempt, recovery=probing()), 0.0
    for _ in range(5):
        hand.trip(now)
        now += 2.0**hand.circuit.attempt
        hand.call(SUCCESS, now)

    assert [1, 2, 3, 4, 5] == hand.attempts


def test_a_bad_probe_discards_the_good_ones() -> None:
    """
    The successes that close must come in a row, within one half-open.
    """
    hand = Hand(backoff=10.0, recovery=probing(successes=2))
    hand.trip(0.0)
    hand.call(SUCCESS, 10.0)
    hand.call(FAILURE, 10.0)
    hand.call(SUCCESS, 20.0)
    assert HALF_OPEN is hand.state

    hand.call(SUCCESS, 20.0)
    assert CLOSED is hand.state


def test_probes_are_bounded_and_successes_are_not() -> None:
    """
    At most *probes* are in flight; an ended one gives its place to the next.
    """
    hand = Hand(backoff=10.0, recovery=probing(2, successes=3))
    hand.trip(0.0)
    first, _ = hand.admit(10.0), hand.admit(10.0)
    assert None is hand.arrive(10.0)
    hand.settle(first, SUCCESS, 11.0)
    hand.admit(11.0)

    assert None is hand.arrive(11.0)


def test_a_lost_probe_frees_its_place_when_its_lease_is_over() -> None:
    """
    At the end of its lease, inclusive, another probe may come; the late answer still counts.
    """
    hand = Hand(backoff=10.0, recovery=probing(lease=5.0))
    hand.trip(0.0)
    lost = hand.admit(10.0)
    assert None is hand.arrive(14.999)
    hand.admit(15.0)
    hand.settle(lost, SUCCESS, 15.5)

    assert CLOSED is hand.state


def test_probing_moves_no_window_and_asks_for_nothing() -> None:
    """
    The number of places is fixed, and a snapshot shows none that moves.
    """
    hand = Hand(recovery=probing())
    hand.trip(0.0)
    hand.admit(10.0)
    assert hand.circuit.trial is not None
    moving = hand.circuit.trial.progress

    assert (None, None, 0, False) == (moving.window, moving.ask_at, moving.lead, moving.asking)
    assert [1] == hand.attempts
