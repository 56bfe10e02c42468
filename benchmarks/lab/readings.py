"""The figures that are read off a run, by name."""

from __future__ import annotations

from asyncbreaker._lab import measures
from asyncbreaker._lab.engine import Record

Figures = dict[str, float | None]


def returning(record: Record) -> Figures:
    """Read how the callers come back to a dependency that is well again."""
    return {
        "lost": measures.lost(record),
        "peak": measures.peak(record),
        "relapses": measures.relapses(record),
        "setbacks": measures.setbacks(record),
    }


def dying(record: Record) -> Figures:
    """Read what a dependency costs that is down."""
    return {
        "detection": measures.detection(record),
        "wasted": measures.wasted(record),
        "sent per minute": measures.sent_per_minute(record),
        "sunk": measures.sunk(record),
    }


def false_alarms(record: Record) -> Figures:
    """Read how often it opened although nothing was wrong, and what that cost, per million."""
    calls, sent = sum(record.calls), sum(record.sent)
    openings = sum(map(len, record.trips))
    return {
        "openings": openings / max(1, sent) * 1e6,
        "rejected": (calls - sent) / max(1, calls) * 1e6,
    }


def living_with_it(record: Record) -> Figures:
    """Read what is answered while the trouble lasts: of the calls, and of those that could be."""
    scenario = record.scenario
    begin, end = scenario.before, scenario.ends
    calls = measures.total(record, record.calls, begin, end)
    possible = max(1.0, min(calls, record.capacity * (end - begin)))
    return {
        "goodput": measures.goodput(record, begin, end),
        "of possible": measures.total(record, record.good, begin, end) / possible,
    }


def flapping(record: Record) -> Figures:
    """Read what is answered in the good times, and sent in the bad ones."""
    scenario = record.scenario
    began, calls_up, good, calls_down, sent = scenario.before, 0.0, 0.0, 0.0, 0.0
    for phase in scenario.trouble:
        ends = began + phase.seconds
        calls = measures.total(record, record.calls, began, ends)
        if phase.down is None:
            calls_up += calls
            good += measures.total(record, record.good, began, ends)
        else:
            calls_down += calls
            sent += measures.total(record, record.sent, began, ends)
        began = ends
    return {"up": good / max(1, calls_up), "down": sent / max(1, calls_down)}


def interrupted(record: Record) -> Figures:
    """Read what a short interruption costs in all, in seconds of the whole load."""
    scenario = record.scenario
    begin, end = scenario.before, scenario.seconds
    calls = measures.total(record, record.calls, begin, end)
    return {"lost": (calls - measures.total(record, record.good, begin, end)) / record.load}
