"""One small circuit breaker for every peer: it does what its settings say.

Rule 1: time is passed in and chance is injected, so that the lab can drive it.
Rule 2: nothing runs by itself: what a timer would have done is caught up on, as of the
time at which it would have done it, by whatever comes next.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import ceil, floor, inf, nextafter

from benchmarks.lab.peers.settings import HalfOpen, Random, Settings, State, Trip
from benchmarks.lab.peers.windows import Whole, counts

CLOSED, OPEN, HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN

Call = tuple[int, State, int]
"""A call in flight: its era, the state that admitted it, the counts' own mark."""

Rule = Callable[[Whole], bool]


def rule(trip: Trip) -> Rule:
    """Return *trip* as a function of the counts."""
    if trip.type == "any_of":
        rules = [rule(part) for part in trip.of]
        return lambda seen: any(asked(seen) for asked in rules)
    compare = operator.ge if trip.op == ">=" else operator.gt
    threshold, least = trip.threshold, trip.min_calls
    if trip.type == "consecutive_failures":
        return lambda seen: compare(seen.bad_run, threshold)
    number = _started if trip.denominator == "started" else _completed

    def rate(seen: Whole) -> bool:
        """Say whether too large a share of enough calls has failed."""
        calls = number(seen)
        return calls >= max(least, 1) and compare(seen.bad_share(calls), threshold)

    return rate


def _started(seen: Whole) -> int:
    """Return how many calls have begun, without excluded ones."""
    return seen.requests - seen.excluded


def _completed(seen: Whole) -> int:
    """Return how many calls have succeeded or failed."""
    return seen.successes + seen.failures


