"""The demo without a terminal: a plain line per second, phase and move of the breaker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import anyio
from rich.console import Console

from asyncbreaker import StateChanged
from asyncbreaker._demo.modes import Ends, Mode
from asyncbreaker._demo.run import Run
from asyncbreaker._demo.sides import Side
from asyncbreaker._demo.words import MEANING, milliseconds

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


def head(mode: Mode) -> str:
    """Say what stands in the columns of :func:`figures`."""
    bare, guarded = (" ".join(columns) for columns in mode.columns)
    first, second = mode.names
    return (
        f"{'':18}| {first:<{len(bare) + 8}}| {second}\n"
        f"  time service    | {bare}   wait | {guarded}   wait state"
    )


def figures(run: Run) -> str:
    """Say in one line what has happened so far."""
    bare, guarded = run.mode.columns
    return (
        f"{run.elapsed:5.1f}s {run.phase:<10} | {counts(run.without, bare)} |"
        f" {counts(run.guarded, guarded)} {run.guarded.state}"
    )


def counts(side: Side, columns: Mapping[str, Ends]) -> str:
    """Count the ends of one side's calls, each in its column."""
    told = [f"{side.count(*ends):>{len(word)}}" for word, ends in columns.items()]
    return " ".join([*told, f"{milliseconds(side.recent_wait()):>6}"])


async def watch(run: Run, console: Console) -> None:
    """Print lines until the run is over."""
    lines = Lines(run)
    say(console, head(run.mode))
    while not run.over:
        await anyio.sleep(LOOK)
        for line in lines.new():
            say(console, line)


def say(console: Console, text: str) -> None:
    """Print it as it is: no colours, no wrapping at the width of a terminal that is not there."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
