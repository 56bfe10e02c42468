"""Circuit breakers for asyncpg: a pool whose connections and operations are guarded."""

from __future__ import annotations

import functools
import weakref
from collections.abc import AsyncIterator, Generator
from types import TracebackType
from typing import Any, Self

import asyncpg  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

from asyncbreaker import CircuitBreaker, Guard, Outcome
from asyncbreaker.integrations import _sqlstate
from asyncbreaker.integrations._calls import by_leaves, spare
from asyncbreaker.integrations._thin import Acquiring, Thin, check_breaker, check_guarded
from asyncbreaker.integrations._waiters import Waiters

__all__ = ["GuardedConnection", "GuardedPool", "guard", "is_outage"]


def is_outage(error: BaseException) -> bool:
    """Tell whether *error* says that the server is ill, or that the connection is lost.

    That are the SQLSTATE classes 08, 53 and 57P0x, the driver's own errors about a
    connection that is closed, OSError and timeouts. An error that the server has sent
    about a statement (a constraint, syntax, permission, serialisation, a cancelled query)
    is none. Of an exception group one is enough.
    """
    return _judge(error) is Outcome.FAILURE


@by_leaves
def _judge(error: BaseException) -> Outcome:
    if isinstance(error, asyncpg.PostgresError):
        sqlstate = str(getattr(error, "sqlstate", None) or "")
        if _sqlstate.is_outage(sqlstate):
            return Outcome.FAILURE
        # What the server sends has a severity; without, the driver refused an argument.
        return Outcome.SUCCESS if getattr(error, "severity", None) else Outcome.IGNORED
    if isinstance(error, asyncpg.InterfaceError):
        # The driver's own, without a code: most tell of misuse.
        return Outcome.FAILURE if "connection is closed" in str(error) else Outcome.IGNORED
    if isinstance(error, OSError):  # a TimeoutError is one
        # With the name of a file it is of our own disk: what COPY reads or writes.
        return Outcome.FAILURE if error.filename is None else Outcome.IGNORED
    return Outcome.IGNORED


def _operation(name: str) -> Any:
    """Return the method that makes one call of the breaker of *name*."""

    async def operation(self: Thin, *args: Any, **kwargs: Any) -> Any:
        return await self._call(getattr(self._inner, name), *args, **kwargs)  # pyright: ignore[reportPrivateUsage]  # its method

    operation.__name__ = name
    operation.__doc__ = f"As ``{name}`` of asyncpg, as one call of the breaker."
    return operation


def _own(name: str) -> Any:
    """Return the property that is *name* of asyncpg's own, unguarded."""

    def own(self: Thin) -> Any:
        return getattr(self._inner, name)  # pyright: ignore[reportPrivateUsage]  # its own

    return property(own, doc=f"``{name}`` of asyncpg, as it is.")


class GuardedCursor(Thin):
    """A cursor; iterating over it is one call, each ``fetch``, ``fetchrow``, ``forward`` another.

    As in asyncpg it is iterated over, or awaited for a cursor to fetch from.
    """

    fetch = _operation("fetch")
    fetchrow = _operation("fetchrow")
    forward = _operation("forward")

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._stream(self._inner)

    def __await__(self) -> Generator[Any, Any, GuardedCursor]:
        return self._open().__await__()

    async def _open(self) -> GuardedCursor:
        async def opened() -> Any:
            return await self._inner

        return GuardedCursor(await self._call(opened), self._breaker, self._judge)


class GuardedStatement(Thin):
    """A prepared statement; each execution is one call of the breaker.

    ``fetch``, ``fetchval``, ``fetchrow``, ``fetchmany``, ``executemany``, ``explain``,
    ``cursor``, and what else asyncpg's has.
    """

    fetch = _operation("fetch")
    fetchval = _operation("fetchval")
    fetchrow = _operation("fetchrow")
    fetchmany = _operation("fetchmany")
    executemany = _operation("executemany")
    explain = _operation("explain")

    def cursor(self, *args: Any, **kwargs: Any) -> GuardedCursor:
        """Return a guarded cursor over the rows."""
        return GuardedCursor(self._inner.cursor(*args, **kwargs), self._breaker, self._judge)


