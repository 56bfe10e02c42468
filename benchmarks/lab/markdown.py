"""A table as Markdown: a row per system, and a line on where ours is behind."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from benchmarks.lab.columns import ABSENT, NEVER, Column, Table
from benchmarks.lab.systems import NONE, OURS, SLOW, SYSTEMS
from benchmarks.lab.working import Figure, Results


def markdown(table: Table, results: Results) -> str:
    """Return a table as text, with the line on where ours is behind; empty if nothing is known."""
    columns = [
        column
        for column in table.columns
        if any(column.of(results, system) is not None for system in SYSTEMS)
    ]
    if not columns:
        return ""
    best = {column: _best(column, results) for column in columns}
    lines = [
        f"### {table.title}",
        "",
        table.text,
        "",
        f"| | {' | '.join(column.head for column in columns)} |",
        f"|---|{'---:|' * len(columns)}",
        *(_row(system, columns, best, results) for system in SYSTEMS),
        "",
        *_behind(columns, results),
    ]
    return "\n".join(lines) + "\n"


def _best(column: Column, results: Results) -> Figure | None:
    """Return the best figure of a breaker; to have none is no achievement."""
    figures = [column.of(results, system) for system in SYSTEMS if system != NONE]
    return max(figures, key=column.rank)


def _row(
    system: str, columns: Sequence[Column], best: dict[Column, Figure | None], results: Results
) -> str:
    cells: list[str] = []
    for column in columns:
        figure = column.of(results, system)
        text, is_best = column.shown(figure), _equals(column, figure, best[column])
        bold = is_best and system != NONE and text not in (ABSENT, NEVER)
        cells.append(f"**{text}**" if bold else text)
    name = f"**{system}**" if system in (OURS, SLOW) else system
    return f"| {name} | {' | '.join(cells)} |"


def _equals(column: Column, figure: Figure | None, best: Figure | None) -> bool:
    """Tell whether it is as good as the best, as far as is shown."""
    return column.rank(figure) >= column.rank(best) or column.shown(figure) == column.shown(best)


def _behind(columns: Sequence[Column], results: Results) -> Iterator[str]:
    """Say where a peer is better than our defaults by more than twice the standard error.

    Of what ran once no error is known: there any difference counts.
    """
    found: list[str] = []
    for column in columns:
        ours = column.of(results, OURS)
        peers = {
            system: figure
            for system in SYSTEMS
            if system not in (NONE, OURS, SLOW)
            and (figure := column.of(results, system)) is not None
        }
        if ours is None or not peers:
            continue
        name, best = max(peers.items(), key=lambda peer: column.rank(peer[1]))
        gap = column.rank(best) - column.rank(ours)
        if gap > 2 * math.hypot(ours.error, best.error) and column.shown(ours) != column.shown(
            best
        ):
            found.append(
                f"{column.head} ({column.shown(ours)} against {column.shown(best)}, {name})"
            )
    if found:
        yield f"*Where the defaults are behind a peer:* {'; '.join(found)}."
        yield ""
