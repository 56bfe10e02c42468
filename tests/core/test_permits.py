"""Permits and eras, and the line of calls that may become slow."""

from __future__ import annotations

import math
import random

import pytest

from asyncbreaker._core.permits import Era, Permit, Running


def entered(running: Running, era: Era, *starts: float) -> list[Permit]:
    return [running.enter(era, start) for start in starts]


def test_an_era_is_its_own_permit() -> None:
    """
    A closed circuit hands out its era, which answers like a permit that nothing is known of.
    """
    era = Era(0.0)

    assert era is era.era
    assert (False, math.inf, None) == (era.check, era.due, era.entries)


def test_a_permit_knows_its_era_and_for_how_long_it_has_run() -> None:
    """
    A permit carries the era that admitted it and the time.
    """
    era = Era(0.0)
    permit = Permit.of(era, 10.0)

    assert (era, 2.5) == (permit.era, permit.seconds(12.5))


def test_a_stream_runs_until_its_first_item() -> None:
    """
    Its duration is the time to the first item, however long it goes on.
    """
    permit = Permit.of(Era(0.0), 10.0)
    permit.answered = 0.5

    assert 0.5 == permit.seconds(100.0)


def test_a_permit_that_is_not_timed_has_no_duration() -> None:
    """
    Where the clock was not read at the beginning, nobody pretends to know.
    """
    permit = Permit.of(Era(0.0), 0.0)
    permit.timed = False

    assert None is permit.seconds(100.0)


@pytest.mark.parametrize(("now", "slow"), [(10.999, False), (11.0, True), (99.0, True)])
def test_a_call_is_slow_from_the_limit_on(now: float, slow: bool) -> None:
    """
    The limit itself is slow.
    """
    permit = Running(1.0).enter(Era(0.0), 10.0)

    assert slow is permit.is_slow(now)


def test_without_a_limit_nothing_is_watched() -> None:
    """
    No limit, no line, and no call is ever slow.
    """
    running = Running(None)
    permit = running.enter(Era(0.0), 0.0)

    assert (False, math.inf, 0, None) == (
        running.watches,
        running.look_at,
        len(running),
        running.overdue(1e9),
    )
    assert False is permit.is_slow(1e9)


def test_overdue_calls_are_found_oldest_first_and_once() -> None:
    """
    Each call that has run for its limit is taken out once, in the order of their coming.
    """
    running = Running(1.0)
    first, second, _ = entered(running, Era(0.0), 0.0, 0.5, 1.5)

    assert [first, second, None] == [running.overdue(1.5) for _ in range(3)]


def test_it_tells_when_to_look_next() -> None:
    """
    No call becomes slow before the time that it tells, and that time comes in time.
    """
    running = Running(1.0)
    assert math.inf == running.look_at
    entered(running, Era(0.0), 10.0, 10.25)
    assert running.look_at <= 11.0

    running.overdue(11.0)
    running.overdue(11.0)
    assert 11.0 < running.look_at <= 11.25


def test_ended_calls_are_never_overdue() -> None:
    """
    What ended before it was looked at is judged by its end alone.
    """
    running = Running(1.0)
    first, second = entered(running, Era(0.0), 0.0, 0.0)
    first.done = True

    assert [second, None] == [running.overdue(5.0) for _ in range(2)]


def test_a_stream_that_has_begun_is_never_overdue() -> None:
    """
    A stream whose first item came in time may go on for ever.
    """
    running = Running(1.0)
    (stream,) = entered(running, Era(0.0), 0.0)
    stream.answered = 0.5

    assert None is running.overdue(5.0)


def test_a_new_limit_holds_for_calls_that_come() -> None:
    """
    Those that run already are held to the limit under which they came.
    """
    running, era = Running(1.0), Era(0.0)
    (old,) = entered(running, era, 0.0)
    running.set_limit(10.0)
    (new,) = entered(running, era, 0.0)

    assert [old, None] == [running.overdue(1.0) for _ in range(2)]
    assert [new, None] == [running.overdue(10.0) for _ in range(2)]


def test_after_the_limit_is_taken_away_the_last_calls_are_still_watched() -> None:
    """
    It watches until the last call under an older limit has ended or become slow.
    """
    running = Running(1.0)
    (old,) = entered(running, Era(0.0), 0.0)
    running.set_limit(None)
    assert (True, None) == (running.watches, running.overdue(0.5))

    old.done = True
    assert (None, False) == (running.overdue(1.0), running.watches)


def test_a_limit_can_be_set_where_there_was_none() -> None:
    """
    From now on calls are watched.
    """
    running = Running(None)
    running.set_limit(2.0)
    (permit,) = entered(running, Era(0.0), 1.0)

    assert permit is running.overdue(3.0)


def test_the_line_is_as_long_as_the_calls_that_run() -> None:
    """
    A million calls that end leave nothing behind, though none was ever looked at.
    """
    running, era = Running(1000.0), Era(0.0)
    for start in range(10_000):
        running.enter(era, float(start) / 1000).done = True

    assert len(running) <= 64


@pytest.mark.parametrize("seed", range(20))
def test_every_call_is_overdue_exactly_once_unless_it_ended(seed: int) -> None:
    """
    Through any mix of limits, ends and looks, each call that ran for its limit is found in time.
    """
    chance, now = random.Random(seed), 0.0
    running, era = Running(2.0), Era(0.0)
    pending: list[tuple[float, Permit]] = []
    for _ in range(500):
        now += chance.choice([0.0, 0.25, 1.0])
        if now >= running.look_at:
            found = set()
            while (permit := running.overdue(now)) is not None:
                found.add(permit)
            expected = {permit for due, permit in pending if due <= now}
            assert expected == found
            pending = [(due, permit) for due, permit in pending if due > now]
        assert all(due > now for due, _ in pending)
        limit = chance.choice([None, None, None, 1.0, 2.0, 8.0])
        if limit is not None:
            running.set_limit(limit)
        permit = running.enter(era, now)
        if permit.due < math.inf:
            pending.append((permit.due, permit))
        if pending and chance.random() < 0.5:
            pending.pop(chance.randrange(len(pending)))[1].done = True


class Interrupted(Permit):
    """A permit that lets another thread look while its time is compared, once."""

    def watched_by(self, running: Running, found: list[Permit | None]) -> None:
        self._running, self._found = running, found

    @property
    def due(self) -> float:  # type: ignore[override]
        if running := vars(self).pop("_running", None):
            self._found.append(running.overdue(99.0))
        return 1.0

    @due.setter
    def due(self, value: float) -> None:
        """Stays."""


def test_two_threads_that_look_at_once_find_different_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    What one thread has taken the other does not take again, nor does it lose the next.
    """
    running, era = Running(1.0), Era(0.0)
    monkeypatch.setattr("asyncbreaker._core.permits.Permit", Interrupted)
    first, second = entered(running, era, 0.0, 0.0)
    assert isinstance(first, Interrupted)
    found: list[Permit | None] = []
    first.watched_by(running, found)
    found.append(running.overdue(99.0))

    assert [first, second] == found
    assert None is running.overdue(99.0)
