"""A caller that goes away at any step leaves no task, permit, place or waiter behind."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import sniffio
from anyio.abc import TaskGroup

from asyncbreaker import (
    Bulkhead,
    BulkheadFullError,
    BulkheadRejected,
    CircuitBreaker,
    CircuitOpenError,
    Fallback,
    FallbackUsed,
    Hedge,
    HedgeStarted,
    LastGood,
    Pipeline,
    RejectedError,
    Retry,
    RetryScheduled,
    State,
    Timeout,
    consecutive_failures,
    probing,
    slow_start,
)
from asyncbreaker._runtime.backend import current_task
from asyncbreaker.testing import ManualClock, force_state, record
from tests.conftest import BACKENDS
from tests.runtime.calls import suspend
from tests.runtime.steps import (
    ByDeadline,
    ByScope,
    ByTask,
    ByTimeout,
    ByTrioScope,
    ByWaitFor,
    Stage,
    Way,
    cancel_at_every_step,
    tasks_alive,
)
from tests.runtime.support import answer, fail, settled

pytestmark = pytest.mark.anyio

Make = Callable[[], Stage]
ASYNCIO, TRIO = BACKENDS[:2], BACKENDS[2:]


def guarding(stage: Stage, policy: Any) -> Stage:
    """Let *policy* guard a call that is answered when the gate opens."""
    stage.call = lambda: policy.call(stage.pending)
    stage.again = lambda: policy.call(answer)
    return stage


def flaky(stage: Stage, failures: int) -> Callable[[], Any]:
    """Return a function that fails so many times, and then answers when the gate opens."""
    left = [failures]

    async def call() -> int:
        if left[0]:
            left[0] -= 1
            await anyio.lowlevel.checkpoint()
            raise ConnectionError("refused")
        return await stage.pending()

    return call


def breaker(stage: Stage, state: State = State.CLOSED, **settings: Any) -> CircuitBreaker:
    chosen: dict[str, Any] = {
        "trip": consecutive_failures(3),
        "backoff": 10.0,
        "recovery": probing(),
        **settings,
    }
    made = CircuitBreaker("db", clock=stage.clock, **chosen)
    force_state(made, state)
    stage.breakers.append(made)
    return made


def bulkhead(stage: Stage, limit: int = 1, **settings: Any) -> Bulkhead:
    made = Bulkhead(limit, clock=stage.clock, **settings)
    stage.bulkheads.append(made)
    return made


def retry_in_pause_and_second_try() -> Stage:
    stage = Stage()
    retry = Retry(backoff=1.0, clock=stage.clock)
    guarding(stage, retry)
    call = flaky(stage, 2)
    stage.call = lambda: retry.call(call)
    stage.advances(1.0, 1.0)
    stage.opens("answer")
    stage.hasty = "ConnectionError"
    return stage


def retry_by_the_loops_clock() -> Stage:
    stage = Stage()
    retry = Retry(backoff=0.0)
    guarding(stage, retry)
    call = flaky(stage, 2)
    stage.call = lambda: retry.call(call)
    stage.opens("answer")
    stage.hasty = "ConnectionError"
    return stage


def retry_waiting_for_an_open_circuit() -> Stage:
    stage = Stage()
    guarded = Pipeline(Retry(wait_open=60.0, clock=stage.clock), breaker(stage, State.OPEN))
    guarding(stage, guarded)
    stage.advances(5.0, 5.0)
    stage.opens("answer")
    return stage


def timeout_answered() -> Stage:
    stage = Stage()
    guarding(stage, Timeout(1.0, clock=stage.clock))
    stage.opens("answer")
    return stage


def timeout_that_runs_out() -> Stage:
    stage = Stage()
    guarding(stage, Timeout(1.0, clock=stage.clock))
    stage.advances(1.0)
    stage.end = "TimeoutError"
    return stage


def timeout_by_the_loops_clock() -> Stage:
    stage = guarding(Stage(), Timeout(1000.0))
    stage.opens("answer")
    return stage


def timeout_that_runs_out_by_the_loops_clock() -> Stage:
    stage = guarding(Stage(), Timeout(1e-9))
    stage.again = lambda: Timeout(1000.0).call(answer)
    stage.steps = 12
    stage.end = "TimeoutError"
    return stage


def timeouts_nested() -> Stage:
    stage = Stage()
    outer, inner = Timeout(2.0, clock=stage.clock), Timeout(1.0, clock=stage.clock)
    retried = Retry(backoff=0.5, clock=stage.clock)
    guarding(stage, Pipeline(outer, retried, inner))
    stage.advances(1.0, 0.5)
    stage.opens("answer")
    return stage


def bulkhead_running() -> Stage:
    stage = Stage()
    guarding(stage, bulkhead(stage))
    stage.opens("answer")
    return stage


def bulkhead_in_line(**settings: Any) -> Stage:
    stage = Stage()
    places = bulkhead(stage, waiting=2, **settings)
    guarding(stage, places)
    stage.before.append(stage.other("first", lambda: places.call(stage.pending, "first")))
    stage.comes("behind", lambda: places.call(stage.pending, "behind"))
    stage.opens("first", "answer", "behind")
    return stage


def bulkhead_in_line_with_max_wait() -> Stage:
    return bulkhead_in_line(max_wait=5.0)


def bulkhead_whose_max_wait_runs_out() -> Stage:
    stage = Stage()
    places = bulkhead(stage, waiting=2, max_wait=5.0)
    guarding(stage, places)
    stage.before.append(stage.other("first", lambda: places.call(stage.pending, "first")))
    stage.advances(4.0)
    stage.comes("behind", lambda: places.call(stage.pending, "behind"))
    stage.advances(1.0)
    stage.opens("first", "behind")
    stage.end = "BulkheadFullError"
    return stage


def bulkhead_block_in_line() -> Stage:
    stage = bulkhead_in_line()
    (places,) = stage.bulkheads

    async def call() -> None:
        async with places:
            await stage.pending()

    stage.call = call
    return stage


def bulkhead_guard_in_line() -> Stage:
    stage = bulkhead_in_line()
    (places,) = stage.bulkheads

    async def call() -> None:
        async with places.guard():
            await stage.pending()

    stage.call = call
    return stage


def fallback_with_an_async_substitute() -> Stage:
    stage = Stage()

    async def using(error: Exception) -> int:
        return await stage.pending("substitute")

    fallback = Fallback(using=using, on=ConnectionError, clock=stage.clock)
    guarding(stage, fallback)
    call = flaky(stage, 1)
    stage.call = lambda: fallback.call(call)
    stage.opens("substitute")
    return stage


def last_good() -> Stage:
    stage = Stage()
    remembered = LastGood(key=lambda: "key", on=ConnectionError, clock=stage.clock)
    guarding(stage, remembered)
    failing = flaky(stage, 1)

    async def call() -> None:
        await remembered.call(answer)
        assert 42 == await remembered.call(failing)
        await remembered.call(stage.pending)

    stage.call = call
    stage.opens("answer")
    return stage


def slow_try(stage: Stage, gates: list[str]) -> Callable[[], Any]:
    """Return a function whose n-th try is answered when the n-th gate opens."""
    tries = iter(gates)

    async def call() -> int:
        return await stage.pending(next(tries))

    return call


def cleaning_up(stage: Stage, call: Callable[[], Any], *, shield: bool) -> Callable[[], Any]:
    """Return *call* with an end that takes a while."""

    async def clean() -> int:
        try:
            return int(await call())
        finally:
            stage.inside += 1
            try:
                with anyio.CancelScope(shield=shield):
                    for _ in range(3):
                        await anyio.lowlevel.checkpoint()
            finally:
                stage.inside -= 1

    return clean


def hedging(stage: Stage, call: Callable[[], Any], **settings: Any) -> Stage:
    hedge = Hedge(1.0, clock=stage.clock, **settings)
    guarding(stage, hedge)
    stage.call = lambda: hedge.call(call)
    return stage


def hedge_answered_before_the_extra_try() -> Stage:
    stage = Stage()
    hedging(stage, stage.pending)
    stage.advances(0.5)
    stage.opens("answer")
    return stage


def hedge_answered_by_the_extra_try() -> Stage:
    stage = Stage()
    hedging(stage, slow_try(stage, ["never", "second"]))
    stage.advances(1.0)
    stage.opens("second")
    return stage


def hedge_answered_by_the_first_try_after_all() -> Stage:
    stage = Stage()
    hedging(stage, slow_try(stage, ["first", "never", "nor this"]), extra=2)
    stage.advances(1.0, 1.0)
    stage.opens("first")
    return stage


def hedge_whose_loser_cleans_up() -> Stage:
    stage = Stage()
    call = slow_try(stage, ["never", "second"])
    hedging(stage, cleaning_up(stage, call, shield=False))
    stage.advances(1.0)
    stage.opens("second")
    return stage


def hedge_whose_loser_cleans_up_shielded() -> Stage:
    stage = Stage()
    call = slow_try(stage, ["never", "second"])
    hedging(stage, cleaning_up(stage, call, shield=True))
    stage.advances(1.0)
    stage.opens("second")
    return stage


def hedge_by_the_loops_clock() -> Stage:
    stage = Stage()
    hedge = Hedge(1000.0)
    guarding(stage, hedge)
    stage.opens("answer")
    return stage


def hedge_with_an_extra_try_by_the_loops_clock() -> Stage:
    stage = Stage()
    hedge = Hedge(1e-9)
    guarding(stage, hedge)
    call = slow_try(stage, ["never", "second"])
    stage.call = lambda: hedge.call(call)
    stage.opens("second")
    stage.steps = 20
    return stage


def hedge_whose_tries_fail() -> Stage:
    stage = Stage()

    async def call() -> None:
        await stage.pending()
        raise ConnectionError("refused")

    hedging(stage, call)
    stage.advances(1.0)
    stage.opens("answer")
    stage.end = "ConnectionError"
    return stage


def breaker_closed() -> Stage:
    stage = Stage()
    guarding(stage, breaker(stage))
    stage.opens("answer")
    return stage


def breaker_half_open() -> Stage:
    stage = Stage()
    guarding(stage, breaker(stage, State.HALF_OPEN))
    stage.opens("answer")
    return stage


def breaker_in_slow_start() -> Stage:
    stage = Stage()
    guarding(stage, breaker(stage, State.HALF_OPEN, recovery=slow_start()))
    stage.opens("answer")
    return stage


def breaker_with_a_health_check() -> Stage:
    stage = Stage()
    asked = []

    async def check() -> None:
        asked.append(1)
        if len(asked) == 1:
            await stage.pending("healthy")

    guarding(stage, breaker(stage, State.OPEN, health_check=check, recovery=probing(successes=2)))
    stage.clock.advance(10.0)
    stage.opens("healthy", "answer")
    return stage


def block_under_a_breaker() -> Stage:
    stage = breaker_half_open()
    (made,) = stage.breakers

    async def call() -> None:
        async with made:
            await stage.pending()

    stage.call = call
    return stage


def everything(state: State, *, one_clock: bool = False) -> Stage:
    """A place in the line, a slow try, and the answer of an extra one."""
    stage = Stage()
    clock = stage.clock
    places = bulkhead(stage, waiting=2, max_wait=50.0)
    guarded = Pipeline(
        Fallback(value=0, clock=clock),
        LastGood(clock=clock),
        Retry(backoff=1.0, clock=clock),
        breaker(stage, state, recovery=probing(successes=3)),
        places,
        Hedge(1.0, clock=clock),
        Timeout(10.0, clock=clock) if one_clock else Timeout(1000.0),
    )
    guarding(stage, guarded)
    call = slow_try(stage, ["never", "second"])
    stage.call = lambda: guarded.call(cleaning_up(stage, call, shield=True))
    stage.before.append(stage.other("first", lambda: places.call(stage.pending, "first")))
    stage.comes("behind", lambda: places.call(stage.pending, "behind"))
    stage.opens("first")
    stage.rests()
    stage.rests()
    stage.advances(1.0)
    stage.rests()
    stage.opens("second", "behind")
    return stage


def everything_closed() -> Stage:
    return everything(State.CLOSED)


def everything_half_open() -> Stage:
    return everything(State.HALF_OPEN)


def everything_by_one_clock() -> Stage:
    stage = everything(State.CLOSED, one_clock=True)
    stage.counted = False
    return stage


def everything_tried_twice() -> Stage:
    """A failing try, a pause, and the answer of the next one."""
    stage = Stage()
    clock = stage.clock
    guarded = Pipeline(
        Fallback(value=0, clock=clock),
        LastGood(clock=clock),
        Retry(backoff=1.0, clock=clock),
        breaker(stage),
        bulkhead(stage),
        Hedge(5.0, clock=clock),
        Timeout(1000.0),
    )
    guarding(stage, guarded)
    call = flaky(stage, 1)
    stage.call = lambda: guarded.call(call)
    stage.rests()
    stage.rests()
    stage.advances(1.0)
    stage.opens("answer")
    stage.hasty = "ConnectionError"
    return stage


def block_under_a_pipeline(state: State) -> Stage:
    stage = Stage()
    places = bulkhead(stage, waiting=2)
    guarded = Pipeline(breaker(stage, state), places, Timeout(10.0, clock=stage.clock))
    stage.before.append(stage.other("first", lambda: places.call(stage.pending, "first")))

    async def call() -> None:
        async with guarded:
            await stage.pending()

    guarding(stage, guarded)
    stage.call = call
    stage.comes("behind", lambda: places.call(stage.pending, "behind"))
    stage.opens("first", "answer", "behind")
    return stage


def block_under_a_pipeline_closed() -> Stage:
    return block_under_a_pipeline(State.CLOSED)


def block_under_a_pipeline_half_open() -> Stage:
    return block_under_a_pipeline(State.HALF_OPEN)


STAGES: list[Make] = [
    retry_in_pause_and_second_try,
    retry_by_the_loops_clock,
    retry_waiting_for_an_open_circuit,
    timeout_answered,
    timeout_that_runs_out,
    timeout_by_the_loops_clock,
    timeout_that_runs_out_by_the_loops_clock,
    timeouts_nested,
    bulkhead_running,
    bulkhead_in_line,
    bulkhead_in_line_with_max_wait,
    bulkhead_whose_max_wait_runs_out,
    bulkhead_block_in_line,
    bulkhead_guard_in_line,
    fallback_with_an_async_substitute,
    last_good,
    hedge_answered_before_the_extra_try,
    hedge_answered_by_the_extra_try,
    hedge_answered_by_the_first_try_after_all,
    hedge_whose_loser_cleans_up,
    hedge_whose_loser_cleans_up_shielded,
    hedge_by_the_loops_clock,
    hedge_with_an_extra_try_by_the_loops_clock,
    hedge_whose_tries_fail,
    breaker_closed,
    breaker_half_open,
    breaker_in_slow_start,
    breaker_with_a_health_check,
    block_under_a_breaker,
    everything_closed,
    everything_half_open,
    everything_by_one_clock,
    everything_tried_twice,
    block_under_a_pipeline_closed,
    block_under_a_pipeline_half_open,
]


@pytest.mark.parametrize("when", ["before", "after", "await"])
@pytest.mark.parametrize("make", STAGES)
async def test_a_scope_ends_the_call_at_any_step(make: Make, when: str) -> None:
    """
    A cancelled scope around the call ends it and leaves everything as it was before.
    """
    assert 1 <= await cancel_at_every_step(make, ByScope, when)


@pytest.mark.parametrize("when", ["after", "await"])
@pytest.mark.parametrize("make", STAGES)
async def test_a_deadline_ends_the_call_at_any_step(make: Make, when: str) -> None:
    """
    A deadline of a scope around the call does the same.
    """
    assert 1 <= await cancel_at_every_step(make, ByDeadline, when)


@pytest.mark.parametrize("anyio_backend", ASYNCIO, indirect=True)
@pytest.mark.parametrize("when", ["before", "after", "await"])
@pytest.mark.parametrize("make", STAGES)
async def test_a_cancelled_task_ends_the_call_at_any_step(make: Make, when: str) -> None:
    """
    ``task.cancel()`` always ends the call, is counted once, and leaves nothing.
    """
    assert 1 <= await cancel_at_every_step(make, ByTask, when)


@pytest.mark.parametrize("anyio_backend", ASYNCIO, indirect=True)
@pytest.mark.parametrize("way", [ByTimeout, ByWaitFor])
@pytest.mark.parametrize("make", STAGES)
async def test_a_timeout_of_asyncio_ends_the_call_at_any_step(
    make: Make, way: Callable[[], Way]
) -> None:
    """
    ``asyncio.timeout`` and ``asyncio.wait_for`` raise their own ``TimeoutError``.
    """
    assert 1 <= await cancel_at_every_step(make, way, "after")


@pytest.mark.parametrize("anyio_backend", TRIO, indirect=True)
@pytest.mark.parametrize("make", STAGES)
async def test_a_scope_of_trio_ends_the_call_at_any_step(make: Make) -> None:
    """
    Trio's own scopes are as good as anyio's.
    """
    assert 1 <= await cancel_at_every_step(make, ByTrioScope, "before")


def one_of_each(clock: ManualClock) -> dict[str, Any]:
    """Return one policy of each kind, and a pipeline of all that stay in the caller's task."""
    made: dict[str, Any] = {
        "retry": Retry(clock=clock),
        "timeout": Timeout(5000.0, clock=clock),
        "timeout of the loop": Timeout(5000.0),
        "bulkhead": Bulkhead(1, clock=clock),
        "fallback": Fallback(value=0, on=Exception, clock=clock),
        "last good": LastGood(on=Exception, clock=clock),
        "breaker": CircuitBreaker(clock=clock),
    }
    inside = ("last good", "breaker", "bulkhead", "retry", "timeout")
    return {
        **made,
        "pipeline": Pipeline(*[made[name] for name in inside]),
        "hedge": Hedge(1.0, clock=clock),
    }


