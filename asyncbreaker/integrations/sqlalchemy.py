"""Circuit breakers for SQLAlchemy's async engines: by its events, so that sessions are guarded."""

from __future__ import annotations

import asyncio
import re
import weakref
from collections.abc import Coroutine, Generator
from contextlib import contextmanager, suppress
from typing import Any, cast

from sqlalchemy import event, exc, pool
from sqlalchemy.engine import Engine, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import await_only, greenlet_spawn

from asyncbreaker import CircuitBreaker, CircuitOpenError, Guard, Outcome, State
from asyncbreaker.integrations import _sqlstate
from asyncbreaker.integrations._calls import by_leaves, spare
from asyncbreaker.integrations._thin import check_breaker
from asyncbreaker.integrations._waiters import Waiters

__all__ = ["guard", "is_outage"]


def is_outage(error: BaseException) -> bool:
    """Tell whether *error* says that the database is ill, or that the connection is lost.

    That are errors with ``connection_invalidated``, ``DisconnectionError``, the SQLSTATE
    classes 08, 53 and 57P0x, OSError and timeouts of the driver, also as the cause of its
    own error. An error that the database has sent about a statement (integrity, syntax,
    permission, serialisation, a cancelled query) is none, nor is SQLAlchemy's own
    ``TimeoutError``: the pool is busy. Of an exception group one is enough.
    """
    return _judge(error) is Outcome.FAILURE


@by_leaves
def _judge(error: BaseException) -> Outcome:
    if isinstance(error, exc.TimeoutError):
        return Outcome.IGNORED  # every connection is in use, by tasks of our own
    if isinstance(error, exc.DBAPIError):
        if error.connection_invalidated:
            return Outcome.FAILURE
        operational = isinstance(error, (exc.OperationalError, exc.InterfaceError))
        return _judge_driver(error.orig, answered=True, operational=operational)
    if isinstance(error, exc.DisconnectionError):
        return Outcome.FAILURE
    return _judge_driver(error, answered=False, operational=False)


def _judge_driver(error: BaseException | None, *, answered: bool, operational: bool) -> Outcome:
    """Judge the driver's error by its code, else by what it was raised from, else by its words.

    *answered*: it is one of the driver's own; *operational*: of a class of which PEP 249 says
    that the database's operation is the matter, and not the statement.
    """
    sqlstate: object = getattr(error, "sqlstate", None)
    if isinstance(sqlstate, str) and sqlstate:
        return Outcome.FAILURE if _sqlstate.is_outage(sqlstate) else Outcome.SUCCESS
    if _is_from_oserror(error):
        return Outcome.FAILURE
    if hasattr(error, "sqlstate"):  # a driver that knows them, so no server has spoken
        lost = type(error).__name__ == "OperationalError"
        return Outcome.FAILURE if lost else Outcome.IGNORED
    if operational and _SAYS_LOST.search(str(error)):
        return Outcome.FAILURE
    return Outcome.SUCCESS if answered else Outcome.IGNORED


# What drivers without SQLSTATEs say of a connection; other errors of the same classes are
# answers, such as "no such table" or "database is locked".
_SAYS_LOST = re.compile(
    r"(connection|server) .*(refused|reset|closed|lost|aborted|terminated)"
    r"|(lost|closed|too many|no) (the )?connection|can.?t connect|(not|to) connect|gone away"
    r"|broken pipe",
    re.IGNORECASE,
)


def _is_from_oserror(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, OSError):  # a TimeoutError is one
        error = error.__cause__
    return error is not None


_guarded: weakref.WeakKeyDictionary[object, CircuitBreaker] = weakref.WeakKeyDictionary()


