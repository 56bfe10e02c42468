"""Judgement in CLOSED: what is counted, and what each part of a trip rule is asked about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from asyncbreaker._core.permits import Era
from asyncbreaker._core.windows import FAILURE, SLOW, SUCCESS, Counts, Totals, Window, WindowSpec

TripRule = Callable[[Counts], bool]
"""Open now? Asked after each bad call while the circuit is closed."""

Entries = list[tuple[Window, float]]  # where a call stands in each window


class LeadLimits(NamedTuple):
    """When a lead is too long; see ``failure_lead``. The defaults hold for every other rule."""

    lead: int = 5
    sustain: float = 1.0
    burst: int = 20
    forget: float = 600.0


@dataclass(frozen=True, slots=True)
class Combination:
    """Several rules as one."""

    parts: tuple[TripRule, ...]

    @staticmethod
    def combine(answers: Iterable[bool], /) -> bool:
        """Make one answer of those of the parts: ``any`` or ``all``."""
        raise NotImplementedError

    def __call__(self, counts: Counts, /) -> bool:
        """Ask every part about the same counts; a circuit asks each about its own window."""
        return self.combine([part(counts) for part in self.parts])


def leaves(rule: TripRule) -> Iterator[TripRule]:
    """Yield the single rules that *rule* is made of, from left to right."""
    if isinstance(rule, Combination):
        for part in rule.parts:
            yield from leaves(part)
    else:
        yield rule


def lead_limits(rule: TripRule) -> LeadLimits:
    """Return the limits of the leftmost rule that has any."""
    found = (getattr(leaf, "limits", None) for leaf in leaves(rule))
    return next((limits for limits in found if isinstance(limits, LeadLimits)), LeadLimits())


class Judge:
    """Counts what ended and asks the trip rule, each part about its own window.

    Counting and looking are pure; only ``says_yes`` runs the rule.
    """

    def __init__(
        self,
        rule: TripRule,
        *,
        default_window: WindowSpec,
        complain: Callable[[object, Exception], None],
    ) -> None:
        self._default_window = default_window
        self._complain = complain
        self.windows: dict[WindowSpec, Window] = {}
        self.reason: TripRule = rule  # the part that said yes last
        self.set_rule(rule, 0.0)

    def set_rule(self, rule: TripRule, now: float) -> None:
        """Judge by *rule* from now on, with what still fits of the windows."""
        self.rule = rule
        self.limits = lead_limits(rule)
        self._leaves = tuple((leaf, self._window_of(leaf)) for leaf in leaves(rule))
        specs = dict.fromkeys(spec for _, spec in self._leaves if spec is not None)
        # Windows of the same size first, so that no other takes them over.
        same = {spec: self.windows.pop(spec) for spec in specs if spec in self.windows}
        old = self.windows
        self.windows = {
            spec: same[spec] if spec in same else self._window(spec, old, now) for spec in specs
        }
        self.running = tuple(self.windows.values())

    def count(self, success: bool, failure: bool, slow: bool, now: float) -> Entries:
        """Enter a call in every window; return where it stands."""
        bits = success * SUCCESS | failure * FAILURE | slow * SLOW
        return [(window, window.count(bits, now)) for window in self.running]

    def amend(self, entries: Entries, *, failure: bool, now: float) -> None:
        """Add to a call that was entered when it was marked slow how it ended."""
        for window, entry in entries:
            window.amend(entry, failure=failure, now=now)

    def clear(self) -> None:
        """Start counting anew."""
        self.windows = {spec: spec.start() for spec in self.windows}
        self.running = tuple(self.windows.values())

    def counts(self, era: Era, now: float) -> Counts:
        """Return the counts of the leftmost rule that has a window, else run and lead alone."""
        return self._counts(next(iter(self.windows), None), era, now)

    def look(self, era: Era, now: float) -> Sequence[Counts]:
        """Return what each part of the rule is to be asked about."""
        return [self._counts(spec, era, now) for _, spec in self._leaves]

    def says_yes(self, views: Sequence[Counts]) -> bool:
        """Ask the rule. A part that raises means no for itself; the others are still asked."""
        reason = self._ask(self.rule, iter(views))
        if reason is not None:
            self.reason = reason
        return reason is not None

    def _ask(self, rule: TripRule, views: Iterator[Counts]) -> TripRule | None:
        """Return what says yes: *rule*, or the one part of it that made it so; None for no."""
        if isinstance(rule, Combination):
            # A list: every part takes its own view, so none may be left out.
            answers = [self._ask(part, views) for part in rule.parts]
            reasons = [answer for answer in answers if answer is not None]
            if not rule.combine(answer is not None for answer in answers):
                return None
            return reasons[0] if len(reasons) == 1 else rule
        counts = next(views)
        try:
            return rule if rule(counts) else None
        except Exception as error:
            self._complain(rule, error)
            return None

    def _counts(self, spec: WindowSpec | None, era: Era, now: float) -> Counts:
        totals = Totals(0, 0, 0, 0) if spec is None else self.windows[spec].totals(now)
        return Counts(*totals, era.run, era.lead, now - era.since if era.lead else 0.0)

    def _window_of(self, leaf: TripRule) -> WindowSpec | None:
        spec: object = getattr(leaf, "window", self._default_window)
        return spec if spec is None or isinstance(spec, WindowSpec) else self._default_window

    def _window(self, spec: WindowSpec, old: dict[WindowSpec, Window], now: float) -> Window:
        """Take over one of *old* that is of this kind, else start an empty one."""
        for other, window in old.items():
            if spec.refit(window, now):
                del old[other]
                return window
        return spec.start()