KINDS = list(one_of_each(ManualClock()))
IN_ONE_TASK = [kind for kind in KINDS if kind != "hedge"]
number: ContextVar[int] = ContextVar("number", default=0)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_callers_deadline_is_seen_inside(kind: str, clock: ManualClock) -> None:
    """
    The function sees the deadline around the call, and after it so does the caller.
    """
    policy = one_of_each(clock)[kind]

    async def deadline() -> float:
        return anyio.current_effective_deadline()

    with anyio.move_on_after(1000.0) as scope:
        assert scope.deadline == await policy.call(deadline)
        assert scope.deadline == await deadline()
    assert not scope.cancelled_caught


@pytest.mark.parametrize("kind", KINDS)
async def test_a_scope_around_the_call_can_be_cancelled_inside(
    kind: str, clock: ManualClock
) -> None:
    """
    The scope that was cancelled ends; nothing tries again or answers in its place.
    """
    policy, calls = one_of_each(clock)[kind], []

    async def leave() -> None:
        calls.append("call")
        outer.cancel()
        await anyio.lowlevel.checkpoint()
        calls.append("after")

    with anyio.CancelScope() as outer, anyio.CancelScope() as inner:
        await policy.call(leave)
        calls.append("answered")

    assert (["call"], True, False) == (calls, outer.cancelled_caught, inner.cancelled_caught)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_function_that_does_not_obey_takes_nothing_from_the_caller(
    kind: str, clock: ManualClock
) -> None:
    """
    A function may swallow a cancellation; the scope still ends at the caller's next await.
    """
    policy = one_of_each(clock)[kind]

    async def stubborn() -> int:
        outer.cancel()
        with suppress(anyio.get_cancelled_exc_class()):
            await anyio.sleep_forever()
        return 42

    with anyio.CancelScope() as outer:
        await policy.call(stubborn)
        await anyio.lowlevel.checkpoint()
    assert outer.cancelled_caught


