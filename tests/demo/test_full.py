"""``demo --full``: how a pipeline answers its callers beside a bare client."""

from __future__ import annotations

import io
import time
from collections import Counter
from itertools import islice

import pytest
import trio
from rich.console import Console

from asyncbreaker.__main__ import main
from asyncbreaker._demo import answers, lines, picture, show
from asyncbreaker._demo.answering import AnsweringSide
from asyncbreaker._demo.closing import conclude
from asyncbreaker._demo.findings import findings
from asyncbreaker._demo.modes import BREAKER, PIPELINE, Mode
from asyncbreaker._demo.questions import BUY, ITEMS, LOOK, questions
from asyncbreaker._demo.run import Run
from asyncbreaker._demo.script import FAST, FULL, Phase, Script
from asyncbreaker._demo.server import Connection, Service
from asyncbreaker._demo.show import perform
from asyncbreaker._demo.sides import ANSWERS, Call, End, Side

from .support import TINY

LOOKS, BUYS = f"/{LOOK}/7", f"/{BUY}/7"


async def answers_all(path: str) -> object:
    return path


async def fails(path: str) -> object:
    raise OSError(path)


def ends(side: Side) -> list[End]:
    return [call.end for call in side.calls]


def played() -> Run:
    """A run that is over, with a caller of each kind in the trouble and one after it."""
    run = Run(TINY, PIPELINE)
    run.began = 0.5
    run.phases = {Phase.HEALTHY: 0.5, Phase.SLOW: 1.0, Phase.DEAD: 2.0, Phase.RECOVERING: 3.0}
    kinds = (End.ANSWERED, End.CACHED, End.CACHED, End.SUBSTITUTED, End.FAILED, End.REJECTED)
    run.guarded.calls = [Call(2.5, end, 0.1) for end in kinds] + [Call(3.5, End.ANSWERED, 0.1)]
    run.guarded.calls[1].age, run.guarded.calls[2].age = 1.0, 4.0
    run.without.calls = [Call(2.5, End.FAILED, 0.3), Call(3.5, End.ANSWERED, 0.1)]
    return run


@pytest.mark.anyio
async def test_a_pipe_sees_every_way_to_be_answered() -> None:
    """
    The whole demo names in its lines and in its table what became of the callers.
    """
    output = io.StringIO()
    await perform(TINY, 0, Console(file=output, width=80), PIPELINE)

    told = output.getvalue()
    for words in ("bare client", "fresh cache subst error", "service: dead", "of these retries"):
        assert words in told
    assert "rejected (not sent)" not in told


@pytest.mark.anyio
async def test_who_looks_is_answered_fresh_then_from_memory_then_with_the_substitute() -> None:
    """
    Only what has been answered once is remembered, and it has an age.
    """
    side = AnsweringSide(TINY)
    await side.call(answers_all, LOOKS)
    await side.call(fails, LOOKS)
    await side.call(fails, f"/{LOOK}/8")

    assert [End.ANSWERED, End.CACHED, End.SUBSTITUTED] == ends(side)
    fresh, cached, substituted = (call.age for call in side.calls)
    assert (None, None) == (fresh, substituted)
    assert cached is not None


@pytest.mark.anyio
async def test_a_sale_is_never_made_up() -> None:
    """
    Who buys gets an error, though the same item was sold before and a look was remembered.
    """
    side = AnsweringSide(TINY)
    await side.call(answers_all, LOOKS)
    await side.call(answers_all, BUYS)
    await side.call(fails, LOOKS)
    await side.call(fails, BUYS)
    assert side.breaker is not None
    side.breaker.force_open()
    await side.call(answers_all, BUYS)

    _, sold, remembered, failed, rejected = side.calls
    assert (End.ANSWERED, End.CACHED) == (sold.end, remembered.end)
    assert (End.FAILED, End.REJECTED) == (failed.end, rejected.end)
    assert failed.age is rejected.age is None


@pytest.mark.anyio
async def test_every_try_counts_as_sent() -> None:
    """
    A look is tried twice, a sale once, and what the breaker rejects not at all.
    """
    side = AnsweringSide(TINY)
    await side.call(fails, LOOKS)
    await side.call(fails, BUYS)
    assert side.breaker is not None
    side.breaker.force_open()
    await side.call(fails, LOOKS)

    assert [2, 1, 0] == [len(call.sends) for call in side.calls]
    assert 3 == len(side.sends)


@pytest.mark.anyio
async def test_what_is_no_outage_is_not_hidden() -> None:
    """
    A mistake in the caller's own code is an error, not a reason for a substitute.
    """

    async def mistaken(path: str) -> object:
        raise KeyError(path)

    side = AnsweringSide(TINY)
    await side.call(mistaken, LOOKS)

    assert [End.FAILED] == ends(side)


def test_some_items_were_never_answered_when_the_trouble_begins() -> None:
    """
    Callers ask the same in every run, mostly for popular items; one in ten buys.
    """
    asked = [*islice(questions(), 2000)]
    verbs = Counter(question.split("/")[1] for question in asked)

    assert asked == [*islice(questions(), 2000)]
    assert {LOOK, BUY} == set(verbs)
    assert 150 < verbs[BUY] < 250
    before = {question for question in asked[:180] if LOOK in question}  # three seconds
    assert 20 < len(before) < ITEMS
    assert asked.count(f"/{LOOK}/0") > 10 * asked.count(f"/{LOOK}/{ITEMS - 1}")


