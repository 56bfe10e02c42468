"""Drives a circuit by hand, in the order that its docstring asks for."""

from __future__ import annotations

from asyncbreaker._core.circuit import Asking, Circuit, Move
from asyncbreaker._core.permits import Era, Permit
from asyncbreaker._core.rules import Judge, TripRule
from asyncbreaker._core.states import Cause, Outcome, State
from asyncbreaker.backoff import NOMINAL, Backoff, as_callable, as_wait
from asyncbreaker.recovery import Recovery, probing
from asyncbreaker.trip import LastSeconds, consecutive_failures

SUCCESS, FAILURE, IGNORED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.IGNORED
CLOSED, OPEN, HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN


def judge(rule: TripRule, complaints: list[tuple[object, Exception]] | None = None) -> Judge:
    """Return a judge that keeps its complaints, of which there should be none by default."""

    def complain(source: object, error: Exception) -> None:
        if complaints is None:
            raise error
        complaints.append((source, error))

    return Judge(rule, default_window=LastSeconds(30), complain=complain)


class Hand:
    """A circuit and what its driver keeps; a number is always the present time."""

    def __init__(
        self,
        trip: TripRule = consecutive_failures(1),  # noqa: B008 - frozen
        *,
        backoff: Backoff | float = 10.0,
        recovery: Recovery = probing(),  # noqa: B008 - frozen
        slow: float | None = None,
        checked: bool = False,
    ) -> None:
        self.complaints: list[tuple[object, Exception]] = []
        self.circuit = Circuit(
            judge(trip, self.complaints),
            recovery,
            default_wait=NOMINAL,
            slow=slow,
            checked=checked,
            began=0.0,
        )
        self.backoff = as_callable(backoff)
        self.asked: list[Asking] = []
        self.told: list[Move] = []
        self.running: list[Permit] = []  # admitted and not settled, oldest first

    @property
    def state(self) -> State:
        return self.circuit.state

    @property
    def attempts(self) -> list[int]:
        """The attempts that the backoff was asked for."""
        return [asking.attempt for asking in self.asked]

    def arrive(self, now: float) -> Era | Permit | None:
        """Let a call come: first, what has become slow is marked."""
        if now >= self.circuit.running.look_at:
            while (overdue := self.circuit.running.overdue(now)) is not None:
                self.commit(overdue.era, self.circuit.mark(overdue, now), now)
        permit = self.circuit.admit(now)
        if isinstance(permit, Permit):
            self.running.append(permit)
        self.follow_up()
        return permit

    def admit(self, now: float) -> Permit:
        """Let a call come that must be admitted."""
        permit = self.arrive(now)
        assert isinstance(permit, Permit)
        return permit

    def settle(
        self, permit: Era | Permit, outcome: Outcome, now: float, pause: float | None = None
    ) -> None:
        if isinstance(permit, Permit):
            self.running.remove(permit)
        self.commit(permit.era, self.circuit.settle(permit, outcome, now, pause), now)

    def succeed(self, permit: Era | Permit, now: float) -> None:
        """Settle a success the short way where that is possible."""
        if isinstance(permit, Permit):
            self.running.remove(permit)
        if not self.circuit.succeed(permit, now):
            self.commit(permit.era, self.circuit.settle(permit, SUCCESS, now), now)

    def answer(self, permit: Permit, now: float) -> None:
        """Let a stream give its first item."""
        self.commit(permit.era, self.circuit.answer(permit, now, proves=True), now)

    def end_check(self, permit: Permit, passed: bool | None, now: float) -> None:
        self.running.remove(permit)
        self.commit(permit.era, self.circuit.end_check(permit, passed, now), now)

    def call(self, outcome: Outcome, now: float, seconds: float = 0.0) -> None:
        """Let a call come that must be admitted, and end it after *seconds*."""
        self.settle(self.admit(now), outcome, now + seconds)

    def trip(self, now: float) -> None:
        """Open it by as many failures as it takes."""
        while self.state is CLOSED:
            self.call(FAILURE, now)

    def command(self, cause: Cause, now: float, reason: str = "") -> None:
        self.circuit.command(cause, now, reason)
        self.follow_up()

    def commit(self, era: Era, cause: Cause | None, now: float) -> None:
        circuit = self.circuit
        if cause is Cause.TRIPPED and not circuit.judge.says_yes(circuit.judge.look(era, now)):
            return
        if cause is not None:
            circuit.move(era, cause, now)
        self.follow_up()

    def follow_up(self) -> None:
        while (asking := self.circuit.asking) is not None:
            self.circuit.asking = None
            self.asked.append(asking)
            wait = as_wait(self.backoff(asking.attempt))
            self.circuit.give_wait(asking, wait.seconds, wait.rejections, wait.at_least)
        self.told += self.circuit.moves
        self.circuit.moves = []