class Machine:
    """A circuit breaker, as a client of the lab.

    Its windows and looks begin with its first call, unless *began* says when: clients
    that are made together would act in step.
    """

    __slots__ = (
        "_any",
        "_attempt",
        "_bad",
        "_closed_at",
        "_due",
        "_era",
        "_good",
        "_half_open",
        "_phase",
        "_places",
        "_random",
        "_rule",
        "_stale",
        "_state",
        "_until",
        "moves",
        "open_seconds",
        "openings",
        "seen",
        "settings",
        "trips",
    )

    def __init__(
        self,
        settings: Settings,
        *,
        random: Random,
        began: float | None = None,
    ) -> None:
        self.settings = settings
        self.seen = counts(settings.window)
        self.openings: list[float] = []
        self.trips: list[float] = []
        self.moves: list[tuple[State, State]] = []
        self.open_seconds = 0.0  # as drawn for the last opening
        self._random = random
        self._rule = rule(settings.trip)
        self._any = settings.trip.evaluate_on == "any"
        self._stale = settings.stale
        self._half_open = settings.half_open or HalfOpen("unbounded")  # never reached
        self._state = settings.initial_state
        self._era = 0
        self._attempt = 0
        self._closed_at = 0.0
        self._good = self._bad = 0  # answers of this half-open stay
        self._places = self._half_open.limit
        self._phase = random() * settings.open.sweep if settings.open.sweep else 0.0
        self._until = -inf  # open before that, if it is open
        self._due = -inf  # when something happens by itself: first of all, it begins
        if began is not None:
            self._begin(began)

    @property
    def state(self) -> State:
        """Where it stood when it was last called, or looked at."""
        return self._state

    def admit(self, now: float) -> Call | None:
        if now < self._until:
            return None
        if now >= self._due:
            self._catch_up(now)
        if self._state is CLOSED:
            return self._era, CLOSED, self.seen.begin(now)
        if now < self._until:
            return None  # it has opened just now, as of a moment ago
        if self._state is OPEN:
            self.half_open(now)
        return self._probe(now)

    def settle(self, call: Call, good: bool, now: float) -> None:
        if now >= self._due:
            self._catch_up(now)
        era, admitted, mark = call
        state = self._state
        if era != self._era:
            if self._stale == "ignore":
                return
            if self._stale == "as_admitted":
                state = admitted
        elif admitted is HALF_OPEN:
            self._give_back()
        if good:
            self.seen.succeed(mark, now)
            if state is CLOSED and not self._any:
                return  # by far the most frequent
            self._succeeded(state, now)
        else:
            self.seen.fail(mark, now)
            self._failed(state, now)

    def exclude(self, call: Call, now: float) -> None:
        """Take the end of a call that says nothing about the dependency."""
        if self.settings.excluded == "success":
            self.settle(call, True, now)
            return
        if now >= self._due:
            self._catch_up(now)
        era, admitted, mark = call
        if era == self._era:
            self.seen.exclude(mark, now)
            self._places += admitted is HALF_OPEN

    def look(self, now: float) -> State:
        """Return the state, after whatever looking does."""
        if now >= self._due:
            self._catch_up(now)
        self.seen.roll(now)
        return self._state

    def open(self, now: float) -> None:
        """Open; when it is open already, for another while."""
        settings = self.settings.open
        if self._state is not OPEN:
            self.openings.append(now)
            if self._state is CLOSED:
                self.trips.append(now)
            self._forget(now)
            self.open_seconds = self._wait()
            self._move(OPEN, now, self.settings.on_open)
        until = now + self.open_seconds
        if settings.sweep:
            sweeps = ceil((until - self._phase) / settings.sweep)
            until = self._phase + sweeps * settings.sweep
        self._until = nextafter(until, inf) if settings.boundary == "exclusive" else until
        self._due = inf if settings.transition == "lazy_call" else self._until

    def half_open(self, now: float) -> None:
        """Let probes in."""
        if self.settings.half_open is None:
            self.close(now)
            return
        self._move(HALF_OPEN, now, self.settings.on_half_open)
        self._good = self._bad = 0
        self._places = self._half_open.limit
        self._until, self._due = -inf, inf

    def close(self, now: float) -> None:
        """Let every call in."""
        if self._state is CLOSED:
            return  # several probes were under way: the first has closed it
        self._move(CLOSED, now, self.settings.on_close)
        self._closed_at = now
        if self.settings.open.forget is None:
            self._attempt = 0
        self._until = -inf
        self._due = self._next_due(now)

    def clear(self, now: float) -> None:
        """Forget the counts."""
        self.seen.clear(now)

    def _move(self, new: State, now: float, counts: str) -> None:
        """Change the state, and treat the counts as the settings say."""
        self.moves.append((self._state, new))
        self._state = new
        self._era += 1
        if counts == "clear":
            self.seen.clear(now)

    def _catch_up(self, now: float) -> None:
        """Do what was due by *now*."""
        if self._due == -inf:
            self._begin(now)
        elif self._state is OPEN:
            timer = self.settings.open.transition == "timer"
            self.half_open(self._until if timer else now)
        elif self.settings.window.type == "tumbling":
            self._era += 1
            self.seen.clear(now)
            self._due = self._next_due(now)
        else:
            self._look_at_counts(now)

    def _begin(self, now: float) -> None:
        """Let the windows and looks begin."""
        self.seen.clear(now)
        self._due = self._next_due(now) if self._state is CLOSED else inf

    def _next_due(self, now: float) -> float:
        """Return when something happens by itself, if it is closed from *now* on."""
        if self.settings.window.type == "tumbling":
            return nextafter(now + self.settings.window.seconds, inf)
        return now + (self.settings.trip.every or inf)

    def _look_at_counts(self, now: float) -> None:
        """Do the looks that were due; each sees what came before it."""
        every = self.settings.trip.every or inf
        while self._due <= now and self._state is CLOSED:
            due = self._due
            self.seen.roll(due - every / 2)
            self._due = due + every
            if self._rule(self.seen):
                self.open(due)
            elif not _completed(self.seen):
                # Nothing is left that could trip: on to the next look that may see some.
                self._due = due + (floor((now - due) / every) + 1) * every

    def _probe(self, now: float) -> Call | None:
        """Admit a call while half-open, if there is a place."""
        if self._places <= 0 and self._half_open.admission != "unbounded":
            return None
        self._places -= 1
        return self._era, HALF_OPEN, self.seen.begin(now)

    def _give_back(self) -> None:
        """Free the place of a probe that has been answered."""
        if self._half_open.admission == "concurrent":
            self._places += 1

    def _succeeded(self, state: State, now: float) -> None:
        """React to a success, as in *state*."""
        if state is CLOSED:
            if self._rule(self.seen):
                self.open(now)
        elif state is HALF_OPEN:
            self._good += 1
            self._answered(True, now)
        elif self.settings.open.late_success == "closes":
            self.close(now)

    def _failed(self, state: State, now: float) -> None:
        """React to a failure, as in *state*."""
        if state is CLOSED:
            if self.settings.trip.every is None and self._rule(self.seen):
                self.open(now)
        elif state is HALF_OPEN:
            self._bad += 1
            self._answered(False, now)
        elif self.settings.open.anchor == "last_failure":
            self.open(now)

    def _answered(self, good: bool, now: float) -> None:
        """Close or open, once the probes' answers decide."""
        half_open = self._half_open
        if half_open.rate is not None:
            if self._good + self._bad >= half_open.calls:
                bad = self._bad >= half_open.rate * half_open.calls
                (self.open if bad else self.close)(now)
        elif not good:
            self.open(now)
        elif self._good >= half_open.successes:
            self.close(now)

    def _wait(self) -> float:
        """Return how long to stay open, one attempt further."""
        settings = self.settings.open
        self._attempt += 1
        if settings.backoff is None:
            return settings.seconds
        return settings.backoff(self._attempt - 1, self._random)

    def _forget(self, now: float) -> None:
        """Take back an attempt for each quiet stretch since it closed."""
        forget = self.settings.open.forget
        if forget is not None and self._state is CLOSED:
            quiet = floor((now - self._closed_at) / forget)
            self._attempt = max(0, self._attempt - quiet)
