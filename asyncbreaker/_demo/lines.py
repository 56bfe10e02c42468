"""The demo without a terminal: a plain line per second, phase and move of the breaker."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
from rich.console import Console

from asyncbreaker import StateChanged
from asyncbreaker._demo.run import Run
from asyncbreaker._demo.sides import End
from asyncbreaker._demo.words import MEANING, milliseconds

HEAD = """\
                  | without a breaker   | with a breaker
  time service    |    ok failed   wait |    ok failed rejected   wait state"""
LOOK = 0.1  # seconds between two looks


class Lines:
    """Says each thing once, when it has happened."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._phases = self._moves = self._seconds = 0  # told so far

    def new(self) -> Iterator[str]:
        """Yield the lines about what has happened since it was asked last."""
        run = self._run
        began = [*run.phases.items()][self._phases :]
        moved = run.guarded.moves[self._moves :]
        self._phases += len(began)
        self._moves += len(moved)
        news = [(at, f"service: {phase} ({MEANING[phase]})") for phase, at in began]
        news += [(move.at, f"breaker: {said(move)}") for move in moved]
        for at, what in sorted(news):
            yield f"{at - run.began:5.1f}s {what}"
        if run.elapsed >= self._seconds + 1:
            self._seconds = int(run.elapsed)
            yield figures(run)


def said(move: StateChanged) -> str:
    """Say how the breaker moved, and why."""
    return f"{move.old} -> {move.new} ({move.cause})".replace("_", "-")


def figures(run: Run) -> str:
    """Say in one line what has happened so far."""
    without, guarded = run.without, run.guarded
    return (
        f"{run.elapsed:5.1f}s {run.phase:<10} |"
        f" {without.count(End.ANSWERED):>5} {without.count(End.FAILED):>6}"
        f" {milliseconds(without.recent_wait()):>6} |"
        f" {guarded.count(End.ANSWERED):>5} {guarded.count(End.FAILED):>6}"
        f" {guarded.count(End.REJECTED):>8} {milliseconds(guarded.recent_wait()):>6}"
        f" {guarded.state}"
    )


async def watch(run: Run, console: Console) -> None:
    """Print lines until the run is over."""
    lines = Lines(run)
    say(console, HEAD)
    while not run.over:
        await anyio.sleep(LOOK)
        for line in lines.new():
            say(console, line)


def say(console: Console, text: str) -> None:
    """Print it as it is: no colours, no wrapping at the width of a terminal that is not there."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
