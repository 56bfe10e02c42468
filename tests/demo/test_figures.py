"""The service's model and the closing figures, by hand."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from asyncbreaker import Cause, Counts, State, StateChanged
from asyncbreaker._demo.backend import ROOM, Backend
from asyncbreaker._demo.closing import STILL_HALF_OPEN, conclude
from asyncbreaker._demo.findings import STRETCH, findings, recovered
from asyncbreaker._demo.run import Run
from asyncbreaker._demo.script import Phase
from asyncbreaker._demo.sides import Call, End, Side
from asyncbreaker.testing import force_state

from .support import TINY


def side_of(*calls: tuple[float, End, float]) -> Side:
    side = Side("/without")
    side.calls = [Call(*call) for call in calls]
    return side


@pytest.mark.parametrize(
    ("phase", "capacity"),
    [(Phase.HEALTHY, 100.0), (Phase.SLOW, 20.0), (Phase.DEAD, 0.0), (Phase.RECOVERING, 10.0)],
)
def test_capacity(phase: Phase, capacity: float) -> None:
    """
    Each phase has its capacity; cold caches grow warm.
    """
    backend = Backend(warming=2.0)
    backend.enter(phase, 10.0)

    assert capacity == pytest.approx(backend.capacity(10.0))
    if phase is Phase.RECOVERING:
        assert 55.0 == pytest.approx(backend.capacity(11.0))
        assert 100.0 == pytest.approx(backend.capacity(60.0))


def test_a_full_queue_refuses() -> None:
    """
    More calls than there is room for get 503 at once.
    """
    backend, answers = Backend(1.0), list[int]()
    backend.enter(Phase.DEAD, 0.0)
    for _ in range(ROOM + 1):
        backend.arrive(answers.append)

    assert [503] == answers
    assert [] == list(backend.served(10.0))


def test_an_idle_service_does_not_work_in_advance() -> None:
    """
    After an idle hour it serves no burst, but call after call.
    """
    backend = Backend(1.0)
    assert [] == list(backend.served(3600.0))
    for _ in range(5):
        backend.arrive(print)

    assert 1 == len(list(backend.served(3600.0)))
    assert 1 == len(list(backend.served(3600.015)))


def test_recovered_from_the_first_good_stretch_on() -> None:
    """
    A last bad stretch decides, a few lost calls do not.
    """
    bad = [(float(second), End.FAILED, 0.1) for second in range(10)]
    good = [(10.0 + second, End.ANSWERED, 0.1) for second in range(STRETCH)]

    assert 8.0 == recovered(side_of(*bad, *good), 0.0)
    assert recovered(side_of(*good, *bad), 0.0) is None
    assert recovered(side_of(*good[1:]), 0.0) is None


def test_findings_are_read_from_the_calls() -> None:
    """
    Wasted are the calls sent while dead; detection counts from the slow phase.
    """
    run = Run(TINY)
    run.phases = {Phase.HEALTHY: 0.0, Phase.SLOW: 1.0, Phase.DEAD: 2.0, Phase.RECOVERING: 3.0}
    side = side_of(
        (0.5, End.ANSWERED, 0.1),
        (1.5, End.FAILED, 0.5),
        (2.5, End.FAILED, 0.3),
        (2.6, End.REJECTED, 0.1),
        (3.5, End.ANSWERED, 0.2),
    )
    opening = StateChanged("x", State.CLOSED, State.OPEN, Cause.TRIPPED, "", Counts(), 1.75)
    side.moves = [opening]

    found = findings(run, side)
    assert (5, 4, 2, 2, 1, 1) == (
        found.callers,
        found.sent,
        found.answered,
        found.failed,
        found.rejected,
        found.wasted,
    )
    assert (0.75, None, 0.5, 0.3) == (
        found.detected,
        found.recovered,
        found.slowest,
        pytest.approx(found.waited),
    )


@pytest.mark.parametrize("state", [State.CLOSED, State.HALF_OPEN])
def test_half_open_at_the_end_is_explained(state: State) -> None:
    """
    A stranger is told why the breaker is not closed, though the calls pass.
    """
    run = Run(TINY)
    run.phases = dict.fromkeys(Phase, 0.0)
    for side in (run.without, run.guarded):
        side.calls = [Call(1.0, End.ANSWERED, 0.1) for _ in range(STRETCH)]
    assert run.guarded.breaker is not None
    force_state(run.guarded.breaker, state)
    output = io.StringIO()
    conclude(run, Console(file=output, width=80))

    assert (state is State.HALF_OPEN) == (STILL_HALF_OPEN[:30] in output.getvalue())
