"""The guarded side of ``--full``: who looks is answered in any case, who buys is told the truth."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from asyncbreaker import (
    CircuitBreaker,
    Fallback,
    LastGood,
    Pipeline,
    RejectedError,
    Retry,
    RetryBudget,
    Timeout,
    answer_age,
    constant,
    full_jitter,
)
from asyncbreaker._demo.client import Fetch, load_http
from asyncbreaker._demo.questions import LOOK
from asyncbreaker._demo.script import Script
from asyncbreaker._demo.sides import Call, End, Side, inventory

NOT_KNOWN = "not known now"

# Shares of the time that a caller has: two tries and the pause between them fill it.
TRY = 0.45
PAUSE = 0.1


def looking(breaker: CircuitBreaker, patience: float) -> Pipeline[str]:
    """Return what answers a caller within *patience* seconds: fresh, from memory or made up."""
    failures = (OSError, load_http().HTTPError)  # a TimeoutError is an OSError, too
    outage = (RejectedError, *failures)
    return Pipeline(
        Fallback(value=NOT_KNOWN, on=outage),
        # Of a call only the path is the same next time, not the function: it is the key.
        LastGood(key=str, on=outage),
        Retry(
            2,
            on=failures,
            backoff=full_jitter(constant(PAUSE * patience)),
            budget=RetryBudget(0.1, floor=1.0),
        ),
        breaker,
        Timeout(TRY * patience),
    )


@dataclass(slots=True)
class Asking(Call):
    """One call through a pipeline, which may send it several times or not at all."""

    tries: list[float] = field(default_factory=list[float])

    @property
    def sends(self) -> list[float]:
        """When the service was asked."""
        return self.tries


class AnsweringSide(Side):
    """Looking goes through a pipeline, buying through the same breaker alone.

    A sale is never made up and never tried twice: it succeeds, or ends in a clear error.
    """

    def __init__(self, script: Script) -> None:
        breaker = inventory(script)
        super().__init__("/with", breaker)
        self._breaker = breaker
        self._looking = looking(breaker, script.timeout)

    def begin(self) -> Asking:
        """Return a call that begins now."""
        return Asking(time.monotonic())

    async def ask(self, call: Call, fetch: Fetch, path: str) -> End:
        """Ask the service; return which kind of answer there was."""

        async def send(path: str) -> object:
            call.sends.append(time.monotonic())
            return await fetch(path)

        if f"/{LOOK}/" not in path:
            await self._breaker.call(send, path)
            return End.ANSWERED
        answer = await self._looking.call(send, path)
        call.age = answer_age()
        if answer is NOT_KNOWN:
            return End.SUBSTITUTED
        return End.ANSWERED if call.age is None else End.CACHED
