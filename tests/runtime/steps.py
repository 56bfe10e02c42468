"""Makes a call anew for each of its steps, and cancels it after that one."""

from __future__ import annotations

import asyncio
import math
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from itertools import count
from typing import Any, Protocol

import anyio
import anyio.lowlevel
import trio
from anyio.abc import TaskGroup

from asyncbreaker import Bulkhead, CircuitBreaker, current_attempt
from asyncbreaker._runtime.backend import seconds_left
from asyncbreaker.testing import ManualClock

PACE = 4  # ticks of the event loop between two moves: by then all tasks have come to rest
MOST = 100_000  # ticks; a clock that is read once a millisecond needs a few hundred

Call = Callable[[], Coroutine[Any, Any, object]]


def tasks_alive() -> int:
    if trio.lowlevel.in_trio_task():
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


class Stage:
    """What one call is made of: its policies, what happens beside it, and what may stay behind."""

    def __init__(self) -> None:
        self.clock = ManualClock(100.0)
        self.breakers: list[CircuitBreaker] = []
        self.bulkheads: list[Bulkhead] = []
        self.before: list[Callable[[], Coroutine[Any, Any, None]]] = []
        """Callers that are there before the one that is cancelled."""
        self.moves: list[Callable[[], object]] = []
        """What happens beside the call, one after another."""
        self.call: Call
        """The call that is cancelled."""
        self.again: Call
        """A call that must succeed afterwards, without any time passing."""
        self.end = "answered"
        """How it ends when nobody cancels it."""
        self.hasty: str | None = None
        """How it may end, besides, when a scope was cancelled while a try failed by itself."""
        self.steps = 200
        """After so many it need not be cancelled any more."""
        self.counted = True
        """Whether ``task.cancelling()`` is right afterwards; see ``ByTask``."""
        self.gates: dict[str, anyio.Event] = {}
        self.inside = 0
        self.group: TaskGroup
        self.served: list[str] = []
        self.expected: list[str] = []

    def gate(self, name: str) -> anyio.Event:
        return self.gates.setdefault(name, anyio.Event())

    def opens(self, *names: str) -> None:
        """Let one gate after another open."""
        for name in names:
            self.moves.append(lambda name=name: self.gate(name).set())  # type: ignore[misc]

    def advances(self, *seconds: float) -> None:
        for each in seconds:
            self.moves.append(lambda each=each: self.clock.advance(each))  # type: ignore[misc]

    def rests(self) -> None:
        """Let all tasks come to rest once more: what comes next needs all of them there."""
        self.moves.append(lambda: None)

    async def pending(self, gate: str = "answer") -> int:
        """Answer when *gate* opens, with an await before and after."""
        self.inside += 1
        try:
            await anyio.lowlevel.checkpoint()
            await self.gate(gate).wait()
            await anyio.lowlevel.checkpoint()
            return 42
        finally:
            self.inside -= 1

    def other(self, name: str, call: Callable[[], Awaitable[object]]) -> Callable[[], Any]:
        """Return another caller, which must be served."""
        self.expected.append(name)

        async def wait() -> None:
            await call()
            self.served.append(name)

        return wait

    def comes(self, name: str, call: Callable[[], Awaitable[object]]) -> None:
        """Let another caller come after the one that is cancelled."""
        other = self.other(name, call)
        self.moves.append(lambda: self.group.start_soon(other))

    def check(self) -> None:
        """Everything is given back, and nobody waits."""
        assert 0 == self.inside
        for breaker in self.breakers:
            assert not breaker.snapshot().in_flight
            assert 0 == len(breaker._runner.blocks)
        for bulkhead in self.bulkheads:
            assert (0, 0) == (bulkhead.running, bulkhead.waiting)
        assert ([], []) == (self.clock._sleepers, self.clock._watchers)


class Way(Protocol):
    """One way to cancel a caller."""

    certain: bool
    """Whether no call that has been told to end may end otherwise."""

    def start(self, group: TaskGroup, caller: Call) -> None: ...
    async def around(self, call: Call) -> str: ...
    def cancel(self) -> None: ...


class ByScope:
    """A cancel scope around the call."""

    certain = True

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()

    def start(self, group: TaskGroup, caller: Call) -> None:
        group.start_soon(caller)

    async def around(self, call: Call) -> str:
        with self.scope:
            await call()
            await anyio.lowlevel.checkpoint()
            return "answered"
        assert self.scope.cancelled_caught
        return "cancelled"

    def cancel(self) -> None:
        self.scope.cancel()


class ByDeadline(ByScope):
    """A deadline of a scope around the call."""

    certain = False

    def cancel(self) -> None:
        self.scope.deadline = anyio.current_time()


