"""The two demos: what guards the guarded side, what is asked, and what both sides are called.

Rule: the live picture, the lines and the closing table read from here what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat

from asyncbreaker._demo.answering import NOT_KNOWN, AnsweringSide
from asyncbreaker._demo.questions import ITEMS, questions
from asyncbreaker._demo.script import Script
from asyncbreaker._demo.sides import ANSWERS, ERRORS, End, Side, guarded

Ends = tuple[End, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Mode:
    """One demo. Of each pair the first is for the side that nothing guards."""

    opening: str
    """With a place for ``timeout``."""
    names: tuple[str, str]
    ends: Mapping[str, Ends]
    """What the picture counts."""
    columns: tuple[Mapping[str, Ends], Mapping[str, Ends]]
    """What the lines count; each column is as wide as its heading."""
    histories: tuple[Mapping[str, Ends], Mapping[str, Ends]]
    """Which shares of the callers the picture draws over time."""
    guarded: Callable[[Script], Side]
    """Makes the guarded side of a run."""
    questions: Callable[[], Iterator[str]]
    """What the callers ask one after the other: what follows the path of the side."""


ANSWERED, FAILED, REJECTED = (End.ANSWERED,), (End.FAILED,), (End.REJECTED,)

BREAKER = Mode(
    opening=(
        "One service on this machine, called 60 times a second, twice: without and with a circuit "
        "breaker. It falls ill, dies and comes back. A caller waits {timeout:.1f} s at most."
    ),
    names=("without a breaker", "with a breaker"),
    ends={"answered": ANSWERED, "failed": FAILED, "rejected": REJECTED},
    columns=(
        {"   ok": ANSWERED, "failed": FAILED},
        {"   ok": ANSWERED, "failed": FAILED, "rejected": REJECTED},
    ),
    histories=({"without": ANSWERS}, {"with": ANSWERS}),
    guarded=guarded,
    questions=lambda: repeat(""),
)

PIPELINE = Mode(
    opening=(
        "One service on this machine, called 60 times a second, twice: by a bare client and "
        "through a pipeline. It falls ill, dies and comes back. A caller waits {timeout:.1f} s at "
        f"most. Nine in ten look at one of {ITEMS} items: the pipeline answers fresh, else from "
        f'memory (cached), else with a substitute ("{NOT_KNOWN}"). One in ten buys: that is '
        "answered fresh or ends in a clear error."
    ),
    names=("bare client", "with a pipeline"),
    ends={
        "fresh": ANSWERED,
        "cached": (End.CACHED,),
        "substitute": (End.SUBSTITUTED,),
        "error": ERRORS,
    },
    columns=(
        {"  ok": ANSWERED, "error": ERRORS},
        {"fresh": ANSWERED, "cache": (End.CACHED,), "subst": (End.SUBSTITUTED,), "error": ERRORS},
    ),
    histories=({"bare": ANSWERS}, {"pipeline": ANSWERS, "fresh": ANSWERED}),
    guarded=AnsweringSide,
    questions=questions,
)