@pytest.mark.parametrize("kind", KINDS)
async def test_a_scope_inside_stays_inside(kind: str, clock: ManualClock) -> None:
    """
    The function may end a part of itself; the caller does not notice.
    """
    policy = one_of_each(clock)[kind]

    async def limited() -> int:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
        return 42

    with anyio.CancelScope() as scope:
        assert 42 == await policy.call(limited)
        await anyio.lowlevel.checkpoint()
    assert not scope.cancel_called


@pytest.mark.parametrize("kind", IN_ONE_TASK)
async def test_it_is_one_task_and_one_context(kind: str, clock: ManualClock) -> None:
    """
    The function runs in the caller's task, sees its context variables, and sets them.
    """
    policy = one_of_each(clock)[kind]

    async def look() -> tuple[object, str, int]:
        before = number.get()
        await anyio.lowlevel.checkpoint()
        number.set(2)
        return current_task(), sniffio.current_async_library(), before

    number.set(1)
    expected = (current_task(), sniffio.current_async_library(), 1)
    assert expected == await policy.call(look)
    assert 2 == number.get()


async def test_a_hedge_runs_in_tasks_of_its_own(clock: ManualClock) -> None:
    """
    Its tries see the caller's context variables; what they set stays in them.
    """

    async def look() -> tuple[object, str, int]:
        before = number.get()
        number.set(2)
        return current_task(), sniffio.current_async_library(), before

    number.set(1)
    task, library, before = await Hedge(1.0, clock=clock).call(look)
    assert (sniffio.current_async_library(), 1, 1) == (library, before, number.get())
    assert current_task() is not task


