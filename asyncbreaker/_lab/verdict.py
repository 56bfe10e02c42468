"""The lab's verdict: the weak point of the user's configuration, read off the figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from asyncbreaker._lab.table import Row
from asyncbreaker._lab.trial import Figures
from asyncbreaker._lab.words import amount, share

CLEARLY = 1.5  # times worse: less may be chance


@dataclass(frozen=True, slots=True)
class Aspect:
    """Something that one configuration may do better than another."""

    badness: Callable[[Figures], float]
    """The more, the worse."""
    floor: float
    """Added before two are compared: differences far below do not matter."""
    put: Callable[[Figures], str]
    """Puts the figure into words, with its unit."""
    says: Callable[[Figures, str], str]
    """Says what a configuration does, with the figure as put."""

    def worse(self, one: Figures, other: Figures) -> float:
        """Return how many times worse *one* is than *other*."""
        return (self.badness(one) + self.floor) / (self.badness(other) + self.floor)

    def said(self, one: Figures, other: Row) -> str:
        """Say what *one* does, and in brackets how *other* compares."""
        configuration, figures = other
        return f"{self.says(one, self.put(one))} ({configuration.name}: {self.put(figures)})"


LOST = Aspect(
    lambda figures: figures.lost,
    5.0,
    lambda figures: f"{amount(figures.lost)} s",
    lambda figures, put: f"loses {put} of full load after the outage",
)
FALSE = Aspect(
    lambda figures: figures.false_per_million,
    50.0,
    lambda figures: (
        f"{amount(figures.false_per_million)} per million" if figures.false_quiet else "not once"
    ),
    lambda figures, put: (
        f"opens {amount(figures.false_per_million)} times per million calls sent while all is well"
        if figures.false_quiet
        else f"opens not once in {figures.quiet_calls:,} calls while all is well"
    ),
)
SUNK = Aspect(
    lambda figures: figures.sunk_share,
    0.05,
    lambda figures: f"{amount(figures.sunk)} s",
    lambda figures, put: f"keeps callers waiting for {put} in calls that fail",
)
PEAK = Aspect(
    lambda figures: max(1.0, figures.peak),
    0.0,
    lambda figures: amount(figures.peak),
    lambda figures, put: f"sends {put} times what the returning dependency can take",
)
WASTED = Aspect(
    lambda figures: figures.wasted,
    30.0,
    lambda figures: amount(figures.wasted),
    lambda figures, put: (
        f"never opens, and sends {put} calls in the outage"
        if figures.opens_after is None
        else f"sends {put} calls in the outage before it opens"
    ),
)
SENT = Aspect(
    lambda figures: figures.sent or 0.0,
    50.0,
    lambda figures: amount(figures.sent or 0.0),
    lambda figures, put: f"sends {put} calls a minute in the rest of the outage",
)
ANSWERED = Aspect(
    lambda figures: 1.0 - figures.answered,
    0.02,
    lambda figures: share(round(figures.answered, 2)),
    lambda figures, put: f"answers {put} of the calls during the outage",
)
ALWAYS = (LOST, FALSE, SUNK, PEAK)


def verdict(rows: Sequence[Row], *, partly_well: bool) -> str:
    """Say in a sentence or two where the first row is weak, and what does better."""
    aspects = _aspects(rows, partly_well=partly_well)
    (_, yours), *others = rows
    pairs = [(aspect, _best(others, aspect)) for aspect in aspects]
    aspect, best = max(pairs, key=lambda pair: pair[0].worse(yours, pair[1][1]))
    if aspect.worse(yours, best[1]) < CLEARLY:
        strong = _strength(yours, _breakers(others), aspects)
        return f"At nothing is another breaker clearly better than yours.{strong}"
    weak = f"The weak point of yours: it {aspect.said(yours, best)}."
    strong = _strength(yours, [best], aspects)
    return weak + (strong or f' The row "{best[0].name}" is clearly worse at nothing.')


def _aspects(rows: Iterable[Row], *, partly_well: bool) -> Sequence[Aspect]:
    """Return what is compared: what all rows can be compared in."""
    if partly_well:  # where the dependency answers some of the calls, sending them is no waste
        return (ANSWERED, *ALWAYS)
    if any(figures.sent is None for _, figures in rows):  # a figure that is not known
        return (*ALWAYS, WASTED)
    return (*ALWAYS, WASTED, SENT)


def _breakers(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row[0].setup is not None]


def _best(rows: Sequence[Row], aspect: Aspect) -> Row:
    """Return the best breaker; what no breaker does better only where that says something."""
    best = min(_breakers(rows), key=lambda row: aspect.badness(row[1]))
    none = rows[-1]
    if aspect in (ANSWERED, LOST) and aspect.worse(best[1], none[1]) >= CLEARLY:
        return none
    return best


def _strength(yours: Figures, others: Sequence[Row], aspects: Iterable[Aspect]) -> str:
    """Say what yours does clearly better than one of *others*, most of all; or nothing."""
    pairs = [(aspect, row) for aspect in aspects for row in others]
    aspect, row = max(pairs, key=lambda pair: pair[0].worse(pair[1][1], yours))
    if aspect.worse(row[1], yours) < CLEARLY:
        return ""
    return f" Its strong point: it {aspect.said(yours, row)}."
