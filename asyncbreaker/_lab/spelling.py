"""Trip rules, backoffs and recoveries as text: read like Python, never run as Python.

The text is parsed, and the tree is walked. Calls of the names listed here, numbers,
and ``|`` and ``&`` between trip rules are all there is: everything else is refused.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import asyncbreaker as api
from asyncbreaker._lab.options import shortened
from asyncbreaker.trip import Rule

LONGEST = 500  # characters
LARGEST = 1e15  # no number of calls or seconds is beyond
MOST_CALLS = 1_000_000  # in a window; each costs a byte per breaker
MOST_BUCKETS = 1000  # each costs a list per breaker
MOST_SAMPLES = 1000  # the yardstick is copied for each of them

Names = Mapping[str, Callable[..., Any]]

TRIPS: Names = {
    "failure_lead": api.failure_lead,
    "consecutive_failures": api.consecutive_failures,
    "failure_rate": api.failure_rate,
    "failure_count": api.failure_count,
    "slow_rate": api.slow_rate,
    "LastSeconds": api.LastSeconds,
    "LastCalls": api.LastCalls,
}
BACKOFFS: Names = {
    "constant": api.constant,
    "linear": api.linear,
    "exponential": api.exponential,
    "full_jitter": api.full_jitter,
    "equal_jitter": api.equal_jitter,
    "spread": api.spread,
    "hasten": api.hasten,
}
RECOVERIES: Names = {"slow_start": api.slow_start, "probing": api.probing}
NAMES = {"trip": TRIPS, "backoff": BACKOFFS, "recovery": RECOVERIES}
"""By the parameter of ``CircuitBreaker`` that is spelled."""


class SpellingError(ValueError):
    """A text that means nothing; the message is one line and quotes it."""


@dataclass(frozen=True, slots=True)
class Spelled:
    """What a text means, and the text, tidied."""

    meaning: Any
    text: str


def read(parameter: str, text: str) -> Spelled:
    """Return what *text* means as this parameter of ``CircuitBreaker``."""
    try:
        tree = _parsed(text)
        meaning = _Walk(NAMES[parameter]).value(tree)
        api.CircuitBreaker(**{parameter: meaning})
        return Spelled(meaning, ast.unparse(tree))
    # What the parser and the walk say to "((((...": which of the two depends on Python.
    except (RecursionError, MemoryError):
        why = "nested too deeply"
    except (TypeError, ValueError) as error:  # ours, and those of the library's constructors
        why = str(error).replace(".__init__()", "()")
    raise SpellingError(f"{shortened(text)}: {why}")


def seeded(backoff: api.Backoff | float, random: Callable[[], float]) -> api.Backoff | float:
    """Return *backoff* with all its chance drawn from *random*."""
    if isinstance(backoff, (api.full_jitter, api.equal_jitter, api.spread)):
        return replace(backoff, backoff=seeded(backoff.backoff, random), random=random)
    if isinstance(backoff, api.hasten):
        return replace(backoff, backoff=seeded(backoff.backoff, random))
    return backoff


def _parsed(text: str) -> ast.expr:
    if len(text) > LONGEST:
        raise ValueError(f"longer than {LONGEST} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "1or 2" is refused below, in our words
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise ValueError("not readable as Python") from None


class _Walk:
    """Builds what a tree means."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Call(func=ast.Name(id=name)):
                return self._call(self._known(name), node)
            case ast.Name(id=name):
                self._known(name)
                raise ValueError(f"{name} must be called: {name}(...)")
            case ast.BinOp(op=ast.BitOr() | ast.BitAnd()):
                return self._joined(node)
            case _:
                return _number(node)

    def _known(self, name: str) -> Callable[..., Any]:
        if name in self._names:
            return self._names[name]
        near = get_close_matches(name, self._names, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"no {name!r} here{hint}; known: {', '.join(self._names)}")

    def _call(self, known: Callable[..., Any], node: ast.Call) -> Any:
        given = [self.value(each) for each in node.args]
        named: dict[str, Any] = {}
        for each in node.keywords:
            name = _keyword(each)
            if name in named:
                raise ValueError(f"{name}= is given twice")
            named[name] = self.value(each.value)
        return _bounded(known(*given, **named))

    def _joined(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        for side in (left, right):
            if not isinstance(side, Rule):
                raise ValueError(f"| and & join trip rules, not {side!r}")
        return left | right if isinstance(node.op, ast.BitOr) else left & right


def _keyword(node: ast.keyword) -> str:
    if node.arg == "random":
        raise ValueError("random= cannot be given: the lab draws all chance from --seed")
    if node.arg is None:
        raise ValueError("** is not understood")
    return node.arg


def _number(node: ast.expr) -> float:
    sign = 1
    unsigned = node
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, unsigned = -1, node.operand
    match unsigned:
        case ast.Constant(value=bool() as given):
            return given  # refused where it goes, by the library
        case ast.Constant(value=int() | float() as given):
            if given > LARGEST:
                raise ValueError(f"numbers beyond {LARGEST:g} are not understood")
            return sign * given
        case _:
            raise ValueError(
                f"{shortened(ast.unparse(node))} is not understood: only calls of known names, "
                "numbers, and | and & between trip rules are"
            )


def _bounded(made: Any) -> Any:
    """Refuse what the library takes and the lab has no room for."""
    match made:
        case api.LastCalls(size=size) if size > MOST_CALLS:
            raise ValueError(f"size must be at most {MOST_CALLS} in the lab, not {size}")
        case api.LastSeconds(buckets=buckets) if buckets > MOST_BUCKETS:
            raise ValueError(f"buckets must be at most {MOST_BUCKETS} in the lab, not {buckets}")
        case api.slow_start(sample=sample) if sample > MOST_SAMPLES:
            raise ValueError(f"sample must be at most {MOST_SAMPLES} in the lab, not {sample}")
        case _:
            return made
