"""What the user asks the lab: the numbers of the command line as scenarios, within limits."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace

import asyncbreaker as api
from asyncbreaker._lab import scenarios
from asyncbreaker._lab.configurations import Configuration, Setup, compared, yours
from asyncbreaker._lab.dependency import Phase, lognormal
from asyncbreaker._lab.engine import LEAST_CAPACITY
from asyncbreaker._lab.options import LONGEST
from asyncbreaker._lab.scenarios import RAMP, Scenario
from asyncbreaker._lab.spelling import NAMES, Spelled, SpellingError, read

MOST_PER_SECOND = 2000.0  # calls
MOST_CALLS = 5_000_000  # of all configurations together: half a minute
SHORT, FINE = 1000.0, 0.01  # seconds: a run so short is recorded in such bins
CALLS_PER_BREAKER = 30  # could be played in the time that it takes to make one
DAY = 86400.0  # seconds
QUIET_CALLS = 100_000  # per configuration, to count false openings
# Of the outage's length: whether a breaker asks just after the return, or just before
# it and not for another minute, is luck, which one outage would take for merit.
LENGTHS = (1.0, 0.8, 1.2, 0.9, 1.1)


class RefusalError(Exception):
    """The question has no answer; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """Everything the lab needs to know."""

    scenario: Scenario
    kind: str
    rate: float
    """Calls per second of each client."""
    clients: int
    latency: lognormal
    """Of the answers when all is well."""
    seed: int
    configurations: list[Configuration]
    """The user's own comes first."""

    @property
    def load(self) -> float:
        """Calls per second of all clients."""
        return self.rate * self.clients

    @property
    def capacity(self) -> float:
        """Calls per second that the dependency can serve when it is well."""
        return max(LEAST_CAPACITY, self.load / self.scenario.utilisation)

    @property
    def late(self) -> float:
        """Share of the answers that come too late although all is well and nothing is queued."""
        too_long = self.scenario.timeout / self.latency.median
        deviations = math.log(too_long) / self.latency.sigma
        return 0.5 * math.erfc(deviations / math.sqrt(2.0))

    @property
    def quiet_calls(self) -> int:
        """How many calls are made while all is well; at a low rate what a day has room for."""
        return min(QUIET_CALLS, int(self.load * DAY))

    @property
    def quiet(self) -> Scenario:
        """The same dependency, always well."""
        asked = self.scenario
        made = scenarios.background(self.quiet_calls, self.load, asked.failing)
        return replace(
            made,
            utilisation=asked.utilisation,
            tries=asked.tries,
            timeout=asked.timeout,
            latency=asked.latency,
        )

    @property
    def outages(self) -> list[Scenario]:
        """The outage that was asked for; then longer and shorter ones, if there is time."""
        calls = _calls_of_an_outage(self)
        many = int((MOST_CALLS - _quiet_calls_in_all(self)) / calls)
        return [_scaled(self.scenario, length) for length in LENGTHS[: max(1, many)]]

    @property
    def is_partly_well(self) -> bool:
        """Whether the dependency answers some calls in its trouble."""
        return self.kind in ("partial", "slow")


def asked(options: argparse.Namespace) -> Question:
    """Return what *options* ask, or refuse."""
    mine = _yours(options)
    others = compared(mine.setup or Setup(), slow=options.slow or options.timeout / 2)
    question = Question(
        scenario=_scenario(options),
        kind=options.kind,
        rate=options.rate,
        clients=options.clients,
        latency=lognormal(options.latency),
        seed=options.seed,
        configurations=[mine, *others],
    )
    _check(question)
    return question


def _scenario(options: argparse.Namespace) -> Scenario:
    made = replace(
        _trouble(options),
        before=options.before,
        utilisation=options.utilisation,
        tries=options.tries,
        timeout=options.timeout,
        failing=options.baseline,
        latency=lognormal(options.latency),
    )
    return replace(made, bin=FINE) if made.seconds + made.overtime <= SHORT else made


def _trouble(options: argparse.Namespace) -> Scenario:
    lasts, after = options.outage, (Phase(options.after),)
    match options.kind:
        case "refuse":
            return replace(scenarios.hard_outage(lasts), after=after)
        case "hang":
            return replace(scenarios.hanging_outage(lasts), after=after)
        case "partial":
            return replace(scenarios.partial_outage(lasts, options.share), after=after)
        case "slow":
            return replace(scenarios.brown_out(lasts, options.slower), after=after)
        case _:
            return replace(scenarios.cold_caches(lasts), after=_warming(options.after))


def _warming(after: float) -> tuple[Phase, ...]:
    """Return the phases of cold caches, which may take longer than is watched."""
    watched = min(RAMP, after)
    warming = Phase(watched, capacity=0.1, capacity_after=0.1 + 0.9 * watched / RAMP)
    return (warming, Phase(after - RAMP)) if after > RAMP else (warming,)


def _yours(options: argparse.Namespace) -> Configuration:
    texts = {name: getattr(options, name) for name in NAMES}
    given = {name: _read(name, text) for name, text in texts.items() if text is not None}
    if options.slow is not None:
        given["slow"] = Spelled(options.slow, f"{options.slow:g}")
    try:
        api.CircuitBreaker(**{name: spelled.meaning for name, spelled in given.items()})
    except ValueError as error:  # each is sound: slow= and the rule do not go together
        raise RefusalError(f"argument --slow: {error}") from None
    return yours(given)


def _read(name: str, text: str) -> Spelled:
    try:
        return read(name, text)
    except SpellingError as error:
        raise RefusalError(f"argument --{name}: {error}") from None


def _check(question: Question) -> None:
    """Refuse what makes no sense, and what would take too long."""
    load, watched = question.load, question.scenario.seconds
    share, baseline = question.scenario.trouble[0].failing, question.scenario.failing
    if question.kind == "partial" and share <= baseline:
        raise RefusalError(
            f"--share {share:g} must be above --baseline {baseline:g}: it would be no outage"
        )
    if load > MOST_PER_SECOND:
        raise RefusalError(
            f"--rate {question.rate:.12g} times --clients {question.clients} is {load:,.12g} "
            "calls/s, "
            f"at most {MOST_PER_SECOND:,.0f} are simulated: lower one of them"
        )
    if watched > LONGEST:
        raise RefusalError(
            f"--before, --outage and --after are {watched:,.0f} s together, at most {LONGEST:,.0f} "
            "are simulated: lower one of them"
        )
    calls = _calls_of_an_outage(question) + _quiet_calls_in_all(question)
    if calls > MOST_CALLS:
        raise RefusalError(
            f"about {calls / 1e6:.1f} million calls would be simulated, at most "
            f"{MOST_CALLS / 1e6:.0f} million are: lower --rate, --clients, --tries, --outage, "
            "--before or --after"
        )


def _calls_of_an_outage(question: Question) -> float:
    """Return how many calls of all configurations are simulated at most."""
    scenario = question.scenario
    watched = question.load * scenario.seconds * scenario.tries
    return (watched + _worth_of_breakers(question)) * len(question.configurations)


def _quiet_calls_in_all(question: Question) -> int:
    guarded = sum(each.setup is not None for each in question.configurations)
    return (question.quiet_calls + _worth_of_breakers(question)) * guarded


def _worth_of_breakers(question: Question) -> int:
    return question.clients * CALLS_PER_BREAKER


def _scaled(scenario: Scenario, length: float) -> Scenario:
    trouble = (replace(phase, seconds=phase.seconds * length) for phase in scenario.trouble)
    return replace(scenario, trouble=tuple(trouble))
