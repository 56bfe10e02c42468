"""The tables: what is bold, what is said of ours, and the spread between seeds."""

from __future__ import annotations

import pytest

from benchmarks.lab.columns import Column, Table, number
from benchmarks.lab.experiments import Cell, Run, experiments, measure, runs, scenario_of
from benchmarks.lab.markdown import markdown
from benchmarks.lab.reporting import report
from benchmarks.lab.systems import NONE, OURS, SYSTEMS
from benchmarks.lab.tables import tables
from benchmarks.lab.working import Figure, Key, summary

CELL = Cell(1, 10.0)
COLUMN = Column("lost", "hard", CELL, "lost")
TABLE = Table("a", "A title", "Some words.", [COLUMN])


def results(*, spread: float = 0.0, **means: float | None) -> dict[Key, Figure]:
    return {
        Key("hard", CELL, system.replace("_", " "), "lost"): Figure(mean, spread, 3)
        for system, mean in means.items()
    }


def row(text: str, system: str) -> str:
    return next(line for line in text.splitlines() if line.strip("| *").startswith(system))


def test_the_best_breaker_is_bold() -> None:
    """
    To have no breaker is no achievement, to never open is no figure.
    """
    found = results(no_breaker=0.0, asyncbreaker=1.234, pybreaker=44.5, Polly=None)
    text = markdown(TABLE, found)

    assert row(text, NONE) == "| no breaker | 0.00 |"
    assert row(text, OURS) == "| **asyncbreaker** | **1.23** |"
    assert row(text, "pybreaker") == "| pybreaker | 44.5 |"
    assert row(text, "Polly") == "| Polly | never |"
    assert row(text, "Hystrix") == "| Hystrix |  |"
    assert "behind" not in text


def test_where_ours_is_behind_it_is_said() -> None:
    text = markdown(TABLE, results(asyncbreaker=5.0, pybreaker=44.5, Hystrix=0.4))

    assert "behind a peer:* lost (5.00 against 0.40, Hystrix)." in text


def test_behind_by_less_than_the_spread_is_not_behind() -> None:
    assert "behind" not in markdown(TABLE, results(spread=5.0, asyncbreaker=5.0, Hystrix=0.4))


def test_higher_may_be_better() -> None:
    column = Column("goodput", "hard", CELL, "lost", better=1, per_cent=True)
    table = Table("a", "A title", "Some words.", [column])
    text = markdown(table, results(asyncbreaker=0.5, pybreaker=0.1, Polly=0.75))

    assert row(text, "Polly") == "| Polly | **75%** |"
    assert "goodput (50% against 75%, Polly)" in text


def test_where_less_is_no_better_the_harmless_are_equals() -> None:
    """
    To send less than can be served is no merit.
    """
    column = Column("peak", "hard", CELL, "lost", harmless=1.0)
    table = Table("a", "A title", "Some words.", [column])
    text = markdown(table, results(asyncbreaker=0.65, Finagle=0.5, Polly=3.0))

    assert row(text, OURS) == "| **asyncbreaker** | **0.65** |"
    assert row(text, "Finagle") == "| Finagle | **0.50** |"
    assert row(text, "Polly") == "| Polly | 3.00 |"
    assert "behind" not in text


def test_what_was_not_measured_is_left_out() -> None:
    assert markdown(TABLE, {}) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (-0.004, "0.00"), (0.567, "0.57"), (12.34, "12.3"), (12345.6, "12,346")],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_spread_is_that_between_seeds_alone() -> None:
    """
    That two outages of different length cost differently is no spread.
    """
    done = {
        Run("hard", OURS, CELL, variant, seed): {"lost": 10.0 * variant + seed}
        for variant in (0, 1)
        for seed in (1, 3)
    }
    figure = summary(done)[Key("hard", CELL, OURS, "lost")]

    assert figure == Figure(mean=7.0, spread=1.0, runs=4)


def test_what_never_happened_has_no_mean() -> None:
    done = {Run("dead", OURS, CELL, 0, 1): {"detection": None}}

    assert summary(done)[Key("dead", CELL, OURS, "detection")] == Figure(None, 0.0, 0)


def test_every_column_is_measured() -> None:
    """
    No table asks for what no experiment gives.
    """
    listed = experiments(quick=False)
    made = {(run.experiment, run.cell) for run in runs(quick=False, seed=1)}
    for table in tables():
        for column in table.columns:
            assert (column.experiment, column.cell) in made
            assert column.experiment in listed


def test_nothing_but_the_named_fleets_is_beyond_2000_calls_a_second() -> None:
    large = {
        str(run.cell)
        for run in runs(quick=False, seed=1)
        if run.cell.clients * run.cell.rate > 2000
    }

    assert large == {"4096 x 1/s"}


@pytest.mark.parametrize("name", experiments(quick=True))
def test_every_experiment_runs(name: str) -> None:
    """
    One small run of each with ours; its figures are those that the tables show.
    """
    run = Run(name, OURS, Cell(1, 2.0), 0, 1)
    figures = measure(run, quick=True)

    assert scenario_of(run, quick=True).seconds > 0
    wanted = {
        column.figure for table in tables() for column in table.columns if column.experiment == name
    }
    assert wanted <= set(figures)


def test_the_report_names_every_peer_and_its_pages() -> None:
    text = report(results(asyncbreaker=1.0), calls=10**6, seconds=61.0, quick=True, seed=1)

    assert "1 million calls in 1 min 1 s" in text
    for name in SYSTEMS:
        assert name in text
    assert text.count("Defaults from <https://") >= 11
