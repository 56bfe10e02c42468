"""What is measured: experiments of cells, and the figures that are read off each run."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from asyncbreaker._lab import scenarios
from asyncbreaker._lab.clients import Clock
from asyncbreaker._lab.dependency import Phase, either
from asyncbreaker._lab.engine import Record, Simulation
from asyncbreaker._lab.scenarios import Scenario
from benchmarks.lab import readings
from benchmarks.lab.readings import Figures
from benchmarks.lab.systems import SYSTEMS

Make = Callable[["Cell", int], Scenario]  # for a cell and a seed
Read = Callable[[Record], Figures]


class Cell(NamedTuple):
    """So many clients with so many calls a second each."""

    clients: int
    rate: float

    def __str__(self) -> str:
        return f"{self.clients} x {self.rate:g}/s"


ALONE = tuple(Cell(1, rate) for rate in (0.1, 1.0, 10.0, 100.0, 1000.0))
FLEET = Cell(64, 10.0)
# The only cells above 2000 calls a second in all.
LARGE_FLEET = Cell(4096, 1.0)
LARGE_SLEEPY_FLEET = Cell(4096, 0.1)


@dataclass(frozen=True)
class Experiment:
    """A scenario in some variants and cells, and what is read off it."""

    name: str
    title: str
    variants: tuple[Make, ...]
    cells: tuple[Cell, ...]
    read: Read
    quick_variants: int = 1
    """How many of the variants the quick run takes."""
    quick_cells: tuple[Cell, ...] = (Cell(1, 1000.0), FLEET)
    seeds: int = 3


class Run(NamedTuple):
    """One run of one system; what a worker process is given."""

    experiment: str
    system: str
    cell: Cell
    variant: int
    seed: int


SHORTLY = (Phase(1.0),)
OUTAGES = (10.0, 75.0, 30.0, 140.0, 300.0)  # seconds; the quick run takes the first


def _same(scenario: Scenario) -> Make:
    return lambda cell, seed: scenario


def _about(make: Callable[[float], Scenario], seconds: float) -> Make:
    """Let an outage last for about so long: no multiple of anybody's wait."""

    def made(cell: Cell, seed: int) -> Scenario:
        share = random.Random(f"outage of {seconds}, {seed}").uniform(0.8, 1.2)
        return make(round(seconds * share, 1))

    return made


def _two_latencies(seconds: float) -> Scenario:
    return replace(scenarios.hard_outage(seconds), latency=either(0.002, 0.2))


def _background(failing: float, calls: int) -> Make:
    return lambda cell, seed: scenarios.background(calls, cell.rate, failing)


def _long_enough(make: Callable[[float], Scenario]) -> Make:
    """Let the trouble last for 300 calls at least, however seldom a client calls."""
    return lambda cell, seed: make(max(100.0, 300.0 / cell.rate))


