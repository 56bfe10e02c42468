"""One guarded operation of a library whose errors say whether the dependency has answered."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterator
from typing import ParamSpec, TypeVar, cast

from asyncbreaker import CircuitBreaker, CircuitOpenError, Guard, Outcome

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Judge = Callable[[Exception], Outcome]
"""What an error says: FAILURE (of the connection), SUCCESS (an answer: proof of life), IGNORED."""


async def judged(
    breaker: CircuitBreaker,
    judge: Judge,
    fn: Callable[P, Awaitable[R]],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Return ``await fn(*args, **kwargs)``, one call of *breaker*, judged by *judge*.

    Raises:
        CircuitOpenError: *fn* was not called.
    """
    async with breaker.guard() as permit:
        try:
            return await fn(*args, **kwargs)
        except Exception as error:
            spare(permit, judge, error)
            raise


async def admitted(
    breaker: CircuitBreaker, rejected: Callable[[CircuitOpenError], CircuitOpenError]
) -> Guard:
    """Return the permit of a call, to be settled by ``leave``.

    Raises:
        What *rejected* makes of a CircuitOpenError: the same, as an error of the library.
    """
    permit = breaker.guard()
    try:
        await permit.__aenter__()
    except CircuitOpenError as rejection:
        raise rejected(rejection) from None
    return permit


async def leave(permit: Guard, judge: Judge, error: BaseException) -> None:
    """Settle a call that has raised; awaits nothing that could be cancelled."""
    if isinstance(error, Exception):
        spare(permit, judge, error)
    await permit.__aexit__(type(error), error, error.__traceback__)


def spare(permit: Guard, judge: Judge, error: Exception) -> None:
    """Settle what is no failure; a failure is left to the end of the block.

    So the breaker's own ``fail_on`` and ``succeed_on`` may still say otherwise, and the
    error itself stands in ``last_failure``.
    """
    outcome = judge(error)
    if outcome is Outcome.SUCCESS:
        permit.success()
    elif outcome is Outcome.IGNORED:
        permit.ignore()


def by_leaves(judge: Callable[[BaseException], Outcome]) -> Callable[[BaseException], Outcome]:
    """Judge an exception group by what it holds: a failure, else a success, else nothing."""

    def judge_all(error: BaseException) -> Outcome:
        outcomes = {judge(leaf) for leaf in leaves(error)}
        ordered = (Outcome.FAILURE, Outcome.SUCCESS, Outcome.IGNORED)
        return next(outcome for outcome in ordered if outcome in outcomes)

    return judge_all


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield what an exception group holds, however deep; any other exception itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from leaves(inner)
    else:
        yield error


async def judged_stream(
    breaker: CircuitBreaker, judge: Judge, items: AsyncIterable[T]
) -> AsyncGenerator[T, None]:
    """Yield *items*: the whole stream is one call, which takes until its first item.

    That its reader has had enough is a success.
    """
    async with breaker.guard() as permit:
        answered = False
        try:
            async for item in items:
                if not answered:
                    permit.answered()
                    answered = True
                yield item
        except GeneratorExit:
            permit.success()
            raise
        except Exception as error:
            spare(permit, judge, error)
            raise
