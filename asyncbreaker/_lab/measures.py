"""The figures that are read off a record. All but shares are per client, in seconds or calls."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from asyncbreaker._lab.engine import Record

REST = 1.0  # second; a rate in a shorter time says nothing


def detection(record: Record) -> float | None:
    """Seconds from the beginning of the trouble to the first opening, in the mean of those
    clients that opened; None if none did."""
    firsts = _firsts(record)
    return sum(firsts) / len(firsts) - record.scenario.before if firsts else None


def detected(record: Record) -> float:
    """Share of the clients that opened for the trouble."""
    return len(_firsts(record)) / record.clients


def wasted(record: Record) -> float:
    """Calls sent in the trouble before the breaker opened for the first time."""
    return record.wasted / record.clients


def sent_per_minute(record: Record) -> float | None:
    """Calls sent per minute from the first opening to the end of the trouble.

    If no client opened, in all of the trouble; None if they did at its very end.
    """
    scenario, firsts = record.scenario, _firsts(record)
    sent = total(record, record.sent, scenario.before, scenario.ends)
    if firsts:
        sent -= record.wasted
    begins = firsts or [scenario.before] * record.clients
    rest = sum(max(0.0, scenario.ends - begin) for begin in begins)
    return sent / rest * 60 if rest >= REST * len(begins) else None


def _firsts(record: Record) -> list[float]:
    """When each client opened for the trouble first, of those that did.

    A call that was sent in the trouble may end, and open, when it is over.
    """
    scenario = record.scenario
    until = scenario.ends + scenario.timeout
    in_time = ([at for at in each if scenario.before <= at <= until] for each in record.openings)
    return [each[0] for each in in_time if each]


def lost(record: Record) -> float:
    """Goodput lost after the trouble, in seconds of the whole load.

    What could have been answered are the calls, or as many as the dependency can serve
    where that is less than the load, without those that fail when all is well too.
    """
    scenario = record.scenario
    well = 1.0 - scenario.failing**scenario.tries
    return (
        sum(
            well * _answerable(record, at) - total(record, record.good, at, at + 1)
            for at in _after(record)
        )
        / record.load
    )


def _answerable(record: Record, at: float) -> float:
    """How many calls of a second could have been answered."""
    calls = total(record, record.calls, at, at + 1)
    capacity = record.capacity * record.scenario.capacity_at(at + 0.5)
    # Against the load, not the calls: what comes in a busy moment is served in the next.
    load = record.load * record.scenario.phase_at(at + 0.5)[0].load
    return calls if capacity >= load else min(calls, capacity)


def peak(record: Record) -> float:
    """The most that was sent in a second after the trouble, as a share of what could be served."""
    shares = (
        total(record, record.sent, at, at + 1)
        / record.capacity
        / record.scenario.capacity_at(at + 0.5)
        for at in _after(record)
    )
    return max(shares, default=0.0)


def relapses(record: Record) -> float:
    """Openings after the trouble of breakers that had closed."""
    return _after_return(record, record.trips)


def setbacks(record: Record) -> float:
    """Openings after the trouble of breakers that had not closed yet."""
    return _after_return(record, record.openings) - _after_return(record, record.trips)


def _after_return(record: Record, times: list[list[float]]) -> float:
    """Count, per client, what is no consequence of a call that was sent in the trouble."""
    scenario = record.scenario
    return openings(times, scenario.ends + scenario.timeout, scenario.seconds) / record.clients


def openings(times: list[list[float]], begin: float, end: float) -> int:
    """Openings of all clients in a time."""
    return sum(begin <= at < end for each in times for at in each)


def sunk(record: Record) -> float:
    """Seconds that callers spent in the trouble on calls that failed."""
    scenario = record.scenario
    return total(record, record.sunk, scenario.before, scenario.ends) / record.clients


def goodput(record: Record, begin: float, end: float) -> float:
    """Share of the calls of a time that were answered."""
    return total(record, record.good, begin, end) / max(1, total(record, record.calls, begin, end))


def _after(record: Record) -> Iterator[float]:
    """Yield the beginnings of the whole seconds after the trouble."""
    scenario = record.scenario
    for second in range(int(round(scenario.seconds - scenario.ends, 6))):
        yield scenario.ends + second


def total(record: Record, bins: array[int] | array[float], begin: float, end: float) -> float:
    """What *bins* of *record* hold from *begin* to *end*."""
    return sum(bins[round(begin * record.per_second) : round(end * record.per_second)])
