"""The spelling of rules, backoffs and recoveries: what is read, and what is refused."""

from __future__ import annotations

import random

import pytest

from asyncbreaker import (
    LastCalls,
    LastSeconds,
    Wait,
    consecutive_failures,
    constant,
    equal_jitter,
    exponential,
    failure_count,
    failure_lead,
    failure_rate,
    full_jitter,
    hasten,
    linear,
    probing,
    slow_rate,
    slow_start,
    spread,
)
from asyncbreaker._lab.spelling import LONGEST, SpellingError, read, seeded
from asyncbreaker.backoff import DEFAULT

GOOD = [
    ("trip", "consecutive_failures(5)", consecutive_failures(5)),
    ("trip", " failure_lead( ) ", failure_lead()),
    ("trip", "failure_lead(3, sustain=0.5, burst=9)", failure_lead(3, sustain=0.5, burst=9)),
    (
        "trip",
        "failure_rate(0.5, minimum=20, window=LastSeconds(30)) | failure_lead()",
        failure_rate(0.5, minimum=20, window=LastSeconds(30)) | failure_lead(),
    ),
    (
        "trip",
        "failure_count(3, window=LastCalls(9)) & (slow_rate() | failure_lead())",
        failure_count(3, window=LastCalls(9)) & (slow_rate() | failure_lead()),
    ),
    ("backoff", "60", 60),
    ("backoff", "0.5", 0.5),
    ("backoff", "constant(3)", constant(3)),
    ("backoff", "linear(1, 2, maximum=9)", linear(1, 2, maximum=9)),
    (
        "backoff",
        "spread(exponential(0.5, maximum=10))",
        spread(exponential(0.5, maximum=10)),
    ),
    ("backoff", "hasten(full_jitter(4), rejections=9)", hasten(full_jitter(4), rejections=9)),
    ("backoff", "equal_jitter(constant(1))", equal_jitter(constant(1))),
    ("recovery", "probing(probes=2, successes=3)", probing(probes=2, successes=3)),
    ("recovery", "slow_start(sample=1000)", slow_start(sample=1000)),
]

UNKNOWN = "known: failure_lead, consecutive_failures, failure_rate, failure_count, slow_rate"
BAD = [
    ("trip", "consecutive_failure(5)", "did you mean consecutive_failures?"),
    ("trip", "os(1)", UNKNOWN),
    ("trip", "failure_lead", "failure_lead must be called: failure_lead(...)"),
    ("trip", "failure_lead()()", "not understood"),
    ("trip", "failure_lead().limits", "not understood"),
    ("trip", "__import__('os').system('true')", "not understood"),
    ("trip", "[failure_lead() for x in 'x']", "not understood"),
    ("trip", "lambda counts: True", "not understood"),
    ("trip", "(x := failure_lead())", "not understood"),
    ("trip", "failure_lead(*[5])", "'*[5]' is not understood"),
    ("trip", "failure_lead(**{})", "** is not understood"),
    ("trip", "failure_lead(5, 6)", "positional arguments"),
    ("trip", "failure_lead(nope=1)", "failure_lead() got an unexpected keyword argument 'nope'"),
    ("trip", "failure_lead(lead=1, lead=2)", "lead= is given twice"),
    ("trip", "failure_lead(5, burst=4)", "burst must be at least lead (5), not 4"),
    ("trip", "failure_lead(True)", "lead must be a whole number, not True"),
    ("trip", "failure_lead(-True)", "lead must be a whole number, not True"),
    ("trip", "failure_lead(-5)", "lead must be at least 1, not -5"),
    ("trip", "failure_lead(--5)", "not understood"),
    ("trip", "failure_lead(5.5)", "lead must be a whole number, not 5.5"),
    ("trip", "failure_lead('5')", "not understood"),
    ("trip", "failure_lead(None)", "not understood"),
    ("trip", "failure_lead(4 | 1)", "| and & join trip rules, not 4"),
    ("trip", "failure_lead() | 1", "| and & join trip rules, not 1"),
    ("trip", "failure_lead() ^ failure_lead()", "not understood"),
    ("trip", "failure_lead() or failure_lead()", "not understood"),
    ("trip", "5", "trip must be callable, not 5"),
    ("trip", "LastCalls(5)", "trip must be callable, not LastCalls(size=5)"),
    ("trip", "failure_rate(2)", "threshold must be between 0 and 1, not 2"),
    ("trip", "failure_rate(window=30)", "window must be LastSeconds(...) or LastCalls(...)"),
    ("trip", "failure_rate(minimum=20, window=LastCalls(10))", "it would never open"),
    ("trip", "failure_rate(window=LastCalls(10**12))", "'10 ** 12' is not understood"),
    ("trip", "failure_rate(window=LastCalls(1000001))", "size must be at most 1000000"),
    ("trip", "failure_rate(window=LastSeconds(1, 1001))", "buckets must be at most 1000"),
    ("trip", "failure_rate(window=LastSeconds(1e-9))", "seconds must be at least a microsecond"),
    ("trip", "spread(5)", UNKNOWN),
    ("trip", "", "not readable"),
    ("trip", "failure_lead(", "not readable"),
    ("trip", "failure_lead() | ", "not readable"),
    ("trip", "failure_lead()\nfailure_lead()", "not readable"),
    ("trip", "x = failure_lead()", "not readable"),
    ("trip", "\0", "not readable"),
    ("trip", "\udcff", "not readable"),
    ("trip", "1if 2else 3", "not understood"),
    ("trip", "failure_lead()" * 100, "longer than 500 characters"),
    ("backoff", "inf", "no 'inf' here"),
    ("backoff", "nan", "no 'nan' here"),
    ("backoff", "1e999", "numbers beyond 1e+15 are not understood"),
    ("backoff", "1" * 400, "numbers beyond 1e+15 are not understood"),
    ("backoff", "0x" + "f" * 400, "numbers beyond 1e+15 are not understood"),
    ("backoff", "-1", "backoff must be a finite number, at least 0, not -1"),
    ("backoff", "True", "backoff must be a number, not True"),
    ("backoff", "1j", "not understood"),
    ("backoff", "60*2", "'60 * 2' is not understood"),
    ("backoff", "spread(exponential(0.5), random=5)", "random= cannot be given"),
    ("backoff", "spread(exponential)", "exponential must be called"),
    ("backoff", "spread(5, share=2)", "share must be between 0 and 1, not 2"),
    ("backoff", "exponential()", "missing 1 required positional argument: 'initial'"),
    ("recovery", "5", "recovery must be slow_start(...) or probing(...), not 5"),
    ("recovery", "probe()", "did you mean probing?); known: slow_start, probing"),
    ("recovery", "probing(lease=0)", "lease must be above 0, not 0"),
    ("recovery", "slow_start(sample=1001)", "sample must be at most 1000"),
]


