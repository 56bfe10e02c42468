"""Hedge: a second try beside the first one when that is slow."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar

import anyio

from asyncbreaker._core import checks
from asyncbreaker._runtime.backend import Clock, Signal, wait_until
from asyncbreaker._runtime.bulletin import Bulletin
from asyncbreaker._runtime.misuse import explain_misuse, refuse
from asyncbreaker._runtime.policy import Around
from asyncbreaker._runtime.retry_budget import RetryBudget
from asyncbreaker.events import HedgeStarted, HedgeWithheld, HedgeWon

P = ParamSpec("P")
R = TypeVar("R")


class Hedge(Around):
    """Starts a second try when the first has not answered after a while; takes the first answer.

    For calls that are safe to make twice, and whose slowest answers are much slower than
    the others. The try that answers first wins; the others are cancelled, which proves
    nothing to a breaker inside. A try that fails is no answer: the others go on, and only
    when all that run have failed does the last error reach the caller. A failure starts no
    further try; that is what ``Retry`` is for.

    Tries run in child tasks, the first one too: what they set in context variables is not
    seen by the caller. No task outlives the call.

    Args:
        after: Seconds after which another try starts, and again after as many. A good
            value is what 95 % of the answers take.
        extra: Tries beside the first one, at most.
        budget: Bounds the extra tries of all calls together; while it is spent there are none.
        name: Stands in events and the log. Default: unique ("hedge-1").
        clock: Monotonic seconds; may have ``sleep_until``, as ``ManualClock`` does.

    Raises:
        TypeError, ValueError: A value is of the wrong type or out of range.
    """

    _word = "hedge"
    _kinds = (HedgeStarted, HedgeWithheld, HedgeWon)

    def __init__(
        self,
        after: float,
        *,
        extra: int = 1,
        budget: RetryBudget | None = None,
        name: str | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(name, clock)
        self.after = checks.positive("after", after)
        self._extra = checks.count("extra", extra)
        if budget is not None:
            checks.instance("budget", budget, RetryBudget, "a RetryBudget")
        self._budget = budget
        self._spent = Bulletin(self._word, self._name, logging.WARNING)

    async def call(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the first answer of ``await fn(*args, **kwargs)``, made once or more often.

        Raises:
            What the last of the tries raised, when all have failed.
        """
        if not callable(fn):
            refuse(fn)
        race: _Race[R] = _Race()
        now = self._clock()
        if self._budget is not None:
            self._budget.deposit(now)

        async def run(number: int) -> None:
            await race.run(number, fn, *args, **kwargs)

        try:
            async with anyio.create_task_group() as tries:
                race.started()
                tries.start_soon(run, 1)
                due = now
                for _ in range(self._extra):
                    due += self.after
                    await wait_until(race.over, self._clock, due)
                    if race.is_over:
                        break
                    if self._may_start(race.tries + 1):
                        tries.start_soon(run, race.started())
                if not race.is_over:
                    await race.over.wait()
                if race.running:
                    tries.cancel_scope.cancel()
        finally:
            if race.interrupts:  # whoever has won, also when the caller is cancelled
                raise_again(race.interrupts.pop())
        return self._outcome(race, fn)

    def _may_start(self, number: int) -> bool:
        now = self._clock()
        if self._budget is not None and not self._budget.withdraw(now):
            self._spent.add(now, "starts no further try: its budget is spent")
            if self._wants(HedgeWithheld):
                self._tell(HedgeWithheld(self._name, now))
            return False
        self._debug("starts try %d", number)
        if self._wants(HedgeStarted):
            self._tell(HedgeStarted(self._name, number, now))
        return True

    def _outcome(self, race: _Race[R], fn: object) -> R:
        if race.errors:
            explain_misuse(fn, race.errors[0])
            raise_again(race.errors.pop())
        if race.tries > 1 and self._wants(HedgeWon):
            self._tell(HedgeWon(self._name, race.winner, race.tries, self._clock()))
        return race.answers[0]


def raise_again(error: BaseException) -> NoReturn:
    """Raise *error*, which has been caught elsewhere, as it is.

    Not chained to what the caller is handling, and kept by no frame: its traceback would
    hold that, and so itself.
    """
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
        del error, context


class _Race(Generic[R]):
    """The tries of one call."""

    def __init__(self) -> None:
        self.over = Signal()
        self.is_over = False
        self.tries = 0
        self.running = 0
        self.winner = 0
        self.answers: list[R] = []
        self.errors: list[BaseException] = []
        """What the last of the tries has raised, when all have failed."""
        self.interrupts: list[BaseException] = []
        """A KeyboardInterrupt or SystemExit out of any of them."""

    def started(self) -> int:
        """Count a try, before it runs; return its number."""
        self.tries += 1
        self.running += 1
        return self.tries

    async def run(
        self, number: int, fn: Callable[..., Awaitable[R]], /, *args: Any, **kwargs: Any
    ) -> None:
        """Make one try; never raises but when it is cancelled from outside."""
        try:
            answer = await fn(*args, **kwargs)
        except anyio.get_cancelled_exc_class() as error:
            # A scope around it is cancelled. Else *fn* itself has raised it, since
            # somebody has cancelled what it awaited: a failure of this try alone.
            if anyio.current_effective_deadline() == -math.inf:
                raise
            self._failed(error)
        except Exception as error:
            self._failed(error)
        except BaseException as error:
            self.interrupts.append(error)
            self._end()
        else:
            self.running -= 1
            if not self.is_over:
                self.winner = number
                self.answers.append(answer)
                self._end()

    def _failed(self, error: BaseException) -> None:
        self.running -= 1
        if not self.is_over and not self.running:
            self.errors.append(error)
            self._end()

    def _end(self) -> None:
        self.is_over = True
        self.over.wake()
