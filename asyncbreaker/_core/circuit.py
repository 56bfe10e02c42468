"""The circuit: a pure state machine that decides when each cause arises.

It is told what happened and what time it is, and answers. Whoever drives it
(the breaker, a test, a simulation) does this, in this order:

1. ``admit`` or ``settle`` a call. Where the answer is a cause, ``move``; for
   TRIPPED, ask the rule first (``judge.look``, ``judge.says_yes``).
2. While ``asking`` is set, ask the backoff and hand its answer to ``give_wait``.
3. Take ``moves`` and tell them.

So the state moves before any user code but the trip rule is asked, and user code
that raises cannot wedge it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from asyncbreaker._core.half_open import Recovery, Trial
from asyncbreaker._core.permits import Era, Permit, Running
from asyncbreaker._core.rules import Judge
from asyncbreaker._core.states import TRANSITIONS, Cause, Outcome, Reason, State
from asyncbreaker._core.windows import SUCCESS as SUCCESSFUL
from asyncbreaker._core.windows import Counts, Window

# Looking a member up costs more than a global.
SUCCESS, FAILURE, IGNORED = Outcome
CLOSED, OPEN, HALF_OPEN, FORCED_OPEN, DISABLED = State

SAME_TROUBLE = 10.0  # seconds after closing in which a trip belongs to the same trouble


class Asking(NamedTuple):
    """A question to the backoff, put at a date."""

    era: Era
    attempt: int
    at: float


class Move(NamedTuple):
    """A transition that has happened and is to be told."""

    old: State
    new: State
    cause: Cause
    reason: str
    counts: Counts
    at: float
    new_trouble: bool


class Circuit:
    """A circuit, CLOSED at first."""

    def __init__(
        self,
        judge: Judge,
        recovery: Recovery,
        *,
        default_wait: Callable[[int], float],
        slow: float | None = None,
        checked: bool = False,
        began: float | None = None,
    ) -> None:
        self.judge = judge
        self.recovery = recovery  # of the next half-open
        self.checked = checked  # a health check is asked before the first probe
        self._default_wait = default_wait

        self.state = CLOSED
        self.era = Era(began)
        self.void = Era(None)  # the permit of calls that are not recorded
        self.trial: Trial | None = None  # while HALF_OPEN
        self.reason = ""
        self.asking: Asking | None = None
        self.moves: list[Move] = []

        self.failed = self.ignored = self.slow_calls = self.stale = 0
        self.rejected = self.opened = self.reopened = 0
        self._succeeded = 0  # in past eras

        self.running = Running(slow)

        self._attempt = 1  # of the last opening
        self._opening = Counts()  # those at the last opening
        self._until = 0.0  # end of the wait
        self._open_seconds = 0.0  # the wait as drawn
        self._rejections: int | None = None  # so many turned away end the wait early ...
        self._not_before = 0.0  # ... though not before this
        self._turned_away = 0
        self._pause: float | None = None  # seconds that the dependency asked for

        self._trouble: float | None = None  # when the present or last trouble began
        self._closed_at = 0.0
        self._quiet = 0.0

    # Admission.

    def refuses(self, now: float) -> bool:
        """Tell, and count, whether a call is rejected because the wait is not over."""
        if self.state is not OPEN or self._wait_over(now):
            return False
        self.reject()
        return True

    def admit(self, now: float) -> Era | Permit | None:
        """Return a permit for a call that comes now; None: it is rejected.

        First take each call that is ``running.overdue`` to ``mark``: arrivals notice
        what is slow.
        """
        if self.state is OPEN and self._wait_over(now):
            self.move(self.era, Cause.WAIT_OVER, now)
        trial = self.trial
        if trial is not None:
            permit = trial.admit(self.running, now)
            if permit is not None:
                if trial.progress.asking:
                    self._ask_again(trial, now)
                return permit
        elif self.state is CLOSED:
            return self.running.enter(self.era, now)
        elif self.state is DISABLED:
            return self.void
        self.reject()
        return None

    def reject(self) -> None:
        """Count a call that is turned away."""
        self.rejected += 1
        self._turned_away += 1

    def ready_at(self, now: float) -> float | None:
        """When a call would be admitted if nothing else happened; None: not by itself."""
        if self.trial is not None:
            return self.trial.ready_at(now)
        if self.state is OPEN and not self._wait_over(now):
            return self._until
        return None if self.state is FORCED_OPEN else now

    def why(self, now: float) -> tuple[Reason, float | None]:
        """Why a call is rejected now, and in how many seconds one may be admitted."""
        if self.state is OPEN:
            return Reason.OPEN, self.retry_after(now)
        return Reason.HALF_OPEN if self.trial is not None else Reason.FORCED, None

    def retry_after(self, now: float) -> float | None:
        """Seconds until the wait is over; None unless OPEN."""
        if self.state is not OPEN:
            return None
        seconds = self._until - now
        if seconds < 0.0:
            return 0.0
        while now + seconds < self._until:  # rounded up: who waits so long is not too early
            seconds = math.nextafter(seconds, math.inf)
        return seconds

    def _wait_over(self, now: float) -> bool:
        if now >= self._until:
            return True
        rejections = self._rejections
        return (
            rejections is not None and self._turned_away >= rejections and now >= self._not_before
        )

    # Judgement.

    def succeed(self, permit: Era | Permit, now: float) -> bool:
        """Settle a success in CLOSED that was not slow; else do nothing: ``settle`` it."""
        era = permit.era
        if (
            era is not self.era
            or self.state is not CLOSED
            or now >= permit.due
            or permit.entries is not None
        ):
            return False
        permit.done = True
        era.run = 0  # also without a lead: a marked call that fails moves the run alone
        if era.lead:
            era.lead -= 1
        era.succeeded += 1
        for window in self.judge.running:
            window.count(SUCCESSFUL, now)
        return True

    def settle(
        self, permit: Era | Permit, outcome: Outcome, now: float, pause: float | None = None
    ) -> Cause | None:
        """Take the end of a call; return the cause for which to ``move``, if there is one.

        *pause*: seconds for which the dependency asked to be left alone.
        """
        era = permit.era
        own = permit if isinstance(permit, Permit) else None
        if own is not None:
            own.done = True
        if era is not self.era:
            self.stale += era is not self.void
            return None  # the circuit has moved on: this says nothing about the present
        slow = own is not None and own.entries is None and own.is_slow(now)
        self.slow_calls += slow
        if outcome is SUCCESS:
            era.succeeded += 1
        elif outcome is FAILURE:
            self.failed += 1
        else:
            self.ignored += 1
        if self.trial is None:
            cause = self._settle_closed(era, own, outcome, slow, now)
        else:
            cause = None if own is None else self.trial.settle(own, outcome, slow, now)
        if pause is not None:
            self._pause = pause
            return Cause.RETRY_AFTER
        return cause

    def mark(self, permit: Permit, now: float) -> Cause | None:
        """Count a call as slow while it still runs; answers as ``settle`` does."""
        if permit.era is not self.era or permit.done:
            return None
        self.slow_calls += 1
        if self.trial is not None:
            return self.trial.mark(permit, now)
        permit.entries = self.judge.count(False, False, True, now)
        return self._bad(permit.era, now)

    def answer(self, permit: Permit, now: float, *, proves: bool) -> Cause | None:
        """Take the beginning of an answer, which ends the duration; answers as ``settle`` does.

        *proves*: in half-open that is its answer; else the end of the call will be.
        """
        if permit.answered is not None:
            return None
        slow = permit.is_slow(now)
        permit.answered = now - permit.started
        if permit.era is not self.era or permit.entries is not None:
            return None
        if slow:
            return self.mark(permit, now)
        return self.trial.answer(permit, now) if proves and self.trial is not None else None

    def end_check(self, permit: Permit, passed: bool | None, now: float) -> Cause | None:
        """Take the health check's end; *passed* is None when its caller was cancelled."""
        permit.done = True
        if self.trial is None or permit.era is not self.era:
            return None
        return self.trial.end_check(permit, passed, now)

    def _settle_closed(
        self, era: Era, own: Permit | None, outcome: Outcome, slow: bool, now: float
    ) -> Cause | None:
        failure = outcome is FAILURE
        if outcome is not IGNORED:
            era.run = era.run + 1 if failure else 0
        if own is not None and own.entries is not None:
            return self._amend(own.entries, outcome, now)
        if outcome is IGNORED and not slow:
            return None
        self.judge.count(outcome is SUCCESS, failure, slow, now)
        if failure or slow:
            return self._bad(era, now)
        if era.lead:
            era.lead -= 1
        return None  # only a bad call opens: a success that completes a minimum must not

    def _amend(
        self, entries: list[tuple[Window, float]], outcome: Outcome, now: float
    ) -> Cause | None:
        """Take the end of a call that was counted, and moved the lead, when it was marked slow."""
        if outcome is IGNORED:
            return None
        failure = outcome is FAILURE
        self.judge.amend(entries, failure=failure, now=now)
        return Cause.TRIPPED if failure else None

    def _bad(self, era: Era, now: float) -> Cause:
        if not era.lead or now - era.last_bad >= self.judge.limits.forget:
            era.lead, era.since = 0, now
        era.lead += 1
        era.last_bad = now
        return Cause.TRIPPED

    # Moves.

    def move(self, era: Era, cause: Cause, now: float, reason: str = "") -> None:
        """Go where *cause* leads, if *era* still lasts."""
        if era is not self.era:
            return  # somebody was faster
        old, counts = self.state, self.counts(now)
        new_trouble = self._leave(cause, now)
        # The only place that assigns the state.
        self.state = TRANSITIONS[old][cause]
        self._succeeded += era.succeeded
        era.lead = 1
        self.era = Era(now)
        self.reason = reason
        self._enter_state(cause, counts, now)
        if old is not self.state:
            self.moves.append(Move(old, self.state, cause, reason, counts, now, new_trouble))

    def command(self, cause: Cause, now: float, reason: str) -> None:
        """Obey an operator; a repeated order only updates the reason."""
        if cause in TRANSITIONS[self.state]:
            self.move(self.era, cause, now, reason)
        self.reason = reason

    def give_wait(
        self, asking: Asking, seconds: float, rejections: int | None = None, at_least: float = 0.0
    ) -> None:
        """Take the backoff's answer."""
        if asking.era is not self.era:
            return
        if self.trial is not None:
            self.trial.progress.hear(asking.at + seconds)
            return
        if self._pause is not None:  # such a wait never ends early
            seconds, rejections = max(seconds, self._pause), None
        self._open_seconds = seconds
        self._until = asking.at + seconds
        self._rejections, self._not_before = rejections, asking.at + at_least

    def _leave(self, cause: Cause, now: float) -> bool:
        """Draw the sum of a stay; tell whether a new trouble begins."""
        match cause:
            case Cause.FORCED | Cause.DISABLED | Cause.RESET:
                self._attempt, self._trouble = 1, None
            case Cause.RECOVERED if self.trial is not None:
                self._closed_at, self._quiet = now, self.trial.progress.quiet(now)
            case Cause.PROBE_FAILED | Cause.RETRY_AFTER if self.trial is not None:
                self._attempt = self.trial.progress.next_attempt
                self.reopened += 1
            case Cause.TRIPPED | Cause.RETRY_AFTER:
                return self._trip(now)
            case _:
                pass
        return False

    def _trip(self, now: float) -> bool:
        closed = math.inf if self._trouble is None else now - self._closed_at
        self._attempt = self.recovery.attempt_after(self._attempt, closed, self._open_seconds)
        self.opened += 1
        new_trouble = closed > max(SAME_TROUBLE, self._quiet)
        if new_trouble:
            self._trouble = now
        return new_trouble

    def _enter_state(self, cause: Cause, counts: Counts, now: float) -> None:
        self.trial = None
        match self.state:
            case State.CLOSED:
                self.judge.clear()
            case State.OPEN:
                self._opening, self._turned_away = counts, 0
                if cause is not Cause.RETRY_AFTER:
                    self._pause = None
                self._ask_backoff(self._attempt, now)
            case State.HALF_OPEN:
                trouble = now if self._trouble is None else self._trouble
                progress = self.recovery.begin(now, self._attempt, trouble, self.judge.limits)
                self.trial = Trial(self.era, progress, self.recovery.lease, checked=self.checked)
                if progress.asking:
                    self._ask_again(self.trial, now)
            case _:
                pass  # an operator's order: nothing to prepare

    def _ask_again(self, trial: Trial, now: float) -> None:
        trial.progress.asking = False
        self._ask_backoff(trial.progress.attempt, now)

    def _ask_backoff(self, attempt: int, now: float) -> None:
        self.asking = Asking(self.era, attempt, now)
        # Holds until the answer is there, and if it never comes.
        self.give_wait(self.asking, self._default_wait(attempt))

    # Looking: none of these changes anything.

    @property
    def succeeded(self) -> int:
        """Successes since the beginning."""
        return self._succeeded + self.era.succeeded

    @property
    def attempt(self) -> int:
        """How many openings in a row; 1 while closed."""
        if self.trial is not None:
            return self.trial.progress.attempt
        return self._attempt if self.state is OPEN else 1

    @property
    def trouble(self) -> float | None:
        """When the present or last trouble began."""
        return self._trouble

    def counts(self, now: float) -> Counts:
        """What counts now; while OPEN, what counted at the opening."""
        match self.state:
            case State.CLOSED:
                return self.judge.counts(self.era, now)
            case State.OPEN:
                return self._opening
            case _:
                return Counts(lead=0 if self.trial is None else self.trial.progress.lead)
