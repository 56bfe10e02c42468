"""The options of ``python -m asyncbreaker lab``: their names, units, defaults and limits.

Nothing of the lab is imported here: the command line must be read without delay.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

KINDS = ("refuse", "hang", "partial", "slow", "cold")
LONGEST = 14400.0  # seconds that are watched
SHORTEST = 0.01  # seconds; of an outage
LEAST_PATIENT, MOST_PATIENT = 0.0001, 600.0  # seconds; no call is shorter or longer
LEAST_UTILISED = 0.001
SECONDS, SHARE = "SECONDS", "SHARE"
SHOWN = 40  # characters of a refused value

EPILOG = """\
Rules, backoffs and recoveries are spelled as in Python: --trip "failure_rate(0.5,
minimum=20, window=LastSeconds(30)) | failure_lead()", --backoff
"spread(exponential(0.5, maximum=10))" or 60, --recovery "probing(probes=2)"."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the lab's command line; ``options.refuse`` is how later checks refuse."""
    parser.epilog = EPILOG
    parser.set_defaults(refuse=parser.error)
    _add_traffic(parser.add_argument_group("your callers").add_argument)
    _add_outage(parser.add_argument_group("the dependency and its outage").add_argument)
    breaker = parser.add_argument_group("your breaker (default: CircuitBreaker())")
    _add_breaker(breaker.add_argument)


_Add = Callable[..., argparse.Action]
"""A group's ``add_argument``."""


def _add_traffic(add: _Add) -> None:
    add("--rate", **_read(50.0, number(0.001, 1e6), "CALLS/S", "of each client"))
    add("--clients", **_read(1, whole(1, 10_000), "N", "clients, each with its own breaker"))
    add("--timeout", **_read(1.0, patience(), SECONDS, "after which a caller gives up"))
    about = "tries per call, until it is answered or rejected"
    add("--tries", **_read(1, whole(1, 10), "N", about))


def _add_outage(add: _Add) -> None:
    about = (
        "refuse: every call fails at once; hang: no call is answered before the timeout; "
        "partial: a share of the calls fails; slow: answers take a multiple of their time; "
        "cold: refuses, then comes back with cold caches, a tenth of its capacity growing "
        "to all of it in 60 s (default: refuse)"
    )
    add("--kind", choices=KINDS, default="refuse", help=about)
    add("--outage", **_read(60.0, seconds(SHORTEST), SECONDS, "for which it lasts"))
    about = "of the calls that fail, with --kind partial"
    add("--share", **_read(0.5, share(above=True), SHARE, about))
    about = "by which answers take longer, with --kind slow"
    add("--slower", **_read(20.0, number(1, 1e6), "FACTOR", about))
    about = "watched before the outage"
    add("--before", **_read(20.0, seconds(0), SECONDS, about))
    add("--after", **_read(120.0, seconds(2), SECONDS, "watched after it"))
    _add_health(add)


def _add_health(add: _Add) -> None:
    about = "of the calls that fail when all is well"
    add("--baseline", **_read(0.01, share(below=True), SHARE, about))
    about = "that an answer takes when all is well (median)"
    add("--latency", **_read(0.05, patience(), SECONDS, about))
    about = "of the capacity in use when all is well"
    add("--utilisation", **_read(0.6, number(LEAST_UTILISED, 1), SHARE, about))
    about = "of all chance: the same seed, the same output"
    add("--seed", **_read(1, whole(0, 10**9), "N", about))


def _add_breaker(add: _Add) -> None:
    add("--trip", metavar="RULE", help="when to open (default: failure_lead())")
    about = (
        "how long to stay open: a backoff, or seconds (default: 0.5 s doubling to 10 s, "
        "spread, and ended early by 50 rejections)"
    )
    add("--backoff", metavar="BACKOFF", help=about)
    add("--recovery", metavar="RECOVERY", help="how to come back (default: slow_start())")
    add("--slow", **_read(None, patience(), SECONDS, "from which a call counts as slow"))


def _read(
    default: float | None, read: Callable[[str], float], unit: str, about: str
) -> dict[str, Any]:
    """Return what an option with a number needs."""
    said = "none" if default is None else f"{default:g}"
    return {"type": read, "default": default, "metavar": unit, "help": f"{about} (default: {said})"}


def shortened(text: str) -> str:
    """Return *text* quoted, on one line, not longer than a line has room for."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def number(
    least: float, most: float, *, above: bool = False, below: bool = False
) -> Callable[[str], float]:
    """Return a reader of numbers from *least* to *most*, or *above* and *below* them."""
    wanted = (
        f"{'above' if above else 'of at least'} {least:,g} "
        f"and {'below' if below else 'at most'} {most:,.7g}"
    )

    def read(text: str) -> float:
        value = _as_float(text)
        enough = value > least if above else value >= least
        if not (enough and (value < most if below else value <= most)):
            raise argparse.ArgumentTypeError(f"must be a number {wanted}, not {shortened(text)}")
        return value

    return read


def _as_float(text: str) -> float:
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan  # which is within no limits


def seconds(least: float) -> Callable[[str], float]:
    """Return a reader of seconds that are watched."""
    return number(least, LONGEST)


def patience() -> Callable[[str], float]:
    """Return a reader of the seconds of a call."""
    return number(LEAST_PATIENT, MOST_PATIENT)


def share(*, above: bool = False, below: bool = False) -> Callable[[str], float]:
    """Return a reader of shares from 0 to 1."""
    return number(0, 1, above=above, below=below)


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers."""

    def read(text: str) -> int:
        # Before int(): it refuses too long a text with a riddle.
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most))):
            value = -1
        else:
            value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {least} to {most:,}, not {shortened(text)}"
            )
        return value

    return read
