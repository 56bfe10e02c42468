"""How the peers that wait longer each time do it."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.lab.peers.settings import Random

DOUBLINGS = 32  # enough to reach any maximum here, and no overflow


@dataclass(frozen=True, slots=True)
class linear:
    """*step*, twice, three times ... as long, up to *maximum*."""

    step: float
    maximum: float

    def __call__(self, attempt: int, random: Random, /) -> float:
        return min(self.step * (attempt + 1), self.maximum)


@dataclass(frozen=True, slots=True)
class lengthened:
    """Doubles from *initial* to *maximum*, and up to *ratio* of it is added by chance."""

    initial: float
    maximum: float
    ratio: float

    def __call__(self, attempt: int, random: Random, /) -> float:
        base = min(self.initial * 2.0 ** min(attempt, DOUBLINGS), self.maximum)
        return min(base + base * self.ratio * random(), self.maximum)


@dataclass(frozen=True, slots=True)
class equal_jittered:
    """*initial*; then half of a doubling time, and up to as much again by chance."""

    initial: float
    maximum: float

    def __call__(self, attempt: int, random: Random, /) -> float:
        if attempt == 0:
            return self.initial
        half = self.initial * 2.0 ** min(attempt - 1, DOUBLINGS)
        return min(half + half * random(), self.maximum)
