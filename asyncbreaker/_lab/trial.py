"""A trial: one configuration meets the question, and the figures are read off."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from asyncbreaker import StateChanged
from asyncbreaker._lab import measures
from asyncbreaker._lab.clients import Client, Clock, Guarded, Unguarded
from asyncbreaker._lab.configurations import Configuration, Setup
from asyncbreaker._lab.engine import Record, Say, Simulation
from asyncbreaker._lab.question import Question
from asyncbreaker._lab.scenarios import Scenario

FULL = 0.9  # of what is answered when all is well
WINDOW_CALLS = 20  # a share of fewer calls says little
STEP = 0.1  # seconds; no return is told more exactly


@dataclass(frozen=True, slots=True)
class Figures:
    """What is told of a configuration: means of all outages, if not said otherwise."""

    opens_after: float | None
    """Seconds from the beginning of the outage, where it opened; None: never."""
    opened: float
    """Share of the outages, and of the clients, in which it did."""
    wasted: float
    """Calls sent in the outage before the first opening."""
    sent: float | None
    """Calls per minute in the rest of the outage, where it opened; None: at the very end."""
    answered: float
    """Share of the calls that were answered in the outage."""
    full_after: float | None
    """Seconds from the end of the outage to full goodput; None: too few calls to say ..."""
    full_always: bool
    """... which came in each outage, while it was watched; else it is more."""
    lost: float
    """Goodput lost after the outage, in seconds of the whole load."""
    peak: float
    """Highest load after any outage, as a share of the capacity."""
    sunk: float
    """Caller-seconds spent on failed calls in the outage ..."""
    sunk_share: float
    """... as a share of what it would be if every call ran into the timeout."""
    false_before: int
    """Openings before the outages, of all clients in all outages."""
    false_quiet: int
    """Openings while all is well, in ``quiet_sent`` calls that it let through ..."""
    quiet_sent: int
    quiet_calls: int
    """... of so many."""

    @property
    def false_per_million(self) -> float:
        """Openings expected per million calls sent while all is well.

        Not per million calls made: to stay open for long would look like a virtue.
        """
        return self.false_quiet / max(1, self.quiet_sent) * 1e6


@dataclass(frozen=True, slots=True)
class Trial:
    """A configuration and what became of it."""

    configuration: Configuration
    figures: Figures
    record: Record
    """Of the outage that was asked for."""
    moves: list[list[StateChanged]]
    """In it, of each client; none without a breaker."""


def trials(question: Question, part: Callable[[], Say]) -> Iterator[Trial]:
    """Try one configuration after the other; *part* begins a part of the work."""
    for configuration in question.configurations:
        yield _trial(question, configuration, part)


def parts(question: Question) -> int:
    """Return of how many parts the work consists."""
    quiet = sum(each.setup is not None for each in question.configurations)
    return len(question.outages) * len(question.configurations) + quiet


def _trial(question: Question, tried: Configuration, part: Callable[[], Say]) -> Trial:
    runs = [
        _run(question, tried.setup, outage, question.seed + number, part())
        for number, outage in enumerate(question.outages)
    ]
    figures = _figures([record for record, _ in runs], question.quiet_calls)
    if tried.setup is not None:
        quiet, _ = _run(question, tried.setup, question.quiet, question.seed, part())
        trips, sent = sum(map(len, quiet.trips)), sum(quiet.sent)
        figures = replace(figures, false_quiet=trips, quiet_sent=sent)
    return Trial(tried, figures, *runs[0])


def _run(
    question: Question, setup: Setup | None, scenario: Scenario, seed: int, say: Say
) -> tuple[Record, list[list[StateChanged]]]:
    clock = Clock()
    # Chance of its own: two rows never differ by who drew first.
    chance = random.Random(f"breakers {seed}").random
    clients: Sequence[Client] = [
        Guarded(setup.breaker(clock=clock, random=chance)) if setup else Unguarded()
        for _ in range(question.clients)
    ]
    simulation = Simulation(scenario, clients, rate=question.rate, clock=clock, seed=seed)
    record = simulation.run(say)
    return record, [client.moves for client in clients if isinstance(client, Guarded)]


def _figures(records: Sequence[Record], quiet_calls: int) -> Figures:
    opened = [record for record in records if measures.detected(record)]
    full = [full_after(record) for record in records]
    watched = records[0].scenario.seconds - records[0].scenario.ends
    told = watched >= window(records[0])
    return Figures(
        opens_after=_mean(measures.detection(record) for record in records),
        opened=fmean(measures.detected(record) for record in records),
        wasted=fmean(measures.wasted(record) for record in records),
        sent=_mean(measures.sent_per_minute(record) for record in opened or records),
        answered=fmean(_answered(record) for record in records),
        full_after=fmean(watched if at is None else at for at in full) if told else None,
        full_always=None not in full,
        lost=fmean(max(0.0, measures.lost(record)) for record in records),
        peak=max(measures.peak(record) for record in records),
        sunk=fmean(measures.sunk(record) for record in records),
        sunk_share=fmean(_sunk_share(record) for record in records),
        # From CLOSED: an opening again belongs to the same false alarm.
        false_before=sum(
            measures.openings(record.trips, 0.0, record.scenario.before) for record in records
        ),
        false_quiet=0,
        quiet_sent=0,
        quiet_calls=quiet_calls,
    )


def _mean(figures: Iterable[float | None]) -> float | None:
    """Return the mean of those that there are."""
    known = [figure for figure in figures if figure is not None]
    return fmean(known) if known else None


def _answered(record: Record) -> float:
    return measures.goodput(record, record.scenario.before, record.scenario.ends)


def _sunk_share(record: Record) -> float:
    scenario = record.scenario
    calls = measures.total(record, record.calls, scenario.before, scenario.ends)
    return measures.sunk(record) * record.clients / (max(1, calls) * scenario.timeout)


def full_after(record: Record) -> float | None:
    """Seconds from the end of the trouble until the callers are answered as usual."""
    scenario = record.scenario
    lasts = window(record)
    enough = FULL * (1.0 - scenario.failing**scenario.tries)
    steps = int((scenario.seconds - scenario.ends - lasts) / STEP) + 1
    for step in range(steps):
        begin = scenario.ends + step * STEP
        if measures.goodput(record, begin, begin + lasts) >= enough:
            return step * STEP
    return None


def window(record: Record) -> float:
    """Return how many seconds it takes to see whether callers are answered."""
    return max(1.0, WINDOW_CALLS / record.load)
