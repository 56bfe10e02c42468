"""The lab's picture: what one configuration did, over time, in strips of characters."""

from __future__ import annotations

from array import array
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from asyncbreaker import State, StateChanged
from asyncbreaker._lab.engine import Record
from asyncbreaker._lab.words import amount, paragraph

LEVELS = "▁▂▃▄▅▆▇█"  # up to the figure that stands beside the strip; blank: nothing at all
PLAIN_LEVELS = "_.,:-=+#"  # where the terminal speaks no Unicode
LEFT = 20  # characters before a strip
MARKS = {State.CLOSED: ".", State.OPEN: "O", State.HALF_OPEN: "h"}


def picture(
    record: Record, moves: Sequence[Sequence[StateChanged]], *, width: int, levels: str = LEVELS
) -> str:
    """Draw the strips over one time axis, *width* characters wide in all."""
    bins = max(1, round(record.scenario.seconds * record.per_second))
    edges = _edges(bins, width - LEFT)
    strips = {"load": record.calls, "admitted": record.sent, "failed": record.failed}
    lines = [
        _bars(name, _rates(record, counted, edges), levels) for name, counted in strips.items()
    ]
    lines.append(f"{'state':<{LEFT}}{''.join(_states(moves, _times(record, edges)))}")
    words = (paragraph(text, width) for text in _explained(record, edges, levels))
    return "\n".join((*lines, *_axis(record, edges), *words))


def _edges(bins: int, columns: int) -> list[int]:
    """Return the bins at which columns begin, and the end of the last."""
    columns = max(1, min(columns, bins))  # a column shows one bin at least
    return [bins * column // columns for column in range(columns + 1)]


def _rates(record: Record, counted: array[int], edges: Sequence[int]) -> list[float]:
    """Return the calls per second of each column."""
    columns = pairwise(edges)
    return [sum(counted[begin:end]) / (end - begin) * record.per_second for begin, end in columns]


def _times(record: Record, edges: Sequence[int]) -> list[float]:
    return [edge / record.per_second for edge in edges]


def _bars(name: str, rates: Sequence[float], levels: str) -> str:
    top = max(rates)
    scale = f"to {amount(top)}/s" if top else "none"
    return f"{name:<9}{scale:<{LEFT - 9}}{''.join(_bar(rate, top, levels) for rate in rates)}"


def _bar(rate: float, top: float, levels: str) -> str:
    # Whatever is not nothing is seen: one probe in a minute too.
    return levels[min(len(levels) - 1, int(rate / top * len(levels)))] if rate else " "


def _states(moves: Sequence[Sequence[StateChanged]], ends: Sequence[float]) -> Iterator[str]:
    """Yield the state in which most clients were for most of each column."""
    spent = [dict.fromkeys(MARKS, 0.0) for _ in ends[1:]]
    for each in moves:
        _add(each, ends, spent)
    for seconds in spent:
        yield MARKS[max(seconds, key=seconds.__getitem__)]


def _add(
    moves: Iterable[StateChanged], ends: Sequence[float], spent: list[dict[State, float]]
) -> None:
    """Add for how long one client was in which state, column by column."""
    column, since = 0, 0.0
    for state, until in _stays(moves, ends[-1]):
        while column < len(spent) and since < until:
            end = min(until, ends[column + 1])
            spent[column][state] += end - since
            since = end
            column += end == ends[column + 1]


def _stays(moves: Iterable[StateChanged], end: float) -> Iterator[tuple[State, float]]:
    """Yield each state of a client, and until when it was in it."""
    state = State.CLOSED
    for move in moves:
        yield state, move.at
        state = move.new
    yield state, end


def _axis(record: Record, edges: Sequence[int]) -> Iterator[str]:
    """Yield the time axis, with the outage marked on it."""
    axis = ["-"] * (len(edges) - 1)
    for mark, column in _marks(record, edges).items():
        axis[column] = mark
    yield f"{'time':<{LEFT}}{''.join(axis)}"
    end = f"{record.scenario.seconds:g} s"
    yield f"{'':<{LEFT}}0{end.rjust(len(axis) - 1)}"


def _marks(record: Record, edges: Sequence[int]) -> dict[str, int]:
    """Return the columns in which the outage begins and ends, by their marks."""
    scenario = record.scenario
    begins, ends = (
        _column(at * record.per_second, edges) for at in (scenario.before, scenario.ends)
    )
    return {"B": begins, "E": ends} if begins != ends else {"X": begins}


def _column(place: float, edges: Sequence[int]) -> int:
    """Return the column in which a bin lies."""
    return bisect(edges, min(round(place), edges[-1] - 1)) - 1


def _explained(record: Record, edges: Sequence[int], levels: str) -> Iterator[str]:
    scenario, column = record.scenario, record.scenario.seconds / (len(edges) - 1)
    whose, most = (" of all clients", " of most clients") if record.clients > 1 else ("", "")
    begins, *ends = _marks(record, edges)
    yield (
        f"{begins}: the outage begins, at {scenario.before:g} s. {''.join(ends) or begins}: it "
        f"ends, at {scenario.ends:g} s. A column is {amount(column)} s."
    )
    yield (
        f"Bars are calls per second{whose}: {levels[-1]} the figure on the left, "
        f"{levels[0]} very few, blank none."
    )
    states = ", ".join(f"{mark} {state.replace('_', '-')}" for state, mark in MARKS.items())
    yield f"State{most}: {states}."
