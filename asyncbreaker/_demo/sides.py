"""The two sides of the comparison: each makes its calls and keeps what became of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum

from asyncbreaker import CircuitBreaker, CircuitOpenError, StateChanged
from asyncbreaker._demo.client import Fetch


class End(StrEnum):
    """What became of a call."""

    RUNNING = "running"
    ANSWERED = "answered"
    FAILED = "failed"
    REJECTED = "rejected"  # by the breaker: it was not sent


@dataclass(slots=True)
class Call:
    """One call of one caller; dates by the breaker's clock."""

    began: float
    end: End = End.RUNNING
    seconds: float = 0.0

    @property
    def sent(self) -> bool:
        """Whether the service was asked."""
        return self.end is not End.REJECTED


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

    async def call(self, fetch: Fetch) -> None:
        """Ask the service once, through the breaker if there is one."""
        call = Call(time.monotonic())
        self.calls.append(call)
        try:
            if self.breaker is None:
                await fetch(self.path)
            else:
                await self.breaker.call(fetch, self.path)
        except CircuitOpenError:
            call.end = End.REJECTED
        except Exception:
            call.end = End.FAILED
        else:
            call.end = End.ANSWERED
        call.seconds = time.monotonic() - call.began

    def count(self, end: End) -> int:
        """How many calls have come to this end."""
        return sum(call.end is end for call in self.calls)

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
