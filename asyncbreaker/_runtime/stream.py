"""Guarding async generators: the whole stream is one call."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from asyncbreaker._core.permits import Era, Permit

if TYPE_CHECKING:
    from asyncbreaker._runtime.runner import Runner

P = ParamSpec("P")
Y = TypeVar("Y")
S = TypeVar("S")


def guard_stream(
    runner: Runner, fn: Callable[P, AsyncGenerator[Y, S]]
) -> Callable[P, AsyncGenerator[Y, S]]:
    """Return *fn* with its streams guarded.

    A stream is admitted at its first item. An error is a failure, however late; its
    end is a success, and so is that its consumer has had enough after an item.
    """

    @functools.wraps(fn)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Y, S]:
        permit = runner.short or runner.admit()
        if permit.check:
            permit = await runner.check_health(permit)
        stream = _Stream(runner, permit)
        inner: AsyncGenerator[Y, S] | None = None
        try:
            inner = fn(*args, **kwargs)
            item = await anext(inner)
            stream.answered()
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as thrown:
                    stream.thrown = thrown
                    item = await inner.athrow(thrown)
                else:
                    item = await inner.asend(sent)
        except StopAsyncIteration:
            stream.end(None)
        except BaseException as error:
            stream.end(error)
            raise
        finally:
            # Settled before anything is awaited here: closing may be cancelled.
            if inner is not None:
                await inner.aclose()

    return guarded


class _Stream:
    """The permit of one stream."""

    def __init__(self, runner: Runner, permit: Era | Permit) -> None:
        self._runner = runner
        self._permit = permit
        self._answered = False
        self.thrown: BaseException | None = None
        """What the consumer has thrown in last."""

    def answered(self) -> None:
        """Take note of the first item."""
        self._answered = True
        self._runner.answer(self._permit, proves=True)

    def end(self, error: BaseException | None) -> None:
        """Settle."""
        consumer_left = isinstance(error, GeneratorExit) or (
            isinstance(error, Exception) and error is self.thrown
        )
        if consumer_left and self._answered:
            error = None  # it has had enough, or failed itself: the dependency has answered
        self._runner.leave(self._permit, error)
