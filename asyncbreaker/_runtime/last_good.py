"""LastGood: the last good answer, for when there is no new one."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, NamedTuple, ParamSpec, TypeVar

from asyncbreaker._core import checks
from asyncbreaker._runtime.backend import Clock
from asyncbreaker._runtime.bulletin import Bulletin
from asyncbreaker._runtime.chain import innermost
from asyncbreaker._runtime.matching import Matcher, Selecting, check_matcher
from asyncbreaker._runtime.misuse import explain_misuse
from asyncbreaker._runtime.policy import Around
from asyncbreaker._runtime.snapshot import message_of
from asyncbreaker.errors import RejectedError, figure
from asyncbreaker.events import LastGoodUsed

P = ParamSpec("P")
R = TypeVar("R")

_age: ContextVar[float | None] = ContextVar("asyncbreaker_answer_age", default=None)


def answer_age() -> float | None:
    """Return the age, in seconds, of the answer to this task's last call through a ``LastGood``.

    None: it was fresh, or there was none. Ask in the task that made the call, before it
    makes another one.
    """
    return _age.get()


class _Answer(NamedTuple):
    value: Any
    at: float


class LastGood(Around):
    """Remembers the last good answer per key, and serves it when the call was rejected.

    ``answer_age()`` tells the caller that an answer is a remembered one, and how old. Where
    there is none to serve the error passes. All callers get the same object. What hits a
    key last is kept; when *maximum* are kept, the one that was unused for longest goes.

    Args:
        key: ``key(*args, **kwargs)``, given what the function is called with, returns what
            the answer is kept under. Default: the function and its arguments, as in
            ``functools.lru_cache``; so a lambda that is made anew for each call never finds
            its answer again. With a key of your own use one ``LastGood`` per function.
        maximum: Answers kept at most.
        max_age: Seconds; older answers are not served.
        on: Instead of which errors to serve it: an exception type, a tuple of them, or a
            predicate. Of a group all leaves must match.
        good: Tells whether a returned value is worth remembering. Default: all are.
        name: Stands in events and the log. Default: unique ("last-good-1").
        clock: Monotonic seconds; the age is measured by it.

    Raises:
        TypeError, ValueError: A value is of the wrong type or out of range.
    """

    _word = "last-good"
    _kinds = (LastGoodUsed,)

    def __init__(
        self,
        *,
        key: Callable[..., Hashable] | None = None,
        maximum: int = 1024,
        max_age: float = 3600.0,
        on: Matcher = RejectedError,
        good: Callable[[Any], bool] | None = None,
        name: str | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(name, clock)
        if key is not None:
            checks.function("key", key)
        if good is not None:
            checks.function("good", good)
        check_matcher("on", on)
        self._key = key
        self._good = good
        self.takes_all = good is None
        self._maximum = checks.count("maximum", maximum)
        self._max_age = checks.positive("max_age", max_age, finite=False)
        self.selecting = Selecting(on, self._complain)
        # Longest unused first. No lock: each step of it is one of the dictionary's own.
        self._answers: OrderedDict[Hashable, _Answer] = OrderedDict()
        self._begins = Bulletin(self._word, self._name, logging.INFO)

    def __len__(self) -> int:
        """How many answers are kept."""
        return len(self._answers)

    def clear(self) -> None:
        """Forget every answer."""
        self._answers.clear()

    async def call(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``await fn(*args, **kwargs)``, or the answer that it gave last.

        Raises:
            Whatever *fn* raises, where it is not what ``on`` names, or nothing is remembered.
        """
        key = self._key_of(fn, args, kwargs)
        age: float | None = None
        try:
            result = await fn(*args, **kwargs)
            self._remember(key, result)
            return result
        except Exception as error:
            explain_misuse(fn, error)
            answer = self._remembered(key) if self.selecting.picks(error) else None
            if answer is None:
                raise
            age = self._clock() - answer.at
            self._used(error, age)
            served: R = answer.value
            return served
        finally:
            _age.set(age)  # last: *fn* may have made calls of its own

    def _key_of(self, fn: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        """Return the key; what has no usable one is never remembered."""
        try:
            if self._key is not None:
                key = self._key(*args, **kwargs)
            elif kwargs:
                key = innermost(fn), args, frozenset(kwargs.items())
            else:
                key = innermost(fn), args
            hash(key)
        except Exception as error:
            self._no_key(error)
            return _NOWHERE
        return key

    def _no_key(self, error: Exception) -> None:
        default = "the default key (give key=)"
        self._complain(default if self._key is None else self._key, error)

    def _is_good(self, result: object) -> bool:
        try:
            return self._good is None or bool(self._good(result))
        except Exception as error:
            self._complain(self._good, error)
            return False

    def _remember(self, key: Hashable, result: object) -> None:
        if key is _NOWHERE or not self._is_good(result):
            return
        try:
            self._keep(key, _Answer(result, self._clock()))
        except Exception as error:  # keys that cannot be compared
            self._no_key(error)
        while len(self._answers) > self._maximum:
            self._answers.popitem(last=False)

    def _keep(self, key: Hashable, answer: _Answer) -> None:
        """Keep *answer*, as the one that was used last."""
        self._answers[key] = answer
        self._was_used(key)

    def _was_used(self, key: Hashable) -> None:
        with suppress(KeyError):  # another thread has made room meanwhile
            self._answers.move_to_end(key)

    def _remembered(self, key: Hashable) -> _Answer | None:
        try:
            answer = self._answers.get(key)
            if answer is None:
                return None
            if self._clock() - answer.at > self._max_age:
                self._answers.pop(key, None)  # for good: time does not run backwards
                return None
            self._was_used(key)
        except Exception as error:  # keys that cannot be compared
            self._no_key(error)
            return None
        return answer

    def _used(self, error: Exception, age: float) -> None:
        now, kind = self._clock(), type(error).__name__
        self._begins.add(now, "answers from memory, for %s; age %s s", kind, figure(age))
        if self._wants(LastGoodUsed):
            self._tell(LastGoodUsed(self._name, age, kind, message_of(error), now))


_NOWHERE = object()
