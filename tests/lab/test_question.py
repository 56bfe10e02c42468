"""The question: the numbers of the command line as scenarios, configurations and words."""

from __future__ import annotations

import argparse
import inspect
from dataclasses import replace
from typing import NoReturn

import pytest

from asyncbreaker import CircuitBreaker, constant, failure_lead
from asyncbreaker._lab import question as module
from asyncbreaker._lab.configurations import CLASSIC, NONE, Configuration, Setup, compared
from asyncbreaker._lab.dependency import Down, Phase, lognormal
from asyncbreaker._lab.options import add_options
from asyncbreaker._lab.question import Question, asked
from asyncbreaker._lab.trial import Trial, full_after, trials
from asyncbreaker._lab.words import said


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_CALLS", 10_000)


class Strict(argparse.ArgumentParser):
    """Refuses by raising."""

    def error(self, message: str) -> NoReturn:
        raise AssertionError(message)


def question(text: str = "") -> Question:
    parser = Strict()
    add_options(parser)
    return asked(parser.parse_args(text.split()))


def tried(text: str) -> list[Trial]:
    return list(trials(question(text), lambda: lambda share: None))


def first(text: str) -> Trial:
    """The user's own configuration, without the others."""
    return next(trials(question(text), lambda: lambda share: None))


def names(text: str = "") -> list[str]:
    return [each.name for each in question(text).configurations]


def test_the_numbers_become_a_scenario() -> None:
    """
    Each option is found again in what is simulated.
    """
    asked = question(
        "--rate 5 --clients 3 --outage 30 --before 10 --after 50 --baseline 0.02 --latency 0.08 "
        "--timeout 2 --utilisation 0.5 --tries 2 --seed 7"
    )
    scenario = asked.scenario

    assert (5, 3, 7, 15, 30) == (asked.rate, asked.clients, asked.seed, asked.load, asked.capacity)
    assert (Phase(30, Down.REFUSES),) == scenario.trouble
    assert (Phase(10), Phase(50)) == (scenario.phases[0], scenario.phases[-1])
    assert (0.02, lognormal(0.08)) == (scenario.failing, scenario.latency)
    assert (2, 0.5, 2) == (scenario.timeout, scenario.utilisation, scenario.tries)
    quiet = asked.quiet
    assert (0.02, lognormal(0.08)) == (quiet.trouble[0].failing, quiet.latency)
    assert (2, 0.5, 2) == (quiet.timeout, quiet.utilisation, quiet.tries)


@pytest.mark.parametrize(
    ("kind", "trouble"),
    [
        ("refuse", Phase(60, Down.REFUSES)),
        ("hang", Phase(60, Down.HANGS)),
        ("partial --share 0.3", Phase(60, failing=0.3)),
        ("slow --slower 5", Phase(60, slower=5)),
        ("cold", Phase(60, Down.REFUSES)),
    ],
)
def test_every_kind_of_trouble(kind: str, trouble: Phase) -> None:
    """
    The kinds are those of the scenarios, and each is said in words.
    """
    asked = question(f"--kind {kind}")

    assert (trouble,) == asked.scenario.trouble
    assert "for 60 s; then" in said(asked)
    assert (trouble.down is None) == asked.is_partly_well


@pytest.mark.parametrize(("after", "ends_at"), [(30, 0.55), (60, 1.0), (90, 1.0)])
def test_cold_caches_fill_in_a_minute(after: int, ends_at: float) -> None:
    """
    Whether it is watched to its end or not.
    """
    asked = question(f"--kind cold --after {after}").scenario

    assert after == asked.seconds - asked.ends
    assert ends_at == pytest.approx(asked.capacity_at(asked.seconds - 1e-9))


def test_several_outages_are_played() -> None:
    """
    The one that was asked for is the first.
    """
    lengths = [outage.ends - outage.before for outage in question().outages]

    assert [60, 48, 72, 54, 66] == pytest.approx(lengths)
    assert "5 such outages are played, of 48 to 72 s" in said(question())


def test_less_is_played_where_it_takes_long() -> None:
    """
    Up to one, which is said.
    """
    assert 3 == len(question("--rate 2000").outages)
    assert "Only one outage is played" in said(question("--rate 2000 --outage 200"))


def test_what_is_compared() -> None:
    """
    The user's configuration first; one that is the same is left out, however it was spelled.
    """
    others = ["defaults+slow", "classic", "no breaker"]

    assert ["yours", *others] == names()
    assert ["yours", *others] == names("--trip failure_lead(5)")
    assert ["yours", "defaults", *others] == names("--trip failure_lead(6)")
    assert ["yours", "defaults", *others[1:]] == names("--slow 0.3")
    classic = "--trip consecutive_failures() --backoff constant(60.0) --recovery probing(1)"
    assert ["yours", "defaults", "defaults+slow", "no breaker"] == names(classic)


def test_slow_is_half_the_timeout() -> None:
    """
    Or what the user says.
    """

    def spelled(text: str) -> list[str]:
        return [each.spelled for each in question(text).configurations]

    assert "CircuitBreaker(slow=1.5)" in spelled("--timeout 3")
    assert "CircuitBreaker(slow=0.2)" in spelled("--timeout 3 --slow 0.2 --backoff 5")


