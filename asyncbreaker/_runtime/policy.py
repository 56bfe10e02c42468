"""What a policy is, and what ours have in common: a name, a clock, listeners, a decorator."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from itertools import count
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Never,
    NoReturn,
    ParamSpec,
    Protocol,
    overload,
)

from asyncbreaker._core import checks
from asyncbreaker._runtime.backend import Clock
from asyncbreaker._runtime.bulletin import Complaints, log
from asyncbreaker._runtime.chain import Step
from asyncbreaker._runtime.misuse import check_decorated
from asyncbreaker._runtime.telling import EventStream, Telling, check_kinds, check_listener
from asyncbreaker.events import PolicyEvent

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T_co = TypeVar("T_co", covariant=True, default=Never)
else:
    from typing import TypeVar

    T_co = TypeVar("T_co", covariant=True)

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E", bound=PolicyEvent)


class Policy(Protocol[T_co]):
    """What can stand around a call: anything with this one method.

    ``Policy[T]`` may answer with a *T* of its own; ``Policy`` alone answers with what
    the function returned.
    """

    async def call(
        self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R | T_co:
        """Return ``await fn(*args, **kwargs)``, or what the policy makes of it."""
        ...


class Substituting(Generic[T_co]):
    """A policy that may answer with a *T_co* of its own; type checkers learn it from here."""

    __slots__ = ()


_numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(1))


class Named:
    """Has a name, a clock, and listeners for the events that it tells."""

    _word: ClassVar[str]
    """What it is called in the log, in default names and in front of its decorator."""
    _kinds: ClassVar[tuple[type[PolicyEvent], ...]]
    """The events that it tells."""

    def __init__(self, name: str | None, clock: Clock) -> None:
        checks.function("clock", clock)
        self._name = self._default_name() if name is None else checks.text("name", name)
        self._clock = clock
        self._complain = Complaints(self._word, self._name, "policy").add
        self._telling = Telling(self._complain)

    def _default_name(self) -> str:
        return f"{self._word}-{next(_numbers[self._word])}"

    @property
    def name(self) -> str:
        """Stands in errors, events and the log."""
        return self._name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle or copy {self!r}: it keeps what this process has seen")

    @overload
    def add_listener(self, listener: Callable[[PolicyEvent], object], /) -> Callable[[], None]: ...
    @overload
    def add_listener(
        self, listener: Callable[[E], object], kind: type[E], /, *kinds: type[E]
    ) -> Callable[[], None]: ...
    def add_listener(
        self, listener: Callable[[Any], object], /, *kinds: type[Any]
    ) -> Callable[[], None]:
        """Call *listener*, a plain function, with each event of *kinds*; return what ends that.

        Args:
            listener: A plain function of one event; what it raises is logged.
            kinds: Classes of events; by default all that this policy tells.

        Raises:
            TypeError: *listener* is async (use ``events``) or no function, or a kind is
                not told here.
        """
        check_listener("listener", listener)
        return self._telling.add(listener, check_kinds(kinds, self._kinds, self._kinds))

    @overload
    def events(self) -> EventStream[PolicyEvent]: ...
    @overload
    def events(self, kind: type[E], /, *kinds: type[E]) -> EventStream[E]: ...
    def events(self, *kinds: type[Any]) -> EventStream[Any]:
        """Return the events of *kinds* (by default all) as an async iterator, for your own task.

        ``async with retry.events() as stream: async for event in stream: ...``. It keeps
        1000 events for a consumer that sleeps; then the oldest are dropped, and counted
        in ``stream.dropped``.
        """
        checked = check_kinds(kinds, self._kinds, self._kinds)
        return EventStream(lambda take: self._telling.add(take, checked))

    def _debug(self, text: str, *values: object) -> None:
        """Log what is no news: it happens to one call."""
        log.debug("%s %r " + text, self._word, self._name, *values, extra={"policy": self._name})

    def _wants(self, kind: type[PolicyEvent]) -> bool:
        """Tell whether anybody listens: if not, the event need not be built."""
        return self._telling.wants(kind)

    def _tell(self, event: PolicyEvent) -> None:
        self._telling.queue(event)
        self._telling.drain()


class Around(Named):
    """A policy that answers with what the function returns; decorates coroutine functions."""

    def __call__(
        self, fn: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Callable[P, Coroutine[Any, Any, R]]:
        """Return *fn* with every call of it made through this policy.

        Raises:
            TypeError: *fn* is no coroutine function.
        """
        return decorate(f"@{self._word}", fn, Step(self.call, fn))

    async def call(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``await fn(*args, **kwargs)``, or what the policy makes of it."""
        raise NotImplementedError


def decorate(
    decorator: str, fn: Callable[P, object], chain: Callable[P, Awaitable[R]]
) -> Callable[P, Coroutine[Any, Any, R]]:
    """Return *chain*, which ends in *fn*, in the shape of *fn*."""
    check_decorated(decorator, fn, streams=False)

    @functools.wraps(fn)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        return await chain(*args, **kwargs)

    return guarded
