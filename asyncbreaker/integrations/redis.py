"""Circuit breakers for redis-py and valkey-py: a client whose commands are guarded."""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

from asyncbreaker import CircuitBreaker, CircuitOpenError, Outcome
from asyncbreaker.integrations._calls import admitted, by_leaves, leave
from asyncbreaker.integrations._thin import check_breaker
from asyncbreaker.integrations._waiters import Waiters

__all__ = ["guard", "is_outage"]

C = TypeVar("C")
P = ParamSpec("P")
R = TypeVar("R")

# Neither is imported here: whoever has a client, or an error, has its library.
_LIBRARIES = {"redis": "Redis", "valkey": "Valkey"}


def is_outage(error: BaseException) -> bool:
    """Tell whether *error* says that the server is ill, or that the connection is lost.

    That are the libraries' ``ConnectionError`` and ``TimeoutError`` (a server that is still
    loading, or has no connection left, included), ``ClusterDownError``, a response that
    cannot be read, OSError and timeouts. An error that the server has sent about a command
    (a wrong type, ``MOVED``, ``READONLY``, no permission, a wrong password) is none, nor is a
    pool of our own without a free connection. Of an exception group one is enough.
    """
    return _judge(error) is Outcome.FAILURE


@by_leaves
def _judge(error: BaseException) -> Outcome:
    if isinstance(error, OSError):  # a TimeoutError is one
        return Outcome.FAILURE
    errors = _errors_of(error)
    if errors is None or isinstance(error, (CircuitOpenError, errors.DataError)):
        return Outcome.IGNORED
    if isinstance(error, (errors.AuthenticationError, errors.AuthorizationError)):
        return Outcome.SUCCESS  # connection errors by class, but the server has answered
    if isinstance(error, errors.ConnectionError) and _is_of_our_pool(error):
        return Outcome.IGNORED
    lost = (errors.ConnectionError, errors.TimeoutError, errors.InvalidResponse)
    if isinstance(error, (*lost, errors.ClusterDownError)):
        return Outcome.FAILURE
    answered = isinstance(error, (errors.ResponseError, errors.WatchError))
    return Outcome.SUCCESS if answered else Outcome.IGNORED


def _is_of_our_pool(error: BaseException) -> bool:
    # The libraries have a class of its own for one of the two, and not in every version.
    return str(error).startswith(("No connection available", "Too many connections"))


def _errors_of(error: BaseException) -> Any:
    """The module of errors to whose family *error* belongs; None if to neither."""
    for name in _LIBRARIES:
        errors: Any = sys.modules.get(f"{name}.exceptions")
        family = f"{name.capitalize()}Error"
        if errors is not None and isinstance(error, getattr(errors, family)):
            return errors
    return None


# Rejections: of both families, so a class per library, made when it is first needed.


@functools.cache
def _rejection_of(library: str) -> type[CircuitOpenError]:
    errors: Any = __import__(f"{library}.exceptions", fromlist=["ConnectionError"])
    name = f"{library.capitalize()}RejectedError"
    doc = f"The circuit did not admit the command; a ``ConnectionError`` of {library}, too."
    made = type(name, (CircuitOpenError, errors.ConnectionError), {"__doc__": doc})
    made.__module__ = __name__
    return made


