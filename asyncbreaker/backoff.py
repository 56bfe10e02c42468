"""Backoffs: for how long to stay open.

A backoff is any callable ``attempt -> seconds``, with attempts from 1: the n-th
opening in a row. It is asked once per opening, so that chance is drawn once and
kept. The wrappers at the end add chance, or an early end, to any other backoff.
"""

from __future__ import annotations

import math
import random as chance
from collections.abc import Callable
from dataclasses import dataclass, field

from asyncbreaker._core import checks

__all__ = [
    "Backoff",
    "Wait",
    "constant",
    "equal_jitter",
    "exponential",
    "full_jitter",
    "hasten",
    "linear",
    "spread",
]

Random = Callable[[], float]
"""A draw from 0 up to, not including, 1."""


@dataclass(frozen=True, slots=True)
class Wait:
    """An open time that may end early.

    It ends for the first call that comes after *rejections* calls have been turned
    away and *at_least* seconds have passed, and after *seconds* in any case. So a busy
    client asks soon, at a price of one call in *rejections*, and an idle one as the
    backoff says. Without *rejections* it never ends early.
    """

    seconds: float
    rejections: int | None = None
    at_least: float = 0.0

    def __post_init__(self) -> None:
        checks.number("seconds", self.seconds)
        if self.rejections is not None:
            checks.count("rejections", self.rejections)
        checks.number("at_least", self.at_least)


Backoff = Callable[[int], "float | Wait"]
"""``attempt -> seconds``, or a ``Wait``; attempts count from 1."""


def _attempt(attempt: int) -> int:
    if attempt < 1:
        raise ValueError(f"attempt counts from 1, not {attempt!r}")
    return attempt


@dataclass(frozen=True, slots=True)
class constant:
    """The same *seconds* at every attempt."""

    seconds: float

    def __post_init__(self) -> None:
        checks.number("seconds", self.seconds)

    def __call__(self, attempt: int, /) -> float:
        return self.seconds


@dataclass(frozen=True, slots=True)
class linear:
    """``initial + step * (attempt - 1)`` seconds, at most *maximum*."""

    initial: float
    step: float
    maximum: float

    def __post_init__(self) -> None:
        checks.number("initial", self.initial)
        checks.number("step", self.step)
        checks.number("maximum", self.maximum, finite=False)

    def __call__(self, attempt: int, /) -> float:
        return min(
            self.maximum, _grown(lambda: self.initial + float(self.step) * (_attempt(attempt) - 1))
        )


@dataclass(frozen=True, slots=True)
class exponential:
    """``initial * factor ** (attempt - 1)`` seconds, at most *maximum*.

    ``exponential(0.5, maximum=10.0)`` gives 0.5, 1, 2, 4, 8, 10, 10 ... No attempt is
    so high that it overflows.
    """

    initial: float
    factor: float = 2.0
    maximum: float = 60.0

    def __post_init__(self) -> None:
        checks.number("initial", self.initial)
        if checks.number("factor", self.factor) < 1:
            raise ValueError(f"factor must be at least 1, not {self.factor!r}")
        checks.number("maximum", self.maximum, finite=False)

    def __call__(self, attempt: int, /) -> float:
        if not self.initial:
            return 0.0
        factor = float(self.factor)  # the power of an int would be exact, and have no end
        return min(self.maximum, _grown(lambda: self.initial * factor ** (_attempt(attempt) - 1)))


def _grown(formula: Callable[[], float]) -> float:
    try:
        return formula()
    except OverflowError:
        return math.inf  # the maximum holds


@dataclass(frozen=True, slots=True)
class _Wrapper:
    """Another backoff, changed by a factor that is drawn anew for each figure."""

    backoff: Backoff | float
    random: Random = field(default=chance.random, kw_only=True)

    def __post_init__(self) -> None:
        check_backoff("backoff", self.backoff)
        checks.function("random", self.random)

    def _factor(self) -> float:
        raise NotImplementedError

    def __call__(self, attempt: int, /) -> float | Wait:
        wait = as_callable(self.backoff)(attempt)
        if isinstance(wait, Wait):
            return Wait(
                wait.seconds * self._factor(), wait.rejections, wait.at_least * self._factor()
            )
        return wait * self._factor()


@dataclass(frozen=True, slots=True)
class full_jitter(_Wrapper):
    """Between nothing and the whole of another backoff: times U(0, 1)."""

    def _factor(self) -> float:
        return self.random()


@dataclass(frozen=True, slots=True)
class equal_jitter(_Wrapper):
    """Between half and the whole of another backoff: times U(1/2, 1)."""

    def _factor(self) -> float:
        return 0.5 + self.random() / 2


@dataclass(frozen=True, slots=True)
class spread(_Wrapper):
    """Around another backoff: times U(1 - share, 1 + share). So it may pass a *maximum*.

    Circuits that opened at the same instant come back spread out, without waiting less
    on average.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        _Wrapper.__post_init__(self)
        checks.share("share", self.share)

    def _factor(self) -> float:
        return 1 - self.share + 2 * self.share * self.random()


@dataclass(frozen=True, slots=True)
class hasten:
    """Let another backoff end early, once enough calls have been turned away: see ``Wait``."""

    backoff: Backoff | float
    rejections: int = 50
    at_least: float = 1.0

    def __post_init__(self) -> None:
        check_backoff("backoff", self.backoff)
        checks.count("rejections", self.rejections)
        checks.number("at_least", self.at_least)

    def __call__(self, attempt: int, /) -> Wait:
        wait = as_callable(self.backoff)(attempt)
        seconds = wait.seconds if isinstance(wait, Wait) else wait
        return Wait(seconds, self.rejections, self.at_least)


def check_backoff(name: str, backoff: object) -> None:
    """Refuse what is neither a backoff nor a number of seconds."""
    if not callable(backoff):
        checks.number(name, backoff)
    elif isinstance(backoff, type):
        raise TypeError(f"{name} must be a backoff, not the class {backoff!r}: call it")
    else:
        checks.function(name, backoff)


def as_callable(backoff: Backoff | float) -> Backoff:
    """Return *backoff*, a plain number as ``constant``."""
    return backoff if callable(backoff) else constant(backoff)


def as_wait(wait: float | Wait) -> Wait:
    """Return *wait*, a plain number as one that never ends early; refuse what is neither."""
    return wait if isinstance(wait, Wait) else Wait(wait)


NOMINAL = exponential(0.5, maximum=10.0)
DEFAULT = spread(hasten(NOMINAL, rejections=50, at_least=1.0))