async def test_a_substitute_is_made_in_the_callers_task() -> None:
    """
    ``using`` has the caller's task, deadline and context variables.
    """

    async def using(error: Exception) -> tuple[object, float]:
        await anyio.lowlevel.checkpoint()
        number.set(3)
        return current_task(), anyio.current_effective_deadline()

    with anyio.move_on_after(1000.0) as scope:
        made = await Fallback(using=using, on=ConnectionError).call(fail)
    assert (current_task(), scope.deadline) == made
    assert 3 == number.get()


@pytest.mark.parametrize("anyio_backend", ASYNCIO, indirect=True)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_task_that_was_cancelled_elsewhere_is_no_failure(
    kind: str, clock: ManualClock
) -> None:
    """
    Who awaits a cancelled task gets ``CancelledError``, as without a policy, and one try.
    """
    policy, calls = one_of_each(clock)[kind], []

    async def call() -> None:
        calls.append("call")
        other = asyncio.get_running_loop().create_task(asyncio.sleep(1000.0))
        other.cancel()
        await other

    with pytest.raises(asyncio.CancelledError):
        await policy.call(call)

    assert ["call"] == calls
    assert 42 == await policy.call(answer)


def closed(coroutine: Any) -> None:
    coroutine.close()


def thrown(raised: type[BaseException]) -> Callable[[Any], None]:
    def throw(coroutine: Any) -> None:
        with pytest.raises(raised):
            coroutine.throw(raised())

    return throw


