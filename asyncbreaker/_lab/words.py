"""How the lab puts numbers into words, the same everywhere."""

from __future__ import annotations

import textwrap

from asyncbreaker._lab.question import Question


def amount(value: float) -> str:
    """Return a figure as short as its size allows: 0.04, 0.4, 4.2, 42, 4,200."""
    if 0 < value < 0.095:
        return f"{value:.2f}" if value >= 0.005 else "0.00"
    return f"{value:.1f}" if value < 9.95 and value % 1 else f"{value:,.0f}"


def share(value: float) -> str:
    """Return a share as a percentage."""
    return f"{value * 100:.3g} %"


def count(number: float, one: str) -> str:
    """Return a number with its noun."""
    return f"{number:,.12g} {one if number == 1 else one + 's'}"


def paragraph(text: str, width: int, *, first: str = "", rest: str = "") -> str:
    """Return *text* in lines of *width* characters."""
    return textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def said(question: Question) -> str:
    """Repeat the question in words."""
    return " ".join((_callers(question), _well(question), _ill(question), _runs(question)))


def _callers(question: Question) -> str:
    many, rate, tries = question.clients, question.rate, question.scenario.tries
    who = "One client makes" if many == 1 else f"{many:,} clients make"
    each = "" if many == 1 else f" each ({question.load:,.5g} in all)"
    tried = "" if tries == 1 else f", and a call is tried up to {tries} times"
    return (
        f"{who} {count(rate, 'call')} a second{each}, at random moments; "
        f"callers give up after {question.scenario.timeout:g} s{tried}."
    )


def _well(question: Question) -> str:
    scenario, capacity = question.scenario, question.capacity
    failing = f"{share(scenario.failing)} of the calls" if scenario.failing else "no call"
    load, end = question.load / capacity, "" if scenario.failing else "s"
    late = "" if question.late < 0.005 else f", {share(round(question.late, 2))} come too late"
    least = "" if abs(load - scenario.utilisation) < 1e-9 else ", the least the model has"
    return (
        f"When all is well an answer takes {question.latency.median:g} s (median){late}, "
        f"{failing} fail{end}, and the "
        f"dependency could serve {amount(capacity)} calls a second{least}: "
        f"the load is {share(load)}."
    )


def _ill(question: Question) -> str:
    scenario = question.scenario
    lasts = scenario.ends - scenario.before
    phase = scenario.trouble[0]
    happens = {
        "refuse": "every call is refused at once",
        "hang": "no call is answered before its caller gives up",
        "partial": f"{share(phase.failing)} of the calls fail",
        "slow": f"answers take {phase.slower:g} times as long",
        "cold": "every call is refused at once",
    }[question.kind]
    back = "all is well again"
    if question.kind == "cold":
        back = "it is back with a tenth of its capacity, which grows to all of it in a minute"
    return (
        f"After {scenario.before:g} s {happens}, for {lasts:g} s; then {back}, "
        f"and {scenario.seconds - scenario.ends:g} s more are watched."
    )


def _runs(question: Question) -> str:
    each = "" if question.clients == 1 else "Calls and seconds are told per client. "
    same = f"{each}Every configuration meets the same calls (seed {question.seed})."
    lengths = [outage.ends - outage.before for outage in question.outages]
    if len(lengths) == 1:
        return f"Only one outage is played: so many calls take long, and luck shows. {same}"
    return (
        f"{len(lengths)} such outages are played, of {min(lengths):g} to {max(lengths):g} s, since "
        f"one alone would show luck as well; the figures are their means. {same}"
    )
