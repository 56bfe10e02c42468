"""The verdict and the table: what is said of figures, whatever they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asyncbreaker._lab.configurations import CLASSIC, DEFAULTS, NONE, Configuration, Setup
from asyncbreaker._lab.table import Row, columns, legend, table
from asyncbreaker._lab.trial import Figures
from asyncbreaker._lab.verdict import verdict
from asyncbreaker._lab.words import amount

YOURS = Configuration("yours", "CircuitBreaker(backoff=5)", Setup(backoff=5))
EVEN = Figures(
    opens_after=0.4,
    opened=1.0,
    wasted=20.0,
    sent=60.0,
    answered=0.2,
    full_after=1.0,
    full_always=True,
    lost=1.0,
    peak=0.9,
    sunk=3.0,
    sunk_share=0.05,
    false_before=0,
    false_quiet=0,
    quiet_sent=100_000,
    quiet_calls=100_000,
)
SENT_ALL = replace(EVEN, opens_after=None, wasted=3000.0, sent=3000.0, lost=0.0, sunk_share=0.5)


def rows(
    yours: Figures, defaults: Figures = EVEN, classic: Figures = EVEN, none: Figures = SENT_ALL
) -> list[Row]:
    return [(YOURS, yours), (DEFAULTS, defaults), (CLASSIC, classic), (NONE, none)]


@pytest.mark.parametrize(
    ("yours", "weak"),
    [
        (replace(EVEN, lost=44.0), "loses 44 s of full load after the outage (defaults: 1 s)"),
        (
            replace(EVEN, false_quiet=30),
            "opens 300 times per million calls sent while all is well (defaults: not once)",
        ),
        (
            replace(EVEN, sunk=60.4, sunk_share=0.9),
            "keeps callers waiting for 60 s in calls that fail (defaults: 3 s)",
        ),
        (
            replace(EVEN, peak=4.04),
            "sends 4.0 times what the returning dependency can take (defaults: 0.9)",
        ),
        (replace(EVEN, wasted=300.0), "sends 300 calls in the outage before it opens"),
        (
            replace(EVEN, wasted=3000.0, opens_after=None, sent=None),
            "never opens, and sends 3,000 calls in the outage (defaults: 20)",
        ),
        (
            replace(EVEN, sent=3000.0),
            "sends 3,000 calls a minute in the rest of the outage (defaults: 60)",
        ),
    ],
    ids=["lost", "false", "sunk", "peak", "wasted", "never", "sent"],
)
def test_the_weak_point_is_where_another_does_better(yours: Figures, weak: str) -> None:
    """
    Each aspect can be the weak point; what has no strong point is told so.
    """
    said = verdict(rows(yours), partly_well=False)

    assert f"The weak point of yours: it {weak}" in said
    assert said.endswith('The row "defaults" is clearly worse at nothing.') or yours.sent is None


def test_what_the_better_row_does_worse_is_told() -> None:
    """
    A weak point is rarely all there is to it.
    """
    classic = replace(EVEN, sent=0.3, lost=24.0)
    said = verdict(rows(EVEN, EVEN, classic), partly_well=False)

    assert (
        "The weak point of yours: it sends 60 calls a minute in the rest of the outage "
        "(classic: 0.3). Its strong point: it loses 1 s of full load after the outage "
        "(classic: 24 s)."
    ) == said


def test_yours_may_be_the_best() -> None:
    """
    Then there is no weak point, only a strong one.
    """
    worse = replace(EVEN, sent=None, false_quiet=40)
    said = verdict(rows(EVEN, worse, worse), partly_well=False)

    assert "At nothing is another breaker clearly better than yours." in said
    assert said.endswith(
        "it opens not once in 100,000 calls while all is well (defaults: 400 per million)."
    )


def test_all_may_be_alike() -> None:
    """
    Then nothing is made up.
    """
    said = verdict(rows(EVEN), partly_well=False)

    assert "At nothing is another breaker clearly better than yours." == said


def test_no_breaker_at_all_may_be_better() -> None:
    """
    A breaker that throws away the good half of the answers is told so.
    """
    none = replace(SENT_ALL, answered=0.6)
    said = verdict(rows(EVEN, none=none), partly_well=True)

    assert "it answers 20 % of the calls during the outage (no breaker: 60 %)" in said
    assert "Its strong point: it keeps callers waiting for 3 s" in said


def test_how_many_opened_is_told_where_some_did_not() -> None:
    """
    The mean of those that opened is not taken for all.
    """
    some = replace(EVEN, opens_after=62.0, opened=0.8)
    none = replace(EVEN, opens_after=None, opened=0.0)
    lines = table(rows(some, none), columns(100_000, partly_well=False), 100).splitlines()

    assert lines[2].startswith("yours       62 (80%)      20 ")
    assert lines[3].startswith("defaults       never      20 ")


def test_never_to_be_well_again_is_told() -> None:
    """
    What was not seen is not made into a figure.
    """
    shown = columns(100_000, partly_well=True)
    never = replace(EVEN, full_always=False, full_after=120.0, sent=None)
    unknown = replace(EVEN, full_after=None, false_before=2, false_quiet=1)
    lines = table(rows(never, unknown), shown, 100).splitlines()

    assert [
        "            opens   calls   sent  sunk  answ-   full  lost  peak  false      per",
        "            after  wasted   /min     s   ered  after     s  load  opens  million",
        "yours         0.4      20      -     3    20%   >120     1   0.9      0     none",
        "defaults      0.4      20     60     3    20%      -     1   0.9      2       10",
        "classic       0.4      20     60     3    20%      1     1   0.9      0     none",
        "no breaker      -   3,000  3,000     3    20%      1     0   0.9      -        -",
    ] == lines


def test_a_narrow_table_stands_on_end() -> None:
    """
    Where the columns have no room, each configuration has its own lines.
    """
    lines = table(rows(EVEN), columns(100_000, partly_well=False), 40).splitlines()

    assert ["yours", "  opens after        0.4", "  calls wasted        20"] == lines[:3]
    assert 4 * 10 == len(lines)
    assert max(map(len, lines)) <= 40


@pytest.mark.parametrize("width", [40, 59, 60, 80, 100])
def test_every_column_is_explained(width: int) -> None:
    """
    The legend names each column, in lines that fit.
    """
    shown = columns(100_000, partly_well=True)
    text = legend(shown, width)

    assert max(map(len, text.splitlines())) <= width
    for column in shown:
        assert f"\n{column.name} " in f"\n{text}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.004, "0.00"),
        (0.04, "0.04"),
        (0.0949, "0.09"),
        (0.095, "0.1"),
        (0.4, "0.4"),
        (4.0, "4"),
        (4.24, "4.2"),
        (9.94, "9.9"),
        (9.96, "10"),
        (42.4, "42"),
        (4200.4, "4,200"),
    ],
)
def test_amounts(value: float, text: str) -> None:
    """
    A figure is as exact as it deserves.
    """
    assert text == amount(value)
