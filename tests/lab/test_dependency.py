"""The modelled dependency: what becomes of a call, and when its caller knows."""

from __future__ import annotations

import random

import pytest

from asyncbreaker._lab.dependency import (
    LONGEST_QUEUE,
    REFUSAL,
    Dependency,
    Down,
    Phase,
    either,
    lognormal,
)


def constant(seconds: float = 0.05) -> lognormal:
    return lognormal(seconds, 0.0)


def dependency(capacity: float = 10.0, *, timeout: float = 1.0, failing: float = 0.0) -> Dependency:
    return Dependency(
        capacity=capacity,
        timeout=timeout,
        latency=constant(),
        failing=failing,
        chance=random.Random(1),
    )


def test_a_call_that_comes_alone_takes_the_latency() -> None:
    served = dependency()
    assert (0.05, True) == served.serve(0.0)
    assert (0.05, True) == served.serve(10.0)


def test_calls_queue_for_the_capacity() -> None:
    """
    Ten calls a second, all at once: each waits a tenth of a second longer.
    """
    served = dependency()
    seconds = [served.serve(0.0)[0] for _ in range(10)]

    assert seconds == pytest.approx([0.05 + number / 10 for number in range(10)])


def test_too_late_is_no_answer_but_costs_the_same() -> None:
    served = dependency()
    ends = [served.serve(0.0) for _ in range(20)]

    assert ends[9] == (pytest.approx(0.95), True)
    assert set(ends[10:]) == {(1.0, False)}
    assert served.serve(1.5) == (pytest.approx(0.55), True)  # 20 calls took until 2.0


def test_a_long_queue_refuses_at_a_tenth_of_the_cost() -> None:
    served = dependency(timeout=100.0)
    queued = 0
    while served.serve(0.0) != (REFUSAL, False):
        queued += 1
    refused = 1
    for _ in range(19):
        assert served.serve(0.0) == (REFUSAL, False)
        refused += 1

    assert queued == pytest.approx(LONGEST_QUEUE * 10, abs=1)
    waits = queued * 0.1 + refused * 0.01 - 3.0
    assert served.serve(3.0) == (pytest.approx(waits + 0.05), True)


@pytest.mark.parametrize(
    ("down", "seconds"), [(Down.REFUSES, REFUSAL), (Down.HANGS, 3.0)], ids=["refuses", "hangs"]
)
def test_down(down: Down, seconds: float) -> None:
    served = dependency(timeout=3.0)
    served.enter(Phase(60.0, down), 0.0)

    assert (seconds, False) == served.serve(1.0)


def test_a_share_fails_in_the_time_of_a_good_answer() -> None:
    served = dependency(1000.0)
    served.enter(Phase(60.0, failing=0.3), 0.0)
    ends = [served.serve(float(second)) for second in range(10_000)]

    assert {seconds for seconds, _ in ends} == {0.05}
    assert sum(not good for _, good in ends) == pytest.approx(3000, abs=200)


def test_some_calls_always_fail() -> None:
    served = dependency(1000.0, failing=0.1)
    ends = [served.serve(float(second)) for second in range(10_000)]

    assert sum(not good for _, good in ends) == pytest.approx(1000, abs=120)


def test_slower() -> None:
    served = dependency()
    served.enter(Phase(60.0, slower=4.0), 0.0)

    assert served.serve(0.0) == (pytest.approx(0.2), True)


def test_capacity_that_grows() -> None:
    """
    A call costs what the capacity is when it is begun, not when it came.
    """
    warming = Phase(60.0, capacity=0.1, capacity_after=1.0)
    assert 0.1 == warming.capacity_at(0.0)
    assert warming.capacity_at(30.0) == pytest.approx(0.55)
    assert 1.0 == warming.capacity_at(90.0)
    assert 0.0 == Phase(1.0, Down.HANGS).capacity_at(0.0)

    served = dependency(timeout=10.0)
    served.enter(warming, 0.0)
    first, second, third = (served.serve(0.0)[0] for _ in range(3))
    assert (first, second) == pytest.approx((0.05, 1.05))
    assert third == pytest.approx(0.05 + 1 + 1 / (10 * warming.capacity_at(1.0)))


def test_latencies() -> None:
    chance = random.Random(1)
    usual = sorted(lognormal()(chance) for _ in range(10_001))

    assert usual[5000] == pytest.approx(0.05, rel=0.05)
    assert usual[8413] / usual[5000] == pytest.approx(1.419, rel=0.05)  # one sigma: e^0.35
    assert {0.002, 0.2} == {either(0.002, 0.2)(chance) for _ in range(100)}
