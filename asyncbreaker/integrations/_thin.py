"""What the guarded pools and connections of drivers have in common."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from asyncbreaker import CircuitBreaker, CircuitOpenError, Guard, State
from asyncbreaker.integrations._calls import Judge, judged, judged_stream, leave

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Thin:
    """Around something of a driver; what talks to no server is passed on as it is."""

    def __init__(self, inner: Any, breaker: CircuitBreaker, judge: Judge) -> None:
        self._inner = inner
        self._breaker = breaker
        self._judge = judge

    if TYPE_CHECKING:
        pass  # type checkers are to see only what is named
    else:

        def __getattr__(self, name):
            # Not by the dot: a copy that is being made has nothing inside yet.
            return getattr(object.__getattribute__(self, "_inner"), name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._inner!r}>"

    async def _call(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Make one call of the breaker."""
        return await judged(self._breaker, self._judge, fn, *args, **kwargs)

    async def _end(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """End something, which is judged but never refused.

        To refuse a commit would only send a rollback in its place, to the same server.
        """
        permit = await self._permit_to_end()
        if permit is None:
            return await fn(*args, **kwargs)
        try:
            result = await fn(*args, **kwargs)
        except BaseException as error:
            await leave(permit, self._judge, error)
            raise
        await permit.__aexit__(None, None, None)
        return result

    async def _permit_to_end(self) -> Guard | None:
        if self._breaker.state is not State.CLOSED:
            return None
        permit = self._breaker.guard()
        try:
            return await permit.__aenter__()
        except CircuitOpenError:
            return None  # this very arrival has found slow calls, and opened the circuit

    def _stream(self, items: AsyncIterable[T]) -> AsyncIterator[T]:
        """Make the whole of *items* one call of the breaker."""
        return judged_stream(self._breaker, self._judge, items)


class Acquiring(Generic[T]):
    """A connection to be: a block, or something to await."""

    def __init__(
        self, acquire: Callable[[], Awaitable[T]], release: Callable[[T], Awaitable[None]]
    ) -> None:
        self._acquire = acquire
        self._release = release
        self._held: list[T] = []

    def __await__(self) -> Generator[Any, Any, T]:
        return self._acquire().__await__()

    async def __aenter__(self) -> T:
        if self._held:
            raise RuntimeError("this block has been entered before; acquire another connection")
        self._held.append(await self)
        return self._held[0]

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._release(self._held.pop())


def check_guarded(name: str, pool: object, wanted: str, methods: tuple[str, ...]) -> None:
    """Refuse what does not have the methods of *wanted*."""
    if isinstance(pool, (type, Thin)) or not all(callable(getattr(pool, m, None)) for m in methods):
        raise TypeError(f"{name} must be {wanted}, not {pool!r}")


def check_breaker(breaker: object) -> None:
    """Refuse what is no breaker."""
    if not isinstance(breaker, CircuitBreaker):
        raise TypeError(f"breaker must be a CircuitBreaker, not {breaker!r}")
