"""Trip rules: when to open.

A rule is any callable ``Counts -> bool``; ``|`` and ``&`` combine ours with each
other and with plain functions. It is asked after each bad call while the circuit
is closed. In a combination each rule sees its own window; a plain function sees
``LastSeconds(30)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from asyncbreaker._core import checks
from asyncbreaker._core.rules import Combination, LeadLimits, TripRule, leaves
from asyncbreaker._core.windows import CallWindow, Counts, TimeWindow, Window

__all__ = [
    "Counts",
    "LastCalls",
    "LastSeconds",
    "TripRule",
    "consecutive_failures",
    "failure_count",
    "failure_lead",
    "failure_rate",
    "slow_rate",
]


SHORTEST_BUCKET = 1e-6  # seconds; a date is no longer told from the next in a far shorter one


@dataclass(frozen=True, slots=True)
class LastSeconds:
    """The calls of the last *seconds*, in *buckets* that leave one at a time.

    It covers between *seconds* less one bucket and *seconds*. Memory is bounded by
    the buckets, time per call is constant. A bucket is a microsecond at least.
    """

    seconds: float
    buckets: int = 10

    def __post_init__(self) -> None:
        checks.positive("seconds", self.seconds)
        if self.seconds / checks.count("buckets", self.buckets) < SHORTEST_BUCKET:
            raise ValueError(
                f"seconds must be at least a microsecond for each of the {self.buckets} buckets, "
                f"not {self.seconds!r}"
            )

    def start(self) -> Window:
        """Return an empty running window (called by the circuit)."""
        return TimeWindow(self.seconds, self.buckets)

    def refit(self, window: Window, now: float) -> bool:
        """Bring a running window to this size, if it is of this kind (called by the circuit)."""
        if not isinstance(window, TimeWindow):
            return False
        window.resize(self.seconds, self.buckets, now)
        return True


@dataclass(frozen=True, slots=True)
class LastCalls:
    """The last *size* calls that ended. Memory is bounded by *size*, one byte per call."""

    size: int

    def __post_init__(self) -> None:
        checks.count("size", self.size)

    def start(self) -> Window:
        """Return an empty running window (called by the circuit)."""
        return CallWindow(self.size)

    def refit(self, window: Window, now: float) -> bool:
        """Bring a running window to this size, if it is of this kind (called by the circuit)."""
        if not isinstance(window, CallWindow):
            return False
        window.resize(self.size)
        return True


class Rule:
    """What our rules share: ``|`` and ``&``."""

    __slots__ = ()

    sees_slow: ClassVar[bool] = True
    """Whether slow calls can make it say yes."""

    def __call__(self, counts: Counts, /) -> bool:
        """Tell whether to open now."""
        raise NotImplementedError

    def __or__(self, other: TripRule, /) -> AnyOf:
        return AnyOf((self, other))

    def __ror__(self, other: TripRule, /) -> AnyOf:
        return AnyOf((other, self))

    def __and__(self, other: TripRule, /) -> AllOf:
        return AllOf((self, other))

    def __rand__(self, other: TripRule, /) -> AllOf:
        return AllOf((other, self))


@dataclass(frozen=True, slots=True)
class AnyOf(Combination, Rule):
    """Open when one of the parts says so: made by ``|``."""

    combine = staticmethod(any)

    def __post_init__(self) -> None:
        check_rule("trip", *self.parts)

    def __repr__(self) -> str:
        return " | ".join(f"({p!r})" if isinstance(p, AllOf) else repr(p) for p in self.parts)


@dataclass(frozen=True, slots=True)
class AllOf(Combination, Rule):
    """Open when all of the parts say so: made by ``&``."""

    combine = staticmethod(all)

    def __post_init__(self) -> None:
        check_rule("trip", *self.parts)

    def __repr__(self) -> str:
        return " & ".join(f"({p!r})" if isinstance(p, AnyOf) else repr(p) for p in self.parts)


def check_rule(name: str, *rules: object) -> None:
    """Refuse what is no rule."""
    for rule in rules:
        if isinstance(rule, type):
            raise TypeError(f"{name} must be a rule, not the class {rule!r}: call it")
        checks.function(name, rule)


def blind_to_slow(rule: TripRule) -> bool:
    """Tell whether no slow call can make *rule* say yes."""
    return not any(getattr(leaf, "sees_slow", True) for leaf in leaves(rule))


def _check_window(window: object, *, at_least: int, name: str) -> None:
    if not isinstance(window, (LastSeconds, LastCalls)):
        raise TypeError(f"window must be LastSeconds(...) or LastCalls(...), not {window!r}")
    if isinstance(window, LastCalls) and at_least > window.size:
        raise ValueError(
            f"{name} must be at most the window's size ({window.size}), not {at_least!r}: "
            "it would never open"
        )


@dataclass(frozen=True, slots=True)
class failure_lead(Rule):
    """Open when the bad calls lead the good ones by *lead*, and have led for a while.

    The lead is a CUSUM test (Page 1954) with equal steps: a bad call (a failure, or
    a slow one) adds 1, a good one takes 1 away, never below 0. Its drift is ``2p - 1``
    per call for a share *p* of bad ones: it runs away only where more than half of the
    calls are bad, whatever the traffic, and there is nothing to tune.

    Opens when ``lead >= 5 and (led for 1 s or longer, or lead >= 20)``: a dead service
    opens it after 5 to 20 bad calls; one error in ten opens it about once in 100,000
    calls at one call a second, and more rarely above. Five failures at one instant do
    not open it: in a test, use ``consecutive_failures(5)``.

    Args:
        lead: By how many calls the bad ones must lead.
        sustain: Seconds for which they must have led; so a glitch of milliseconds at
            a high rate does not open.
        burst: A lead that opens at once; so a second of failures at a high rate does
            not cost them all. At least *lead*.
        forget: A bad call that comes so many seconds after the last one starts the
            lead anew, at 1.

    Raises:
        TypeError, ValueError: A value is of the wrong type or out of range.
    """

    lead: int = 5
    sustain: float = field(default=1.0, kw_only=True)
    burst: int = field(default=20, kw_only=True)
    forget: float = field(default=600.0, kw_only=True)

    window: ClassVar[None] = None

    def __post_init__(self) -> None:
        checks.count("lead", self.lead)
        checks.number("sustain", self.sustain, finite=False)
        if checks.count("burst", self.burst) < self.lead:
            raise ValueError(f"burst must be at least lead ({self.lead}), not {self.burst!r}")
        checks.positive("forget", self.forget, finite=False)

    @property
    def limits(self) -> LeadLimits:
        """The same numbers, for the circuit and for ``slow_start``."""
        return LeadLimits(self.lead, self.sustain, self.burst, self.forget)

    def __call__(self, counts: Counts, /) -> bool:
        return counts.lead >= self.lead and (
            counts.lead_seconds >= self.sustain or counts.lead >= self.burst
        )


@dataclass(frozen=True, slots=True)
class consecutive_failures(Rule):
    """Open after *count* failures in a row. Slow calls are not seen.

    Simple to reason about, but a share *p* of failures opens it once in about
    ``1 / p**count`` calls, at any rate: 20 % of errors once in 4,000.
    """

    count: int = 5

    window: ClassVar[None] = None
    sees_slow: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checks.count("count", self.count)

    def __call__(self, counts: Counts, /) -> bool:
        return counts.consecutive_failures >= self.count


@dataclass(frozen=True, slots=True)
class failure_rate(Rule):
    """Open when *threshold* of the calls in the window or more are failures.

    Args:
        threshold: Failures per call, above 0, at most 1.
        minimum: Calls that must be in the window; below it never opens. At most the
            size of a ``LastCalls``.
        window: ``LastSeconds(...)`` or ``LastCalls(...)``.
    """

    threshold: float = 0.5
    minimum: int = field(default=20, kw_only=True)
    window: LastSeconds | LastCalls = field(default=LastSeconds(30), kw_only=True)

    sees_slow: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checks.ratio("threshold", self.threshold)
        _check_window(self.window, at_least=checks.count("minimum", self.minimum), name="minimum")

    def __call__(self, counts: Counts, /) -> bool:
        return counts.calls >= self.minimum and counts.failure_rate >= self.threshold


@dataclass(frozen=True, slots=True)
class failure_count(Rule):
    """Open when *count* calls in the window or more are failures."""

    count: int
    window: LastSeconds | LastCalls = field(kw_only=True)

    sees_slow: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_window(self.window, at_least=checks.count("count", self.count), name="count")

    def __call__(self, counts: Counts, /) -> bool:
        return counts.failures >= self.count


@dataclass(frozen=True, slots=True)
class slow_rate(Rule):
    """Open when *threshold* of the calls in the window or more are slow; needs ``slow=``.

    Args:
        threshold: Slow calls per call, above 0, at most 1.
        minimum: Calls that must be in the window; below it never opens. At most the
            size of a ``LastCalls``.
        window: ``LastSeconds(...)`` or ``LastCalls(...)``.
    """

    threshold: float = 0.5
    minimum: int = field(default=20, kw_only=True)
    window: LastSeconds | LastCalls = field(default=LastSeconds(30), kw_only=True)

    def __post_init__(self) -> None:
        checks.ratio("threshold", self.threshold)
        _check_window(self.window, at_least=checks.count("minimum", self.minimum), name="minimum")

    def __call__(self, counts: Counts, /) -> bool:
        return counts.calls >= self.minimum and counts.slow_rate >= self.threshold
