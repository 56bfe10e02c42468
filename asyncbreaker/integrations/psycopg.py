"""Circuit breakers for psycopg 3: a pool whose connections and operations are guarded."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast, overload

import psycopg
import psycopg_pool
from psycopg.abc import Params, Query
from psycopg.pq import TransactionStatus
from psycopg.rows import AsyncRowFactory

from asyncbreaker import CircuitBreaker, Guard, Outcome
from asyncbreaker.integrations import _sqlstate
from asyncbreaker.integrations._calls import by_leaves, spare
from asyncbreaker.integrations._thin import Thin, check_breaker
from asyncbreaker.integrations._waiters import Waiters

__all__ = ["GuardedConnection", "GuardedCursor", "GuardedPool", "guard", "is_outage"]

P = ParamSpec("P")
R = TypeVar("R")
Row = TypeVar("Row", covariant=True)
Made = TypeVar("Made")

_LOCAL = (psycopg_pool.PoolClosed, psycopg_pool.TooManyRequests, psycopg.errors.PipelineAborted)
_SAYS_LOST = re.compile("connection .*(closed|lost)")
_OPEN_TRANSACTION = (TransactionStatus.INTRANS, TransactionStatus.INERROR)


def is_outage(error: BaseException) -> bool:
    """Tell whether *error* says that the server is ill, or that the connection is lost.

    That are the SQLSTATE classes 08, 53 and 57P0x, an ``OperationalError`` without an
    SQLSTATE (nobody has answered), OSError and timeouts. An error that the server has
    sent about a statement (a constraint, syntax, permission, serialisation, a cancelled
    query) is none. Of an exception group one is enough.

    ``PoolTimeout`` is one: with a dead server callers see nothing else. A busy pool raises
    it too; ``guard`` tells the two apart.
    """
    return _judge(error) is Outcome.FAILURE


@by_leaves
def _judge(error: BaseException) -> Outcome:
    if isinstance(error, psycopg.Error) and error.sqlstate:
        return Outcome.FAILURE if _sqlstate.is_outage(error.sqlstate) else Outcome.SUCCESS
    if isinstance(error, _LOCAL):
        return Outcome.IGNORED
    if isinstance(error, (psycopg.OperationalError, OSError)):  # a TimeoutError is an OSError
        return Outcome.FAILURE
    # Other errors without a code are psycopg's own, of misuse.
    lost = isinstance(error, psycopg.InterfaceError) and _SAYS_LOST.search(str(error))
    return Outcome.FAILURE if lost else Outcome.IGNORED


def _judge_copy(error: Exception) -> Outcome:
    """Judge what left a block in which code of the user's runs: only psycopg's errors."""
    return _judge(error) if isinstance(error, psycopg.Error) else Outcome.IGNORED


class GuardedCursor(Thin, Generic[Row]):
    """A cursor of a guarded connection; each operation is one call of the breaker.

    ``execute`` and ``executemany``; ``stream`` and ``copy`` from beginning to end;
    ``fetchone``, ``fetchmany``, ``fetchall``, ``scroll`` and ``async for`` of a cursor on
    the server's side (the others have their rows already). Everything else is psycopg's
    own, as it is.
    """

    _inner: psycopg.AsyncCursor[Row]

    def __init__(self, inner: psycopg.AsyncCursor[Row], connection: GuardedConnection[Any]) -> None:
        super().__init__(inner, connection.breaker, _judge)
        self._connection = connection
        self._remote = isinstance(inner, psycopg.AsyncServerCursor)

    async def _call(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._connection._call(fn, *args, **kwargs)  # pyright: ignore[reportPrivateUsage]  # of this file

    async def _fetch(
        self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        return await (self._call if self._remote else _plainly)(fn, *args, **kwargs)

    async def execute(
        self,
        query: Query,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool | None = None,
    ) -> Self:
        """Execute a query."""
        run = cast("Callable[..., Awaitable[object]]", self._inner.execute)
        if isinstance(self._inner, psycopg.AsyncServerCursor):
            await self._call(run, query, params, binary=binary)
        else:
            await self._call(run, query, params, prepare=prepare, binary=binary)
        return self

    async def executemany(
        self, query: Query, params_seq: Iterable[Params], *, returning: bool = False
    ) -> None:
        """Execute a query once for each of *params_seq*."""
        run = cast("Callable[..., Awaitable[None]]", self._inner.executemany)
        await self._call(run, query, params_seq, returning=returning)

    async def fetchone(self) -> Row | None:
        """Return the next row."""
        return await self._fetch(self._inner.fetchone)

    async def fetchmany(self, size: int = 0) -> list[Row]:
        """Return the next rows."""
        return await self._fetch(self._inner.fetchmany, size)

    async def fetchall(self) -> list[Row]:
        """Return all the rows that are left."""
        return await self._fetch(self._inner.fetchall)

    async def scroll(self, value: int, mode: str = "relative") -> None:
        """Move the cursor."""
        await self._fetch(self._inner.scroll, value, mode)

    def stream(
        self, query: Query, params: Params | None = None, *, binary: bool | None = None
    ) -> AsyncIterator[Row]:
        """Yield the rows as they come; all of them are one call."""
        run = cast("Callable[..., AsyncIterator[Row]]", self._inner.stream)
        return self._stream(run(query, params, binary=binary))

    @asynccontextmanager
    async def copy(
        self, statement: Query, params: Params | None = None
    ) -> AsyncGenerator[psycopg.AsyncCopy, None]:
        """Copy; the whole block is one call, of which psycopg's errors are judged."""
        run = cast("Callable[..., Any]", self._inner.copy)
        async with self._breaker.guard() as permit:
            try:
                async with run(statement, params) as copy:
                    yield copy
            except Exception as error:
                spare(permit, _judge_copy, error)
                raise

    def __aiter__(self) -> AsyncIterator[Row]:
        rows = aiter(self._inner)
        return self._stream(rows) if self._remote else rows

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the cursor; never refused."""
        await self._inner.close()

    @property
    def rowcount(self) -> int:
        """Rows that the last query has found or changed."""
        return self._inner.rowcount


async def _plainly(fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
    return await fn(*args, **kwargs)


class GuardedConnection(Thin, Generic[Row]):
    """A connection of a guarded pool; each operation is one call of the breaker.

    ``execute``, ``cursor``, ``transaction`` (its begin, and its end, which is never
    refused), ``commit``, ``rollback`` (never refused, too), ``pipeline`` (the whole block is
    one call). Everything else is psycopg's own, as it is, and so is ``raw``.
    """

    _inner: psycopg.AsyncConnection[Row]

    def __init__(self, inner: psycopg.AsyncConnection[Row], breaker: CircuitBreaker) -> None:
        super().__init__(inner, breaker, _judge)
        self._pipelines = 0

    @property
    def raw(self) -> psycopg.AsyncConnection[Row]:
        """Psycopg's own connection, unguarded."""
        return self._inner

    @property
    def breaker(self) -> CircuitBreaker:
        """The breaker that guards it."""
        return self._breaker

    @property
    def closed(self) -> bool:
        """Whether it is closed, or lost."""
        return self._inner.closed

    async def _call(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        # In a pipeline what is sent has no answer yet: its block is the call.
        return await (_plainly if self._pipelines else super()._call)(fn, *args, **kwargs)

    async def execute(
        self,
        query: Query,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool = False,
    ) -> GuardedCursor[Row]:
        """Execute a query and return a cursor to read its results."""
        run = cast("Callable[..., Awaitable[psycopg.AsyncCursor[Row]]]", self._inner.execute)
        cursor = await self._call(run, query, params, prepare=prepare, binary=binary)
        return GuardedCursor(cursor, self)

    @overload
    def cursor(
        self,
        name: str = "",
        *,
        binary: bool = False,
        scrollable: bool | None = None,
        withhold: bool = False,
    ) -> GuardedCursor[Row]: ...
    @overload
    def cursor(
        self,
        name: str = "",
        *,
        row_factory: AsyncRowFactory[Made],
        binary: bool = False,
        scrollable: bool | None = None,
        withhold: bool = False,
    ) -> GuardedCursor[Made]: ...
    def cursor(self, name: str = "", **options: Any) -> GuardedCursor[Any]:
        """Return a guarded cursor, on the server's side if it has a name."""
        make = cast("Callable[..., psycopg.AsyncCursor[Any]]", self._inner.cursor)
        return GuardedCursor(make(name, **options), self)

    @asynccontextmanager
    async def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> AsyncGenerator[psycopg.AsyncTransaction, None]:
        """Return a block that is one transaction; its begin and its end are calls."""
        block = self._inner.transaction(savepoint_name, force_rollback)
        transaction = await self._call(block.__aenter__)
        async with _Ending(self, block):
            yield transaction

    async def commit(self) -> None:
        """Commit; never refused."""
        await self._finish(self._inner.commit)

    async def rollback(self) -> None:
        """Roll back; never refused."""
        await self._finish(self._inner.rollback)

    @asynccontextmanager
    async def pipeline(self) -> AsyncGenerator[psycopg.AsyncPipeline, None]:
        """Return a block whose operations are sent together, as one call."""
        async with self._breaker.guard() as permit:
            self._pipelines += 1
            try:
                async with self._inner.pipeline() as pipeline:
                    yield pipeline
            except Exception as error:
                spare(permit, _judge_copy, error)
                raise
            finally:
                self._pipelines -= 1

    async def close(self) -> None:
        """Close it; never refused."""
        await self._inner.close()

    async def _finish(
        self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        # Where there is no transaction nothing is sent, and nothing learned.
        begun = self._inner.info.transaction_status in _OPEN_TRANSACTION
        return await (self._end if begun else _plainly)(fn, *args, **kwargs)


class _Ending:
    """Leaves a block that has been entered, as one call that is never refused."""

    def __init__(
        self, connection: GuardedConnection[Any], block: AbstractAsyncContextManager[Any, Any]
    ) -> None:
        self._connection = connection
        self._block = block

    async def __aenter__(self) -> None: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        finish = self._connection._finish  # pyright: ignore[reportPrivateUsage]  # of this file
        swallowed: bool | None = await finish(self._block.__aexit__, exc_type, exc, traceback)
        return swallowed


class GuardedPool(Thin, Generic[Row]):
    """A pool of psycopg; acquiring is one call of the breaker, each operation another.

    ``connection`` (a block, whose end commits or rolls back and is never refused),
    ``getconn``, ``putconn``, ``open``, ``wait``, ``close``, ``check``, ``resize``, ``drain``,
    ``get_stats``, ``pop_stats``, ``async with pool``. Everything else is psycopg's own, as
    it is.
    """

    _inner: psycopg_pool.AsyncConnectionPool[psycopg.AsyncConnection[Row]]

    def __init__(
        self,
        inner: psycopg_pool.AsyncConnectionPool[psycopg.AsyncConnection[Row]],
        breaker: CircuitBreaker,
    ) -> None:
        super().__init__(inner, breaker, _judge)
        self._waiters = Waiters(breaker)
        self._taken = 0  # connections that callers have, or are about to
        self._out = 0  # ... that they have
        self._handed = 0  # ... and have got, ever

    @asynccontextmanager
    async def connection(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's
    ) -> AsyncGenerator[GuardedConnection[Row], None]:
        """Acquire a connection for a block, which is one transaction unless in autocommit.

        Raises:
            CircuitOpenError: The circuit is open, or has opened while this waited.
        """
        connection = await self.getconn(timeout)
        try:
            async with _Ending(connection, connection.raw):
                yield connection
        finally:
            await self.putconn(connection)

    async def getconn(self, timeout: float | None = None) -> GuardedConnection[Row]:  # noqa: ASYNC109 - psycopg's
        """Acquire a connection, to be given back by ``putconn``.

        Raises:
            CircuitOpenError: The circuit is open, or has opened while this waited.
        """

        async def get(permit: Guard) -> psycopg.AsyncConnection[Row]:
            made, handed = self._made(), self._handed
            if 0 < self._inner.max_size < self._taken:
                permit.answered()  # to stand in our own line is not slow
            try:
                raw = await self._inner.getconn(timeout)
            except Exception as error:
                if isinstance(error, psycopg_pool.PoolTimeout) and self._was_busy(handed):
                    permit.ignore()  # others, tasks of our own, had the connections
                spare(permit, _judge, error)
                raise
            self._out += 1
            self._handed += 1
            if self._made() <= made:
                permit.ignore()  # one that was there: no word was spoken to the server
            return raw

        self._taken += 1
        try:
            raw = await self._waiters.acquire(get)
        except BaseException:
            self._taken -= 1
            raise
        return GuardedConnection(raw, self._breaker)

    async def putconn(self, conn: GuardedConnection[Row] | psycopg.AsyncConnection[Row]) -> None:
        """Give a connection back, as it was got; never refused."""
        raw = conn
        if isinstance(conn, GuardedConnection):
            raw = conn.raw
            self._taken -= 1
            self._out -= 1
        await self._inner.putconn(cast("psycopg.AsyncConnection[Row]", raw))

    async def open(self, wait: bool = False, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - psycopg's
        """Open the pool; with *wait* as one call, which takes until it has its connections."""
        await (self._call if wait else _plainly)(self._inner.open, wait, timeout)

    async def wait(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - psycopg's
        """Wait until the pool has its connections, as one call."""
        await self._call(self._inner.wait, timeout)

    async def close(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - psycopg's
        """Close the pool; never refused."""
        await self._inner.close(timeout)

    async def check(self) -> None:
        """Replace connections that are lost."""
        await self._inner.check()

    async def resize(self, min_size: int, max_size: int | None = None) -> None:
        """Change how many connections there may be."""
        await self._inner.resize(min_size, max_size)

    async def drain(self) -> None:
        """Replace every connection, those in use when they come back."""
        await self._inner.drain()

    def get_stats(self) -> dict[str, int]:
        """Return the pool's figures."""
        return self._inner.get_stats()

    def pop_stats(self) -> dict[str, int]:
        """Return the pool's figures, and begin anew."""
        return self._inner.pop_stats()

    @property
    def closed(self) -> bool:
        """Whether the pool is closed."""
        return self._inner.closed

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._inner.__aexit__(exc_type, exc, traceback)

    def _made(self) -> int:
        stats = self._inner.get_stats()
        return stats.get("connections_num", 0) - stats.get("connections_errors", 0)

    def _was_busy(self, handed: int) -> bool:
        return self._handed > handed or 0 < self._inner.max_size <= self._out


def guard(
    pool: psycopg_pool.AsyncConnectionPool[psycopg.AsyncConnection[Row]], breaker: CircuitBreaker
) -> GuardedPool[Row]:
    """Return *pool* with its calls guarded by *breaker*; see ``GuardedPool``.

    Who waits for a connection when the circuit opens is refused then. That a connection
    lay ready in the pool proves nothing, nor that all are in use: use the guarded pool for
    all of them.

    Raises:
        TypeError: *pool* is no pool, or *breaker* no breaker.
    """
    wanted = "a psycopg_pool.AsyncConnectionPool"
    if not isinstance(cast("object", pool), psycopg_pool.AsyncConnectionPool):
        raise TypeError(f"pool must be {wanted}, not {pool!r}")
    check_breaker(breaker)
    return GuardedPool(pool, breaker)
