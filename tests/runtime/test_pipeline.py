"""Pipelines: the order of the policies, what passes through them untouched, blocks, misuse."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncbreaker import (
    Bulkhead,
    BulkheadFullError,
    CircuitBreaker,
    CircuitOpenError,
    Fallback,
    Hedge,
    LastGood,
    Outcome,
    Pipeline,
    RejectedError,
    Retry,
    State,
    Timeout,
    answer_age,
)
from asyncbreaker.testing import ManualClock, force_state, record
from tests.runtime.calls import Pending
from tests.runtime.support import answer, fail, fragile, settled

pytestmark = pytest.mark.anyio

seen: ContextVar[str] = ContextVar("seen", default="nothing")

Make = Callable[[ManualClock], Any]

POLICIES: dict[str, Make] = {
    "retry": lambda clock: Retry(clock=clock, backoff=0.0),
    "fallback": lambda clock: Fallback(value=None, clock=clock),
    "last-good": lambda clock: LastGood(clock=clock),
    "hedge": lambda clock: Hedge(0.5, clock=clock),
    "breaker": lambda clock: CircuitBreaker(clock=clock),
    "bulkhead": lambda clock: Bulkhead(5, clock=clock),
    "timeout": lambda clock: Timeout(1.0, clock=clock),
    "pipeline": lambda clock: Pipeline(Fallback(value=None, clock=clock), Bulkhead(5)),
    "user": lambda clock: Noted("user", []),
}
in_every_policy = pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)
ALONE = [name for name in POLICIES if name not in ("user", "hedge")]


def full(clock: ManualClock, *, hedge: bool = False) -> Pipeline[Any]:
    """Every policy of ours, in the order that the README recommends."""
    return Pipeline(
        Fallback(value="substitute", clock=clock),
        LastGood(clock=clock),
        Retry(1, clock=clock),
        *([Hedge(0.5, clock=clock)] if hedge else []),
        CircuitBreaker(clock=clock),
        Bulkhead(5, clock=clock),
        Timeout(1.0, clock=clock),
    )


class Noted:
    """A policy of a user's own, which notes when it is entered and left."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    async def call(self, fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any) -> Any:
        self.notes.append(f"into {self.name}")
        try:
            return await fn(*args, **kwargs)
        finally:
            self.notes.append(f"out of {self.name}")


class Managed(Noted):
    """The same, which can also guard a block; it swallows what *swallows* names."""

    swallows: type[BaseException] | tuple[()] = ()

    async def __aenter__(self) -> None:
        self.notes.append(f"into {self.name}")

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> bool:
        self.notes.append(f"out of {self.name}")
        return kind is not None and issubclass(kind, self.swallows)


class Twice:
    """A policy that calls twice and returns both answers."""

    async def call(self, fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any) -> Any:
        return [await fn(*args, **kwargs), await fn(*args, **kwargs)]


