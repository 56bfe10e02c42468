"""The default log: quiet at 3 a.m.

One WARNING when a trouble begins, one INFO a minute at most while it lasts, one INFO
when it is over, INFO for an operator's commands. All else is DEBUG.
"""

from __future__ import annotations

import logging
import math
from typing import NamedTuple

from asyncbreaker._core.circuit import Circuit, Move
from asyncbreaker._core.states import Cause
from asyncbreaker._runtime.bulletin import EVERY, Complaints, log
from asyncbreaker._runtime.snapshot import Failures
from asyncbreaker.errors import figure

NEWS = 3  # closings of one trouble that are told; from then on they count as summaries
CANCELLED_BLIND = 20  # cancelled calls in a row from which nothing is learned


class _Totals(NamedTuple):
    """What had been counted when the trouble began."""

    at: float
    failed: int
    rejected: int


class Journal:
    """Writes the log of one breaker."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.complain = Complaints("circuit", name, "breaker").add
        self._since: _Totals | None = None  # while there is trouble
        self.due = math.inf  # when the next summary may be written
        self._closings = 0  # of this trouble
        self._cancelled = 0
        self._judged_before = 0
        self._warned_blind = False

    def moved(self, move: Move, circuit: Circuit, failures: Failures) -> None:
        """Log a transition."""
        match move.cause:
            case Cause.FORCED | Cause.DISABLED | Cause.RESET:
                self._since, self.due = None, math.inf
                self._write(logging.INFO, move, f"{_ORDERS[move.cause]}{_because(move.reason)}")
            case Cause.TRIPPED | Cause.RETRY_AFTER if move.new_trouble:
                self._since = _Totals(move.at, circuit.failed, circuit.rejected)
                self.due, self._closings = move.at + EVERY, 0
                self._write(logging.WARNING, move, _opened(move, circuit, failures))
            case Cause.RECOVERED:
                level = self._level_of_closing(move.at)
                self._write(level, move, f"closed{self._so_far(move.at, circuit)}")
            case _:
                self._write(logging.DEBUG, move, f"{move.new.value}: {move.cause.value}")

    def summary(self, now: float, circuit: Circuit) -> None:
        """Log how the trouble goes on; called by a call that arrives when ``due`` is past."""
        self.due = now + EVERY
        log.info(
            "circuit %r is still %s%s",
            self._name,
            circuit.state.value,
            self._so_far(now, circuit),
            extra={"breaker": self._name, "state": circuit.state.value},
        )

    def ignored(self, cancelled: bool, judged: int) -> None:
        """Warn, once, when only cancelled calls come; *judged*: calls that were, so far."""
        self._cancelled = self._cancelled + 1 if judged == self._judged_before else 1
        self._cancelled *= cancelled
        self._judged_before = judged
        if self._cancelled >= CANCELLED_BLIND and not self._warned_blind:
            self._warned_blind = True
            log.warning(
                "circuit %r: the last %d calls were all cancelled, and a cancelled call proves "
                "nothing; set slow=, or put the timeout inside the guarded call",
                self._name,
                self._cancelled,
                extra={"breaker": self._name},
            )

    def _level_of_closing(self, now: float) -> int:
        """INFO, unless a dependency that flaps has closed it again and again."""
        self._closings += 1
        if self._closings <= NEWS:
            return logging.INFO
        if now < self.due:
            return logging.DEBUG
        self.due = now + EVERY
        return logging.INFO

    def _so_far(self, now: float, circuit: Circuit) -> str:
        if self._since is None:
            return ""
        at, failed, rejected = self._since
        return (
            f" after {figure(now - at)} s: {circuit.failed - failed} probes failed, "
            f"{circuit.rejected - rejected} calls rejected"
        )

    def _write(self, level: int, move: Move, text: str) -> None:
        log.log(
            level,
            "circuit %r %s",
            self._name,
            text,
            extra={
                "breaker": self._name,
                "old_state": move.old.value,
                "new_state": move.new.value,
                "cause": move.cause.value,
            },
        )


_ORDERS = {
    Cause.FORCED: "held open by hand",
    Cause.DISABLED: "disabled by hand",
    Cause.RESET: "reset by hand",
}


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _opened(move: Move, circuit: Circuit, failures: Failures) -> str:
    counts = move.counts
    parts = [f"opened{_because(move.reason)}"]
    if counts.calls:
        parts.append(
            f"{counts.failures} of {counts.calls} calls failed ({counts.failure_rate:.0%}), "
            f"{counts.slow} slow"
        )
    parts.append(
        f"bad calls lead by {counts.lead} for {figure(counts.lead_seconds)} s, "
        f"{counts.consecutive_failures} failures in a row"
    )
    last = failures.last(move.at)
    if last is not None:
        parts.append(f"last failures: {failures.types()}")
        message = " ".join(last.message.split())  # a line of the log is one line
        parts.append(f"the last one: {last.type}: {message}")
    wait = circuit.retry_after(move.at)
    if wait is not None:
        parts.append(f"asks again in {figure(wait)} s")
    return "; ".join(parts)
