"""The two sides of the comparison: each makes its calls and keeps what became of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum

from asyncbreaker import CircuitBreaker, CircuitOpenError, StateChanged
from asyncbreaker._demo.client import Fetch
from asyncbreaker._demo.script import Script


class End(StrEnum):
    """What became of a call."""

    RUNNING = "running"
    ANSWERED = "answered"  # by the service
    CACHED = "cached"  # by a pipeline, from memory
    SUBSTITUTED = "substituted"  # by a pipeline that had nothing better
    FAILED = "failed"
    REJECTED = "rejected"  # by the breaker: it was not sent


ANSWERS = (End.ANSWERED, End.CACHED, End.SUBSTITUTED)
ERRORS = (End.FAILED, End.REJECTED)


@dataclass(slots=True)
class Call:
    """One call of one caller; dates by the breaker's clock."""

    began: float
    end: End = End.RUNNING
    seconds: float = 0.0
    age: float | None = None
    """Seconds, of a remembered answer."""

    @property
    def sends(self) -> list[float]:
        """When the service was asked: at once, if at all."""
        return [] if self.end is End.REJECTED else [self.began]


@dataclass(slots=True)
class Side:
    """Everything that happens to the callers of one side."""

    path: str
    breaker: CircuitBreaker | None = None
    calls: list[Call] = field(default_factory=list[Call])
    moves: list[StateChanged] = field(default_factory=list[StateChanged])

    def __post_init__(self) -> None:
        if self.breaker is not None:
            self.breaker.add_listener(self.moves.append)

    async def call(self, fetch: Fetch, question: str = "") -> None:
        """Ask the service once, and keep what became of it."""
        call = self.begin()
        self.calls.append(call)
        try:
            call.end = await self.ask(call, fetch, self.path + question)
        except CircuitOpenError:
            call.end = End.REJECTED
        except Exception:
            call.end = End.FAILED
        call.seconds = time.monotonic() - call.began

    def begin(self) -> Call:
        """Return a call that begins now."""
        return Call(time.monotonic())

    async def ask(self, call: Call, fetch: Fetch, path: str) -> End:
        """Ask the service, through the breaker if there is one; return how it ended."""
        if self.breaker is None:
            await fetch(path)
        else:
            await self.breaker.call(fetch, path)
        return End.ANSWERED

    def count(self, *ends: End) -> int:
        """How many calls have come to one of these ends."""
        return sum(call.end in ends for call in self.calls)

    @property
    def sends(self) -> list[float]:
        """When the service was asked, over all calls."""
        return [at for call in self.calls for at in call.sends]

    @property
    def state(self) -> str:
        """In what state the breaker is; "-" without one."""
        return "-" if self.breaker is None else self.breaker.state.value.replace("_", "-")

    def recent_wait(self) -> float | None:
        """Mean seconds that callers waited whose call ended in the last second; None: nobody."""
        now = time.monotonic()
        recent = [
            call.seconds
            for call in self.calls
            if call.end is not End.RUNNING and call.began + call.seconds > now - 1.0
        ]
        return sum(recent) / len(recent) if recent else None


def inventory(script: Script) -> CircuitBreaker:
    """Return the breaker of a guarded side."""
    return CircuitBreaker("inventory", slow=script.slow)


def guarded(script: Script) -> Side:
    """Return the side that has a breaker and nothing else."""
    return Side("/with", inventory(script))
