"""Judging how a call ended: which exception or result is a success, a failure, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from asyncbreaker._core import checks
from asyncbreaker._core.states import Outcome
from asyncbreaker.errors import RejectedError

Matcher = type[BaseException] | tuple[type[BaseException], ...] | Callable[[Exception], bool]
"""An exception type, a tuple of them, or a predicate."""

Complain = Callable[[object, Exception], None]
"""Logs, once per culprit, that user code raised."""


def check_matcher(name: str, matcher: object) -> None:
    """Refuse what is no matcher, and types that are never judged."""
    types = types_of(matcher)
    if types is None:
        if not callable(matcher):
            raise TypeError(
                f"{name} must be an exception type, a tuple of them, or a predicate, "
                f"not {matcher!r}"
            )
        checks.function(name, matcher)
    else:
        for kind in types:
            _check_type(name, kind)


def check_retried(name: str, matcher: object) -> None:
    """Refuse what is no matcher of errors that may be worth another try."""
    check_matcher(name, matcher)
    if rejections := _named_rejections(cast("Matcher", matcher)):
        raise ValueError(
            f"{name} must not name {rejections[0].__name__}: a rejection is never tried again "
            "at once; use wait_open= to wait for an open circuit"
        )


def _check_type(name: str, kind: object) -> None:
    if not isinstance(kind, type) or not issubclass(kind, BaseException):
        raise TypeError(f"{name} must name exception types, not {kind!r}")
    if not issubclass(kind, (Exception, BaseExceptionGroup)) and not issubclass(Exception, kind):
        raise ValueError(
            f"{name} must not name {kind!r}: cancellation and interrupts are never judged"
        )


def types_of(matcher: object) -> tuple[type[BaseException], ...] | None:
    """Return the types that *matcher* names; None for a predicate."""
    if isinstance(matcher, type):
        return (cast("type[BaseException]", matcher),)
    return cast("tuple[type[BaseException], ...]", matcher) if isinstance(matcher, tuple) else None


_SPECIAL: tuple[type[BaseException], ...] = (BaseExceptionGroup, RejectedError)


class Matching:
    """``succeed_on``, then ``fail_on``, else ignored."""

    def __init__(
        self,
        succeed_on: Matcher,
        fail_on: Matcher,
        complain: Complain,
    ) -> None:
        self._ordered = (
            (_predicate(succeed_on), _named_rejections(succeed_on), Outcome.SUCCESS),
            (_predicate(fail_on), _named_rejections(fail_on), Outcome.FAILURE),
        )
        self._complain = complain
        # The default, and the only case worth a short cut: failing calls come in storms.
        self._plain = succeed_on == () and fail_on is Exception

    def of_error(self, error: BaseException) -> Outcome:
        """Judge what was raised; never raises itself."""
        if self._plain and not isinstance(error, _SPECIAL):
            return Outcome.FAILURE if isinstance(error, Exception) else Outcome.IGNORED
        try:
            outcomes = {self._of_leaf(leaf) for leaf in leaves(error)}
        except _PredicateError as raised:
            self._complain(raised.predicate, raised.error)
            return Outcome.IGNORED
        for outcome in (Outcome.FAILURE, Outcome.SUCCESS):
            if outcome in outcomes:
                return outcome
        return Outcome.IGNORED

    def _of_leaf(self, error: BaseException) -> Outcome:
        if not isinstance(error, Exception):
            return Outcome.IGNORED
        # Another breaker's rejection says nothing of this one's dependency, unless
        # its type is named: neither ``Exception`` nor a predicate means it.
        rejected = isinstance(error, RejectedError)
        for matches, named_rejections, outcome in self._ordered:
            if isinstance(error, named_rejections) if rejected else matches(error):
                return outcome
        return Outcome.IGNORED


class Selecting:
    """Tells which errors a policy acts on: those that a matcher matches.

    Unlike a breaker, which judges a dependency, it takes rejections as any other error,
    and of a group all leaves must match: nobody has asked to pass over the others.
    """

    def __init__(self, on: Matcher, complain: Complain) -> None:
        self.types = types_of(on)
        """The types that the matcher names; None for a predicate."""
        self._groups = tuple(kind for kind in self.types or () if _is_group(kind))
        self._matches = _predicate(on)
        self._complain = complain

    def picks(self, error: Exception) -> bool:
        """Tell whether *error* is one of them; never raises itself."""
        if isinstance(error, self._groups):
            return True
        try:
            return all(isinstance(e, Exception) and self._matches(e) for e in leaves(error))
        except _PredicateError as raised:
            self._complain(raised.predicate, raised.error)
            return False


def _is_group(kind: type[BaseException]) -> bool:
    return issubclass(kind, BaseExceptionGroup)


def has_rejection(error: Exception) -> bool:
    """Tell whether *error* is a rejection, or a group that holds one."""
    return any(isinstance(leaf, RejectedError) for leaf in leaves(error))


def of_result(fail_on_result: Callable[[Any], bool], result: object, complain: Complain) -> Outcome:
    """Judge what was returned."""
    try:
        failed = bool(fail_on_result(result))
    except Exception as error:
        complain(fail_on_result, error)
        return Outcome.IGNORED
    return Outcome.FAILURE if failed else Outcome.SUCCESS


class _PredicateError(Exception):
    """A user's predicate has raised."""

    def __init__(self, predicate: object, error: Exception) -> None:
        super().__init__(predicate, error)
        self.predicate = predicate
        self.error = error


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield what a group holds, however deep; any other exception itself."""
    waiting = [error]
    while waiting:
        here = waiting.pop()
        if isinstance(here, BaseExceptionGroup):
            waiting.extend(cast("BaseExceptionGroup[BaseException]", here).exceptions)
        else:
            yield here


def _named_rejections(matcher: Matcher) -> tuple[type[RejectedError], ...]:
    return tuple(kind for kind in types_of(matcher) or () if issubclass(kind, RejectedError))


def _predicate(matcher: Matcher) -> Callable[[Exception], bool]:
    types = types_of(matcher)
    if types is not None:
        return lambda error: isinstance(error, types)
    predicate = cast("Callable[[Exception], bool]", matcher)

    def matches(error: Exception) -> bool:
        try:
            return bool(predicate(error))
        except Exception as raised:
            raise _PredicateError(predicate, raised) from None

    return matches