class ByTrioScope(ByScope):
    """Trio's own scope around the call."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()  # type: ignore[assignment]


class ByTask:
    """``task.cancel()``.

    anyio (4.16) takes cancellations of a child task, which a scope left there has counted,
    off the count of the parent's task. So where a hedged try has a task group inside, of
    which ``Timeout`` by a manual clock is one, the count may be too low.
    """

    certain = True
    count = 1

    def start(self, group: TaskGroup, caller: Call) -> None:
        self.task = asyncio.get_running_loop().create_task(caller())

    async def around(self, call: Call) -> str:
        try:
            with anyio.CancelScope():  # notices one inside that has not been left
                await call()
        except asyncio.CancelledError:
            self.count = self.task.cancelling()
            raise
        return "answered"

    def cancel(self) -> None:
        self.task.cancel()


class ByTimeout(ByTask):
    """``asyncio.timeout`` around the call."""

    certain = False

    async def around(self, call: Call) -> str:
        try:
            async with asyncio.timeout(None) as self.timeout:
                with anyio.CancelScope():
                    await call()
        except TimeoutError:
            assert 0 == self.task.cancelling()
            if not self.timeout.expired():
                raise
            return "cancelled"
        return "answered"

    def cancel(self) -> None:
        self.timeout.reschedule(asyncio.get_running_loop().time())


class ByWaitFor(ByTask):
    """``asyncio.wait_for`` around the call."""

    certain = False

    def __init__(self) -> None:
        self.fired = False

    async def around(self, call: Call) -> str:
        loop = asyncio.get_running_loop()
        call_at, call_later = loop.call_at, loop.call_later

        def kept(make: Callable[..., asyncio.TimerHandle]) -> Callable[..., asyncio.TimerHandle]:
            def schedule(when: float, callback: Any, *args: Any, **kwargs: Any) -> Any:
                handle = make(when, callback, *args, **kwargs)
                if when > 1e9:
                    self.timer = (handle, callback, args)
                return handle

            return schedule

        waiting = asyncio.wait_for(call(), 2e9)
        loop.call_at, loop.call_later = kept(call_at), kept(call_later)  # type: ignore[method-assign, assignment]
        try:
            await waiting
        except TimeoutError:
            assert 0 == self.task.cancelling()
            if not self.fired:
                raise
            return "cancelled"
        finally:
            del loop.call_at, loop.call_later
        return "answered"

    def cancel(self) -> None:
        handle, callback, args = self.timer
        if not handle.cancelled():
            self.fired = True
            callback(*args)


@types.coroutine
def watched(
    coroutine: Coroutine[Any, Any, object], act: Callable[[int], None]
) -> Generator[Any, Any, object]:
    """Await *coroutine*; call ``act(n)`` when it is about to wait for the n-th time (from 0)."""
    resume: Callable[[], Any] = lambda: coroutine.send(None)  # noqa: E731
    for number in count():
        try:
            step = resume()
        except StopIteration as stop:
            return stop.value
        act(number)
        try:
            value = yield step
            resume = lambda value=value: coroutine.send(value)  # type: ignore[misc]  # noqa: E731
        except BaseException as error:
            resume = lambda error=error: coroutine.throw(error)  # type: ignore[misc]  # noqa: E731
    raise AssertionError("it waits for ever")


class Run:
    """One run of a stage, with a cancellation at one step."""

    def __init__(self, stage: Stage, way: Way, when: str, step: int) -> None:
        self.stage = stage
        self.way = way
        self.when = when
        self.step = step
        self.ends: list[str] = []
        self.begun = False
        self.asked = False

    async def run(self) -> None:
        stage = self.stage
        alive = tasks_alive()
        async with anyio.create_task_group() as stage.group:
            for other in stage.before:
                stage.group.start_soon(other)
                await self.rest()
            self.way.start(stage.group, self.caller)
            while not self.begun:
                await anyio.lowlevel.checkpoint()
            await self.play()
            await self.rest()
            stage.group.cancel_scope.cancel()
        await anyio.lowlevel.checkpoint()
        self.check()
        assert alive == tasks_alive()
        assert 42 == await self.stage.again()
        assert alive == tasks_alive()
        self.stage.check()

    async def rest(self) -> None:
        for _ in range(2 * PACE):
            await anyio.lowlevel.checkpoint()

    async def play(self) -> None:
        moves = list(self.stage.moves)
        for tick in range(MOST):
            if (self.when, self.step) == ("before", tick):
                self.cancel()
            if moves and (self.ends or tick % PACE == PACE - 1):
                moves.pop(0)()
            if (self.when, self.step) == ("after", tick):
                self.cancel()
            if self.ends and not moves:
                return
            await anyio.lowlevel.checkpoint()
        raise AssertionError("the call does not end")

    def cancel(self) -> None:
        if not self.ends:
            self.asked = True
            self.way.cancel()

    def suspends(self, number: int) -> None:
        if (self.when, self.step) == ("await", number):
            self.cancel()

    async def call(self) -> object:
        answer = await watched(self.stage.call(), self.suspends)
        assert answer in (42, None)  # no substitute; a block has no answer
        return answer

    async def caller(self) -> None:
        end, self.begun = "cancelled", True
        try:
            end = await self.way.around(self.call)
        except Exception as error:
            end = type(error).__name__
            if end not in (self.stage.end, self.stage.hasty):
                raise
        finally:
            self.ends.append(end)
        assert (1, math.inf) == (current_attempt(), seconds_left(self.stage.clock))

    def check(self) -> None:
        stage, way = self.stage, self.way
        if isinstance(way, ByTask):
            assert way.task.done()
            if not way.task.cancelled():
                way.task.result()
            elif stage.counted:
                assert 1 == way.count
        wanted = {stage.end}
        if self.asked:
            certain = way.certain and (isinstance(way, ByTask) or stage.end == "answered")
            wanted = {"cancelled"} if certain else {"cancelled", stage.end}
            if isinstance(way, ByScope) and stage.hasty:
                wanted.add(stage.hasty)
        assert 1 == len(self.ends)
        assert self.ends[0] in wanted
        assert stage.expected == stage.served
        stage.check()


async def cancel_at_every_step(make: Callable[[], Stage], way: Callable[[], Way], when: str) -> int:
    """Make the call again and again, each time cancelled one step later; return its steps."""
    most = make().steps
    for step in range(most):
        run = Run(make(), way(), when, step)
        try:
            await run.run()
        except BaseException as error:
            error.add_note(f"cancelled at step {step}: {when}")
            raise
        if not run.asked:
            return step
    return most
