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
OUTAGES = (10.0, 75.0, 30.0, 140.0, 300.0)  # seconds; the quick run takes the first two


def _same(scenario: Scenario) -> Make:
    return lambda cell, seed: scenario


def _about(make: Callable[[float], Scenario], seconds: float) -> Make:
    """Let an outage last for about so long: no multiple of anybody's wait."""

    def made(cell: Cell, seed: int) -> Scenario:
        share = random.Random(f"outage of {seconds}, {seed}").uniform(0.8, 1.2)
        return make(round(seconds * share, 1))

    return made


def _quick_first_answers(seconds: float) -> Scenario:
    return scenarios.quick_first_answers(seconds)


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
    listed = (*_returns(), *_outages(), *_false_alarms(quick=quick), *_troubles(), *_blips())
    return {each.name: each for each in listed}


EVERYWHERE = (*ALONE, FLEET, LARGE_FLEET)


def _returns() -> Iterator[Experiment]:
    for name, title, make in (
        ("hard", "Coming back after a hard outage", scenarios.hard_outage),
        ("cold", "Coming back to cold caches", scenarios.cold_caches),
    ):
        variants = tuple(_about(make, seconds) for seconds in OUTAGES)
        cells = (*EVERYWHERE, LARGE_SLEEPY_FLEET)
        yield Experiment(name, title, variants, cells, readings.returning, quick_variants=2)
    for name, title, make in (
        ("quick answers", "The first answers are 50 times too fast", _quick_first_answers),
        ("two latencies", "Half of the answers take 2 ms, half 200 ms", _two_latencies),
    ):
        variants = (_about(make, 30.0),)
        yield Experiment(name, title, variants, (*ALONE, FLEET), readings.returning)


def _outages() -> Iterator[Experiment]:
    hard = replace(scenarios.hard_outage(300.0), after=SHORTLY)
    hanging = replace(scenarios.hanging_outage(300.0, timeout=10.0), after=SHORTLY)
    for name, title, scenario, quick_cells in (
        ("dead", "A hard outage of five minutes", hard, (Cell(1, 10.0), Cell(1, 1000.0))),
        ("hanging", "A hanging outage of five minutes", hanging, (Cell(1, 100.0),)),
    ):
        cells = (*ALONE, FLEET)
        yield Experiment(
            name, title, (_same(scenario),), cells, readings.dying, quick_cells=quick_cells
        )


def _false_alarms(*, quick: bool) -> Iterator[Experiment]:
    calls = 50_000 if quick else 1_000_000
    for failing in (0.001, 0.01, 0.05, 0.2):
        yield Experiment(
            f"background {failing:g}",
            f"{failing:.1%} background errors",
            (_background(failing, calls),),
            ALONE,
            readings.false_alarms,
            quick_cells=(Cell(1, 1.0), Cell(1, 100.0)),
            seeds=1,
        )


def _troubles() -> Iterator[Experiment]:
    partial, brown_out = _long_enough(scenarios.partial_outage), _long_enough(scenarios.brown_out)
    overload, flapping = _same(scenarios.overload()), _same(scenarios.flapping(12))
    for name, title, make, read in (
        ("partial", "Half of the calls fail", partial, readings.living_with_it),
        ("brown-out", "Answers take 20 times as long", brown_out, readings.living_with_it),
        ("overload", "More load than capacity for 80 s", overload, readings.living_with_it),
        ("flapping", "5 s down, 5 s up", flapping, readings.flapping),
    ):
        yield Experiment(name, title, (make,), EVERYWHERE, read)
    storm = (_same(scenarios.retry_storm()),)
    cells = (*ALONE, FLEET, Cell(1000, 1.0))
    yield Experiment(
        "storm", "Retries that keep an overload alive", storm, cells, readings.returning
    )


def _blips() -> Iterator[Experiment]:
    for seconds in (0.03, 0.3):
        title, variants = f"An interruption of {seconds:g} s", (_same(scenarios.blip(seconds)),)
        yield Experiment(f"blip {seconds:g}", title, variants, EVERYWHERE, readings.interrupted)


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