@pytest.mark.parametrize("path", ["/with", "/with/look/7", "/without/buy/7"])
def test_what_is_below_a_side_reaches_its_backend(path: str) -> None:
    """
    Each side has one backend, whatever is asked of it.
    """
    service = Service(1.0)
    connection = Connection(service)
    service.take(path, connection)
    with_, without = ([*service.backends[side].served(1.0)] for side in ("with", "without"))

    asked, other = (without, with_) if "without" in path else (with_, without)
    assert ([connection.answer], []) == (asked, other)


def test_findings_of_a_pipeline() -> None:
    """
    The age is the median of what was remembered; errors and answers are told apart.
    """
    run = played()
    found = findings(run, run.guarded)

    assert (2, 2, 2.5, 1) == (found.answered, found.cached, found.age, found.substituted)
    assert (1, 1) == (found.failed, found.rejected)
    assert (1, 2, 1) == tuple(found.ends_in_trouble[end] for end in ANSWERS)


@pytest.mark.anyio
async def test_retries_are_found_and_wasted_when_the_service_was_dead() -> None:
    """
    Each try that was sent to the dead service is a wasted call.
    """
    run = played()
    run.guarded.calls = []
    await run.guarded.call(fails, LOOKS)
    (call,) = run.guarded.calls
    call.sends[:] = [1.9, 2.1]  # the second one when it was dead
    found = findings(run, run.guarded)

    assert (2, 1, 1) == (found.sent, found.retries, found.wasted)


def test_the_sentence_says_how_callers_were_answered() -> None:
    """
    Every number of the sentence is one of the trouble, and both sides are in it.
    """
    run = played()
    said = answers.sentence(findings(run, run.without), findings(run, run.guarded))

    assert "0 of 1 callers of the bare client were answered" in said
    assert "4 of 6 callers of the pipeline: 1 fresh, 2 from memory, 1 with the" in said
    assert "2 got an error" in said
    assert "more than this run with the bare client" in said


def test_the_table_has_the_age_where_there_is_one() -> None:
    """
    The bare client remembers nothing, so it has no age.
    """
    run, output = played(), io.StringIO()
    conclude(run, Console(file=output, width=80))

    (row,) = (line for line in output.getvalue().splitlines() if "from memory (m" in line)
    assert ["0", "2", "(2.5", "s)"] == row.split()[-4:]


@pytest.mark.parametrize("levels", [picture.LEVELS, picture.PLAIN_LEVELS])
def test_the_picture_fits_a_small_terminal(levels: str) -> None:
    """
    80 columns and 24 lines, the last one for the cursor.
    """
    output = io.StringIO()
    Console(file=output, width=80).print(picture.picture(played(), levels))
    drawn = output.getvalue().splitlines()

    assert len(drawn) < 24
    assert max(map(len, drawn)) <= 80
    for words in ("fresh", "cached", "substitute", "error", "bare client", "with a pipeline"):
        assert any(words in line for line in drawn)


def test_the_history_tells_answered_from_fresh() -> None:
    """
    Answers from memory count as answers, but not as fresh ones.
    """
    run = played()
    run.began = 2.5
    levels = "0123456"  # sixths: of six callers at that moment

    assert "4" == picture.history(run, run.guarded, levels)[0]
    assert "1" == picture.history(run, run.guarded, levels, (End.ANSWERED,))[0]


def bars(line: str) -> list[int]:
    return [at for at, letter in enumerate(line) if letter == "|"]


@pytest.mark.parametrize("mode", [BREAKER, PIPELINE], ids=["breaker", "pipeline"])
def test_lines_stand_in_their_columns(mode: Mode) -> None:
    """
    Head and figures have their bars one under the other, and fit 80 columns in the longest state.
    """
    run = Run(TINY, mode)
    run.began, run.phase = time.monotonic(), Phase.RECOVERING
    names, words = lines.head(mode).splitlines()
    line = lines.figures(run)

    assert bars(names) == bars(words) == bars(line)
    assert line.endswith(" closed")
    assert len(line.replace("closed", "half-open")) <= 80


def test_the_head_without_full() -> None:
    """
    The columns of the plain demo are made from its mode, too.
    """
    expected = """\
                  | without a breaker   | with a breaker
  time service    |    ok failed   wait |    ok failed rejected   wait state"""

    assert expected == lines.head(BREAKER)


@pytest.mark.anyio
@pytest.mark.parametrize(("fast", "script"), [(True, FAST), (False, FULL)], ids=["fast", "whole"])
async def test_full_goes_with_fast(
    fast: bool, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    ``--fast`` chooses the script, ``--full`` what guards the callers.
    """
    performed = list[tuple[Script, int, Mode]]()

    async def note(script: Script, port: int, console: Console, mode: Mode) -> None:
        performed.append((script, port, mode))

    monkeypatch.setattr(show, "perform", note)
    await show.show_full(fast, 8080)

    assert [(script, 8080, PIPELINE)] == performed


@pytest.mark.parametrize("loop", [[], ["--trio"]], ids=["asyncio", "trio"])
def test_full_goes_with_trio_and_port(loop: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The other options of the command hold for ``--full``, too.
    """
    shown = list[tuple[bool, int, bool]]()

    async def note(fast: bool, port: int) -> None:
        shown.append((fast, port, trio.lowlevel.in_trio_run()))

    monkeypatch.setattr(show, "show_full", note)

    assert 0 == main(["demo", "--full", "--fast", "--port", "8080", *loop])
    assert [(True, 8080, bool(loop))] == shown
