"""Plays the script: the same calls for both sides, while the service falls ill and recovers."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio

from asyncbreaker._demo.client import Fetch, http_client
from asyncbreaker._demo.modes import BREAKER, Mode
from asyncbreaker._demo.process import ServerError, running_server
from asyncbreaker._demo.script import Phase, Script
from asyncbreaker._demo.sides import Side

PATIENCE = 10.0  # seconds that a change of phase may take on a busy machine


class Run:
    """One run of the script, to be looked at while it lasts and afterwards."""

    def __init__(self, script: Script, mode: Mode = BREAKER) -> None:
        self.script = script
        self.mode = mode
        self.without = Side("/without")
        self.guarded = mode.guarded(script)
        self.phase = Phase.HEALTHY
        self.began = 0.0
        self.phases: dict[Phase, float] = {}
        """When each phase began, once the service has confirmed it."""
        self.over = False

    @property
    def elapsed(self) -> float:
        """Seconds since it began, 0 before."""
        return time.monotonic() - self.began if self.began else 0.0

    async def play(self, fetch: Fetch, control: Fetch) -> None:
        """Play the whole script; returns when the last call has ended."""
        self.began = time.monotonic()
        questions = self.mode.questions()
        async with anyio.create_task_group() as calls:
            calls.start_soon(self._change_phases, control)
            async for _ in self._arrivals():
                # Neither side waits for the other, nor a caller for the one before.
                question = next(questions)
                calls.start_soon(self.without.call, fetch, question)
                calls.start_soon(self.guarded.call, fetch, question)
        self.over = True

    async def _change_phases(self, control: Fetch) -> None:
        due = self.began
        for phase, seconds in self.script.phases:
            await sleep_until(due)
            try:
                await control(f"/phase/{phase}")
            except Exception as error:
                raise ServerError(f"the server does not obey: {error!r}") from error
            self.phase, self.phases[phase] = phase, time.monotonic()
            due += seconds

    async def _arrivals(self) -> AsyncIterator[None]:
        """Yield at each moment at which somebody calls: at random, but the same in every run."""
        chance = random.Random(2007)
        due = self.began
        while due < self.began + self.script.seconds:
            await sleep_until(due)
            yield
            due += chance.expovariate(self.script.rate)


@asynccontextmanager
async def service(script: Script, port: int = 0) -> AsyncGenerator[tuple[Fetch, Fetch], None]:
    """Have the service running; yield what asks it, and what tells it to be well or ill."""
    async with (
        running_server(port, script.warming) as url,
        http_client(url, script.timeout) as fetch,
        http_client(url, PATIENCE) as control,
    ):
        yield fetch, control


async def sleep_until(when: float) -> None:
    """Wait; at once when it is late."""
    await anyio.sleep(max(0.0, when - time.monotonic()))
