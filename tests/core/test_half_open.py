"""One stay in HALF_OPEN: places, leases, streams, the health check."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbreaker._core.permits import Permit
from asyncbreaker.recovery import probing, slow_start
from tests.core.hand import CLOSED, FAILURE, HALF_OPEN, IGNORED, OPEN, SUCCESS, Hand


def opened(**settings: object) -> Hand:
    """Return a circuit that opened at 0.0 for 10 s."""
    hand = Hand(**{"recovery": probing(lease=5.0), **settings})  # type: ignore[arg-type]
    hand.trip(0.0)
    return hand


def in_flight(hand: Hand, now: float) -> int:
    assert hand.circuit.trial is not None
    return hand.circuit.trial.in_flight(now)


# Places.


def test_the_first_call_after_the_wait_is_the_first_probe() -> None:
    """
    Only a call half-opens, at the end of the wait, inclusive; it holds the one place.
    """
    hand = opened()
    assert (None, OPEN) == (hand.arrive(9.999), hand.state)
    hand.admit(10.0)

    assert (HALF_OPEN, 1) == (hand.state, in_flight(hand, 10.0))
    assert None is hand.arrive(10.0)


def test_ignored_probe_gives_its_place_back() -> None:
    """
    A cancelled probe proves nothing, and must not block the next one.
    """
    hand = opened()
    hand.call(IGNORED, 10.0, 1.0)

    assert (HALF_OPEN, 0) == (hand.state, in_flight(hand, 11.0))
    hand.admit(11.0)


@pytest.mark.parametrize("recovery", [probing(2, 2, lease=5.0), slow_start(lease=5.0)])
def test_a_place_is_given_back_once(recovery: probing | slow_start) -> None:
    """
    Neither the late end of a lost probe nor a second look frees another's place.
    """
    hand = opened(recovery=recovery)
    lost = hand.admit(10.0)
    second = hand.admit(15.0)
    assert 1 == in_flight(hand, 15.0)
    hand.settle(lost, IGNORED, 16.0)
    assert 1 == in_flight(hand, 16.0)
    hand.settle(second, IGNORED, 16.0)

    assert 0 == in_flight(hand, 16.0)


def test_looking_at_the_calls_in_flight_changes_nothing() -> None:
    """
    A lease that is over is not counted, yet only an arriving call takes the place.
    """
    hand = opened()
    hand.admit(10.0)

    assert [1, 0, 1] == [in_flight(hand, now) for now in (14.999, 15.0, 14.999)]


def test_leases_end_one_by_one() -> None:
    """
    Each probe loses its place at its own time.
    """
    hand = opened(recovery=probing(3, lease=5.0))
    for now in (10.0, 11.0, 12.0):
        hand.admit(now)

    assert [3, 2, 1, 0] == [in_flight(hand, now) for now in (14.9, 15.0, 16.5, 17.0)]
    assert None is hand.arrive(14.999)
    hand.admit(15.0)
    assert None is hand.arrive(15.0)


@given(
    st.integers(1, 3),
    st.lists(
        st.tuples(
            st.sampled_from(["arrive", "end", "look"]), st.sampled_from([0.0, 0.5, 1.0, 7.0])
        ),
        max_size=60,
    ),
)
def test_there_are_never_more_probes_than_places(
    probes: int, script: list[tuple[str, float]]
) -> None:
    """
    Through any mix of arrivals, ends and lost probes, a call gets a place just where one is free.
    """
    hand, now = opened(recovery=probing(probes, lease=2.0)), 10.0
    held: dict[Permit, float] = {}
    hand.settle(hand.admit(now), IGNORED, now)
    for what, step in script:
        now += step
        held = {permit: end for permit, end in held.items() if end > now}
        if what == "arrive":
            permit = hand.arrive(now)
            assert (len(held) < probes) is (permit is not None)
            if isinstance(permit, Permit):
                held[permit] = now + 2.0
        elif what == "end" and hand.running:
            permit = hand.running[0]
            hand.settle(permit, IGNORED, now)
            held.pop(permit, None)
        assert len(held) == in_flight(hand, now)


# When it is ready again.


def test_it_is_ready_where_a_place_is_free() -> None:
    """
    A free place is ready now.
    """
    hand = opened(recovery=probing(2))
    hand.admit(10.0)

    assert 11.0 == hand.circuit.ready_at(11.0)


def test_it_is_ready_when_the_next_lease_ends() -> None:
    """
    If no probe ends, the oldest lease that runs makes room.
    """
    hand = opened(recovery=probing(2, lease=5.0))
    hand.admit(10.0)
    hand.admit(12.0)

    assert [15.0, 15.0] == [hand.circuit.ready_at(now) for now in (12.0, 14.0)]


def test_it_is_ready_when_a_hanging_probe_is_asked_again() -> None:
    """
    Under a slow start the backoff of the attempt makes room sooner than the lease.
    """
    hand = opened(recovery=slow_start(lease=50.0))
    hand.admit(10.0)

    assert [20.0, 20.0] == [hand.circuit.ready_at(now) for now in (10.0, 20.0)]
    assert 30.0 == hand.circuit.ready_at(30.0)


def test_it_is_ready_where_nothing_stops_a_call() -> None:
    """
    CLOSED is ready now, OPEN at the end of the wait, and looking changes nothing.
    """
    hand = Hand()
    assert 0.0 == hand.circuit.ready_at(0.0)
    hand.trip(0.0)

    assert [10.0, 10.0, 11.0] == [hand.circuit.ready_at(now) for now in (1.0, 9.0, 11.0)]
    assert OPEN is hand.state


# Slow probes.


def test_a_slow_probe_is_a_bad_one() -> None:
    """
    An answer that took too long opens, though it was a success.
    """
    hand = opened(trip=lambda counts: counts.failures > 0, slow=1.0)
    hand.call(SUCCESS, 10.0, 1.0)

    assert (OPEN, 2) == (hand.state, hand.circuit.attempt)


def test_a_probe_that_hangs_is_bad_when_the_next_call_notices() -> None:
    """
    While it still runs it is marked, and opens; its own end is stale.
    """
    hand = opened(slow=1.0)
    probe = hand.admit(10.0)
    assert None is hand.arrive(11.0)
    assert (OPEN, 2) == (hand.state, hand.circuit.attempt)

    hand.settle(probe, SUCCESS, 12.0)
    assert (OPEN, 1) == (hand.state, hand.circuit.stale)


@pytest.mark.parametrize("outcome", [SUCCESS, FAILURE, IGNORED])
def test_the_end_of_a_marked_probe_gives_its_place_back_and_nothing_else(outcome: object) -> None:
    """
    Its mark was its answer: the lead does not move again.
    """
    hand = opened(recovery=slow_start(), slow=1.0)
    for _ in range(4):
        hand.call(SUCCESS, 10.0)
    probe = hand.admit(10.0)
    hand.admit(11.0)
    assert hand.circuit.trial is not None
    assert (1, 2) == (hand.circuit.trial.progress.lead, in_flight(hand, 11.0))
    hand.settle(probe, outcome, 11.5)  # type: ignore[arg-type]

    assert (1, 1) == (hand.circuit.trial.progress.lead, in_flight(hand, 11.5))
    assert 1 == hand.circuit.slow_calls


# An answer that has begun and is yet to end.


class Listening:
    """A progress that notes how long good answers took."""

    window = ask_at = None
    lead = 0
    next_attempt = attempt = 1
    asking = False

    def __init__(self) -> None:
        self.took: list[float | None] = []

    def hear(self, until: float) -> None: ...

    def has_place(self, in_flight: int, now: float) -> bool:
        return True

    def admit(self, in_flight: int, now: float) -> bool:
        return True

    def good(self, seconds: float | None, window: float | None, in_flight: int, now: float) -> None:
        self.took.append(seconds)

    def bad(self, in_flight: int, now: float) -> None: ...

    def quiet(self, now: float) -> float:
        return 0.0


def test_an_answer_takes_until_it_begins() -> None:
    """
    What a recovery measures is the time until then, told when the call has ended well.
    """
    hand = opened(recovery=slow_start(lease=60.0))
    hand.admit(10.0)
    assert hand.circuit.trial is not None
    progress = Listening()
    hand.circuit.trial.progress = progress
    probe = hand.admit(10.0)
    hand.circuit.answer(probe, 10.5, proves=False)
    assert [] == progress.took
    hand.circuit.answer(probe, 11.0, proves=False)  # the first one counts
    hand.settle(probe, SUCCESS, 40.0)

    assert [0.5] == progress.took


# Streams: the first item is the answer.


def test_the_first_item_of_a_stream_is_its_answer() -> None:
    """
    A stream need not end to show that the dependency is well.
    """
    hand = opened()
    hand.answer(hand.admit(10.0), 10.5)

    assert CLOSED is hand.state


def test_a_stream_holds_its_place_until_it_ends() -> None:
    """
    It has answered, and still uses the dependency.
    """
    hand = opened(recovery=probing(successes=2))
    stream = hand.admit(10.0)
    hand.answer(stream, 10.5)
    assert None is hand.arrive(11.0)
    hand.settle(stream, SUCCESS, 12.0)

    assert HALF_OPEN is hand.state  # one answer, not two
    hand.call(SUCCESS, 12.0)
    assert CLOSED is hand.state


def test_a_stream_that_fails_after_its_first_item_is_one_bad_call_more() -> None:
    """
    The good answer stays, and the later error counts as well.
    """
    hand = opened(recovery=probing(successes=2))
    stream = hand.admit(10.0)
    hand.answer(stream, 10.5)
    hand.settle(stream, FAILURE, 12.0)

    assert (OPEN, 2) == (hand.state, hand.circuit.failed)  # the first one opened


def test_a_slow_first_item_is_a_bad_answer() -> None:
    """
    A stream is as slow as its first item.
    """
    hand = opened(slow=1.0)
    hand.answer(hand.admit(10.0), 11.0)

    assert (OPEN, 1) == (hand.state, hand.circuit.slow_calls)


def test_a_stream_is_not_slow_for_going_on() -> None:
    """
    After its first item no mark finds it, and its end is judged by that item's time.
    """
    hand = opened(recovery=probing(2, 3), slow=1.0)
    stream = hand.admit(10.0)
    hand.answer(stream, 10.5)
    hand.admit(15.0)
    hand.settle(stream, SUCCESS, 15.0)

    assert (HALF_OPEN, 0) == (hand.state, hand.circuit.slow_calls)


def test_a_first_item_that_comes_too_late_for_its_era_is_no_answer() -> None:
    """
    A stream of a dead era closes nothing.
    """
    hand = opened(recovery=probing(2))
    stream = hand.admit(10.0)
    hand.call(FAILURE, 10.0)
    hand.admit(30.0)
    hand.answer(stream, 31.0)

    assert HALF_OPEN is hand.state


def test_a_first_item_after_the_mark_is_no_second_answer() -> None:
    """
    A stream that was marked while it had given nothing has answered: badly.
    """
    hand = opened(recovery=slow_start(), slow=1.0)
    for _ in range(4):
        hand.call(SUCCESS, 10.0)
    stream = hand.admit(10.0)
    hand.admit(11.0)
    hand.answer(stream, 11.5)

    assert hand.circuit.trial is not None
    assert 1 == hand.circuit.trial.progress.lead


# The health check.


def checking(**settings: object) -> tuple[Hand, Permit]:
    """Return a circuit whose health check is being asked since 10.0."""
    hand = opened(checked=True, **settings)
    permit = hand.admit(10.0)
    assert True is permit.check
    return hand, permit


def test_one_call_asks_the_health_check_and_the_others_are_rejected() -> None:
    """
    While it is asked the state is HALF_OPEN and no place is free, however many probes may be.
    """
    hand, _ = checking(recovery=probing(5))

    assert (HALF_OPEN, None) == (hand.state, hand.arrive(10.0))


def test_a_health_check_that_passes_is_the_first_answer() -> None:
    """
    Under ``probing()`` one is enough to close.
    """
    hand, permit = checking()
    hand.end_check(permit, True, 11.0)

    assert CLOSED is hand.state


def test_after_the_health_check_probes_come() -> None:
    """
    Where one answer is not enough the next calls are probes like any other.
    """
    hand, permit = checking(recovery=probing(successes=2))
    hand.end_check(permit, True, 11.0)
    probe = hand.admit(11.0)

    assert (HALF_OPEN, False) == (hand.state, probe.check)
    hand.settle(probe, SUCCESS, 11.5)
    assert CLOSED is hand.state


def test_a_health_check_measures_nothing() -> None:
    """
    Its duration is no part of the yardstick; it widens the window by one, however long it took.
    """
    hand, permit = checking(recovery=slow_start(sample=1))
    hand.end_check(permit, True, 14.0)
    assert hand.circuit.trial is not None
    progress = hand.circuit.trial.progress
    assert (1.0, 3) == (progress.window, progress.lead)

    hand = opened(checked=True, recovery=slow_start())
    hand.end_check(hand.admit(10.0), True, 14.0)
    assert hand.circuit.trial is not None
    assert (2.0, 3) == (hand.circuit.trial.progress.window, hand.circuit.trial.progress.lead)


def test_a_health_check_that_fails_opens_with_the_next_attempt() -> None:
    """
    Nobody's call was sacrificed, and the next check comes later.
    """
    hand, permit = checking()
    hand.end_check(permit, False, 11.0)

    assert (OPEN, 2, 1) == (hand.state, hand.circuit.attempt, hand.circuit.reopened)


def test_after_a_cancelled_health_check_the_next_call_asks() -> None:
    """
    A caller that is cancelled leaves nothing behind.
    """
    hand, permit = checking()
    hand.end_check(permit, None, 11.0)

    assert True is hand.admit(11.0).check


def test_a_lost_health_check_is_asked_again_after_the_lease() -> None:
    """
    The first of two that passes is enough; the other changes nothing.
    """
    hand, lost = checking(recovery=probing(successes=3, lease=5.0))
    second = hand.admit(15.0)
    assert True is second.check
    hand.end_check(second, True, 15.5)
    hand.end_check(lost, False, 16.0)

    assert HALF_OPEN is hand.state


def test_a_health_check_of_a_dead_era_changes_nothing() -> None:
    """
    Whoever was faster, an operator or a failure, has decided.
    """
    hand, lost = checking(recovery=probing(lease=5.0))
    second = hand.admit(15.0)
    hand.end_check(second, False, 15.5)
    hand.end_check(lost, True, 16.0)
    assert OPEN is hand.state

    hand, lost = checking()
    hand.end_check(lost, False, 11.0)
    hand.admit(20.0 + 11.0)
    hand.circuit.end_check(lost, True, 31.5)
    assert HALF_OPEN is hand.state


def test_a_health_check_is_never_slow() -> None:
    """
    It is bounded by the lease, not by what is slow for a call.
    """
    hand, _ = checking(slow=1.0)

    assert None is hand.arrive(12.0)
    assert (HALF_OPEN, 0) == (hand.state, hand.circuit.slow_calls)


def test_while_a_health_check_is_asked_the_next_is_ready_after_its_lease() -> None:
    """
    A hanging check is not asked again before.
    """
    hand, _ = checking(recovery=slow_start(lease=50.0))

    assert 60.0 == hand.circuit.ready_at(30.0)
