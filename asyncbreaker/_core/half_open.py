"""One stay in HALF_OPEN: who holds a place, and what the recovery makes of the answers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

from asyncbreaker._core.permits import Era, Permit, Running
from asyncbreaker._core.rules import LeadLimits
from asyncbreaker._core.states import Cause, Outcome

_, FAILURE, IGNORED = Outcome  # looking a member up costs more than a global


class Progress(Protocol):
    """How far one recovery has come. Every method is pure but for the progress itself."""

    attempt: int
    """Attempt number of the opening that this follows, plus one for each probe that hung."""
    asking: bool
    """It wants to ``hear`` the backoff of its attempt."""

    @property
    def window(self) -> float | None:
        """Calls in flight that it allows, where that number moves."""
        ...

    @property
    def lead(self) -> int:
        """By how many calls the bad ones lead, where it counts that."""
        ...

    @property
    def next_attempt(self) -> int:
        """Attempt number of an opening now."""
        ...

    @property
    def ask_at(self) -> float | None:
        """When a further call is admitted although no place is free."""
        ...

    def hear(self, until: float) -> None:
        """Take the backoff's answer: a probe that has not answered by then hangs."""

    def has_place(self, in_flight: int, now: float) -> bool:
        """Tell whether a call would be admitted; changes nothing."""
        ...

    def admit(self, in_flight: int, now: float) -> bool:
        """Tell whether the call that comes now is admitted, and take note of it either way."""
        ...

    def good(
        self, seconds: float | None, window: float | None, in_flight: int, now: float
    ) -> Cause | None:
        """Take a good answer of a call that came when *window* calls were allowed.

        *seconds* is None where the duration measures nothing.
        """
        ...

    def bad(self, in_flight: int, now: float) -> Cause | None:
        """Take a bad answer."""
        ...

    def quiet(self, now: float) -> float:
        """For how many seconds nothing is to be rejected before it closes."""
        ...


class Recovery(Protocol):
    """How HALF_OPEN admits calls and when it closes."""

    @property
    def lease(self) -> float:
        """Seconds for which a probe holds its place at most."""
        ...

    def begin(self, now: float, attempt: int, trouble: float, limits: LeadLimits) -> Progress:
        """Start a recovery; *trouble* is when the trouble began."""
        ...

    def attempt_after(self, attempt: int, closed: float, opened: float) -> int:
        """Attempt number of a trip after *closed* seconds; the last opening was for *opened*."""
        ...


class Trial:
    """One stay in HALF_OPEN."""

    def __init__(self, era: Era, progress: Progress, lease: float, *, checked: bool) -> None:
        self.era = era
        self.progress = progress
        self._lease = lease
        # Who holds a place, oldest first. A place is leased, not given.
        self._held: dict[Permit, None] = {}
        self._look_at = math.inf  # no lease ends before
        self._check_due = checked  # the health check is to be asked before any probe

    def admit(self, running: Running, now: float) -> Permit | None:
        """Return the permit of a call that comes now and gets a place; None: none is free."""
        if now >= self._look_at:
            self._expire(now)
        in_flight = len(self._held)
        if self._check_due:
            if in_flight:
                return None  # somebody asks the health check already
            permit = Permit.of(self.era, now)  # its time measures nothing
            permit.check = True
        else:
            window = self.progress.window
            if not self.progress.admit(in_flight, now):
                return None
            permit = running.enter(self.era, now)
            permit.window = window
        if not self._held:
            self._look_at = now + self._lease
        self._held[permit] = None
        return permit

    def ready_at(self, now: float) -> float | None:
        """When a call would be admitted if none ends; None: not by itself."""
        if self._has_place(self.in_flight(now), now):
            return now
        ask_at = None if self._check_due else self.progress.ask_at
        return min(
            (at for at in (next(self._ends(now), None), ask_at) if at is not None), default=None
        )

    def in_flight(self, now: float) -> int:
        """How many places are taken."""
        return sum(1 for _ in self._ends(now))

    def mark(self, permit: Permit, now: float) -> Cause | None:
        """Take a probe that has become slow: a bad answer, though it keeps its place."""
        permit.entries = []
        return self.progress.bad(len(self._held), now)

    def answer(self, permit: Permit, now: float) -> Cause | None:
        """Take the first item of a stream: a good answer, though it keeps its place."""
        permit.told = True
        return self.progress.good(permit.answered, permit.window, len(self._held), now)

    def settle(self, permit: Permit, outcome: Outcome, slow: bool, now: float) -> Cause | None:
        """Take the end of a probe, also of one that has outlived its lease."""
        self._held.pop(permit, None)  # unless its lease has ended
        if permit.entries is not None:
            return None  # its mark was its answer
        if slow or outcome is FAILURE:
            return self.progress.bad(len(self._held), now)
        if outcome is IGNORED or permit.told:
            return None
        seconds = now - permit.started if permit.answered is None else permit.answered
        return self.progress.good(seconds, permit.window, len(self._held), now)

    def end_check(self, permit: Permit, passed: bool | None, now: float) -> Cause | None:
        """Take the health check's end; *passed* is None when its caller was cancelled."""
        self._held.pop(permit, None)  # unless its lease has ended
        if not self._check_due or passed is None:
            return None  # the next caller asks
        if not passed:
            return Cause.PROBE_FAILED
        self._check_due = False
        return self.progress.good(None, None, len(self._held), now)

    def _has_place(self, in_flight: int, now: float) -> bool:
        return not in_flight if self._check_due else self.progress.has_place(in_flight, now)

    def _expire(self, now: float) -> None:
        self._held = {permit: None for permit in self._held if permit.started + self._lease > now}
        self._look_at = next(self._ends(now), math.inf)

    def _ends(self, now: float) -> Iterator[float]:
        """Yield when the leases end that still run."""
        ends = (permit.started + self._lease for permit in self._held)
        return (end for end in ends if end > now)
