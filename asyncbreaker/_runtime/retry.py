"""Retry: try again, after a pause, what is worth another try."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from asyncbreaker._core import checks
from asyncbreaker._runtime.backend import Clock, cancel_requests, is_cancelled, seconds_left, sleep
from asyncbreaker._runtime.bulletin import Bulletin
from asyncbreaker._runtime.matching import Matcher, Selecting, check_retried, has_rejection
from asyncbreaker._runtime.misuse import explain_misuse
from asyncbreaker._runtime.pauses import ask, asked_for
from asyncbreaker._runtime.policy import Around
from asyncbreaker._runtime.retry_budget import RetryBudget
from asyncbreaker.backoff import Backoff, check_backoff, exponential, full_jitter
from asyncbreaker.errors import CircuitOpenError, RejectedError, figure
from asyncbreaker.events import GaveUp, RetriesExhausted, RetryScheduled

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT = full_jitter(exponential(0.1, maximum=5.0))

# An open circuit is not asked more often than this, in seconds, whatever it or the backoff
# says: a pause of nothing would never use up what ``wait_open`` allows.
PACE = 0.01

_attempt: ContextVar[int] = ContextVar("asyncbreaker_attempt", default=1)


def current_attempt() -> int:
    """Return the number of the try that runs in this context: 1 for the first, or for no retry."""
    return _attempt.get()


class _Run:
    """One call, from its first try to its last."""

    __slots__ = ("attempt", "began", "cancel_requests", "refusals", "waited")

    def __init__(self, began: float) -> None:
        self.began = began
        self.cancel_requests = cancel_requests()  # from before: a cancelled task cleans up
        self.attempt = 1  # number of the try that runs, or that was refused
        self.refusals = 0  # rejections in a row
        self.waited = 0.0  # seconds, for an open circuit


class Retry(Around):
    """Makes a call again when it has failed, after a pause.

    Cancellation is never retried, and neither is a rejection, unless *wait_open* allows
    to wait for an open circuit. Between two tries it sleeps as *backoff* says, or for as
    long as the error's ``retry_after`` asks (300 s at most), whichever is longer. A sleep
    that would end after *within*, or after the deadline around the call, is not begun:
    the error passes at once. (anyio's and trio's scopes tell their deadline;
    ``asyncio.timeout`` does not, there use *within*.) The last error reaches the caller as
    the same object, with a note that says how many tries were made.

    Args:
        attempts: Tries, the first one included.
        on: Which errors are worth another try: an exception type, a tuple of them, or a
            predicate. Of a group all leaves must match.
        backoff: Seconds to sleep before the n-th retry (from 1); a plain number is
            constant and exact.
        within: Seconds from the beginning of the call in which the last sleep must end;
            it does not cut a try that runs (that is what ``Timeout`` does).
        budget: Bounds the retries of all calls together; share it among the retries of
            one dependency.
        wait_open: Seconds that a call may wait, in all, for an open circuit. Then a
            rejection is slept on for its ``retry_after`` (or as *backoff* says, where
            that is None), and is no try.
        name: Stands in events and the log. Default: unique ("retry-1").
        clock: Monotonic seconds; may have ``sleep_until``, as ``ManualClock`` does.

    Raises:
        TypeError, ValueError: A value is of the wrong type or out of range; the message
            names parameter and value.
    """

    _word = "retry"
    _kinds = (RetryScheduled, RetriesExhausted)

    def __init__(
        self,
        attempts: int = 3,
        *,
        on: Matcher = Exception,
        backoff: Backoff | float = DEFAULT,
        within: float | None = None,
        budget: RetryBudget | None = None,
        wait_open: float = 0.0,
        name: str | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(name, clock)
        self._attempts = checks.count("attempts", attempts)
        check_retried("on", on)
        self.selecting = Selecting(on, self._complain)
        check_backoff("backoff", backoff)
        self._backoff = backoff
        self._within = math.inf if within is None else checks.positive("within", within)
        if budget is not None:
            checks.instance("budget", budget, RetryBudget, "a RetryBudget")
        self._budget = budget
        self.wait_open = checks.number("wait_open", wait_open, finite=False)
        self._spent = Bulletin(self._word, self._name, logging.WARNING)

    async def call(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``await fn(*args, **kwargs)``, tried again when it fails.

        *fn* runs in the caller's own task, every time; ``current_attempt()`` tells it the
        number of the try.

        Raises:
            Whatever the last try raised.
        """
        run = _Run(self._clock())
        if self._budget is not None:
            self._budget.deposit(run.began)
        outer = _attempt.get()
        try:
            while True:
                if _attempt.get() != run.attempt:
                    _attempt.set(run.attempt)
                try:
                    return await fn(*args, **kwargs)
                except Exception as error:
                    pause = self._pause(run, error, fn)
                    if pause is None:
                        raise
                # Slept outside of ``except``: what the next try raises is not chained to this.
                await sleep(pause, self._clock)
        finally:
            if _attempt.get() != outer:
                _attempt.set(outer)

    def _pause(self, run: _Run, error: Exception, fn: object) -> float | None:
        """Seconds to sleep before the next try; None: the error passes."""
        explain_misuse(fn, error)
        if has_rejection(error):
            verdict = self._after_rejection(run, error)
        elif self.selecting.picks(error):
            verdict = self._after_failure(run, error)
        else:
            verdict = None
        if isinstance(verdict, GaveUp):
            self._give_up(run, error, verdict)
            return None
        if verdict is not None:
            self._schedule(run, error, verdict)
        elif run.attempt > 1:
            self._note(run, error, "; this error is not tried again")
        return verdict

    def _after_failure(self, run: _Run, error: Exception) -> float | GaveUp:
        if run.attempt >= self._attempts:
            return GaveUp.ATTEMPTS
        if is_cancelled(
            run.cancel_requests
        ):  # some drivers make an error of it; trying again would lose it
            return GaveUp.CANCELLED
        pause = ask(self._backoff, run.attempt, DEFAULT, self._complain).seconds
        pause = max(float(pause), asked_for(self._retry_after(error)) or 0.0)
        if (too_long := self._too_long(run, pause)) is not None:
            return too_long
        # Asked last: a retry that is not made must not be paid for.
        if self._budget is not None and not self._budget.withdraw(self._clock()):
            return GaveUp.BUDGET
        run.attempt, run.refusals = run.attempt + 1, 0
        return pause

    def _after_rejection(self, run: _Run, error: Exception) -> float | GaveUp | None:
        if not self.wait_open or not isinstance(error, CircuitOpenError):
            return None
        # Of a circuit, not of a dependency, so not capped: ``wait_open`` bounds it.
        pause = asked_for(self._retry_after(error), longest=sys.float_info.max)
        if pause is None:
            run.refusals += 1
            pause = ask(self._backoff, run.refusals, DEFAULT, self._complain).seconds
        pause = max(float(pause), PACE)
        if run.waited + pause > self.wait_open:
            return GaveUp.WAIT_OPEN
        if (too_long := self._too_long(run, pause)) is not None:
            return too_long
        run.waited += pause
        return pause

    def _too_long(self, run: _Run, pause: float) -> GaveUp | None:
        if self._clock() + pause > run.began + self._within:
            return GaveUp.WITHIN
        return GaveUp.DEADLINE if pause > seconds_left(self._clock) else None

    def _retry_after(self, error: Exception) -> object:
        try:
            return getattr(error, "retry_after", None)
        except Exception as raised:  # a property of the user's
            self._complain(type(error), raised)
            return None

    def _schedule(self, run: _Run, error: Exception, pause: float) -> None:
        kind = type(error).__name__
        self._debug("makes attempt %d in %s s, after %s", run.attempt, figure(pause), kind)
        if self._wants(RetryScheduled):
            self._tell(RetryScheduled(self._name, run.attempt, pause, kind, self._clock()))

    def _give_up(self, run: _Run, error: Exception, reason: GaveUp) -> None:
        now = self._clock()
        seconds, kind, tries = now - run.began, type(error).__name__, _tries(run, error)
        self._note(run, error, f" in {figure(seconds)} s: {_WORDS[reason]}")
        if reason is GaveUp.BUDGET:
            self._spent.add(now, "lets %s pass: %s", kind, _WORDS[reason])
        else:
            self._debug("lets %s pass after %d attempts: %s", kind, tries, _WORDS[reason])
        if self._wants(RetriesExhausted):
            self._tell(RetriesExhausted(self._name, tries, reason, seconds, kind, now))

    def _note(self, run: _Run, error: Exception, why: str) -> None:
        begin = f"{self._name}: gave up after "
        tries = f"{_tries(run, error)} of {self._attempts} attempts"
        try:
            _remove_notes(error, begin)
            error.add_note(f"{begin}{tries}{why}")
        except Exception:  # an error that takes no notes is passed on without
            return


_WORDS = {
    GaveUp.ATTEMPTS: "no attempt is left",
    GaveUp.CANCELLED: "the caller has been cancelled",
    GaveUp.WITHIN: "the next one would come too late (within=)",
    GaveUp.DEADLINE: "the next one would come after the deadline",
    GaveUp.BUDGET: "the retry budget is spent",
    GaveUp.WAIT_OPEN: "the circuit stays open for longer than the call may wait (wait_open=)",
}


def _tries(run: _Run, error: Exception) -> int:
    """How many tries were made: one that was rejected was none."""
    return run.attempt - isinstance(error, RejectedError)


def _remove_notes(error: Exception, begin: str) -> None:
    """Remove what was noted before: some clients raise one object again for every call."""
    notes: list[str] = getattr(error, "__notes__", [])
    notes[:] = [note for note in notes if not note.startswith(begin)]