ENDINGS: dict[str, Callable[[Any], None]] = {
    "closed": closed,
    "KeyboardInterrupt": thrown(KeyboardInterrupt),
    "SystemExit": thrown(SystemExit),
    "GeneratorExit": thrown(GeneratorExit),
}


def by_hand(stage: Stage, state: State) -> Any:
    """Return a pipeline that needs no event loop."""
    clock = stage.clock
    return Pipeline(
        Fallback(value=0, on=Exception, clock=clock),
        LastGood(on=Exception, clock=clock),
        Retry(clock=clock),
        breaker(stage, state),
        bulkhead(stage),
    )


@pytest.mark.parametrize("state", [State.CLOSED, State.HALF_OPEN])
@pytest.mark.parametrize("ending", [*ENDINGS, "collected"])
def test_a_call_that_is_destroyed_gives_everything_back(ending: str, state: State) -> None:
    """
    A coroutine closed, interrupted or dropped half way has no permit and no place any more.
    """
    stage = Stage()
    guarded = by_hand(stage, state)
    for _ in range(3):
        coroutine = guarded.call(suspend)
        coroutine.send(None)
        assert 1 == stage.bulkheads[0].running
        if ending == "collected":
            del coroutine
            gc.collect()
        else:
            ENDINGS[ending](coroutine)
        stage.check()

    assert (state, 3) == (stage.breakers[0].state, stage.breakers[0].snapshot().ignored)
    with pytest.raises(StopIteration, match="42"):
        guarded.call(answer).send(None)
    stage.check()