@pytest.mark.parametrize(("parameter", "text", "meaning"), GOOD, ids=lambda part: str(part)[:30])
def test_what_is_read(parameter: str, text: str, meaning: object) -> None:
    """
    A text means what it means to Python.
    """
    assert meaning == read(parameter, text).meaning


@pytest.mark.parametrize(("parameter", "text", "why"), BAD, ids=lambda part: str(part)[:30])
def test_what_is_refused(parameter: str, text: str, why: str) -> None:
    """
    One line says why, and quotes the text or its beginning.
    """
    with pytest.raises(SpellingError) as caught:
        read(parameter, text)

    message = str(caught.value)
    assert why in message
    assert message.startswith(repr(text[:40])[:-1])
    assert message.isprintable()


@pytest.mark.parametrize("brackets", ["(", "(-", "spread(", "[", "failure_lead(("])
@pytest.mark.parametrize("closed", [True, False])
def test_deep_nesting_is_refused(brackets: str, closed: bool) -> None:
    """
    What is too deep for the parser, or unclosed, is a refusal like any other.
    """
    many = LONGEST // (len(brackets) + brackets.count("(") + brackets.count("[")) - 1
    text = brackets * many + (")" * many if closed else "")

    with pytest.raises(SpellingError):
        read("trip", text)


@pytest.mark.parametrize("error", [RecursionError, MemoryError])
def test_a_parser_that_gives_up(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whatever a parser says to too deep a text, it is one line.
    """

    def parse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("ast.parse", parse)

    with pytest.raises(SpellingError, match=r"^'5': nested too deeply$"):
        read("backoff", "5")


def test_the_text_is_tidied() -> None:
    """
    What is shown is what was read.
    """
    spelled = read("trip", "  ( failure_rate(0.50,minimum = 9)|failure_lead( ) )")

    assert "failure_rate(0.5, minimum=9) | failure_lead()" == spelled.text


def test_chance_is_seeded_however_deep() -> None:
    """
    With the same seed the same waits are drawn, by every wrapper.
    """

    def waits(backoff: object) -> list[object]:
        made = seeded(backoff, random.Random(3).random)  # type: ignore[arg-type]
        assert callable(made)
        return [made(attempt) for attempt in range(1, 9)]

    for backoff in (DEFAULT, hasten(full_jitter(spread(5))), equal_jitter(exponential(1))):
        assert waits(backoff) == waits(backoff)
        assert len(set(map(str, waits(backoff)))) == 8
    assert isinstance(waits(DEFAULT)[0], Wait)


def test_without_chance_nothing_is_changed() -> None:
    """
    A number stays a number.
    """
    assert 60 == seeded(60, random.random)
    assert constant(60) == seeded(constant(60), random.random)