async def echo(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


async def caught(fn: Callable[[], Awaitable[Any]]) -> BaseException | None:
    """Return what ``fn()`` raises."""
    try:
        await fn()
    except Exception as error:
        return error
    return None


# The order.


async def test_the_first_policy_is_outermost() -> None:
    """
    It is entered first and left last, also when the call fails.
    """
    notes: list[str] = []
    pipeline = Pipeline(*(Noted(name, notes) for name in "abc"))
    through = [*(f"into {name}" for name in "abc"), *(f"out of {name}" for name in "cba")]

    assert 42 == await pipeline.call(answer)
    assert through == notes
    with pytest.raises(ConnectionError):
        await pipeline.call(fail)
    assert through * 2 == notes


@pytest.mark.parametrize("way", ["call", "decorated"])
async def test_pipelines_nest(way: str) -> None:
    """
    A pipeline in a pipeline stands for its members, in their order.
    """
    notes: list[str] = []
    a, b, c, d = (Noted(name, notes) for name in "abcd")
    pipeline = Pipeline(a, Pipeline(b, Pipeline(c)), d)
    guarded = pipeline(answer) if way == "decorated" else partial(pipeline.call, answer)

    assert 42 == await guarded()
    assert ["into a", "into b", "into c", "into d"] == notes[:4]


@in_every_policy
async def test_one_policy_is_enough(make: Make, clock: ManualClock) -> None:
    """
    A pipeline of one does what that one does, by call and as a decorator.
    """
    pipeline = Pipeline(make(clock))

    @pipeline
    async def guarded(value: int) -> int:
        return value

    assert (42, 7) == (await pipeline.call(answer), await guarded(7))


async def test_one_pipeline_serves_many_calls_at_once(clock: ManualClock) -> None:
    """
    It keeps nothing of a call: overlapping ones get their own answers.
    """
    pipeline = full(clock)
    answers: dict[int, Any] = {}

    async def call(number: int) -> None:
        async def later() -> int:
            await gate.wait()
            return number

        answers[number] = await pipeline.call(later)

    gate = anyio.Event()
    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(call, number)
        await settled()
        gate.set()

    assert {number: number for number in range(5)} == answers


@pytest.mark.parametrize("count", [1, 2])
def test_a_pipeline_works_through_several_loops(count: int, clock: ManualClock) -> None:
    """
    Made at import, it serves one event loop after another, of either kind.
    """
    pipeline = full(clock, hedge=True)
    backends = ["asyncio", "trio"] * count

    assert [42] * len(backends) == [
        anyio.run(pipeline.call, answer, backend=backend) for backend in backends
    ]


# What passes through untouched.

ARGUMENTS: tuple[tuple[Any, ...], dict[str, Any]] = (
    (1, None, "x"),
    {"fn": 2, "self": 3, "args": 4, "kwargs": 5, "policy": 6, "name": 7, "key": 8},
)


@in_every_policy
async def test_arguments_reach_the_function_and_every_member(
    make: Make, clock: ManualClock
) -> None:
    """
    Positional and keyword ones, whatever their names, around and inside of every policy.
    """
    args, kwargs = ARGUMENTS
    got: list[Any] = []

    class Looking:
        async def call(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            got.append((args, kwargs))
            return await fn(*args, **kwargs)

    pipeline = Pipeline(Looking(), make(clock), Looking())

    assert ARGUMENTS == await pipeline.call(echo, *args, **kwargs)
    assert ARGUMENTS == await pipeline(echo)(*args, **kwargs)
    assert [ARGUMENTS] * 4 == got


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("way", ["call", "decorated"])
async def test_a_key_sees_the_users_arguments_only(
    way: str, nested: bool, clock: ManualClock
) -> None:
    """
    ``LastGood(key=...)`` is called with what the function is called with, and nothing else.
    """
    keys: list[Any] = []

    def key(*args: Any, **kwargs: Any) -> object:
        keys.append((args, kwargs))
        return "key"

    inner: Any = LastGood(key=key, clock=clock)
    if nested:
        inner = Pipeline(Noted("inside", []), inner)
    pipeline = Pipeline(Noted("outside", []), inner, Retry(clock=clock), Timeout(1.0))
    guarded = pipeline(echo) if way == "decorated" else partial(pipeline.call, echo)
    await guarded("a", limit=3)

    assert [(("a",), {"limit": 3})] == keys


class Bound:
    """A policy whose ``call`` is a ``partial`` of a function of its own."""

    def __init__(self) -> None:
        self.call = partial(self._call, "an option")

    async def _call(self, option: str, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return await fn(*args, **kwargs)


@pytest.mark.parametrize("inner", [Noted("inner", []), Twice(), Bound(), Pipeline(Bound())])
async def test_functions_are_told_apart_through_all_members(inner: Any, clock: ManualClock) -> None:
    """
    The default key of a ``LastGood`` is the user's function, whatever stands between.
    """
    pipeline = Pipeline(LastGood(on=ConnectionError, clock=clock), inner)

    async def mine() -> int:
        return 1

    await pipeline.call(mine)
    with pytest.raises(ConnectionError):
        await pipeline.call(fail)


@in_every_policy
async def test_an_exception_arrives_as_the_same_object(make: Make, clock: ManualClock) -> None:
    """
    Unchained, and in no group.
    """
    pipeline, error = Pipeline(Noted("outside", []), make(clock)), LookupError("a row")

    async def find() -> None:
        raise error

    assert error is await caught(lambda: pipeline.call(find))
    assert (None, None) == (error.__cause__, error.__context__)


@pytest.mark.parametrize("hedge", [False, True])
@pytest.mark.parametrize("way", ["call", "decorated"])
async def test_an_exception_passes_through_all_members(
    way: str, hedge: bool, clock: ManualClock
) -> None:
    """
    Through every policy of ours at once, too.
    """
    pipeline, error = full(clock, hedge=hedge), LookupError("a row")

    async def find() -> None:
        raise error

    guarded = pipeline(find) if way == "decorated" else partial(pipeline.call, find)
    assert error is await caught(guarded)
    assert (None, None) == (error.__cause__, error.__context__)


async def test_what_is_no_exception_passes_through_all_members(clock: ManualClock) -> None:
    """
    An interrupt is neither answered nor retried, and arrives as it is.
    """

    class Interrupt(BaseException):
        """Not to be handled."""

    interrupt = Interrupt()

    async def interrupted() -> None:
        raise interrupt

    with pytest.raises(Interrupt) as passed:
        await full(clock).call(interrupted)
    assert interrupt is passed.value
    assert (None, None) == (interrupt.__cause__, interrupt.__context__)


@pytest.mark.parametrize("name", ALONE)
async def test_context_variables_of_the_call_are_seen_by_the_caller(
    name: str, clock: ManualClock
) -> None:
    """
    What the function sets stays set: it runs in the caller's own task.
    """

    async def look() -> int:
        seen.set(name)
        return anyio.get_current_task().id

    here = anyio.get_current_task().id
    assert here == await Pipeline(POLICIES[name](clock)).call(look)
    assert name == seen.get()


async def test_the_whole_runs_in_the_callers_own_task(clock: ManualClock) -> None:
    """
    Without a hedge no member moves the call to another task, or drops its context.
    """

    async def look() -> int:
        seen.set("inside")
        return anyio.get_current_task().id

    here = anyio.get_current_task().id
    assert here == await full(clock).call(look)
    assert ("inside", None) == (seen.get(), answer_age())


@pytest.mark.parametrize("hedge", [False, True])
async def test_a_cancelled_call_leaves_nothing(hedge: bool, clock: ManualClock) -> None:
    """
    The function is cancelled with its caller, every place comes back, nobody sleeps on.
    """
    breaker, bulkhead = CircuitBreaker(clock=clock), Bulkhead(1, clock=clock)
    members = [Hedge(5.0, clock=clock)] if hedge else []
    pipeline = Pipeline(*members, breaker, bulkhead, Timeout(9.0, clock=clock))
    pending = Pending()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pipeline.call, pending)
            await pending.entered.wait()
            assert 1 == bulkhead.running
            scope.cancel()

    assert (0, 1, []) == (bulkhead.running, breaker.snapshot().ignored, clock._sleepers)


# Policies of a user's own.


async def test_a_policy_may_call_twice(clock: ManualClock) -> None:
    """
    Each call of it passes the policies inside anew.
    """
    breaker = CircuitBreaker(clock=clock)
    assert [42, 42] == await Pipeline(Twice(), breaker).call(answer)
    assert 2 == breaker.snapshot().succeeded
    assert [[42, 42], [42, 42]] == await Pipeline(Twice(), Twice()).call(answer)


async def test_a_policy_may_answer_by_itself() -> None:
    """
    It need not call the function at all.
    """

    class Answering:
        async def call(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            return "mine"

    assert "mine" == await Pipeline(Answering()).call(fail)


class Plain:
    def call(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)


class Streaming:
    async def call(self, fn: Any, /, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        yield await fn(*args, **kwargs)


@pytest.mark.parametrize(
    ("member", "hint"),
    [
        (Retry, r"not the class .*Retry.*: call it"),
        (Noted, r"not the class .*Noted.*: call it"),
        (answer, r"which have `async def call\(.*\)`, not <function answer"),
        (None, r"which have `async def call\(.*\)`, not None"),
        (Plain(), r"which have `async def call\(self, fn, /, \*args, \*\*kwargs\)`, not .*Plain"),
        (Streaming(), r"which have `async def call\(.*\)`, not .*Streaming"),
    ],
)
@pytest.mark.parametrize("at", [0, 1])
def test_what_is_no_policy_is_refused(member: Any, hint: str, at: int) -> None:
    """
    When the pipeline is made, wherever it stands, with a hint at what is wanted.
    """
    members: list[Any] = [Retry(), Timeout(1.0)]
    members.insert(at, member)
    with pytest.raises(TypeError, match=f"a pipeline needs policies, {hint}"):
        Pipeline(*members)


def test_an_empty_pipeline_is_refused() -> None:
    """
    It would guard nothing.
    """
    with pytest.raises(ValueError, match="a pipeline needs at least one policy"):
        Pipeline()


# Looks.


def test_a_pipeline_shows_its_policies(clock: ManualClock) -> None:
    """
    As a tuple, from the outside to the inside, and in its representation.
    """
    retry, timeout = Retry(name="again"), Timeout(1.0, name="second")
    inner = Pipeline(timeout)
    pipeline = Pipeline(retry, inner)

    assert (retry, inner) == pipeline.policies
    assert "Pipeline(<Retry 'again'>, Pipeline(<Timeout 'second'>))" == repr(pipeline)


@pytest.mark.parametrize("copying", [pickle.dumps, copy.deepcopy])
def test_a_pipeline_is_not_copied_behind_ones_back(copying: Callable[[Any], object]) -> None:
    """
    What keeps what this process has seen cannot be pickled, and neither can a pipeline of it.
    """
    with pytest.raises(TypeError, match="cannot pickle or copy"):
        copying(Pipeline(Retry(), CircuitBreaker()))


# Decorating.


async def test_a_decorated_function_keeps_its_looks(clock: ManualClock) -> None:
    """
    Name, documentation, signature, and that it is a coroutine function.
    """

    @full(clock)
    async def find(key: str, *, limit: int = 3) -> list[str]:
        """Find rows."""
        return [key] * limit

    assert ("find", "Find rows.") == (find.__name__, find.__doc__)
    assert "(key: 'str', *, limit: 'int' = 3) -> 'list[str]'" == str(inspect.signature(find))
    assert inspect.iscoroutinefunction(find)
    assert ["a", "a", "a"] == await find("a")


async def numbers() -> AsyncIterator[int]:
    yield 1


def plain() -> int:
    return 1


@pytest.mark.parametrize(
    ("fn", "hint"),
    [
        (plain, "not <function plain.*a function that is not async would never be judged"),
        (numbers, "a stream cannot be called again; guard it with @breaker"),
        (classmethod(answer), "put @classmethod above a pipeline"),
        (staticmethod(answer), "put @staticmethod above a pipeline"),
        (42, "not 42"),
    ],
)
def test_what_is_not_async_is_refused_at_decoration(fn: Any, hint: str) -> None:
    """
    A plain function, a stream or a wrapped method gets a hint instead of a silent pass.
    """
    with pytest.raises(TypeError, match=f"a pipeline needs a coroutine function, .*{hint}"):
        Pipeline(Retry())(fn)


# Blocks.


async def in_statement(pipeline: Pipeline[Any], fn: Callable[[], Awaitable[Any]]) -> None:
    async with pipeline:
        await fn()


async def in_guard(pipeline: Pipeline[Any], fn: Callable[[], Awaitable[Any]]) -> None:
    async with pipeline.guard():
        await fn()


async def in_stack(pipeline: Pipeline[Any], fn: Callable[[], Awaitable[Any]]) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(pipeline)
        await fn()


async def in_nested(pipeline: Pipeline[Any], fn: Callable[[], Awaitable[Any]]) -> None:
    async with Pipeline(pipeline):
        await fn()


in_every_block = pytest.mark.parametrize("block", [in_statement, in_guard, in_stack, in_nested])

Block = Callable[[Pipeline[Any], Callable[[], Awaitable[Any]]], Awaitable[None]]


class Three:
    """A pipeline that can guard blocks, and its members."""

    def __init__(self, clock: ManualClock, *, limit: int = 1, waiting: int = 0) -> None:
        self.clock = clock
        self.breaker = CircuitBreaker(clock=clock)
        self.bulkhead = Bulkhead(limit, waiting=waiting, clock=clock)
        self.timeout = Timeout(1.0, clock=clock)
        self.pipeline: Pipeline[Any] = Pipeline(self.breaker, self.bulkhead, self.timeout)

    def counted(self) -> tuple[int, int, int]:
        """Successes, failures and ignored calls; checks that nothing is held any more."""
        look = self.breaker.snapshot()
        assert (0, 0) == (self.bulkhead.running, self.bulkhead.waiting)
        assert (0, []) == (len(self.breaker._runner.blocks), self.clock._sleepers)
        assert 0 == len(self.pipeline._blocks)
        return look.succeeded, look.failed, look.ignored


@in_every_block
async def test_a_block_counts_once_and_gives_everything_back(
    block: Block, clock: ManualClock
) -> None:
    """
    However it ends: by itself, by an error, which passes as it is, or by running out of time.
    """
    three, error = Three(clock), LookupError("a row")

    async def body() -> None:
        assert 1 == three.bulkhead.running
        raise error

    await block(three.pipeline, answer)
    assert (1, 0, 0) == three.counted()
    assert error is await caught(lambda: block(three.pipeline, body))
    assert (1, 1, 0) == three.counted()
    assert (None, None) == (error.__cause__, error.__context__)


@in_every_block
async def test_a_block_that_takes_too_long_is_a_failure(block: Block, clock: ManualClock) -> None:
    """
    The timeout inside the breaker ends it, and the breaker sees its error.
    """
    three, ended = Three(clock), []

    async def run() -> None:
        ended.append(await caught(lambda: block(three.pipeline, anyio.sleep_forever)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await clock.slept_on()
        clock.advance(1.0)

    assert [TimeoutError] == [type(error) for error in ended]
    assert (0, 1, 0) == three.counted()


@in_every_block
async def test_a_cancelled_block_gives_everything_back(block: Block, clock: ManualClock) -> None:
    """
    A cancellation proves nothing to the breaker, and holds no place.
    """
    three = Three(clock)
    with anyio.CancelScope() as scope:

        async def body() -> None:
            scope.cancel()
            await anyio.sleep_forever()

        await block(three.pipeline, body)

    assert scope.cancelled_caught
    assert (0, 0, 1) == three.counted()


@in_every_block
async def test_what_was_entered_is_left_when_the_next_member_refuses(
    block: Block, clock: ManualClock
) -> None:
    """
    A full bulkhead inside a breaker: the breaker learns nothing and gets its permit back.
    """
    three, ran = Three(clock), []

    async def body() -> None:
        ran.append(True)

    async with three.bulkhead:
        error = await caught(lambda: block(three.pipeline, body))

    assert isinstance(error, BulkheadFullError)
    assert ((0, 0, 1), []) == (three.counted(), ran)


async def test_a_probe_gets_its_place_back_when_a_member_refuses(clock: ManualClock) -> None:
    """
    In half-open the place is free for the next call, which may close the circuit.
    """
    breaker, bulkhead = fragile(clock), Bulkhead(1, clock=clock)
    pipeline: Pipeline[Any] = Pipeline(breaker, bulkhead)
    force_state(breaker, State.HALF_OPEN)
    async with bulkhead:
        error = await caught(lambda: in_statement(pipeline, answer))
    assert isinstance(error, BulkheadFullError)
    assert (State.HALF_OPEN, 0) == (breaker.state, breaker.snapshot().in_flight)

    await in_statement(pipeline, answer)
    assert State.CLOSED is breaker.state


@in_every_block
async def test_a_rejected_block_takes_no_place(block: Block, clock: ManualClock) -> None:
    """
    While the circuit is open the block does not run, and the members inside hear nothing.
    """
    three = Three(clock)
    force_state(three.breaker, State.OPEN)
    with record(three.bulkhead, three.timeout) as events:
        error = await caught(lambda: block(three.pipeline, fail))

    assert isinstance(error, CircuitOpenError)
    assert ((0, 0, 0), []) == (three.counted(), events)


@in_every_block
async def test_a_block_cancelled_in_the_line_leaves_it(block: Block, clock: ManualClock) -> None:
    """
    Cancelled while it waits for its place, it leaves no waiter, and the breaker its permit.
    """
    three = Three(clock, waiting=1)
    async with three.bulkhead:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(block, three.pipeline, answer)
                await settled()
                assert 1 == three.bulkhead.waiting
                scope.cancel()
        assert 0 == three.bulkhead.waiting

    assert (0, 0, 1) == three.counted()


@in_every_block
async def test_waiting_for_a_place_may_take_too_long(block: Block, clock: ManualClock) -> None:
    """
    A timeout outside of a bulkhead ends a block that is not yet entered, with its own error.
    """
    bulkhead = Bulkhead(1, waiting=1, clock=clock)
    pipeline: Pipeline[Any] = Pipeline(Timeout(1.0, name="second", clock=clock), bulkhead)
    ended: list[BaseException | None] = []

    async def run() -> None:
        ended.append(await caught(lambda: block(pipeline, answer)))

    async with anyio.create_task_group() as tasks, bulkhead:
        tasks.start_soon(run)
        await settled()
        clock.advance(1.0)
        await settled()
        assert ["second: no answer within 1 s"] == [str(error) for error in ended]
        assert (1, 0) == (bulkhead.running, bulkhead.waiting)

    assert (0, []) == (bulkhead.running, clock._sleepers)


async def test_a_deadline_around_a_block_is_not_converted(clock: ManualClock) -> None:
    """
    A scope of the caller's that ends first does so as without the pipeline.
    """
    three = Three(clock)
    with anyio.move_on_after(0) as scope:
        async with three.pipeline:
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert (0, 0, 1) == three.counted()


@pytest.mark.parametrize("crowded", [False, True], ids=["free", "with a line"])
@pytest.mark.parametrize("block", [in_statement, in_guard])
async def test_a_block_may_be_cancelled_at_every_step(
    block: Block, crowded: bool, clock: ManualClock
) -> None:
    """
    Wherever a cancellation strikes, no permit, place, waiter or sleeper is left behind.
    """
    for steps in range(16):
        three = Three(clock, waiting=1)
        async with anyio.create_task_group() as tasks:
            if crowded:
                await three.bulkhead.__aenter__()
            tasks.start_soon(block, three.pipeline, answer)
            for step in range(steps):
                if crowded and step == 4:
                    await three.bulkhead.__aexit__(None, None, None)
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        if crowded and steps <= 4:
            await three.bulkhead.__aexit__(None, None, None)
        assert sum(three.counted()) <= 1
        await block(three.pipeline, answer)


async def test_an_error_while_entering_is_judged_and_passes_as_it_is() -> None:
    """
    What a member raises on entering is a failure to the breaker outside of it.
    """
    error, notes, breaker = ConnectionError("refused"), list[str](), CircuitBreaker()

    class Refusing(Managed):
        async def __aenter__(self) -> None:
            raise error

    pipeline: Pipeline[Any] = Pipeline(Managed("a", notes), breaker, Refusing("b", notes))
    assert error is await caught(lambda: in_statement(pipeline, answer))
    assert (None, None) == (error.__cause__, error.__context__)
    assert (["into a", "out of a"], 1) == (notes, breaker.snapshot().failed)


async def test_blocks_work_by_the_loops_own_clock() -> None:
    """
    Without a clock to test with, too: nested, overlapping, and left by an error.
    """
    breaker, bulkhead = CircuitBreaker(), Bulkhead(2)
    pipeline: Pipeline[Any] = Pipeline(breaker, bulkhead, Timeout(60.0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caught, lambda: in_statement(pipeline, fail))
        await in_statement(pipeline, lambda: in_guard(pipeline, answer))

    look = breaker.snapshot()
    assert (2, 1, 0) == (look.succeeded, look.failed, bulkhead.running)


async def test_blocks_of_one_task_nest(clock: ManualClock) -> None:
    """
    The same pipeline may be entered within itself: each block takes its own place.
    """
    three = Three(clock, limit=2)
    async with three.pipeline:
        async with three.pipeline:
            assert 2 == three.bulkhead.running
            error = await caught(lambda: in_statement(three.pipeline, answer))
            assert isinstance(error, BulkheadFullError)
        assert 1 == three.bulkhead.running

    assert (2, 0, 1) == three.counted()


async def test_the_outer_of_two_blocks_runs_out_of_time_first(clock: ManualClock) -> None:
    """
    It ends both: a failure for the outer one, and nothing learned from the inner one.
    """
    breaker = CircuitBreaker(clock=clock)
    pipeline: Pipeline[Any] = Pipeline(breaker, Timeout(1.0, clock=clock))

    async def move_on() -> None:
        for _ in range(2):
            await clock.slept_on(2)
            clock.advance(0.5)
            await settled()

    async def nest() -> None:
        async with pipeline:
            await clock.sleep_until(100.5)
            async with pipeline:
                await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(move_on)
        with pytest.raises(TimeoutError):
            await nest()

    assert (1, 1) == (breaker.snapshot().failed, breaker.snapshot().ignored)


async def test_overlapping_blocks_of_many_tasks_keep_their_own(clock: ManualClock) -> None:
    """
    Left in any order, each block settles and gives back what is its own.
    """
    three = Three(clock, limit=3)
    gates = [anyio.Event() for _ in range(3)]

    async def run(number: int) -> None:
        async with three.pipeline:
            await gates[number].wait()
            if number == 1:
                raise LookupError

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(caught, partial(run, number))
        await settled()
        for number, left in ((1, 2), (0, 1), (2, 0)):
            gates[number].set()
            await settled()
            assert left == three.bulkhead.running

    assert (2, 1, 0) == three.counted()


@pytest.mark.parametrize("how", ["statement", "guard"])
async def test_a_block_left_twice_gives_back_once(how: str, clock: ManualClock) -> None:
    """
    The second time there is nothing to settle, and nothing is raised.
    """
    three = Three(clock, limit=2)
    block: AbstractAsyncContextManager[Any, Any]
    block = three.pipeline if how == "statement" else three.pipeline.guard()
    async with three.bulkhead:
        await block.__aenter__()
        await block.__aexit__(None, None, None)
        await block.__aexit__(None, None, None)
        assert 1 == three.bulkhead.running

    assert (1, 0, 0) == three.counted()


@pytest.mark.parametrize("how", ["statement", "guard"])
async def test_leaving_what_was_never_entered_raises_nothing(how: str, clock: ManualClock) -> None:
    """
    Nor does it give back what it never took.
    """
    three = Three(clock)
    block: AbstractAsyncContextManager[Any, Any]
    block = three.pipeline if how == "statement" else three.pipeline.guard()
    await block.__aexit__(None, None, None)

    assert (0, 0, 0) == three.counted()


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("member", ["breaker", "bulkhead"])
async def test_a_guard_is_entered_once(member: str, inside: bool, clock: ManualClock) -> None:
    """
    A second time, within itself or after it, it refuses, and no place is lost.
    """
    bulkhead = Bulkhead(5, clock=clock)
    members = [CircuitBreaker(clock=clock)] if member == "breaker" else []
    block = Pipeline(*members, bulkhead).guard()
    async with block:
        if inside:
            with pytest.raises(RuntimeError, match="entered before"):
                await block.__aenter__()
            assert 1 == bulkhead.running
    if not inside:
        with pytest.raises(RuntimeError, match="entered before"):
            await block.__aenter__()

    assert 0 == bulkhead.running


@pytest.mark.parametrize(
    "make",
    [
        lambda: Retry(name="member"),
        lambda: Fallback(value=None, name="member"),
        lambda: LastGood(name="member"),
        lambda: Hedge(0.1, name="member"),
        lambda: Noted("member", []),
        lambda: Pipeline(Retry(name="member")),
    ],
    ids=["retry", "fallback", "last-good", "hedge", "user", "nested"],
)
async def test_a_block_cannot_be_guarded_by_what_calls_a_function(
    make: Callable[[], Any], clock: ManualClock
) -> None:
    """
    Which member cannot is named, the block does not run, and nothing has been entered.
    """
    breaker = CircuitBreaker(clock=clock)
    member = make()
    pipeline: Pipeline[Any] = Pipeline(member, breaker, Timeout(1.0, clock=clock))
    name = repr(member.policies[0]) if isinstance(member, Pipeline) else repr(member)
    with pytest.raises(TypeError, match="cannot guard a block") as refused:
        async with pipeline:
            raise LookupError
    with pytest.raises(TypeError, match="cannot guard a block"):
        pipeline.guard()

    look = breaker.snapshot()
    assert name in str(refused.value)
    assert (0, 0, 0) == (look.succeeded, look.failed, look.ignored)


async def test_a_policy_of_a_users_own_may_guard_a_block() -> None:
    """
    If it is an async context manager, it is entered and left in its place.
    """
    notes: list[str] = []
    breaker = CircuitBreaker()
    async with Pipeline(Managed("a", notes), breaker, Managed("b", notes)):
        notes.append("block")

    assert ["into a", "into b", "block", "out of b", "out of a"] == notes
    assert 1 == breaker.snapshot().succeeded


@pytest.mark.parametrize("where", ["outside", "inside"])
async def test_a_block_may_be_ended_quietly_by_a_users_own_policy(where: str) -> None:
    """
    What a member swallows the members inside of it have seen, and those outside have not.
    """
    swallowing, breaker = Managed("a", []), CircuitBreaker()
    swallowing.swallows = LookupError
    members: list[Any] = [swallowing, breaker] if where == "outside" else [breaker, swallowing]
    async with Pipeline(*members):
        raise LookupError

    look = breaker.snapshot()
    assert ((0, 1) if where == "outside" else (1, 0)) == (look.succeeded, look.failed)


# Misuse.


def integer() -> int:
    return 42


NONSENSE: dict[str, tuple[Callable[[], Any], str]] = {
    "None": (lambda: None, "call\\(\\) needs a callable that returns an awaitable, not None"),
    "int": (lambda: 42, "call\\(\\) needs a callable that returns an awaitable, not 42"),
    "returns int": (lambda: integer, "function integer.* did not: .*int.*'?await'? ?expression"),
    "stream": (lambda: numbers, "function numbers.* did not: .*decorate async generator functions"),
}


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("piped", [False, True], ids=["alone", "in a pipeline"])
@pytest.mark.parametrize("name", [name for name in POLICIES if name != "user"])
async def test_what_is_no_async_callable_gets_a_hint(
    name: str, piped: bool, nonsense: str, clock: ManualClock
) -> None:
    """
    Every policy refuses it in the same words, alone and in a pipeline; nothing passes silently.
    """
    policy = POLICIES[name](clock)
    make, hint = NONSENSE[nonsense]
    with pytest.raises(TypeError, match=hint) as refused:
        await (Pipeline(policy) if piped else policy).call(make())

    assert 1 == str(refused.value).count("call() needs")


@pytest.mark.parametrize("piped", [False, True], ids=["alone", "in a pipeline"])
@pytest.mark.parametrize("name", [name for name in POLICIES if name != "user"])
async def test_a_ready_made_coroutine_is_refused_and_closed(
    name: str, piped: bool, clock: ManualClock
) -> None:
    """
    With a hint, and without a "was never awaited".
    """
    policy, coroutine = POLICIES[name](clock), answer()
    with pytest.raises(TypeError, match=r"write call\(fn, ...\) instead of call\(fn\(...\)\)"):
        await (Pipeline(policy) if piped else policy).call(coroutine)

    assert inspect.CORO_CLOSED == inspect.getcoroutinestate(coroutine)


async def test_a_coroutine_is_closed_also_when_the_circuit_is_open(clock: ManualClock) -> None:
    """
    A fallback does not hide the mistake.
    """
    breaker, coroutine = CircuitBreaker(clock=clock), answer()
    force_state(breaker, State.OPEN)
    with pytest.raises(TypeError, match="instead of"):
        await Pipeline(Fallback(value=None), breaker).call(coroutine)  # type: ignore[arg-type]

    assert inspect.CORO_CLOSED == inspect.getcoroutinestate(coroutine)


@pytest.mark.parametrize("inner", ["bare", "timeout", "nested", "bulkhead", "hedge"])
@pytest.mark.parametrize("way", [integer, numbers])
async def test_a_misuse_is_no_failure_and_is_not_retried(
    way: Any, inner: str, clock: ManualClock
) -> None:
    """
    The breaker ignores it, wherever it stands; the function is called once.
    """
    made: list[None] = []

    def counting() -> Any:
        made.append(None)
        return way()

    breaker = CircuitBreaker(clock=clock)
    inside = {
        "bare": [],
        "timeout": [Timeout(1.0, clock=clock)],
        "nested": [Pipeline(LastGood(on=OSError), Timeout(1.0, clock=clock))],
        "bulkhead": [Bulkhead(1, clock=clock)],
        "hedge": [Hedge(1.0, clock=clock)],
    }[inner]
    anything = Fallback(value=None, on=Exception, clock=clock)
    retry = Retry(3, backoff=0.0, clock=clock)
    pipeline = Pipeline(anything, LastGood(on=Exception, clock=clock), retry, breaker, *inside)
    with record(pipeline) as events, pytest.raises(TypeError, match="call\\(\\) needs"):
        await pipeline.call(counting)

    look = breaker.snapshot()
    assert (1, 1, 0) == (len(made), look.ignored, look.failed)
    assert [Outcome.IGNORED] == [event.outcome for event in events if hasattr(event, "outcome")]
    assert 1 == len(events)


async def test_wrong_arguments_are_a_failure(clock: ManualClock) -> None:
    """
    Nobody can tell them from an error of the dependency's: they count, and are retried.
    """
    breaker = CircuitBreaker(clock=clock)
    pipeline = Pipeline(Retry(3, backoff=0.0, clock=clock), breaker, Timeout(1.0, clock=clock))
    with pytest.raises(TypeError, match="answer\\(\\) takes from 0 to 1 positional"):
        await pipeline.call(answer, 1, 2)  # type: ignore[call-arg]

    assert (3, 0) == (breaker.snapshot().failed, breaker.snapshot().ignored)


@pytest.mark.parametrize("hedge", [False, True])
async def test_a_type_error_of_the_functions_own_passes_as_it_is(
    hedge: bool, clock: ManualClock
) -> None:
    """
    Also one that comes of awaiting nonsense in the function itself.
    """
    error = TypeError("of its own")

    async def raising() -> None:
        raise error

    async def awaiting() -> None:
        await 42  # type: ignore[misc]

    breaker = CircuitBreaker(clock=clock)
    members = [Hedge(1.0, clock=clock)] if hedge else []
    pipeline = Pipeline(*members, breaker, Timeout(1.0, clock=clock))

    assert error is await caught(lambda: pipeline.call(raising))
    raised = await caught(lambda: pipeline.call(awaiting))
    assert "call()" not in str(raised)
    assert (2, 0) == (breaker.snapshot().failed, breaker.snapshot().ignored)


async def test_a_bare_type_error_is_no_misuse(clock: ManualClock) -> None:
    """
    One raised by something that leaves no frame of its own is judged as a failure.
    """
    breaker = CircuitBreaker(clock=clock)
    with pytest.raises(TypeError) as raised:
        await Pipeline(breaker).call(int, [])  # type: ignore[arg-type]

    assert "call()" not in str(raised.value)
    assert 1 == breaker.snapshot().failed


async def test_a_rejection_is_answered_by_the_outermost_that_may(clock: ManualClock) -> None:
    """
    Through the whole: the remembered answer first, the substitute where there is none.
    """
    breaker = CircuitBreaker(clock=clock)
    pipeline = Pipeline(Fallback(value="substitute"), LastGood(clock=clock), Retry(), breaker)
    assert 1 == await pipeline.call(answer, 1)
    force_state(breaker, State.OPEN)
    clock.advance(0.25)

    assert (1, 0.25) == (await pipeline.call(answer, 1), answer_age())
    assert ("substitute", None) == (await pipeline.call(answer, 2), answer_age())
    with pytest.raises(RejectedError):
        await Pipeline(Retry(), breaker).call(answer)
