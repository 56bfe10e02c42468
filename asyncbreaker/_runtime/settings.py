"""What a breaker is told to do: the constructor's and ``configure``'s parameters, checked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypedDict

from asyncbreaker._core import checks
from asyncbreaker._runtime.matching import Matcher, check_matcher
from asyncbreaker._runtime.telling import check_listener
from asyncbreaker.backoff import Backoff, check_backoff
from asyncbreaker.events import Listener
from asyncbreaker.recovery import Recovery, probing, slow_start
from asyncbreaker.trip import TripRule, blind_to_slow, check_rule

HealthCheck = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Settings:
    """See ``CircuitBreaker``, which documents each of them."""

    trip: TripRule
    backoff: Backoff | float
    recovery: Recovery
    fail_on: Matcher
    succeed_on: Matcher
    fail_on_result: Callable[[Any], bool] | None
    slow: float | None
    health_check: HealthCheck | None
    shadow: bool
    listeners: Iterable[Listener]

    def __post_init__(self) -> None:
        check_rule("trip", self.trip)
        check_backoff("backoff", self.backoff)
        wanted = "slow_start(...) or probing(...)"
        checks.instance("recovery", self.recovery, (slow_start, probing), wanted)
        check_matcher("fail_on", self.fail_on)
        check_matcher("succeed_on", self.succeed_on)
        if self.fail_on_result is not None:
            checks.function("fail_on_result", self.fail_on_result)
        self._check_slow()
        if self.health_check is not None and not callable(self.health_check):
            raise TypeError(f"health_check must be callable, not {self.health_check!r}")
        checks.instance("shadow", self.shadow, bool, "True or False")
        object.__setattr__(self, "listeners", _listeners(self.listeners))

    def _check_slow(self) -> None:
        if self.slow is None:
            return
        checks.positive("slow", self.slow)
        if blind_to_slow(self.trip):
            raise ValueError(
                f"slow={self.slow!r} has no effect with trip={self.trip!r}, which sees no slow "
                "calls: use failure_lead(), or add slow_rate() with |"
            )


def _listeners(listeners: Iterable[Listener]) -> tuple[Listener, ...]:
    checks.instance("listeners", listeners, Iterable, "an iterable of functions")
    checked = tuple(listeners)
    for listener in checked:
        check_listener("listeners", listener)
    return checked


class Changes(TypedDict, total=False):
    """What ``configure`` takes; the same names, meanings and checks as the constructor."""

    trip: TripRule
    backoff: Backoff | float
    recovery: Recovery
    fail_on: Matcher
    succeed_on: Matcher
    fail_on_result: Callable[[Any], bool] | None
    slow: float | None
    health_check: HealthCheck | None
    shadow: bool
    listeners: Iterable[Listener]