def test_a_call_that_never_began_has_taken_nothing() -> None:
    """
    A coroutine that was made and never awaited is no call.
    """
    stage = Stage()
    coroutine = by_hand(stage, State.HALF_OPEN).call(suspend)
    stage.check()
    coroutine.close()
    stage.check()


@pytest.mark.parametrize("state", [State.CLOSED, State.HALF_OPEN])
@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_block_that_is_destroyed_gives_everything_back(ending: str, state: State) -> None:
    """
    A block under breaker, bulkhead and timeout ends with the coroutine it stands in.
    """
    stage = Stage()
    guarded: Any = Pipeline(breaker(stage, state), bulkhead(stage), Timeout(1000.0))

    async def block() -> None:
        async with guarded:
            await suspend()

    with anyio.CancelScope():
        coroutine: Any = block()
        coroutine.send(None)
        assert 1 == stage.bulkheads[0].running
        ENDINGS[ending](coroutine)
        await anyio.lowlevel.checkpoint()

    stage.check()
    assert 42 == await guarded.call(answer)


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_waiter_that_is_destroyed_leaves_the_line(ending: str) -> None:
    """
    The place goes to who stands behind.
    """
    stage = Stage()
    places = bulkhead(stage, waiting=2)
    async with anyio.create_task_group() as group:
        group.start_soon(places.call, stage.pending, "first")
        await settled()
        coroutine: Any = places.call(stage.pending)
        coroutine.send(None)
        group.start_soon(stage.other("behind", lambda: places.call(answer)))
        await settled()
        assert 2 == places.waiting
        ENDINGS[ending](coroutine)
        assert 1 == places.waiting
        stage.gate("first").set()

    assert ["behind"] == stage.served
    stage.check()


