"""What stands between the ways into a breaker and its circuit: asks, reports, follows up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any

from asyncbreaker._core import checks
from asyncbreaker._core.circuit import Circuit
from asyncbreaker._core.permits import Era, Permit
from asyncbreaker._core.rules import Judge
from asyncbreaker._core.states import Cause, Outcome, State
from asyncbreaker._core.windows import Counts
from asyncbreaker._runtime.backend import Clock, LoopLock, ask_within, current_task
from asyncbreaker._runtime.blocks import Blocks
from asyncbreaker._runtime.journal import Journal
from asyncbreaker._runtime.matching import Matching, of_result
from asyncbreaker._runtime.misuse import explain, is_misuse, refuse
from asyncbreaker._runtime.pauses import ask
from asyncbreaker._runtime.settings import Changes, Settings
from asyncbreaker._runtime.snapshot import Failures, Snapshot
from asyncbreaker._runtime.telling import Telling
from asyncbreaker._runtime.waiting import Waiting
from asyncbreaker.backoff import DEFAULT, NOMINAL
from asyncbreaker.errors import CircuitOpenError
from asyncbreaker.events import CallRejected, CallSettled, StateChanged
from asyncbreaker.trip import LastSeconds, TripRule

SUCCESS, FAILURE, IGNORED = Outcome  # looking a member up costs more than a global
CLOSED = State.CLOSED
TRIPPED = Cause.TRIPPED

WINDOW_OF_PLAIN_RULES = LastSeconds(30)


Publish = Callable[[Era | Permit | None, Era | Permit | None], None]
"""Tells the breaker of ``short`` and ``bare``."""


class Runner:
    """Drives one circuit, as its docstring says, and keeps what a breaker needs around it."""

    __slots__ = (
        "_checking",
        "_failures",
        "_journal",
        "_lock",
        "_matching",
        "_publish",
        "_removers",
        "_simple",
        "bare",
        "bare_permit",
        "blocks",
        "circuit",
        "clock",
        "hears_rejected",
        "hears_settled",
        "name",
        "settings",
        "short",
        "telling",
        "waiting",
    )

    def __init__(
        self,
        name: str,
        settings: Settings,
        clock: Clock,
        publish: Publish,
    ) -> None:
        self.name = name
        self.settings = settings
        self.clock = clock
        self._publish = publish
        self._journal = Journal(name)
        self.telling = Telling(self._journal.complain)
        self._failures = Failures()
        self.waiting = Waiting(clock)
        # Guards the health check between OPEN and HALF_OPEN: one task asks.
        self._checking = LoopLock()
        # Guards, off the closed path, the circuit against other threads; never held
        # over an await or user code. Re-entrant, since the garbage collector may
        # close a forgotten block, which settles, in the middle of a guarded section.
        self._lock = threading.RLock()

        judge = Judge(
            settings.trip, default_window=WINDOW_OF_PLAIN_RULES, complain=self._journal.complain
        )
        self.circuit = Circuit(
            judge,
            settings.recovery,
            default_wait=NOMINAL,
            slow=settings.slow,
            checked=settings.health_check is not None,
            began=_read(clock),
        )
        # The permit that calls may take without asking; None: they must ask.
        self.short: Era | Permit | None = None
        # The same for ``async with`` blocks that need no record, and whose it is.
        self.bare: Era | Permit | None = None
        self.bare_permit: Era | Permit = self.circuit.void
        self.blocks: Blocks[Era | Permit] = Blocks()  # the others
        self._removers: list[Callable[[], None]] = []
        self.apply()

    # Admission.

    def admit(self, fn: object = None) -> Era | Permit:
        """Return a permit, or raise; where its ``check`` is set, ``check_health`` is next."""
        circuit = self.circuit
        now = self.clock()
        running = circuit.running
        if now >= running.look_at:
            self.mark_overdue(now)
        # Read before the state: if that is still CLOSED, the era is the closed one.
        era = circuit.era
        if circuit.state is CLOSED:
            return running.enter(era, now)
        self.waiting.arrivals += 1
        if now >= self._journal.due:
            self._journal.summary(now, circuit)
        # Most rejections end here: without the lock a count may be missed, no more.
        refused = circuit.trial is None and circuit.refuses(now)
        permit = None if refused else self._admit_locked(now)
        if self.waiting.watching:
            self.waiting.stirred()
        if permit is not None:
            return permit
        if fn is not None and not callable(fn):
            refuse(fn)
        return self._reject(now)

    def _admit_locked(self, now: float) -> Era | Permit | None:
        circuit = self.circuit
        self._lock.acquire()  # half the price of ``with``
        try:
            permit = circuit.admit(now)
            if permit is None or (circuit.asking is None and not circuit.moves):
                return permit
            self.refresh()
        finally:
            self._lock.release()
        try:
            self.follow_up()
        except BaseException:  # an interrupt in user code: the call is not made
            self.settle(permit, IGNORED, "interrupted")
            raise
        return permit

    def _reject(self, now: float) -> Era:
        """Raise the rejection; in shadow mode tell it, and let the call go on unrecorded."""
        reason, retry_after = self.circuit.why(now)
        if self.hears_rejected:
            event = CallRejected(self.name, reason, retry_after, self.settings.shadow, now)
            self.telling.queue(event)
            self.telling.drain()
        if self.settings.shadow:
            return self.circuit.void
        raise CircuitOpenError(self.name, reason, retry_after, self._failures.last(now))

    async def check_health(self, permit: Era | Permit) -> Era | Permit:
        """Ask the health check in the caller's task; return the permit of the call that goes on."""
        assert isinstance(permit, Permit)
        lock, lease = self._checking.here(), self.circuit.recovery.lease
        health_check = self.settings.health_check
        if lock.locked():
            # An older check, which an operator's order has made void, still runs.
            self._end_check(permit, None, self.clock())
            return self._refuse_checker()
        error: Exception | None = None
        passed: bool | None = None  # stands if the caller is cancelled: the next call asks
        try:
            async with lock:  # one task asks; the others are rejected, none queues
                # None: ``configure`` took it away, in another thread, since the call came.
                ask = ask_within(lease, self.clock, health_check) if health_check else None
                error = await ask if ask else None
            passed = error is None
        finally:
            now = self.clock()
            if error is not None:
                self._failures.add(error, now)
            self._end_check(permit, passed, now)
        return self.admit() if passed or self.admits_all() else self._refuse_checker()

    def _end_check(self, permit: Permit, passed: bool | None, now: float) -> None:
        with self._lock:
            cause = self.circuit.end_check(permit, passed, now)
        self.commit(permit.era, cause, (), now)
        self.waiting.stirred()  # its place is free, also if nothing has moved

    def _refuse_checker(self) -> Era:
        self.circuit.reject()
        return self._reject(self.clock())

    # Judgement. Must not await: a cancelled caller would lose the outcome.

    def returned(self, permit: Era | Permit, result: object) -> None:
        """Settle a call that returned."""
        fail_on_result = self.settings.fail_on_result
        if fail_on_result is None:
            self.succeed(permit)
            return
        outcome = IGNORED  # stands if Ctrl-C arrives in the predicate
        try:
            outcome = of_result(fail_on_result, result, self._journal.complain)
        finally:
            self.settle(permit, outcome, "judged by fail_on_result")

    def succeed(self, permit: Era | Permit) -> None:
        """Settle a success."""
        if self.hears_settled:
            self.settle(permit, SUCCESS, None)
            return
        now = self.clock()
        if not (self._simple and self.circuit.succeed(permit, now)):
            self._report(permit, SUCCESS, now)

    def raised(self, permit: Era | Permit, error: BaseException, fn: object) -> None:
        """Settle what ``call`` caught; raise a hint if *fn* could not be called or awaited."""
        if is_misuse(fn, error):
            self.settle(permit, Outcome.IGNORED, error)
            explain(fn, error)
        self.leave(permit, error)

    def leave(self, permit: Era | Permit, error: BaseException | None) -> None:
        """Settle a block that ends, or a call whose result is not judged."""
        if error is None:
            self.succeed(permit)
            return
        outcome = IGNORED  # stands if Ctrl-C arrives in a predicate
        try:
            outcome = self._matching.of_error(error)
        finally:
            self.settle(permit, outcome, error)

    def enter_block(self, frame: FrameType, permit: Era | Permit) -> None:
        """Keep *permit* for the block that *frame* enters."""
        self.blocks.enter(frame, current_task(), permit)
        self.bare = None  # while any block has a record, all have
        self._publish(self.short, None)

    def leave_block(self, frame: FrameType, error: BaseException | None) -> None:
        """Settle a block that *frame* leaves, if it was entered with a permit of its own."""
        permit = self.blocks.leave(frame, current_task())
        bare = self.bare_permit
        if permit is None and bare.blocks:
            bare.blocks -= 1
            permit = bare
        if permit is not None:
            self.leave(permit, error)
        self.refresh_bare()

    def answer(self, permit: Era | Permit, *, proves: bool) -> None:
        """Take the beginning of an answer; *proves*: in half-open that is the answer."""
        if not isinstance(permit, Permit) or not permit.timed:
            return
        now = self.clock()
        with self._lock:
            cause = self.circuit.answer(permit, now, proves=proves)
            views = self._views(permit.era, cause, now)
        self.commit(permit.era, cause, views, now)

    def settle(
        self,
        permit: Era | Permit,
        outcome: Outcome,
        failure: BaseException | str | None,
        pause: float | None = None,
    ) -> None:
        """Report the end of a call; *failure*: what it raised, or words for a failure."""
        circuit, era = self.circuit, permit.era
        if era is circuit.void:
            return
        now = self.clock()
        stale = era is not circuit.era
        if outcome is FAILURE and failure is not None and not stale:
            self._failures.add(failure, now)
        if self.hears_settled:
            self._tell_settled(permit, outcome, failure, stale, now)
        self._report(permit, outcome, now, pause)
        if outcome is IGNORED and self.settings.slow is None:
            cancelled = not isinstance(failure, (Exception, str))
            self._journal.ignored(cancelled, circuit.succeeded + circuit.failed)
        if self.hears_settled:
            self.telling.drain()

    def _report(
        self, permit: Era | Permit, outcome: Outcome, now: float, pause: float | None = None
    ) -> None:
        circuit = self.circuit
        views: Sequence[Counts] = ()
        self._lock.acquire()  # half the price of ``with``
        try:
            if outcome is SUCCESS and circuit.trial is None and circuit.succeed(permit, now):
                return
            cause = circuit.settle(permit, outcome, now, pause)
            if cause is TRIPPED:
                views = circuit.judge.look(permit.era, now)
        finally:
            self._lock.release()
        if cause is not None:
            self.commit(permit.era, cause, views, now)
        elif circuit.trial is not None and self.waiting.watching:
            self.waiting.stirred()

    def _tell_settled(
        self,
        permit: Era | Permit,
        outcome: Outcome,
        failure: BaseException | str | None,
        stale: bool,
        now: float,
    ) -> None:
        seconds = permit.seconds(now) if isinstance(permit, Permit) else None
        if isinstance(permit, Permit) and seconds is not None:  # else: older than the listener
            error_type = type(failure).__name__ if isinstance(failure, BaseException) else None
            slow = permit.entries is not None or permit.is_slow(now)
            self.telling.queue(
                CallSettled(self.name, outcome, slow, stale, seconds, error_type, now)
            )

    def mark_overdue(self, now: float) -> None:
        """Count every running call as slow that has become so: arrivals notice it, no timer."""
        circuit = self.circuit
        while (permit := circuit.running.overdue(now)) is not None:
            with self._lock:
                cause = circuit.mark(permit, now)
                views = self._views(permit.era, cause, now)
            self.commit(permit.era, cause, views, now)
        if not circuit.running.watches:  # the last call under an older ``slow`` has ended
            self.refresh()

    def _views(self, era: Era, cause: Cause | None, now: float) -> Sequence[Counts]:
        """What the rule is to be asked about, if it is to be asked."""
        return self.circuit.judge.look(era, now) if cause is TRIPPED else ()

    # Moves. The state moves first; user code is asked and told after.

    def commit(self, era: Era, cause: Cause | None, views: Sequence[Counts], now: float) -> None:
        """Move for *cause*; for TRIPPED only if the rule says yes."""
        judge, reason = self.circuit.judge, ""
        if cause is None:
            return
        if cause is TRIPPED:
            if not judge.says_yes(views):
                return
            reason = _words(judge.reason)
        with self._lock:
            self.circuit.move(era, cause, now, reason)
            self.refresh()
        self.follow_up()

    def command(self, cause: Cause, reason: str) -> None:
        checks.instance("reason", reason, str, "a string")
        with self._lock:
            self.circuit.command(cause, self._about_now(), reason)
            self.refresh()
        self.follow_up()

    def follow_up(self) -> None:
        """Ask the backoff, write the log, tell the listeners, wake who waits."""
        circuit = self.circuit
        while (asking := circuit.asking) is not None:
            circuit.asking = None
            wait = ask(self.settings.backoff, asking.attempt, DEFAULT, self._journal.complain)
            with self._lock:
                circuit.give_wait(asking, wait.seconds, wait.rejections, wait.at_least)
        with self._lock:  # queued under it too: threads must not tell moves out of order
            moves, circuit.moves = circuit.moves, []
            if self.telling.wants(StateChanged):
                for move in moves:
                    self.telling.queue(
                        StateChanged(
                            self.name,
                            move.old,
                            move.new,
                            move.cause,
                            move.reason,
                            move.counts,
                            move.at,
                        )
                    )
        for move in moves:
            self._journal.moved(move, circuit, self._failures)
        if any(move.new in (State.CLOSED, State.DISABLED) for move in moves):
            self.waiting.closed()
        self.waiting.stirred()
        self.telling.drain()

    def apply(self, *, listeners: bool = True) -> None:
        """Make what the settings say hold."""
        settings = self.settings
        self._matching = Matching(settings.succeed_on, settings.fail_on, self._journal.complain)
        if listeners:
            for remove in self._removers:
                remove()
            self._removers = [
                self.telling.add(listener, (StateChanged,)) for listener in settings.listeners
            ]
        self.refresh()

    def refresh(self) -> None:
        """Choose the permit that calls may take without asking; None: they must ask."""
        circuit, telling = self.circuit, self.telling
        # The lock: a choice that another thread's move overtook would let every call in.
        with self._lock:
            self.hears_settled = telling.wants(CallSettled)
            self.hears_rejected = telling.wants(CallRejected)
            # Whether a success in CLOSED just counts, in no window.
            self._simple = circuit.state is CLOSED and not (
                circuit.judge.windows
                or self.settings.fail_on_result is not None
                or self.hears_settled
            )
            self.short = None
            if circuit.state is State.DISABLED:
                self.short = circuit.void
            elif circuit.state is CLOSED and not (circuit.running.watches or self.hears_settled):
                # Else one permit for all calls, though not the era: their ends are judged.
                self.short = circuit.era if self._simple else _untimed(circuit.era)
            self.refresh_bare()

    def refresh_bare(self) -> None:
        """Choose the permit of blocks that need no record: those of one era at a time."""
        with self._lock:
            short, old, self.bare = self.short, self.bare_permit, None
            if short is not None and not self.blocks:
                if old.era is short.era:
                    short.blocks = old.blocks
                if old.era is short.era or not old.blocks:
                    self.bare = self.bare_permit = short
            self._publish(short, self.bare)

    def configure(self, changes: Changes) -> None:
        """Apply *changes*, all or nothing."""
        old, now = self.settings, self._about_now()
        if unknown := changes.keys() - Changes.__annotations__:
            names = ", ".join(sorted(unknown))
            raise TypeError(f"configure() cannot change {names}: see its docstring")
        new = replace(old, **changes)
        other_rule = new.trip != old.trip
        with self._lock:
            self.settings = new
            if other_rule:
                self.circuit.judge.set_rule(new.trip, now)
            if new.slow != old.slow:
                self.circuit.running.set_limit(new.slow)
            self.circuit.recovery = new.recovery
            self.circuit.checked = new.health_check is not None
            self.apply(listeners="listeners" in changes)
        self.waiting.stirred()  # in shadow mode nobody need wait

    def force_state(self, state: State) -> None:
        """Bring the circuit into *state* by moves of the table."""
        if state is self.circuit.state:
            return
        if state in _ORDERS:
            self.command(_ORDERS[state], "forced by a test")
            return
        if self.circuit.state in (State.FORCED_OPEN, State.DISABLED):
            self.command(Cause.RESET, "forced by a test")
        if self.circuit.state is State.CLOSED:
            self._move(Cause.TRIPPED)
        elif self.circuit.state is State.HALF_OPEN:
            self._move(Cause.PROBE_FAILED)
        if state is State.HALF_OPEN:
            self._move(Cause.WAIT_OVER)

    def _move(self, cause: Cause) -> None:
        with self._lock:
            self.circuit.move(self.circuit.era, cause, self.clock(), "forced by a test")
            self.refresh()
        self.follow_up()

    def listen(
        self, listener: Callable[[Any], object], kinds: tuple[type[Any], ...]
    ) -> Callable[[], None]:
        """Tell *listener* events of these kinds; return what ends that."""
        remove = self.telling.add(listener, kinds)
        self.refresh()

        def end() -> None:
            remove()
            self.refresh()

        return end

    # Looking: changes nothing.

    def admits_all(self) -> bool:
        """Tell whether no call is rejected."""
        return self.settings.shadow or self.circuit.state in (State.CLOSED, State.DISABLED)

    def ready_at(self, now: float) -> float | None:
        """When a call would be admitted if nothing else happened; None: not by itself."""
        with self._lock:
            return self.circuit.ready_at(now)

    def _about_now(self) -> float:
        """Read the clock; where it cannot be read, as trio's outside of ``trio.run``, guess.

        Commands and looks must work there too: at import, in a fixture, in a debugger.
        """
        now = _read(self.clock)
        return now if now is not None else self.circuit.era.began or 0.0

    def snapshot(self) -> Snapshot:
        """Return one consistent look at everything."""
        now = self._about_now()
        circuit = self.circuit
        with self._lock:
            trial, began = circuit.trial, circuit.era.began
            return Snapshot(
                name=self.name,
                state=circuit.state,
                seconds_in_state=0.0 if began is None else now - began,
                reason=circuit.reason,
                attempt=circuit.attempt,
                retry_after=circuit.retry_after(now),
                counts=circuit.counts(now),
                in_flight=None if trial is None else trial.in_flight(now),
                window=None if trial is None else trial.progress.window,
                last_failure=self._failures.last(now),
                succeeded=circuit.succeeded,
                failed=circuit.failed,
                ignored=circuit.ignored,
                slow=circuit.slow_calls,
                stale=circuit.stale,
                rejected=circuit.rejected,
                opened=circuit.opened,
                reopened=circuit.reopened,
            )


_ORDERS = {
    State.CLOSED: Cause.RESET,
    State.FORCED_OPEN: Cause.FORCED,
    State.DISABLED: Cause.DISABLED,
}


def _untimed(era: Era) -> Permit:
    permit = Permit.of(era, 0.0)
    permit.timed = False
    return permit


def _read(clock: Clock) -> float | None:
    """Read the clock; None if it cannot be read yet, as trio's outside of ``trio.run``."""
    try:
        return clock()
    except Exception:
        return None  # only ``seconds_in_state`` of the first era misses it


def _words(rule: TripRule) -> str:
    """Describe a rule for the log: our rules by their parameters, functions by their names."""
    name: object = getattr(rule, "__qualname__", None)
    if isinstance(name, str):
        return name
    try:
        return repr(rule)
    except Exception:  # a broken __repr__ must not wedge the opening
        return type(rule).__name__