def guard(engine: AsyncEngine, breaker: CircuitBreaker) -> AsyncEngine:
    """Guard every connection and statement of *engine* by *breaker*; return the same engine.

    So whatever is made on the engine is guarded, an ``AsyncSession`` too, and an engine
    that ``execution_options`` made of it. Acquiring a connection is one call, each
    statement another, and so is the failure of a commit; to commit and to roll back is
    never refused. Who waits for a connection when the circuit opens is refused then. That
    a connection lay ready in the pool proves nothing, nor that all are in use.

    To guard an engine again by the same breaker changes nothing.

    Raises:
        TypeError: *engine* is no ``AsyncEngine``, or *breaker* no breaker.
        ValueError: Another breaker guards the engine already.
    """
    if not isinstance(cast("object", engine), AsyncEngine):
        raise TypeError(f"engine must be an AsyncEngine, not {engine!r}")
    check_breaker(breaker)
    # By its dialect, which engines with other execution options share, as they do the events.
    other = _guarded.setdefault(engine.sync_engine.dialect, breaker)
    if other is not breaker:
        raise ValueError(f"engine {engine!r} is guarded by {other.name!r} already")
    if engine.sync_engine not in _engines:
        _engines.add(engine.sync_engine)
        _Listening(engine.sync_engine, breaker)
    return engine


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class _Listening:
    """Takes the events of one engine, which keeps it alive."""

    def __init__(self, engine: Engine, breaker: CircuitBreaker) -> None:
        self._breaker = breaker
        self._dialect = engine.dialect
        self._waiters = Waiters(breaker)
        self._made = 0  # connections
        self._acquiring: set[object] = set()  # tasks that are at it
        self._judged: int | None = None  # identity of the last error that a call has ended with
        event.listen(engine, "connect", self._connected)
        event.listen(engine, "do_execute", self._execute)
        event.listen(engine, "do_executemany", self._executemany)
        event.listen(engine, "do_execute_no_params", self._execute_no_params)
        event.listen(engine, "handle_error", self._failed)
        event.listen(engine, "engine_disposed", self._guard_pool)
        self._guard_pool(engine)

    # Acquiring.

    def _guard_pool(self, engine: Engine) -> None:
        """Stand before the pool's ``connect``: no event comes before the wait in its line."""
        connect = engine.pool.connect

        def guarded() -> pool.PoolProxiedConnection:
            return await_only(self._waiters.acquire(get))

        async def get(permit: Guard) -> pool.PoolProxiedConnection:
            if _is_full(engine.pool):
                permit.answered()  # to stand in our own line is not slow
            return await self._acquire(connect, permit)

        engine.pool.connect = guarded  # type: ignore[method-assign]

    async def _acquire(self, connect: Any, permit: Guard) -> pool.PoolProxiedConnection:
        made, task = self._made, asyncio.current_task()
        self._acquiring.add(task)
        try:
            connection: pool.PoolProxiedConnection = await greenlet_spawn(connect)
        except Exception as error:
            spare(permit, self._judge, error)
            raise
        finally:
            self._acquiring.discard(task)
        if self._made <= made:
            permit.ignore()  # one that was there: no word was spoken to the database
        return connection

    def _connected(self, *_: object) -> None:
        self._made += 1

    # Statements: executed here, so that whatever ends one settles its call.

    def _execute(self, cursor: Any, statement: Any, parameters: Any, context: Any) -> bool:
        with self._call():
            self._dialect.do_execute(cursor, statement, parameters, context)
        return True  # it is done

    def _executemany(self, cursor: Any, statement: Any, parameters: Any, context: Any) -> bool:
        with self._call():
            self._dialect.do_executemany(cursor, statement, parameters, context)
        return True

    def _execute_no_params(self, cursor: Any, statement: Any, context: Any) -> bool:
        with self._call():
            self._dialect.do_execute_no_params(cursor, statement, context)
        return True

    @contextmanager
    def _call(self) -> Generator[None, None, None]:
        """Make what is in the block one call of the breaker, inside of SQLAlchemy's greenlet."""
        if asyncio.current_task() in self._acquiring:
            yield  # the first words to a new connection are part of the acquiring
            return
        permit = self._breaker.guard()
        await_only(permit.__aenter__())
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error, self._judged = raised, id(raised)
            if isinstance(raised, Exception):
                spare(permit, self._judge, raised)
            raise
        finally:
            kind = None if error is None else type(error)
            _run(permit.__aexit__(kind, error, None))

    def _failed(self, context: ExceptionContext) -> None:
        """Take an error of what has no event around it: a commit, a fetch."""
        error = context.original_exception
        judged, self._judged = self._judged, None
        # One that is pinged or made while acquiring is judged there.
        elsewhere = context.connection is not None and id(error) != judged
        if not elsewhere or not isinstance(error, Exception):
            return
        if self._breaker.state is State.CLOSED and self._judge(error) is Outcome.FAILURE:
            _run(_report(self._breaker, error))

    def _judge(self, error: Exception) -> Outcome:
        if isinstance(error, self._dialect.loaded_dbapi.Error):
            if self._dialect.is_disconnect(cast("Any", error), None, None):
                return Outcome.FAILURE
            kinds = {kind.__name__ for kind in type(error).__mro__}  # drivers have either or both
            operational = bool(kinds & {"OperationalError", "InterfaceError"})
            return _judge_driver(error, answered=True, operational=operational)
        return _judge(error)


def _is_full(queue: pool.Pool) -> bool:
    """Tell whether a connection must be waited for."""
    if not isinstance(queue, pool.QueuePool):
        return False
    # The one figure that the pool does not tell.
    overflow: int = queue._max_overflow  # pyright: ignore[reportPrivateUsage]
    return overflow >= 0 and queue.checkedout() >= queue.size() + overflow


async def _report(breaker: CircuitBreaker, error: Exception) -> None:
    permit = breaker.guard()
    with suppress(CircuitOpenError):  # this very arrival has found slow calls, and opened it
        await permit.__aenter__()
        await permit.__aexit__(type(error), error, None)


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run what suspends nowhere, also outside of a greenlet."""
    with suppress(StopIteration):
        coroutine.send(None)