@cache
def experiments(*, quick: bool) -> dict[str, Experiment]:
    """Return all experiments by name."""
    million = 50_000 if quick else 1_000_000
    fleets = (FLEET, LARGE_FLEET)
    storm_cells = (*ALONE, FLEET, Cell(1000, 1.0))
    listed = (
        Experiment(
            "hard",
            "Coming back after a hard outage",
            tuple(_about(scenarios.hard_outage, seconds) for seconds in OUTAGES),
            (*ALONE, *fleets, LARGE_SLEEPY_FLEET),
            readings.returning,
            quick_variants=2,
        ),
        Experiment(
            "cold",
            "Coming back to cold caches",
            tuple(_about(scenarios.cold_caches, seconds) for seconds in OUTAGES),
            (*ALONE, *fleets, LARGE_SLEEPY_FLEET),
            readings.returning,
            quick_variants=2,
        ),
        Experiment(
            "dead",
            "A hard outage of five minutes",
            (_same(replace(scenarios.hard_outage(300.0), after=SHORTLY)),),
            ALONE,
            readings.dying,
            quick_cells=(Cell(1, 10.0), Cell(1, 1000.0)),
        ),
        Experiment(
            "hanging",
            "A hanging outage of five minutes, callers give up after 10 s",
            (_same(replace(scenarios.hanging_outage(300.0, timeout=10.0), after=SHORTLY)),),
            ALONE,
            readings.dying,
            quick_cells=(Cell(1, 100.0),),
        ),
        *(
            Experiment(
                f"background {failing:g}",
                f"{failing:.1%} background errors",
                (_background(failing, million),),
                ALONE,
                readings.false_alarms,
                quick_cells=(Cell(1, 1.0), Cell(1, 100.0)),
                seeds=1,
            )
            for failing in (0.001, 0.01, 0.05, 0.2)
        ),
        Experiment(
            "partial",
            "Half of the calls fail",
            (_long_enough(scenarios.partial_outage),),
            (*ALONE, FLEET),
            readings.living_with_it,
        ),
        Experiment(
            "brown-out",
            "Answers take 20 times as long",
            (_long_enough(scenarios.brown_out),),
            (*ALONE, FLEET),
            readings.living_with_it,
        ),
        Experiment(
            "storm",
            "Retries that keep an overload alive",
            (_same(scenarios.retry_storm()),),
            storm_cells,
            readings.returning,
        ),
        Experiment(
            "overload",
            "More load than capacity for 80 s",
            (_same(scenarios.overload()),),
            (*ALONE, FLEET),
            readings.living_with_it,
        ),
        Experiment(
            "flapping",
            "5 s down, 5 s up",
            (_same(scenarios.flapping(12)),),
            (*ALONE, FLEET),
            readings.flapping,
        ),
        *(
            Experiment(
                f"blip {seconds:g}",
                f"An interruption of {seconds:g} s",
                (_same(scenarios.blip(seconds)),),
                (*ALONE, FLEET),
                readings.interrupted,
            )
            for seconds in (0.03, 0.3)
        ),
        Experiment(
            "quick answers",
            "The first answers after an outage are 50 times too fast",
            (_about(scenarios.quick_first_answers, 30.0),),
            (*ALONE, FLEET),
            readings.returning,
        ),
        Experiment(
            "two latencies",
            "Half of the answers take 2 ms, half 200 ms",
            (_about(_two_latencies, 30.0),),
            (*ALONE, FLEET),
            readings.returning,
        ),
    )
    return {each.name: each for each in listed}


def runs(*, quick: bool, seed: int) -> Iterator[Run]:
    """Yield everything there is to run."""
    for experiment in experiments(quick=quick).values():
        cells = experiment.quick_cells if quick else experiment.cells
        variants = experiment.quick_variants if quick else len(experiment.variants)
        for cell in cells:
            many = 1 if quick or cell.clients * cell.rate > 2000 else experiment.seeds
            for variant in range(variants):
                for system in SYSTEMS:
                    for number in range(many):
                        yield Run(experiment.name, system, cell, variant, seed + number)


def scenario_of(run: Run, *, quick: bool) -> Scenario:
    """Return what *run* goes through."""
    make = experiments(quick=quick)[run.experiment].variants[run.variant]
    return make(run.cell, run.seed)


def calls_of(run: Run, *, quick: bool) -> float:
    """Return about how many calls *run* makes: what it costs."""
    return scenario_of(run, quick=quick).seconds * run.cell.clients * run.cell.rate


def measure(run: Run, *, quick: bool) -> Figures:
    """Make *run*, and read its figures."""
    record = simulate(scenario_of(run, quick=quick), run.system, run.cell, run.seed)
    return experiments(quick=quick)[run.experiment].read(record)


def simulate(scenario: Scenario, system: str, cell: Cell, seed: int) -> Record:
    """Put *scenario* to a system; the same seed brings the same arrivals to each."""
    clock = Clock()
    chance = random.Random(f"breakers {seed}").random
    clients = [SYSTEMS[system].make(clock, chance) for _ in range(cell.clients)]
    return Simulation(scenario, clients, rate=cell.rate, clock=clock, seed=seed).run()