class GuardedTransaction(Thin):
    """A transaction; its begin is a call of the breaker, and so is its end.

    The end is never refused: what was begun must be ended, also while the circuit is open.
    """

    start = _operation("start")

    async def commit(self) -> None:
        """Commit; never refused."""
        await self._end(self._inner.commit)

    async def rollback(self) -> None:
        """Roll back; never refused."""
        await self._end(self._inner.rollback)

    async def __aenter__(self) -> None:
        await self._call(self._inner.__aenter__)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end(self._inner.__aexit__, exc_type, exc, traceback)


class _Stay:
    """What one caller has of a pool: a connection, or the wait for one."""

    def __init__(self, pool: asyncpg.Pool, taken: weakref.WeakSet[_Stay]) -> None:
        self._pool = pool
        self._taken = taken
        self._ended = False
        taken.add(self)

    def end(self) -> None:
        """Note that the connection was given back, or closed, or never came."""
        self._ended = True
        self._taken.discard(self)

    def judge(self, error: Exception) -> Outcome:
        """Judge what an operation on the connection has raised."""
        # A connection that is lost goes back to its pool by itself, and the driver then
        # speaks as if we had released it.
        lost = isinstance(error, asyncpg.InterfaceError) and "released back" in str(error)
        outcome = Outcome.FAILURE if lost else _judge(error)
        if outcome is Outcome.FAILURE and (self._ended or self._pool.is_closing()):
            return Outcome.IGNORED  # it was closed on this side
        return outcome


class GuardedConnection(Thin):
    """A connection of a guarded pool; each operation is one call of the breaker.

    ``execute``, ``executemany``, ``fetch``, ``fetchval``, ``fetchrow``, ``fetchmany``,
    ``prepare``, ``cursor``, ``transaction``, ``copy_from_query``, ``copy_from_table``,
    ``copy_to_table``, ``copy_records_to_table``. Everything else is asyncpg's own, as it
    is: ``close``, ``terminate``, ``is_closed``, ``add_listener``, ``set_type_codec`` ...
    """

    execute = _operation("execute")
    executemany = _operation("executemany")
    fetch = _operation("fetch")
    fetchval = _operation("fetchval")
    fetchrow = _operation("fetchrow")
    fetchmany = _operation("fetchmany")
    copy_from_query = _operation("copy_from_query")
    copy_from_table = _operation("copy_from_table")
    copy_to_table = _operation("copy_to_table")
    copy_records_to_table = _operation("copy_records_to_table")

    is_closed = _own("is_closed")
    is_in_transaction = _own("is_in_transaction")
    add_listener = _own("add_listener")
    remove_listener = _own("remove_listener")
    set_type_codec = _own("set_type_codec")
    reset_type_codec = _own("reset_type_codec")
    get_server_pid = _own("get_server_pid")

    def __init__(self, inner: Any, breaker: CircuitBreaker, stay: _Stay) -> None:
        super().__init__(inner, breaker, stay.judge)
        self._stay = stay

    def release(self) -> Any:
        """Return asyncpg's own connection, to be given back: it is not to be used any more."""
        self._stay.end()
        return self._inner

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg's
        """Close it; what fails on it afterwards says nothing of the server."""
        await self.release().close(timeout=timeout)

    def terminate(self) -> None:
        """Close it without a farewell to the server; else as ``close``."""
        self.release().terminate()

    async def prepare(self, *args: Any, **kwargs: Any) -> GuardedStatement:
        """Prepare a statement, as one call of the breaker."""
        statement = await self._call(self._inner.prepare, *args, **kwargs)
        return GuardedStatement(statement, self._breaker, self._judge)

    def cursor(self, *args: Any, **kwargs: Any) -> GuardedCursor:
        """Return a guarded cursor."""
        return GuardedCursor(self._inner.cursor(*args, **kwargs), self._breaker, self._judge)

    def transaction(self, **options: Any) -> GuardedTransaction:
        """Return a guarded transaction."""
        return GuardedTransaction(self._inner.transaction(**options), self._breaker, self._judge)


def _with_connection(name: str) -> Any:
    """Return the method of a pool that acquires a connection for one operation."""

    async def operation(self: GuardedPool, *args: Any, **kwargs: Any) -> Any:
        async with self.acquire() as connection:
            return await getattr(connection, name)(*args, **kwargs)

    operation.__name__ = name
    operation.__doc__ = f"As ``{name}`` of asyncpg: acquires, operates, releases."
    return operation


