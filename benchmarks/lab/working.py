"""All runs, over all cores, with progress."""

from __future__ import annotations

import logging
import math
import multiprocessing
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from statistics import fmean, pstdev
from typing import NamedTuple

from benchmarks.lab.experiments import Cell, Run, calls_of, measure, runs
from benchmarks.lab.readings import Figures


class Key(NamedTuple):
    """What a figure is about."""

    experiment: str
    cell: Cell
    system: str
    figure: str


class Figure(NamedTuple):
    """A figure as found in several runs."""

    mean: float | None
    """None: in no run; where it is the time of an opening, it never opened."""
    spread: float
    """Standard deviation between runs that differ by nothing but the seed."""
    runs: int

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.spread / math.sqrt(max(1, self.runs))


Results = Mapping[Key, Figure]


def work(*, quick: bool, seed: int) -> tuple[Results, int]:
    """Make all runs; return what was found, and how many calls that took."""
    # The costly ones first, so that all cores are busy to the end.
    cost = partial(calls_of, quick=quick)
    listed = sorted(runs(quick=quick, seed=seed), key=cost, reverse=True)
    calls = sum(map(cost, listed))
    done: dict[Run, Figures] = {}
    progress = _Progress(calls)
    with multiprocessing.Pool(initializer=silence) as pool:
        for run, figures in pool.imap_unordered(partial(_measured, quick=quick), listed):
            done[run] = figures
            progress.add(cost(run))
    return summary(done), round(calls)


def silence() -> None:
    """Keep the breakers from writing a log that nobody reads."""
    logging.getLogger("asyncbreaker").setLevel(logging.CRITICAL)


def _measured(run: Run, *, quick: bool) -> tuple[Run, Figures]:
    return run, measure(run, quick=quick)


class _Progress:
    """A line on stderr that says how far it has come."""

    def __init__(self, calls: float) -> None:
        self._calls, self._made = calls, 0.0
        self._began = time.monotonic()
        self._told = -1.0

    def add(self, calls: float) -> None:
        """Take note of a run that is done."""
        self._made += calls
        share, passed = self._made / self._calls, time.monotonic() - self._began
        if passed - self._told < 1.0 and share < 1.0:
            return
        self._told = passed
        left = passed / share - passed
        line = f"{share:4.0%} of {self._calls / 1e6:.0f} million calls, about {left:.0f} s left  "
        print(line, end="\n" if share >= 1.0 else "\r", file=sys.stderr, flush=True)


def summary(done: Mapping[Run, Figures]) -> Results:
    """Return each figure's mean over all runs, and its spread between seeds."""
    found: dict[Key, dict[int, list[float | None]]] = defaultdict(lambda: defaultdict(list))
    for run in sorted(done):
        for name, figure in done[run].items():
            found[Key(run.experiment, run.cell, run.system, name)][run.variant].append(figure)
    return {key: _figure(by_variant.values()) for key, by_variant in found.items()}


def _figure(by_variant: Iterable[list[float | None]]) -> Figure:
    known = [[value for value in values if value is not None] for values in by_variant]
    everything = [value for values in known for value in values]
    spreads = [pstdev(values) for values in known if len(values) > 1]
    return Figure(
        fmean(everything) if everything else None,
        fmean(spreads) if spreads else 0.0,
        len(everything),
    )
