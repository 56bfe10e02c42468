"""The figures of the closing table, read from the calls and moves that really happened."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median

from asyncbreaker import State
from asyncbreaker._demo.run import Run
from asyncbreaker._demo.script import Phase
from asyncbreaker._demo.sides import End, Side

STRETCH = 20  # calls in a row that are looked at together
WELL = 18  # so many of them answered: full rate


@dataclass(frozen=True, slots=True)
class Findings:
    """What happened on one side. Times in seconds; None: it did not happen."""

    callers: int
    sent: int
    """Retries included."""
    retries: int
    answered: int
    """By the service."""
    cached: int
    """Answered from memory."""
    age: float | None
    """Median age of what was answered from memory."""
    substituted: int
    failed: int
    rejected: int
    wasted: int
    """Sent while the service was dead."""
    detected: float | None
    """From the beginning of the slow phase to the first opening."""
    recovered: float | None
    """From the service being back to its callers being answered at full rate for good."""
    slowest: float
    ends_in_trouble: Counter[End]
    """What became of those who called while the service was slow or dead."""
    waited: float
    """Mean time a caller waited for an answer, an error or a rejection during the trouble."""


def findings(run: Run, side: Side) -> Findings:
    """Read the figures of one side of a run that is over."""
    trouble, dead, back = (
        run.phases[phase] for phase in (Phase.SLOW, Phase.DEAD, Phase.RECOVERING)
    )
    in_trouble = [call for call in side.calls if trouble <= call.began < back]
    return Findings(
        callers=len(side.calls),
        sent=len(side.sends),
        retries=sum(max(0, len(call.sends) - 1) for call in side.calls),
        answered=side.count(End.ANSWERED),
        cached=side.count(End.CACHED),
        age=median_age(side),
        substituted=side.count(End.SUBSTITUTED),
        failed=side.count(End.FAILED),
        rejected=side.count(End.REJECTED),
        wasted=sum(dead <= at < back for at in side.sends),
        detected=detected(side, trouble),
        recovered=recovered(side, back),
        slowest=max(call.seconds for call in side.calls),
        ends_in_trouble=Counter(call.end for call in in_trouble),
        waited=sum(call.seconds for call in in_trouble) / max(1, len(in_trouble)),
    )


def median_age(side: Side) -> float | None:
    """Seconds; None when nothing was answered from memory."""
    ages = [call.age for call in side.calls if call.age is not None]
    return median(ages) if ages else None


def detected(side: Side, trouble: float) -> float | None:
    """Seconds from the beginning of the trouble to the first opening after it."""
    openings = (move.at for move in side.moves if move.new is State.OPEN and move.at >= trouble)
    first = next(openings, None)
    return None if first is None else first - trouble


def recovered(side: Side, back: float) -> float | None:
    """Seconds from *back* to the first of the calls from which on nearly all are answered."""
    calls = [call for call in side.calls if call.began >= back]
    answered = [call.end is End.ANSWERED for call in calls]
    since: float | None = None
    # From the end backwards: the last stretch that is not at full rate decides.
    for start in reversed(range(len(calls) - STRETCH + 1)):
        if sum(answered[start : start + STRETCH]) < WELL:
            break
        since = calls[start].began - back
    return since
