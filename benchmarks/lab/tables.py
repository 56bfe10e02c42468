"""Which tables there are, and what each shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from benchmarks.lab.columns import Column, Table
from benchmarks.lab.experiments import (
    ALONE,
    EVERYWHERE,
    FLEET,
    LARGE_FLEET,
    LARGE_SLEEPY_FLEET,
    Cell,
)


def tables() -> list[Table]:
    """Return all tables in their order; the README shows the first."""
    return [_glance(), *_returns(), *_dead(), *_false(), *_living()]


def _glance() -> Table:
    text = (
        "Lost, peak and relapses: after outages of 10 to 300 s, when the whole capacity is there "
        "at once (H), or a tenth of it that grows in 60 s (C): seconds of the whole load, multiple "
        "of the capacity, openings per client. Opens, sent: a dead dependency, seconds until it "
        "opens and calls per minute from then on. Sunk: caller-seconds in 300 s of hanging. "
        "False: openings per million calls at 20 % errors. Share of calls answered: while half of "
        "them fail (partial), while answers take 20 times as long (brown-out), and in the up time "
        "of a dependency that goes up and down every 5 s (flapping). Overload: goodput at 1.2 "
        "times the capacity, of what can be served."
    )
    alone, one = Cell(1, 1000.0), Cell(1, 1.0)
    columns = [
        Column("lost H 1 x 1000/s", "hard", alone, "lost"),
        Column("lost H 4096 x 1/s", "hard", LARGE_FLEET, "lost"),
        Column("lost C 64 x 10/s", "cold", FLEET, "lost"),
        Column("lost C 4096 x 1/s", "cold", LARGE_FLEET, "lost"),
        Column("peak C 64 x 10/s", "cold", FLEET, "peak", harmless=1.0),
        Column("relapses C 1 x 1000/s", "cold", alone, "relapses"),
        Column("opens 1 x 10/s", "dead", Cell(1, 10.0), "detection"),
        Column("sent 1 x 1000/s", "dead", alone, "sent per minute"),
        Column("sunk 1 x 100/s", "hanging", Cell(1, 100.0), "sunk"),
        Column("false 1 x 1/s", "background 0.2", one, "openings"),
        Column("partial 64 x 10/s", "partial", FLEET, "goodput", 1, True),
        Column("brown-out 64 x 10/s", "brown-out", FLEET, "goodput", 1, True),
        Column("flapping 64 x 10/s", "flapping", FLEET, "up", 1, True),
        Column("overload 64 x 10/s", "overload", FLEET, "of possible", 1, True),
    ]
    return Table("glance", "At a glance", text, columns)


def _columns(
    experiments: Iterable[tuple[str, str]],
    cells: Iterable[Cell],
    figure: str,
    *,
    better: int = -1,
    per_cent: bool = False,
    harmless: float | None = None,
) -> list[Column]:
    make = partial(Column, figure=figure, better=better, per_cent=per_cent, harmless=harmless)
    cells = list(cells)
    return [
        make(f"{label}{cell}".strip(), experiment, cell)
        for experiment, label in experiments
        for cell in cells
    ]


FLEETS = (Cell(1, 1000.0), FLEET, LARGE_FLEET, LARGE_SLEEPY_FLEET)
RETURNS = (("hard", "H "), ("cold", "C "))
H_AND_C = (
    "Outages of 10 to 300 s (in a quick run of about 10 and 75 s), then the whole capacity at once "
    "(H), or a tenth of it that grows to the whole in 60 s (C). "
)


def _returns() -> Iterator[Table]:
    yield Table(
        "lost",
        "Goodput lost after the dependency is back",
        H_AND_C + "Seconds of the whole load.",
        _columns(RETURNS, FLEETS, "lost"),
    )
    yield Table(
        "lost-alone",
        "Goodput lost after the dependency is back, one client",
        H_AND_C + "Seconds of the whole load.",
        _columns(RETURNS, ALONE, "lost"),
    )
    yield Table(
        "peak",
        "Peak load after the return, as a multiple of the capacity at that time",
        H_AND_C + "The busiest second.",
        _columns(RETURNS, FLEETS, "peak", harmless=1.0),
    )
    yield Table(
        "relapses",
        "Relapses: it had closed, and opened again after the return",
        H_AND_C + "Per client and outage.",
        _columns(RETURNS, FLEETS, "relapses"),
    )
    yield Table(
        "setbacks",
        "Setbacks: it opened out of half-open after the return",
        H_AND_C
        + "Per client and outage. Under slow start a part of coming back, elsewhere a probe "
        "that failed.",
        _columns(RETURNS, FLEETS, "setbacks"),
    )
    yield Table(
        "other-returns",
        "Other returns: goodput lost",
        "The first answers after the outage are 50 times too fast (Q); half of the answers take "
        "2 ms and half 200 ms (L). Seconds of the whole load.",
        _columns(
            (("quick answers", "Q "), ("two latencies", "L ")),
            (Cell(1, 10.0), Cell(1, 1000.0), FLEET),
            "lost",
        ),
    )


def _dead() -> Iterator[Table]:
    dead, cells = (("dead", ""),), (*ALONE, FLEET)
    yield Table(
        "detection",
        "A dead dependency: seconds until it opens",
        "Every call is refused at once.",
        _columns(dead, cells, "detection"),
    )
    yield Table(
        "wasted",
        "A dead dependency: calls sent until it opens",
        "Per client, in 300 s. Where it never opens these are all calls. At 1000 calls/s some 50 "
        "calls are in flight when it dies, and their good answers still come in.",
        _columns(dead, cells, "wasted"),
    )
    yield Table(
        "sent",
        "A dead dependency: calls sent per minute, once it has opened",
        "Per client, in 300 s.",
        _columns(dead, cells, "sent per minute"),
    )
    hanging = (("hanging", ""),)
    yield Table(
        "hanging",
        "A hanging dependency: caller-seconds sunk",
        "Nothing is answered for 300 s, callers give up after 10 s. The sum of the seconds that "
        "callers waited for nothing, per client.",
        _columns(hanging, cells, "sunk"),
    )
    yield Table(
        "hanging-detection",
        "A hanging dependency: seconds until it opens",
        "The same outage.",
        _columns(hanging, cells, "detection"),
    )


SHARES = (0.001, 0.01, 0.05, 0.2)


def _false() -> Iterator[Table]:
    for share in SHARES:
        yield Table(
            f"false-{share:g}",
            f"False openings per million calls sent, at {share:.1%} background errors",
            "One client, a million calls (in a quick run 50,000). Openings out of CLOSED: an "
            "opening again belongs to the same false alarm. For 10 calls/s the dependency serves "
            "17 a second, and its queue is half a second long now and then: that is what slow=0.5 "
            "sees there.",
            _columns(((f"background {share:g}", ""),), ALONE, "openings"),
        )
    yield Table(
        "false-rejected",
        "False alarms: calls rejected per million although nothing was wrong",
        "At 5 % and 20 % background errors. One client, a million calls (in a quick run 50,000).",
        _columns((("background 0.05", "5 %, "), ("background 0.2", "20 %, ")), ALONE, "rejected"),
    )


def _living() -> Iterator[Table]:
    cells = EVERYWHERE
    for name, title in (
        ("partial", "A partial outage, in which half of the calls fail: share of calls answered"),
        ("brown-out", "A brown-out, answers take 20 times as long: share of calls answered"),
    ):
        columns = _columns(((name, ""),), cells, "goodput", better=1, per_cent=True)
        yield Table(name, title, "While it lasts.", columns)
    yield Table(
        "overload",
        "Overload, 1.2 times the capacity for 80 s: goodput, of what could be served",
        "Without a breaker every answer comes too late. A client with one call a second or less "
        "overloads nobody: every dependency here can serve 10.",
        _columns((("overload", ""),), cells, "of possible", better=1, per_cent=True),
    )
    yield Table(
        "storm",
        "Retries that keep an overload alive: seconds of the whole load lost, of 98",
        "Three tries per call, utilisation 0.75; the capacity falls to a fifth for 10 s.",
        _columns((("storm", ""),), (*ALONE, FLEET, Cell(1000, 1.0)), "lost"),
    )
    yield Table(
        "flapping",
        "Flapping, 5 s down and 5 s up: share answered of the up time, and sent in the down time",
        "Twelve times in a row.",
        [
            *_columns((("flapping", "up "),), cells, "up", better=1, per_cent=True),
            *_columns((("flapping", "down "),), cells, "down", per_cent=True),
        ],
    )
    yield Table(
        "blips",
        "Interruptions of 0.03 s and 0.3 s: what they cost",
        "Seconds of the whole load, the interruption itself included.",
        _columns((("blip 0.03", "0.03 s, "), ("blip 0.3", "0.3 s, ")), cells, "lost"),
    )
