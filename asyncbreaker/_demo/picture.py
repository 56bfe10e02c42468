"""The demo in a terminal: a picture of both sides, drawn anew ten times a second."""

from __future__ import annotations

import anyio
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from asyncbreaker._demo.lines import said
from asyncbreaker._demo.modes import Ends
from asyncbreaker._demo.run import Run
from asyncbreaker._demo.sides import ANSWERS, End, Side
from asyncbreaker._demo.words import MEANING, milliseconds

REDRAW = 0.1  # seconds
STATE_COLOURS = {"closed": "green", "half-open": "yellow", "open": "red"}
SLOTS = 40  # of the history
LEVELS = "▁▂▃▄▅▆▇█"  # no caller answered ... every one
PLAIN_LEVELS = "_.,:-=+#"  # where the terminal speaks no Unicode
MOVES = 3  # the last ones are shown


async def watch(run: Run, console: Console) -> None:
    """Draw until the run is over; the last picture stays."""
    levels = LEVELS if console.encoding.startswith("utf") else PLAIN_LEVELS
    # Drawn by this task: a thread of rich's own would read the calls while they change.
    with Live(console=console, auto_refresh=False) as live:
        while not run.over:
            live.update(picture(run, levels), refresh=True)
            await anyio.sleep(REDRAW)
        live.update(picture(run, levels), refresh=True)


def picture(run: Run, levels: str = LEVELS) -> RenderableType:
    """Draw everything at this moment."""
    done = min(run.elapsed, run.script.seconds)
    phase = Text.assemble(
        "  service: ", (run.phase.value, "bold"), f" ({MEANING[run.phase]})", no_wrap=True
    )
    progress = Table.grid(padding=(0, 1))
    progress.add_row("", ProgressBar(run.script.seconds, done, width=60), f"{done:4.1f} s")
    return Group(phase, progress, figures(run), *histories(run, levels), moves(run))


def figures(run: Run) -> Table:
    """Draw the figures of both sides, so far."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("so far", width=24)
    for heading in run.mode.names:
        table.add_column(heading, justify="right", width=18)
    sides = (run.without, run.guarded)
    state = (Text(side.state, STATE_COLOURS.get(side.state, "")) for side in sides)
    table.add_row("state", *state)
    table.add_row("calls sent", *(str(len(side.sends)) for side in sides))
    for word, ends in run.mode.ends.items():
        table.add_row(word, *(str(side.count(*ends)) for side in sides))
    table.add_row("waiting now", *(str(side.count(End.RUNNING)) for side in sides))
    table.add_row("latency, last second", *(milliseconds(side.recent_wait()) for side in sides))
    return table


def histories(run: Run, levels: str) -> list[Text]:
    """Draw for both sides which share of the callers was answered, from left to right."""
    drawn = [
        Text(f"    {word:<8} {history(run, side, levels, ends)}", no_wrap=True)
        for side, shares in zip((run.without, run.guarded), run.mode.histories, strict=True)
        for word, ends in shares.items()
    ]
    return [Text("  callers answered"), *drawn]


def history(run: Run, side: Side, levels: str, ends: Ends = ANSWERS) -> str:
    """One character per slot of time; a blank one where no call has ended."""
    called, answered = [0] * SLOTS, [0] * SLOTS
    for call in side.calls:
        if call.end is not End.RUNNING:
            slot = min(SLOTS - 1, int((call.began - run.began) / run.script.seconds * SLOTS))
            called[slot] += 1
            answered[slot] += call.end in ends
    return "".join(
        levels[good * (len(levels) - 1) // every] if every else " "
        for good, every in zip(answered, called, strict=True)
    )


def moves(run: Run) -> Text:
    """Draw the last moves of the breaker; always as many lines, so that nothing jumps."""
    last = [f"{move.at - run.began:5.1f}s breaker: {said(move)}" for move in run.guarded.moves]
    lines = last[-MOVES:]
    return Text("\n".join(["", *lines, *[""] * (MOVES - len(lines))]))
