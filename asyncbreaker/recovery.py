"""Recoveries: how HALF_OPEN admits calls, and when it closes.

A recovery is frozen and may be shared by many breakers; what moves is the
progress of one stay in HALF_OPEN, which ``begin`` makes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from asyncbreaker._core import checks
from asyncbreaker._core.rules import LeadLimits
from asyncbreaker._core.states import Cause

__all__ = ["Recovery", "probing", "slow_start"]

LONGEST = 20.0  # seconds; 2^t grows no further: a window of a million calls is no limit any more
CALM = 60.0  # seconds; after so long without a rejection a dependency counts as well


@dataclass(frozen=True, slots=True)
class probing:
    """The classic half-open: a few probes, all of which must be good.

    Args:
        probes: Calls in flight at once, at most.
        successes: Good calls in a row that close the circuit. A bad one opens it
            again, for the next attempt's backoff.
        lease: Seconds after which a probe that has not ended loses its place, so
            that another may come. Its result still counts while this half-open lasts.

    Raises:
        TypeError, ValueError: A value is of the wrong type, or below 1 (counts) or
            not above 0 (lease).
    """

    probes: int = 1
    successes: int = 1
    lease: float = field(default=60.0, kw_only=True)

    def __post_init__(self) -> None:
        checks.count("probes", self.probes)
        checks.count("successes", self.successes)
        checks.positive("lease", self.lease, finite=False)

    def begin(self, now: float, attempt: int, trouble: float, limits: LeadLimits) -> Probing:
        """Start one stay in HALF_OPEN (called by the circuit)."""
        return Probing(self, attempt, trouble)

    def attempt_after(self, attempt: int, closed: float, opened: float) -> int:
        """Go on counting unless it was closed for as long as it was last open (by the circuit)."""
        return 1 if closed >= opened else attempt + 1


class Probing:
    """One stay in HALF_OPEN under ``probing``."""

    window = None  # the number of places is fixed
    lead = 0
    ask_at = None
    asking = False

    def __init__(self, settings: probing, attempt: int, trouble: float) -> None:
        self._settings = settings
        self.attempt = attempt
        self._trouble = trouble
        self._run = 0

    @property
    def next_attempt(self) -> int:
        return self.attempt + 1

    def hear(self, until: float) -> None:
        """Never asks."""

    def has_place(self, in_flight: int, now: float) -> bool:
        return in_flight < self._settings.probes

    def admit(self, in_flight: int, now: float) -> bool:
        return in_flight < self._settings.probes

    def good(
        self, seconds: float | None, window: float | None, in_flight: int, now: float
    ) -> Cause | None:
        self._run += 1
        return Cause.RECOVERED if self._run >= self._settings.successes else None

    def bad(self, in_flight: int, now: float) -> Cause | None:
        return Cause.PROBE_FAILED

    def quiet(self, now: float) -> float:
        return min(CALM, now - self._trouble)


@dataclass(frozen=True, slots=True)
class slow_start:
    """Let the number of calls in flight grow from one, as long as the answers stay fast.

    It works like the window of a TCP connection. The first calls to end are the
    yardstick; every fast answer widens the window (it doubles per round trip, or
    per second where calls take longer), every slow one narrows it. So a service
    that is well gets its whole load within a second or two, and one with cold
    caches gets what it can serve. It closes when the bad calls no longer lead and
    nothing was rejected for as long as the trouble lasted, at most *calm* seconds.

    A bad answer before any good one opens the circuit again with the next attempt;
    later ones open it when they lead as the trip rule's ``failure_lead`` (or the
    default one) says, and then attempts start anew.

    Args:
        tolerance: An answer is fast up to *tolerance* times the mean of the yardstick
            (or up to its slowest).
        sample: Calls in the yardstick. While it is taken the window is at most as wide.
        backstep: By how many calls a slow answer narrows the window.
        calm: Seconds after the first answer from which every answer is fast, and the
            longest time without rejections to wait for before closing.
        lease: Seconds after which a call that has not ended loses its place, so that
            another may come. Its result still counts while this half-open lasts.

    Raises:
        TypeError, ValueError: A value is of the wrong type or out of range.
    """

    tolerance: float = 2.0
    sample: int = 8
    backstep: float = 0.5
    calm: float = CALM
    lease: float = 60.0

    def __post_init__(self) -> None:
        if checks.number("tolerance", self.tolerance) < 1:
            raise ValueError(f"tolerance must be at least 1, not {self.tolerance!r}")
        checks.count("sample", self.sample)
        checks.number("backstep", self.backstep)
        checks.number("calm", self.calm, finite=False)
        checks.positive("lease", self.lease, finite=False)

    def begin(self, now: float, attempt: int, trouble: float, limits: LeadLimits) -> SlowStart:
        """Start one stay in HALF_OPEN (called by the circuit)."""
        return SlowStart(self, now, attempt, trouble, limits)

    def attempt_after(self, attempt: int, closed: float, opened: float) -> int:
        """Start counting anew: it closes only when the dependency was well (by the circuit)."""
        return 1


class SlowStart:
    """One stay in HALF_OPEN under ``slow_start``."""

    def __init__(
        self, settings: slow_start, now: float, attempt: int, trouble: float, limits: LeadLimits
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._trouble = trouble
        self.attempt = attempt
        self.asking = True
        self.window = 1.0  # calls in flight allowed
        self.lead = limits.lead - 1  # one bad answer too many opens it at once
        self._lead_since = now
        self._led_throughout = self.lead > 0
        self._ask_at = now

        self._first: float | None = None  # when the first good answer came
        self._quiet = 0.0
        self._last_rejected = now
        self._wanted = True  # calls were rejected in this round: a wider window has a use
        self._round = 1  # answers that end it
        self._ended = 0

        self._sample: list[float] = []
        self._mean = self._slowest = 0.0
        self._alone: list[float] = []  # slow answers in a row that came alone: not our load

    @property
    def next_attempt(self) -> int:
        return self.attempt + 1 if self._first is None else 1

    @property
    def ask_at(self) -> float | None:
        return self._ask_at if self._first is None else None

    def hear(self, until: float) -> None:
        self._ask_at = until

    def has_place(self, in_flight: int, now: float) -> bool:
        return in_flight < self.window or (self._first is None and now >= self._ask_at)

    def admit(self, in_flight: int, now: float) -> bool:
        if in_flight < self.window:
            return True
        if self.has_place(in_flight, now):  # the probe hangs: ask again, as after an opening
            self.attempt += 1
            self.asking = True
            return True
        self._wanted = True
        self._last_rejected = now
        return False

    def good(
        self, seconds: float | None, window: float | None, in_flight: int, now: float
    ) -> Cause | None:
        if self._first is None:
            self._first = now
            self._quiet = min(self._settings.calm, now - self._trouble)
        self.lead -= self.lead > 0
        self._led_throughout = self._led_throughout and self.lead > 0
        # Asked before: the answer that completes the yardstick is held to it as well.
        most = float(self._settings.sample) if self._is_measuring else math.inf
        if seconds is None or self._is_fast(seconds, window == 1.0, now - self._first):
            self._widen(seconds or 0.0, most)
        else:
            self.window = max(1.0, self.window - self._settings.backstep)
        return self._end(in_flight, now)

    def bad(self, in_flight: int, now: float) -> Cause | None:
        if self._first is None:
            return Cause.PROBE_FAILED
        if not self.lead:
            self._lead_since = now
        self.lead += 1
        return Cause.PROBE_FAILED if self._leads_too_long(now) else self._end(in_flight, now)

    def quiet(self, now: float) -> float:
        return self._quiet

    def _leads_too_long(self, now: float) -> bool:
        lead, sustain, burst, _ = self._limits
        return self.lead >= lead and (
            now - self._lead_since >= sustain or self.lead >= burst or self._led_throughout
        )

    @property
    def _is_measuring(self) -> bool:
        return len(self._sample) < self._settings.sample

    def _is_fast(self, seconds: float, alone: bool, answered_for: float) -> bool:
        if self._is_measuring:
            self._take_sample([*self._sample, seconds])
            return True
        limit = max(self._settings.tolerance * self._mean, self._slowest)
        if seconds <= limit or answered_for > self._settings.calm:
            self._alone = []
            return True
        # Alone in flight and still slow is not our load: the yardstick was wrong.
        self._alone = [*self._alone, seconds] if alone else []
        if len(self._alone) == self._settings.sample:
            self._take_sample(self._alone)
            self._alone = []
        return False

    def _take_sample(self, sample: list[float]) -> None:
        self._sample = sample
        self._mean, self._slowest = sum(sample) / len(sample), max(sample)

    def _widen(self, seconds: float, most: float) -> None:
        if not self._wanted:
            return
        # By 1 per answer the window doubles per round trip; where a call takes
        # longer than a second, by as much as it would have doubled per second.
        wider = 2.0 ** min(seconds, LONGEST) - 1.0 if seconds > 1.0 else 1.0
        self.window = min(most, self.window + wider)

    def _end(self, in_flight: int, now: float) -> Cause | None:
        self._ended += 1
        if self._ended < self._round:
            return None
        if not self.lead and now - self._last_rejected >= self._quiet:
            return Cause.RECOVERED
        self._wanted = False
        self._round, self._ended = max(1, in_flight), 0
        return None


Recovery = probing | slow_start
"""How HALF_OPEN admits calls and when it closes: one of these two."""