def __getattr__(name: str) -> Any:
    """Find ``RedisRejectedError`` and ``ValkeyRejectedError``, as pickle does."""
    library = name.removesuffix("RejectedError").lower()
    if library in _LIBRARIES and name == f"{library.capitalize()}RejectedError":
        return _rejection_of(library)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Guarding:
    """Makes the commands of one client calls of the breaker."""

    def __init__(self, library: str, breaker: CircuitBreaker) -> None:
        self._library = library
        self._breaker = breaker
        self._waiters = Waiters(breaker)
        self._kinds: dict[type, type] = {}

    def kind(self, before: type, kind: type) -> type:
        """Return a class that is a *kind*, with *before* in front; made once."""
        if kind not in self._kinds:
            own = {"_guarding": self, "__module__": kind.__module__}
            self._kinds[kind] = type(kind.__name__, (before, kind), own)
        return self._kinds[kind]

    def _rejected(self, error: CircuitOpenError) -> CircuitOpenError:
        kind = _rejection_of(self._library)
        return kind(error.breaker, error.reason, error.retry_after, error.last_failure)

    async def call(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        permit = await admitted(self._breaker, self._rejected)
        try:
            result = await fn(*args, **kwargs)
        except BaseException as error:
            await leave(permit, _judge, error)
            raise
        permit.success()
        return result

    async def connection(self, get: Callable[[], Awaitable[R]]) -> R:
        """Return a connection of the pool, or be refused when the circuit opens meanwhile."""
        try:
            return await self._waiters.waiting(get)
        except CircuitOpenError as error:
            raise self._rejected(error) from None


class _Client:
    """Before a client's own class."""

    _guarding: _Guarding

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        return await self._guarding.call(super().execute_command, *args, **options)  # type: ignore[misc]  # pyright: ignore

    def pipeline(self, *args: Any, **kwargs: Any) -> Any:
        return _like(super().pipeline(*args, **kwargs), _Pipeline, self._guarding)  # type: ignore[misc]  # pyright: ignore


class _Pipeline:
    """Before a pipeline's own class."""

    _guarding: _Guarding
    _executing = False

    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        own = super().execute  # type: ignore[misc]  # pyright: ignore
        if not self.command_stack and not self.watching:  # type: ignore[attr-defined]  # pyright: ignore
            return await own(*args, **kwargs)  # pyright: ignore
        self._executing = True
        try:
            return await self._guarding.call(own, *args, **kwargs)  # pyright: ignore
        finally:
            self._executing = False

    async def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        own = super().immediate_execute_command  # type: ignore[misc]  # pyright: ignore
        if self._executing:  # what executing does on the way is part of its call
            return await own(*args, **options)  # pyright: ignore
        return await self._guarding.call(own, *args, **options)  # pyright: ignore


class _Pool:
    """Before a pool's own class."""

    _guarding: _Guarding

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        own = super().get_connection  # type: ignore[misc]  # pyright: ignore
        return await self._guarding.connection(lambda: own(*args, **options))  # pyright: ignore


def _like(thing: Any, before: type, guarding: _Guarding) -> Any:
    """Return another *thing* of a class that has *before* in front, sharing what it holds."""
    made: Any = guarding.kind(before, thing.__class__)
    twin: Any = object.__new__(made)
    twin.__dict__ = thing.__dict__
    return twin


def guard(client: C, breaker: CircuitBreaker) -> C:
    """Return a client like *client*, on the same connections, whose commands are guarded.

    *client* is a ``redis.asyncio.Redis`` or a ``valkey.asyncio.Valkey``, and what is returned
    is one, too, with all its documented methods: every command (``get``, ``set``, ``scan_iter``,
    ``eval``, scripts, modules ...), ``execute_command``, ``pipeline``, ``transaction``, ``lock``,
    ``client``, ``aclose``, ``async with``. Each command is one call of the breaker, with the
    library's own retries inside, and so is a pipeline's ``execute``. ``pubsub`` and ``monitor``
    are as they were: what listens for ever cannot be judged.

    A rejection is a ``CircuitOpenError`` and a ``ConnectionError`` of the library. Who waits
    for a connection of a ``BlockingConnectionPool`` when the circuit opens is refused then.

    Raises:
        TypeError: *client* is no such client (a ``RedisCluster`` is many servers, each of
            which would need a breaker of its own), or *breaker* no breaker.
    """
    library = _library_of(client)
    check_breaker(breaker)
    guarding = _Guarding(library, breaker)
    twin: Any = _like(client, _Client, guarding)
    twin.__dict__ = dict(twin.__dict__)
    twin.connection_pool = _like(twin.connection_pool, _Pool, guarding)
    guarded: C = twin
    return guarded


def _library_of(client: object) -> str:
    for library, kind in _LIBRARIES.items():
        module: ModuleType | None = sys.modules.get(f"{library}.asyncio")
        if module is not None and isinstance(client, getattr(module, kind)):
            if isinstance(client, _Client):
                raise TypeError("client is guarded already: each command would be two calls")
            return library
    raise TypeError(
        f"client must be a redis.asyncio.Redis or a valkey.asyncio.Valkey, not {client!r}"
    )
