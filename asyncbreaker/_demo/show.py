"""Plays the demo and shows it: a live picture in a terminal, else lines, then the table."""

from __future__ import annotations

from contextlib import suppress

import anyio
from rich.console import Console

from asyncbreaker._demo import lines, picture
from asyncbreaker._demo.closing import conclude
from asyncbreaker._demo.modes import BREAKER, PIPELINE, Mode
from asyncbreaker._demo.process import ServerError
from asyncbreaker._demo.run import Run, service
from asyncbreaker._demo.script import FAST, FULL, Script

__all__ = ["ServerError", "perform", "show", "show_full"]


class Output(Console):
    """Our stdout. When its reader has left (``| head``) that is an error like any other."""

    def on_broken_pipe(self) -> None:
        """Raise what the event loop can pass on, which SystemExit in a task is not."""
        with suppress(SystemExit):
            super().on_broken_pipe()
        raise BrokenPipeError


async def show(fast: bool, port: int) -> None:
    """Show the whole demo on stdout."""
    await perform(FAST if fast else FULL, port, Output())


async def show_full(fast: bool, port: int) -> None:
    """Show on stdout how a pipeline answers its callers (``--full``)."""
    await perform(FAST if fast else FULL, port, Output(), PIPELINE)


async def perform(script: Script, port: int, console: Console, mode: Mode = BREAKER) -> None:
    """Play *script* against a server of its own, and show it on *console*."""
    run = Run(script, mode)
    watch = picture.watch if console.is_terminal else lines.watch
    async with service(script, port) as (fetch, control), anyio.create_task_group() as tasks:
        opening = mode.opening.format(timeout=script.timeout)
        console.print(opening, markup=False, highlight=False, width=78)
        tasks.start_soon(watch, run, console)
        await run.play(fetch, control)
    conclude(run, console)