class GuardedPool(Thin):
    """A pool of asyncpg; acquiring is one call of the breaker, each operation another.

    ``acquire`` (awaited, or as a block), ``release``, ``execute``, ``executemany``,
    ``fetch``, ``fetchval``, ``fetchrow``, ``fetchmany``, ``copy_from_query``,
    ``copy_from_table``, ``copy_to_table``, ``copy_records_to_table``; ``async with pool``
    and ``await pool`` connect, which is one call as well. Everything else is asyncpg's
    own, as it is: ``close``, ``terminate``, ``expire_connections``, ``get_size`` ...
    """

    def __init__(self, inner: Any, breaker: CircuitBreaker) -> None:
        super().__init__(inner, breaker, _judge)
        self._waiters = Waiters(breaker)
        # Weak: a connection that was lost, and never released, is not counted for ever.
        self._taken = weakref.WeakSet[_Stay]()

    close = _own("close")
    terminate = _own("terminate")
    is_closing = _own("is_closing")
    expire_connections = _own("expire_connections")
    get_size = _own("get_size")
    get_idle_size = _own("get_idle_size")
    get_min_size = _own("get_min_size")
    get_max_size = _own("get_max_size")
    set_connect_args = _own("set_connect_args")

    execute = _with_connection("execute")
    executemany = _with_connection("executemany")
    fetch = _with_connection("fetch")
    fetchval = _with_connection("fetchval")
    fetchrow = _with_connection("fetchrow")
    fetchmany = _with_connection("fetchmany")
    copy_from_query = _with_connection("copy_from_query")
    copy_from_table = _with_connection("copy_from_table")
    copy_to_table = _with_connection("copy_to_table")
    copy_records_to_table = _with_connection("copy_records_to_table")

    def acquire(self, *, timeout: float | None = None) -> Acquiring[GuardedConnection]:
        """Acquire a connection: ``async with pool.acquire() as connection``, or await it.

        Raises:
            CircuitOpenError: The circuit is open, or has opened while this waited.
        """
        return Acquiring(functools.partial(self._acquire, timeout), self.release)

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Give a connection back; never refused."""
        inner = connection
        if isinstance(connection, GuardedConnection):
            inner = connection.release()
        await self._inner.release(inner, timeout=timeout)

    def __await__(self) -> Generator[Any, Any, Self]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        async with self._breaker.guard() as permit:
            size = self._size()
            try:
                await self._inner.__aenter__()
            except Exception as error:
                spare(permit, _judge, error)
                raise
            self._learn(permit, size)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._inner.__aexit__(exc_type, exc, traceback)

    async def _acquire(self, timeout: float | None) -> GuardedConnection:  # noqa: ASYNC109 - asyncpg's
        async def get(permit: Guard) -> Any:
            size = self._size()
            if len(self._taken) > int(self._inner.get_max_size()):
                permit.answered()  # to stand in our own line is not slow
            try:
                connection = await self._inner.acquire(timeout=timeout)
            except TimeoutError:
                if self._is_busy():
                    permit.ignore()  # every connection is in use, by tasks of our own
                raise
            except Exception as error:
                spare(permit, _judge, error)
                raise
            self._learn(permit, size)
            return connection

        stay = _Stay(self._inner, self._taken)
        try:
            connection = await self._waiters.acquire(get)
        except BaseException:
            stay.end()
            raise
        return GuardedConnection(connection, self._breaker, stay)

    def _learn(self, permit: Guard, size: int) -> None:
        if self._size() <= size:
            permit.ignore()  # none was made: no word was spoken to the server

    def _size(self) -> int:
        size: int = self._inner.get_size()  # of connections that are up
        return size

    def _is_busy(self) -> bool:
        return self._size() >= int(self._inner.get_max_size())


def guard(pool: asyncpg.Pool, breaker: CircuitBreaker) -> GuardedPool:
    """Return *pool* with its calls guarded by *breaker*; see ``GuardedPool``.

    Who waits for a connection when the circuit opens is refused then. That a connection
    lay ready in the pool proves nothing, nor that all are in use.

    Raises:
        TypeError: *pool* is no pool, or *breaker* no breaker.
    """
    check_guarded("pool", pool, "an asyncpg.Pool", ("acquire", "release", "get_max_size"))
    check_breaker(breaker)
    return GuardedPool(pool, breaker)