class Crowd:
    """Many callers of one pipeline, some of which go away at any moment."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.stage = Stage()
        self.ends: dict[int, list[str]] = {}
        self.leave: dict[int, Callable[[], object]] = {}
        clock = self.stage.clock
        self.guarded: Any = Pipeline(
            Fallback(value=0, on=BulkheadFullError, clock=clock),
            LastGood(key=lambda: "key", max_age=0.5, on=CircuitOpenError, clock=clock),
            Retry(backoff=self.pause, wait_open=2.0, clock=clock),
            breaker(self.stage, backoff=1.0, recovery=probing(probes=2)),
            bulkhead(self.stage, 6, waiting=6, max_wait=1.0),
            Hedge(1.0, clock=clock),
            Timeout(3.0, clock=clock),
        )

    def pause(self, attempt: int) -> float:
        return self.chance.random()

    async def fn(self) -> int:
        self.stage.inside += 1
        try:
            match self.chance.randrange(5):
                case 0 | 1:
                    await self.stage.clock.sleep_until(
                        self.stage.clock() + 5.0 * self.chance.random()
                    )
                case 2:
                    await anyio.lowlevel.checkpoint()
                    raise ConnectionError("refused")
                case _:
                    await anyio.lowlevel.checkpoint()
            return 42
        finally:
            self.stage.inside -= 1

    async def call(self, caller: int) -> None:
        ends = self.ends.setdefault(caller, [])
        try:
            value = await self.guarded.call(self.fn)
        except (ConnectionError, TimeoutError, RejectedError) as error:
            ends.append(type(error).__name__)
        except anyio.get_cancelled_exc_class():
            ends.append("cancelled")
            raise
        else:
            ends.append(f"answered {value}")

    async def by_scope(self, caller: int) -> None:
        with anyio.CancelScope() as scope:
            self.leave[caller] = scope.cancel
            await self.call(caller)

    def start(self, group: TaskGroup, caller: int, *, natively: bool) -> None:
        if natively:
            task = asyncio.get_running_loop().create_task(self.call(caller))
            self.leave[caller] = task.cancel
        else:
            group.start_soon(self.by_scope, caller)

    async def run(self, callers: int, *, natively: bool) -> None:
        left, ticks = [*range(callers)], 0
        async with anyio.create_task_group() as group:
            while left or not all(self.ends.get(n) for n in range(callers)):
                if left and self.chance.random() < 0.6:
                    self.start(group, left.pop(), natively=natively)
                await anyio.lowlevel.checkpoint()
                ticks += 1
                assert ticks < 5_000
                self.stage.clock.advance(0.1 * self.chance.random())
                if self.chance.random() < 0.1:
                    staying = [n for n in self.ends if not self.ends[n]]
                    if staying:
                        self.leave[self.chance.choice(staying)]()
        await settled()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("natively", [False, True], ids=["scope", "task"])
async def test_a_crowd_in_which_some_go_away(
    seed: int, natively: bool, anyio_backend_name: str
) -> None:
    """
    Of 200 callers each gets one end, and together they leave nothing behind.
    """
    if natively and anyio_backend_name == "trio":
        pytest.skip("trio cancels by scopes only")
    alive, crowd = tasks_alive(), Crowd(seed)
    with record(crowd.guarded) as events:
        await crowd.run(200, natively=natively)

    assert [1] * 200 == [len(crowd.ends[caller]) for caller in range(200)]
    assert {"answered 42", "answered 0", "cancelled"} <= {ends[0] for ends in crowd.ends.values()}
    assert {BulkheadRejected, FallbackUsed, HedgeStarted, RetryScheduled} <= {*map(type, events)}
    assert alive == tasks_alive()
    crowd.stage.check()
    crowd.stage.clock.advance(100.0)
    assert 42 == await crowd.guarded.call(answer)
    crowd.stage.check()