def test_the_defaults_are_those_of_the_breaker() -> None:
    """
    What the lab calls the defaults is what users get.
    """
    given = inspect.signature(CircuitBreaker).parameters
    setup = Setup(*(given[name].default for name in ("trip", "backoff", "recovery", "slow")))

    assert setup == Setup()


def test_setups_are_compared_by_what_they_make() -> None:
    """
    A number and its constant() are one backoff.
    """
    assert Setup(backoff=5).equals(Setup(backoff=constant(5)))
    assert not Setup(backoff=5).equals(Setup(backoff=6))
    assert [CLASSIC, NONE] == compared(Setup(slow=1), slow=1)[1:]
    assert Configuration("defaults", "CircuitBreaker()", Setup(failure_lead())) in compared(
        Setup(slow=1), slow=1
    )


def test_words_for_many_clients() -> None:
    """
    What differs from the usual is said.
    """
    text = said(question("--clients 2000 --rate 0.5 --tries 3 --baseline 0"))

    assert text.startswith(
        "2,000 clients make 0.5 calls a second each (1,000 in all), at random moments; "
        "callers give up after 1 s, and a call is tried up to 3 times. When all is well an "
        "answer takes 0.05 s (median), no call fails, and the dependency could serve 1,667 "
        "calls a second: the load is 60 %."
    )
    assert "Calls and seconds are told per client." in text


def test_words_for_one_call_a_second() -> None:
    """
    The model's least capacity is said where it differs from what was asked.
    """
    text = said(question("--rate 1"))

    assert text.startswith("One client makes 1 call a second, at random")
    assert "could serve 10 calls a second, the least the model has: the load is 10 %." in text


def test_words_for_answers_that_come_too_late() -> None:
    """
    Who mistook the units is told before he wonders about the figures.
    """
    assert "(median), 100 % come too late, 1 % of the calls fail" in said(question("--latency 5"))
    assert "(median), 16 % come too late, no call fails" in said(
        question("--latency 0.7047 --baseline 0")
    )


def test_to_stay_open_makes_no_false_opening_rarer(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    False openings are told per million calls sent: three failures in a row at 20 % of errors
    are as likely whatever the wait, once in 155 calls.
    """
    monkeypatch.setattr(module, "QUIET_CALLS", 30_000)
    common = "--baseline 0.2 --outage 1 --after 2 --before 0 --rate 5 --recovery probing()"
    for backoff in (1, 60):
        yours = first(f"{common} --trip consecutive_failures(3) --backoff {backoff}")
        assert yours.figures.false_per_million == pytest.approx(1e6 / 155, rel=0.3)


def test_tries_bring_the_usual_share_of_answers() -> None:
    """
    Where every second try fails, three of them answer seven calls of eight: with fewer
    answers it is not back, and none of these are lost.
    """
    text = "--baseline 0.5 --tries 3 --utilisation 0.1 --rate 20 --after 30"
    alone = replace(question(f"{text} --outage 5"), configurations=[NONE])
    none = next(trials(alone, lambda: lambda share: None))
    yours = first(f"{text} --outage 60 --trip failure_rate(0.95) --backoff 20 --recovery probing()")

    assert none.figures.full_after == pytest.approx(0.0, abs=0.5)
    assert none.figures.lost < 1.0
    assert yours.figures.opened == 1
    assert yours.figures.full_after is not None
    # Until then it answered nothing of seven eighths of the calls.
    assert yours.figures.lost == pytest.approx(7 / 8 * yours.figures.full_after, abs=1.5)


def test_a_breaker_that_opens_in_some_of_the_outages() -> None:
    """
    When it opened is told of those, and the calls after an opening are of those too.
    """
    yours = first(
        "--rate 1 --trip consecutive_failures(58) --backoff 60 --recovery probing() --before 0"
    )

    assert 0 < yours.figures.opened < 1
    assert yours.figures.opens_after is not None
    assert yours.figures.sent is None or yours.figures.sent < 5


def test_what_opens_when_the_outage_is_over_has_opened() -> None:
    """
    A call that hangs in a short outage fails after it.
    """
    yours = first("--kind hang --outage 0.5 --timeout 5 --after 10 --trip consecutive_failures(5)")

    assert yours.figures.opens_after == pytest.approx(5, abs=0.5)


def test_an_outage_in_which_no_breaker_opens() -> None:
    """
    What cannot be known is no figure.
    """
    yours, *_, none = tried("--rate 0.5 --outage 0.01 --after 2 --before 0")

    assert yours.figures.opens_after is None
    assert yours.figures.sent is None
    assert yours.figures.full_after is None
    assert [] == none.moves
    assert 0 == none.figures.false_quiet


def test_when_callers_are_answered_again() -> None:
    """
    The classic breaker asks a minute after it opened; within 30 s it does not come back.
    """
    *_, classic, none = tried("--outage 10 --after 30 --rate 20")

    assert 30.0 == classic.figures.full_after
    assert not classic.figures.full_always
    assert full_after(classic.record) is None
    assert 29 < classic.figures.lost < 31
    assert 0.0 == none.figures.full_after
    assert none.figures.lost < 0.2


def test_false_openings_are_counted() -> None:
    """
    At one failure in five the classic rule opens once in some thousand calls.
    """
    defaults, _, classic, _ = tried("--baseline 0.2 --outage 5 --after 5 --before 60 --rate 20")

    assert classic.figures.false_before > 0
    assert classic.figures.false_per_million > defaults.figures.false_per_million
