"""The plots, as SVG: dots per system, and the course of one outage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from asyncbreaker._lab import measures, scenarios
from asyncbreaker._lab.engine import Record
from benchmarks.lab.columns import Column, Table
from benchmarks.lab.experiments import FLEET, simulate
from benchmarks.lab.systems import NONE, OURS, SLOW, SYSTEMS
from benchmarks.lab.tables import tables
from benchmarks.lab.working import Results

mpl.use("svg")
mpl.rcParams.update(
    {
        "svg.hashsalt": "asyncbreaker",  # the same picture, the same file
        "svg.fonttype": "none",
        "font.size": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#e4e4e4",
        "axes.axisbelow": True,
    }
)

COLOURS = ("#4269d0", "#efb118", "#ff725c", "#3ca951", "#a463f2", "#6cc5b0", "#97bbf5", "#9c6b4e")
MARKERS = "osD^vPX*"
OURS_BAND = "#eef3ff"


@dataclass(frozen=True)
class Panel:
    """One chart: tables whose columns are drawn as dots."""

    table: str
    title: str
    axis: str
    log_from: float | None = 1.0
    """Logarithmic from there on, linear below; None: linear."""


PLOTS = {
    "return": (
        Panel("lost", "Goodput lost after the return", "seconds of the whole load", 0.1),
        Panel("peak", "Peak load after the return", "multiple of the capacity", None),
        Panel("relapses", "Had closed, and opened again", "relapses per client and outage", None),
    ),
    "dead": (
        Panel("detection", "Dead: until it opens", "seconds", 0.1),
        Panel("wasted", "Dead: calls sent until it opens", "calls"),
        Panel("sent", "Dead: calls sent once it has opened", "calls per minute"),
    ),
    "false": (
        Panel("false-0.001", "0.1 % errors", "false openings per million calls"),
        Panel("false-0.01", "1 % errors", "false openings per million calls"),
        Panel("false-0.05", "5 % errors", "false openings per million calls"),
        Panel("false-0.2", "20 % errors", "false openings per million calls"),
    ),
    "partial": (
        Panel("partial", "Half of the calls fail", "share answered", None),
        Panel("hanging", "Hanging for 300 s", "caller-seconds sunk"),
        Panel("storm", "Retries that feed an overload", "seconds of the whole load lost"),
    ),
}


def draw(results: Results, place: Path) -> None:
    """Write all plots into a folder."""
    by_name = {table.name: table for table in tables()}
    for name, panels in PLOTS.items():
        _dots([(panel, by_name[panel.table]) for panel in panels], results, place / f"{name}.svg")
    _course(place / "course.svg")


def _dots(panels: Sequence[tuple[Panel, Table]], results: Results, file: Path) -> None:
    canvas = Canvas(figsize=(3.4 * len(panels) + 1.2, 4.6), layout="constrained")
    axes = canvas.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (panel, table) in zip(axes, panels, strict=True):
        _panel(axis, panel, table.columns, results)
    _rows(axes[0])
    _save(canvas, file)


def _panel(axis: Axes, panel: Panel, columns: Sequence[Column], results: Results) -> None:
    for row, system in enumerate(SYSTEMS):
        if system in (OURS, SLOW):
            axis.axhspan(row - 0.5, row + 0.5, color=OURS_BAND)
    for number, column in enumerate(columns):
        rows, values = _values(column, results)
        height = 0.36 * (number / max(1, len(columns) - 1) - 0.5) * 2
        axis.scatter(
            values,
            [row + height for row in rows],
            s=14,
            color=COLOURS[number],
            marker=MARKERS[number],
            label=column.head,
        )
    axis.set_title(panel.title, fontsize=9, loc="left")
    axis.set_xlabel(panel.axis)
    if panel.log_from is not None:
        axis.set_xscale("symlog", linthresh=panel.log_from)
    axis.set_xlim(left=0)
    across = 2 if len(columns) > 6 else 3
    legend = axis.legend(fontsize=6.5, frameon=False, ncol=across, loc="upper center")
    legend.set_bbox_to_anchor((0.5, -0.13))


def _values(column: Column, results: Results) -> tuple[list[int], list[float]]:
    rows: list[int] = []
    values: list[float] = []
    for row, system in enumerate(SYSTEMS):
        figure = column.of(results, system)
        if figure is not None and figure.mean is not None:
            rows.append(row)
            values.append(max(0.0, figure.mean))
    return rows, values


def _rows(axis: Axes) -> None:
    axis.set_yticks(range(len(SYSTEMS)), list(SYSTEMS))
    axis.set_ylim(len(SYSTEMS) - 0.5, -0.5)


COURSE = (NONE, OURS, "pybreaker", "Hystrix")
SHOWN = 150.0  # seconds


def _course(file: Path) -> None:
    """Draw what is asked, sent and answered around one outage, system by system."""
    scenario = scenarios.cold_caches(40.0)
    canvas = Canvas(figsize=(9.6, 7.2), layout="constrained")
    axes = canvas.subplots(len(COURSE), 1, sharex=True, sharey=True)
    for axis, system in zip(axes, COURSE, strict=True):
        _one_course(axis, system, simulate(scenario, system, FLEET, 1))
    axes[0].legend(fontsize=7, frameon=False, loc="upper right", ncol=4)
    axes[-1].set_xlabel(
        "seconds; 64 clients with 10 calls/s each, an outage of 40 s, then cold caches"
    )
    _save(canvas, file)


def _one_course(axis: Axes, system: str, record: Record) -> None:
    scenario = record.scenario
    seconds = range(int(SHOWN))

    def per_second(of: Callable[[int], float]) -> list[float]:
        return [of(second) for second in seconds]

    def count(name: str) -> list[float]:
        bins = getattr(record, name)
        return per_second(lambda at: measures.total(record, bins, at, at + 1))

    capacity = per_second(lambda at: record.capacity * scenario.capacity_at(at + 0.5))
    axis.axvspan(scenario.before, scenario.ends, color="#f6e3e0", label="outage")
    axis.plot(seconds, capacity, color="#999999", lw=1, ls=":", label="capacity")
    axis.plot(seconds, count("sent"), color=COLOURS[2], lw=1, label="calls sent")
    axis.fill_between(seconds, count("good"), color=COLOURS[3], alpha=0.5, lw=0, label="answered")
    axis.set_title(system, fontsize=9, loc="left")
    axis.set_ylabel("calls/s")


def _save(canvas: Canvas, file: Path) -> None:
    canvas.savefig(file, metadata={"Date": None})
    # Spaces at the ends of lines are of no use to anybody.
    lines = file.read_text().splitlines()
    file.write_text("\n".join(line.rstrip() for line in lines) + "\n")
