"""Pipeline: several policies around one call, the first is outermost."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Never, ParamSpec, TypeVar, cast, overload

from asyncbreaker._runtime.blocks import SingleUse, Statement
from asyncbreaker._runtime.chain import Step
from asyncbreaker._runtime.misuse import explain_misuse, refuse
from asyncbreaker._runtime.order import check_order
from asyncbreaker._runtime.policy import Policy, Substituting, decorate

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


class Pipeline(Statement, Substituting[V_co]):
    """Stacks policies around a call: ``Pipeline(Fallback(...), Retry(), breaker, Timeout(1.0))``.

    The first one is outermost: it sees what all others made of the call. A policy is
    anything with ``async call(fn, /, *args, **kwargs)``: ours, a ``CircuitBreaker``, another
    pipeline, a class of your own. Made only of what can guard a block (breaker, bulkhead,
    timeout), a pipeline also works as ``async with pipeline:``.

    Args:
        policies: From the outside to the inside; at least one.

    Raises:
        TypeError: One of them is no policy.
        ValueError: There is none, or one stands where it can never do anything.
    """

    @overload
    def __init__(self: Pipeline[Never], *policies: Policy) -> None: ...
    @overload
    def __init__(self: Pipeline[V], *policies: Policy | Substituting[V]) -> None: ...
    @overload
    def __init__(self: Pipeline[V], *policies: Policy[V]) -> None: ...
    def __init__(self, *policies: Any) -> None:
        if not policies:
            raise ValueError("a pipeline needs at least one policy")
        for policy in policies:
            _check_policy(policy)
        self._policies: tuple[Policy[Any], ...] = policies
        check_order([*_flat(policies)])
        super().__init__()

    @property
    def policies(self) -> tuple[object, ...]:
        """Its policies, from the outside to the inside."""
        return self._policies

    def __repr__(self) -> str:
        return f"Pipeline({', '.join(map(repr, self._policies))})"

    async def call(
        self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R | V_co:
        """Return what the policies make of ``await fn(*args, **kwargs)``.

        Raises:
            Whatever *fn* raises or a policy makes of it.
            TypeError: *fn* gave nothing to await, or is a coroutine already.
        """
        if not callable(fn):
            refuse(fn)
        try:
            return await self._around(fn)(*args, **kwargs)
        except TypeError as error:
            explain_misuse(fn, error)
            raise

    def __call__(
        self, fn: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Callable[P, Coroutine[Any, Any, R | V_co]]:
        """Return *fn* with every call of it made through this pipeline.

        Raises:
            TypeError: *fn* is no coroutine function.
        """
        return decorate("a pipeline", fn, self._around(fn))

    def _around(self, fn: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R | V_co]]:
        chain: Callable[..., Awaitable[Any]] = fn
        for policy in reversed(self._policies):
            chain = Step(policy.call, chain)
        return chain

    def guard(self) -> PipelineBlock:
        """Return a block guarded by every policy; it is left in the task that entered it.

        Raises:
            TypeError: One of the policies works by calling a function, and can guard no block.
        """
        return PipelineBlock([_block_of(policy) for policy in self._policies])


class PipelineBlock(SingleUse):
    """One block under a ``Pipeline``."""

    def __init__(self, blocks: Sequence[AbstractAsyncContextManager[object, Any]]) -> None:
        super().__init__()
        self._blocks = blocks
        self._entered: AsyncExitStack | None = None

    async def __aenter__(self) -> None:
        self._use()
        async with AsyncExitStack() as stack:
            for block in self._blocks:
                await stack.enter_async_context(block)
            self._entered = stack.pop_all()  # else what has been entered is left again

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        entered, self._entered = self._entered, None
        return None if entered is None else await entered.__aexit__(exc_type, exc, traceback)


def _check_policy(policy: object) -> None:
    if isinstance(policy, type):
        raise TypeError(f"a pipeline needs policies, not the class {policy!r}: call it")
    call: object = getattr(policy, "call", None)
    if not inspect.iscoroutinefunction(call):
        raise TypeError(
            "a pipeline needs policies, which have `async def call(self, fn, /, *args, "
            f"**kwargs)`, not {policy!r}"
        )


def _flat(policies: Iterable[object]) -> Iterator[object]:
    """Yield the policies, those of a pipeline among them one by one."""
    for policy in policies:
        if isinstance(policy, Pipeline):
            yield from _flat(cast("Pipeline[object]", policy).policies)
        else:
            yield policy


def _block_of(policy: object) -> AbstractAsyncContextManager[object, Any]:
    """Return a block of *policy*: one of its own each time, where it can make one."""
    guard: object = getattr(policy, "guard", None)
    block: object = guard() if callable(guard) else policy
    if not isinstance(block, AbstractAsyncContextManager):
        raise TypeError(
            f"a pipeline with {policy!r} cannot guard a block: only breakers, bulkheads and "
            "timeouts can; the others call a function, so use `await pipeline.call(fn, ...)`"
        )
    return cast("AbstractAsyncContextManager[object, Any]", block)
