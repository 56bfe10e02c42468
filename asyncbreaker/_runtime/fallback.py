"""Fallback: an answer of one's own when there is none."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, cast, overload

from asyncbreaker._runtime.backend import Clock
from asyncbreaker._runtime.bulletin import Bulletin
from asyncbreaker._runtime.chain import Step
from asyncbreaker._runtime.matching import Matcher, Selecting, check_matcher
from asyncbreaker._runtime.misuse import explain_misuse
from asyncbreaker._runtime.policy import Named, Substituting, decorate
from asyncbreaker._runtime.snapshot import message_of
from asyncbreaker.errors import RejectedError
from asyncbreaker.events import FallbackFailed, FallbackUsed

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")


class _Missing:
    """Stands for a parameter that was not given: None is a good substitute."""

    def __repr__(self) -> str:
        return "..."


_MISSING = _Missing()


class Fallback(Named, Substituting[V]):
    """Answers with a substitute when a call was rejected, or raised what *on* names.

    ``Fallback(value=[])`` or ``Fallback(using=fn)``. It acts where it was asked to and
    nowhere else: by default on rejections (an open circuit, a full bulkhead), never on
    cancellation. The error that the substitute takes the place of is told as an event; if
    *using* raises, its own error reaches the caller, with the first one as ``__context__``.

    Args:
        value: The substitute; every caller gets the same object.
        using: ``fn(error)``, sync or async, returns the substitute.
        on: Which errors: an exception type, a tuple of them, or a predicate. Of a group
            all leaves must match.
        name: Stands in events and the log. Default: unique ("fallback-1").
        clock: Monotonic seconds; dates the events.

    Raises:
        TypeError: Not exactly one of *value* and *using*, or one is of the wrong type.
    """

    _word = "fallback"
    _kinds = (FallbackUsed, FallbackFailed)

    @overload
    def __init__(
        self,
        *,
        value: V,
        on: Matcher = RejectedError,
        name: str | None = None,
        clock: Clock = time.monotonic,
    ) -> None: ...
    @overload
    def __init__(
        self,
        *,
        using: Callable[[Exception], Awaitable[V]],
        on: Matcher = RejectedError,
        name: str | None = None,
        clock: Clock = time.monotonic,
    ) -> None: ...
    @overload
    def __init__(
        self,
        *,
        using: Callable[[Exception], V],
        on: Matcher = RejectedError,
        name: str | None = None,
        clock: Clock = time.monotonic,
    ) -> None: ...
    def __init__(
        self,
        *,
        value: V | _Missing = _MISSING,
        using: Callable[[Exception], V | Awaitable[V]] | None = None,
        on: Matcher = RejectedError,
        name: str | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(name, clock)
        if (using is None) is isinstance(value, _Missing):
            raise TypeError("Fallback needs exactly one of value= and using=")
        if using is not None and not callable(using):
            raise TypeError(f"using must be callable, not {using!r}")
        check_matcher("on", on)
        self._value = value
        self._using = using
        self.selecting = Selecting(on, self._complain)
        self._begins = Bulletin(self._word, self._name, logging.INFO)

    def __call__(
        self, fn: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Callable[P, Coroutine[Any, Any, R | V]]:
        """Return *fn* with every call of it made through this policy.

        Raises:
            TypeError: *fn* is no coroutine function.
        """
        return decorate(f"@{self._word}", fn, Step(self.call, fn))

    async def call(
        self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R | V:
        """Return ``await fn(*args, **kwargs)``, or the substitute.

        Raises:
            Whatever *fn* raises, where it is not what ``on`` names; what ``using`` raises.
        """
        try:
            return await fn(*args, **kwargs)
        except Exception as error:
            explain_misuse(fn, error)
            if not self.selecting.picks(error):
                raise
            return await self._substitute(error)

    async def _substitute(self, error: Exception) -> V:
        if self._using is None:
            assert not isinstance(self._value, _Missing)
            self._used(error)
            return self._value
        try:
            made = self._using(error)
            substitute = cast("V", await made if inspect.isawaitable(made) else made)
        except Exception as failure:
            self._failed(error, failure)
            raise
        self._used(error)
        return substitute

    def _used(self, error: Exception) -> None:
        now, kind = self._clock(), type(error).__name__
        self._begins.add(now, "answers with its substitute, for %s", kind)
        if self._wants(FallbackUsed):
            self._tell(FallbackUsed(self._name, kind, message_of(error), now))

    def _failed(self, error: Exception, failure: Exception) -> None:
        if self._wants(FallbackFailed):
            kind, of_failure = type(error).__name__, type(failure).__name__
            text = message_of(error)
            self._tell(FallbackFailed(self._name, kind, text, of_failure, self._clock()))
