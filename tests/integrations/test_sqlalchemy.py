"""The adapter of SQLAlchemy, against a real PostgreSQL that is killed, frozen and restarted."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, exc, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import NullPool

from asyncbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    Outcome,
    State,
    failure_lead,
)
from asyncbreaker.integrations.sqlalchemy import guard, is_outage
from asyncbreaker.testing import ManualClock, force_state, record
from tests.integrations.loops import anyio_backend
from tests.integrations.postgres import PostgresServer
from tests.integrations.proxy import FaultyProxy
from tests.integrations.support import breaker_of, outcomes
from tests.runtime.support import settled

__all__ = ["anyio_backend"]  # the fixture

pytestmark = pytest.mark.anyio


DRIVERS = {
    "asyncpg": {"ssl": False, "timeout": 0.6, "command_timeout": 0.6},
    "psycopg": {"sslmode": "disable", "gssencmode": "disable", "connect_timeout": 2},
}


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    """Both of PostgreSQL's async drivers."""
    name: str = request.param
    return name


@asynccontextmanager
async def connected(
    server: PostgresServer,
    breaker: CircuitBreaker,
    driver: str = "asyncpg",
    port: int | None = None,
    **options: Any,
) -> AsyncIterator[AsyncEngine]:
    """A guarded engine with one connection, unless told otherwise."""
    url = f"postgresql+{driver}://{server.user}@{server.host}:{port or server.port}/postgres"
    settings = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.5, **options}
    engine = create_async_engine(url, connect_args=DRIVERS[driver], **settings)
    assert engine is guard(engine, breaker)
    try:
        async with asyncio.timeout(20):
            yield engine
    finally:
        if server.running:
            server.thaw()
        async with asyncio.timeout(20):
            await engine.dispose()


async def select(engine: AsyncEngine, query: str = "select 1") -> Any:
    async with engine.connect() as connection:
        return (await connection.execute(text(query))).scalar()


def checked_out(engine: AsyncEngine) -> int:
    pool: Any = engine.pool
    number: int = pool.checkedout()
    return number


async def test_acquiring_is_one_call_and_each_statement_another(
    postgres: PostgresServer, breaker: CircuitBreaker, driver: str
) -> None:
    """
    A connection that had to be made, with all that it says first, and two queries: three calls.
    """
    async with connected(postgres, breaker, driver) as engine:
        with record(breaker) as events:
            async with engine.connect() as connection:
                assert 1 == (await connection.execute(text("select 1"))).scalar()
                assert 2 == (await connection.execute(text("select 2"))).scalar()

    assert [Outcome.SUCCESS] * 3 == outcomes(events)


async def test_a_connection_that_lay_ready_proves_nothing(
    postgres: PostgresServer, breaker: CircuitBreaker, driver: str
) -> None:
    """
    Nothing is learned of the database when the pool hands out what it had.
    """
    async with connected(postgres, breaker, driver) as engine:
        await select(engine)
        with record(breaker) as events:
            async with engine.connect():
                pass

    assert [Outcome.IGNORED] == outcomes(events)


class Base(DeclarativeBase):
    """The tables of these tests."""


class Item(Base):
    """A row."""

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


async def test_a_session_is_guarded(
    postgres: PostgresServer, breaker: CircuitBreaker, clock: ManualClock, driver: str
) -> None:
    """
    An AsyncSession works as before, is refused while the circuit is open, and leaves no
    connection behind.
    """
    async with connected(postgres, breaker, driver) as engine:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine) as session:
            session.add_all([Item(id=n, name=f"item {n}") for n in range(1, 4)])
            await session.commit()
        async with AsyncSession(engine) as session:
            item = await session.get(Item, 2)
            assert item is not None
            assert "item 2" == item.name

        force_state(breaker, State.OPEN)
        async with AsyncSession(engine) as session:
            with pytest.raises(CircuitOpenError) as caught:
                await session.get(Item, 2)
            assert "api" == caught.value.breaker
        assert 0 == checked_out(engine)

        clock.advance(10.0)
        async with AsyncSession(engine) as session:
            assert await session.get(Item, 3) is not None
        assert State.CLOSED is breaker.state


async def test_a_session_may_go_on_after_a_rejection(
    postgres: PostgresServer, breaker: CircuitBreaker, driver: str
) -> None:
    """
    A statement that was refused has not touched the connection: the transaction can go on.
    """
    async with connected(postgres, breaker, driver) as engine, AsyncSession(engine) as session:
        await session.execute(text("create temporary table kept (id int)"))
        breaker.force_open()
        with pytest.raises(CircuitOpenError):
            await session.execute(text("insert into kept values (1)"))
        breaker.reset()
        await session.execute(text("insert into kept values (2)"))

        assert [2] == list((await session.execute(text("select id from kept"))).scalars())


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_killed_server_opens_and_a_restarted_one_closes(
    postgres: PostgresServer,
    breaker: CircuitBreaker,
    clock: ManualClock,
    driver: str,
    restarted: bool,
) -> None:
    """
    A killed server fails the query that runs, everything is refused, and after the wait the
    engine works again.
    """
    async with connected(postgres, breaker, driver) as engine:
        async with engine.connect() as connection:
            await connection.execute(text("select 1"))
            running = asyncio.create_task(connection.execute(text("select pg_sleep(0.5)")))
            await asyncio.sleep(0.05)
            postgres.kill()
            with pytest.raises(exc.DBAPIError) as caught:
                await running
            assert is_outage(caught.value)
            assert State.OPEN is breaker.state
        with pytest.raises(CircuitOpenError):
            await select(engine)

        if restarted:
            postgres.start()
        clock.advance(10.0)
        if restarted:
            assert 1 == await select(engine)
            assert State.CLOSED is breaker.state
        else:
            with pytest.raises((exc.OperationalError, OSError)) as refused:
                await select(engine)
            assert is_outage(refused.value)
            assert State.OPEN is breaker.state


async def test_a_frozen_server_opens(postgres: PostgresServer, clock: ManualClock) -> None:
    """
    A server that answers nothing is noticed by the driver's timeouts.
    """
    breaker = breaker_of(clock, failures=2)
    async with (
        connected(postgres, breaker, pool_size=2) as engine,
        engine.connect() as first,
        engine.connect() as second,
    ):
        await first.execute(text("select 1"))
        await second.execute(text("select 1"))
        postgres.freeze()
        running = [asyncio.create_task(held.execute(text("select 1"))) for held in (first, second)]
        while State.OPEN is not breaker.state:  # noqa: ASYNC110 - until both have timed out
            await asyncio.sleep(0.01)
        postgres.thaw()  # to roll back, SQLAlchemy 2.0 waits for the server
        found = await asyncio.gather(*running, return_exceptions=True)
        assert all(isinstance(error, Exception) and is_outage(error) for error in found)


async def test_a_frozen_server_that_takes_no_connection_opens(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    That no connection can be made in time is a failure of the acquiring.
    """
    async with connected(postgres, breaker) as engine:
        postgres.freeze()
        with pytest.raises(TimeoutError):
            await select(engine)
        assert State.OPEN is breaker.state
        assert 0 == checked_out(engine)
        postgres.thaw()


Fault = Callable[[FaultyProxy], Awaitable[None] | None]


@pytest.mark.parametrize(
    "fault",
    [
        lambda proxy: proxy.latency(3.0),
        lambda proxy: proxy.reset(),
        lambda proxy: proxy.blackhole(),
        lambda proxy: proxy.truncate(3),
    ],
    ids=["latency", "reset", "blackhole", "truncation"],
)
async def test_a_bad_network_opens_and_a_good_one_closes(
    postgres: PostgresServer, breaker: CircuitBreaker, clock: ManualClock, fault: Fault
) -> None:
    """
    Whatever the network does to a query is a failure of it, and passes when it is well.
    """
    async with (
        FaultyProxy(postgres.port) as proxy,
        connected(postgres, breaker, port=proxy.port) as engine,
    ):
        async with engine.connect() as connection:
            await connection.execute(text("select 1"))
            if (waiting := fault(proxy)) is not None:
                await waiting
            running = asyncio.create_task(connection.execute(text("select 2")))
            while State.OPEN is not breaker.state:  # noqa: ASYNC110 - until it has failed
                await asyncio.sleep(0.01)
            await proxy.heal()  # to roll back, SQLAlchemy 2.0 waits for the server
            with pytest.raises((OSError, exc.DBAPIError)) as caught:
                await running
            assert is_outage(caught.value)
        await engine.dispose()
        clock.advance(10.0)
        assert 3 == await select(engine, "select 3")
        assert State.CLOSED is breaker.state


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("select 1/0", exc.DBAPIError),
        ("selekt", exc.ProgrammingError),
        ("insert into once values (1), (1)", exc.IntegrityError),
        ("select pg_cancel_backend(pg_backend_pid())", exc.DBAPIError),
    ],
)
async def test_what_the_server_says_of_a_statement_is_proof_of_life(
    postgres: PostgresServer,
    breaker: CircuitBreaker,
    driver: str,
    statement: str,
    kind: type[Exception],
) -> None:
    """
    An error that the server has sent is a success of the dependency.
    """
    async with connected(postgres, breaker, driver) as engine, engine.connect() as connection:
        await connection.execute(text("create temporary table once (id int primary key)"))
        with record(breaker) as events, pytest.raises(kind) as caught:
            await connection.execute(text(statement))

    assert not is_outage(caught.value)
    assert [Outcome.SUCCESS] == outcomes(events)


class DriverError(Exception):
    """Of a driver that knows SQLSTATEs."""

    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("words")
        self.sqlstate = sqlstate


class OperationalError(DriverError):
    """As PEP 249 calls it."""


class SimpleError(Exception):
    """Of a driver that knows no SQLSTATEs."""


def wrapped(error: Exception, *, lost: bool = False) -> Exception:
    return exc.DBAPIError("select 1", {}, error, connection_invalidated=lost)


def worded(words: str) -> Exception:
    return exc.OperationalError("select 1", {}, SimpleError(words))


LOST = (
    "Connection refused",
    "(2003, \"Can't connect to MySQL server on '127.0.0.1'\")",
    "(2006, 'MySQL server has gone away')",
    "(2013, 'Lost connection to MySQL server during query')",
    "(1040, 'Too many connections')",
    "the server closed the connection unexpectedly",
    "could not connect to server",
    "connection was reset by peer",
)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *((wrapped(DriverError(state)), True) for state in ("08006", "53300", "57P01", "57P03")),
        *((wrapped(DriverError(state)), False) for state in ("57014", "23505", "40001", "42501")),
        (wrapped(SimpleError("lost"), lost=True), True),
        (wrapped(SimpleError("database is locked")), False),
        (wrapped(DriverError(None)), False),
        (wrapped(OperationalError(None)), True),
        (wrapped(caused(SimpleError("cannot connect"), OSError("refused"))), True),
        *((worded(words), True) for words in LOST),
        *((worded(words), False) for words in ("database is locked", "no such table: connections")),
        (exc.ProgrammingError("select 1", {}, SimpleError("connection refused")), False),
        (exc.DisconnectionError("pessimistic"), True),
        (exc.TimeoutError("QueuePool limit of size 1 overflow 0 reached"), False),
        (exc.InvalidRequestError("misuse"), False),
        (DriverError("08006"), True),
        (ConnectionRefusedError("refused"), True),
        (TimeoutError("time"), True),
        (ValueError("value"), False),
        (asyncio.CancelledError("cancelled"), False),
        (ExceptionGroup("a leaf is", [ValueError(), TimeoutError()]), True),
        (ExceptionGroup("no leaf is", [ValueError(), KeyError()]), False),
    ],
    ids=lambda value: str(getattr(getattr(value, "orig", None), "sqlstate", None) or value)[:40],
)
def test_which_errors_are_an_outage(error: BaseException, expected: bool) -> None:
    """
    Only the connection and the server's going are; a statement's error never is.
    """
    assert expected is is_outage(error)


async def test_a_busy_pool_never_opens(
    postgres: PostgresServer, clock: ManualClock, driver: str
) -> None:
    """
    A hundred callers of one connection, most of which wait in vain, are no outage.
    """
    breaker = breaker_of(clock)
    async with connected(postgres, breaker, driver, pool_timeout=0.1) as engine:
        await select(engine)
        asking = (select(engine, "select pg_sleep(0.03)") for _ in range(100))
        found = await asyncio.gather(*asking, return_exceptions=True)

    assert {str, exc.TimeoutError} >= {type(error) for error in found} - {type(None)}
    assert exc.TimeoutError in {type(error) for error in found}
    assert (0, State.CLOSED) == (breaker.snapshot().failed, breaker.state)


@pytest.mark.parametrize("overflow", [0, 1])
async def test_to_wait_for_a_connection_is_not_slow(
    postgres: PostgresServer, clock: ManualClock, driver: str, overflow: int
) -> None:
    """
    A busy pool of our own makes no slow dependency, however long its line.
    """
    breaker = CircuitBreaker("db", slow=1.0, clock=clock)
    settings = {"pool_size": 2 - overflow, "max_overflow": overflow, "pool_timeout": 10}
    async with connected(postgres, breaker, driver, **settings) as engine:
        async with engine.connect(), engine.connect():
            tasks = [asyncio.create_task(select(engine)) for _ in range(50)]
            await settled()
            clock.advance(60.0)
        assert [1] * 50 == await asyncio.gather(*tasks)

    assert (0, State.CLOSED) == (breaker.snapshot().slow, breaker.state)


async def test_pools_without_a_line(postgres: PostgresServer, breaker: CircuitBreaker) -> None:
    """
    A pool that keeps nothing, or has no bound, is guarded as well.
    """
    for settings in ({"poolclass": NullPool}, {"pool_size": 1, "max_overflow": -1}):
        url = f"postgresql+asyncpg://{postgres.user}@{postgres.host}:{postgres.port}/postgres"
        engine = create_async_engine(url, connect_args={"ssl": False}, **settings)
        guard(engine, breaker)
        assert [1] * 5 == await asyncio.gather(*(select(engine) for _ in range(5)))
        await engine.dispose()

    assert 0 == breaker.snapshot().failed


async def test_who_waits_is_refused_when_it_opens(
    postgres: PostgresServer, breaker: CircuitBreaker, driver: str
) -> None:
    """
    A hundred callers in the pool's line learn at once that the circuit is open, although no
    connection is given back.
    """
    async with connected(postgres, breaker, driver, pool_timeout=15) as engine:
        async with engine.connect() as held:
            tasks = [asyncio.create_task(select(engine)) for _ in range(100)]
            await settled()
            force_state(breaker, State.OPEN)
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert {CircuitOpenError} == {type(error) for error in found}
            assert 1 == checked_out(engine)
            breaker.reset()
            assert 1 == (await held.execute(text("select 1"))).scalar()
        assert 1 == await select(engine)  # the line has left nothing behind
        assert 0 == checked_out(engine)


async def test_a_cancelled_acquire_leaks_no_connection(
    postgres: PostgresServer, breaker: CircuitBreaker, driver: str
) -> None:
    """
    However far it had come, a cancelled acquire or statement leaves the pool whole.
    """
    async with connected(postgres, breaker, driver) as engine:
        for turns in range(60):
            task = asyncio.create_task(select(engine))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert 0 == checked_out(engine)
        assert 1 == await select(engine)
    assert (0, State.CLOSED) == (breaker.snapshot().failed, breaker.state)


async def test_a_cancelled_statement_gives_its_place_back(
    postgres: PostgresServer, breaker: CircuitBreaker, clock: ManualClock, driver: str
) -> None:
    """
    A probe that is cancelled in the driver proves nothing, and the next call may be one.
    """
    async with connected(postgres, breaker, driver) as engine, engine.connect() as connection:
        await connection.execute(text("select 1"))
        force_state(breaker, State.OPEN)
        clock.advance(10.0)
        task = asyncio.create_task(connection.execute(text("select pg_sleep(0.5)")))
        await asyncio.sleep(0.05)
        assert 1 == breaker.snapshot().in_flight
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (0, State.HALF_OPEN) == (breaker.snapshot().in_flight, breaker.state)


async def test_a_probe_that_connects_closes(
    postgres: PostgresServer, breaker: CircuitBreaker, clock: ManualClock, driver: str
) -> None:
    """
    What is said to a new connection before it is handed out needs no place of its own.
    """
    async with connected(postgres, breaker, driver, pool_pre_ping=True) as engine:
        force_state(breaker, State.OPEN)
        clock.advance(10.0)
        async with engine.connect():
            assert State.CLOSED is breaker.state


async def test_pre_ping_replaces_what_was_lost(
    postgres: PostgresServer, breaker: CircuitBreaker, driver: str
) -> None:
    """
    A pool that pings finds the dead connection, makes another, and nothing has failed.
    """
    async with connected(postgres, breaker, driver, pool_pre_ping=True) as engine:
        assert 1 == await select(engine)
        postgres.restart()
        assert 1 == await select(engine)

    assert (0, State.CLOSED) == (breaker.snapshot().failed, breaker.state)


@pytest.mark.parametrize("fails", [False, True])
async def test_the_end_of_a_transaction_is_never_refused(
    postgres: PostgresServer, breaker: CircuitBreaker, driver: str, fails: bool
) -> None:
    """
    When the circuit opens in a transaction, what was begun is ended as it would have been.
    """
    async with connected(postgres, breaker, driver) as engine, engine.connect() as connection:
        await connection.execute(text("create temporary table kept (id int)"))
        await connection.commit()
        with contextlib.suppress(LookupError):
            async with connection.begin():
                await connection.execute(text("insert into kept values (1)"))
                breaker.force_open()
                if fails:
                    raise LookupError
        assert 0 == breaker.snapshot().rejected
        breaker.reset()
        found = (await connection.execute(text("select count(*) from kept"))).scalar()

    assert (0 if fails else 1) == found


async def test_a_commit_that_fails_is_a_failure(
    postgres: PostgresServer, breaker: CircuitBreaker, driver: str
) -> None:
    """
    A connection that is lost before the commit is noticed there.
    """
    async with connected(postgres, breaker, driver) as engine:
        with pytest.raises(exc.DBAPIError):  # noqa: PT012
            async with engine.begin() as connection:
                await connection.execute(text("select 1"))
                postgres.kill()
                await asyncio.sleep(0.05)

    assert State.OPEN is breaker.state


async def test_a_failed_commit_whose_report_opens_the_circuit_keeps_its_error(
    postgres: PostgresServer, clock: ManualClock
) -> None:
    """
    Calls that are slow are found when the failure arrives; the caller sees the failure.
    """
    breaker = breaker_of(clock)
    breaker.configure(trip=failure_lead(1, sustain=0.0), slow=1.0)
    async with connected(postgres, breaker, pool_size=3) as engine:  # noqa: SIM117
        async with engine.connect() as other, engine.connect() as connection:
            pid = await connection.scalar(text("select pg_backend_pid()"))
            driver: Any = (await connection.get_raw_connection()).driver_connection
            lost = asyncio.Event()
            driver.add_termination_listener(lambda _: lost.set())
            await other.execute(text(f"select pg_terminate_backend({pid})"))
            await lost.wait()  # else the server's goodbye and the commit may cross
            hanging = asyncio.create_task(other.execute(text("select pg_sleep(0.2)")))
            await settled()
            clock.advance(1.0)
            with pytest.raises(exc.DBAPIError):
                await connection.commit()
            assert State.OPEN is breaker.state
            await hanging


async def test_a_stream_that_breaks_is_a_failure(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    Rows that come later are fetched without a call of their own; that they fail is one.
    """
    async with connected(postgres, breaker) as engine:
        rows = 0
        with pytest.raises((exc.DBAPIError, OSError)):  # noqa: PT012
            async with engine.connect() as connection:
                found = await connection.stream(
                    text("select repeat('x', 10000) from generate_series(1, 5000)"),
                    execution_options={"yield_per": 10},
                )
                async for _ in found:
                    rows += 1
                    if rows == 5:
                        postgres.kill()
    assert rows >= 5
    assert State.OPEN is breaker.state


async def test_many_at_once_are_one_call(
    postgres: PostgresServer, breaker: CircuitBreaker, driver: str
) -> None:
    """
    A statement for many rows is one call, whichever way it is executed.
    """
    async with connected(postgres, breaker, driver) as engine, engine.connect() as connection:
        await connection.execute(text("create temporary table kept (id int)"))
        with record(breaker) as events:
            await connection.execute(
                text("insert into kept values (:id)"), [{"id": 1}, {"id": 2}, {"id": 3}]
            )
            unparsed = connection.execution_options(no_parameters=True)
            await (await unparsed).exec_driver_sql("select '100%'")

    assert [Outcome.SUCCESS] * 2 == outcomes(events)


async def test_other_execution_options_are_guarded(
    postgres: PostgresServer, breaker: CircuitBreaker, driver: str
) -> None:
    """
    An engine that was made of a guarded one is guarded, and counts no call twice.
    """
    async with connected(postgres, breaker, driver) as engine:
        other = engine.execution_options(isolation_level="SERIALIZABLE")
        assert 1 == await select(engine)
        with record(breaker) as events:
            assert 1 == await select(other)
        assert [Outcome.IGNORED, Outcome.SUCCESS] == outcomes(events)
        breaker.force_open()
        with pytest.raises(CircuitOpenError):
            await select(other)


async def test_a_new_pool_is_guarded(
    postgres: PostgresServer, breaker: CircuitBreaker, driver: str
) -> None:
    """
    To dispose of the pool gives a new one, under the same breaker.
    """
    async with connected(postgres, breaker, driver) as engine:
        assert 1 == await select(engine)
        await engine.dispose()
        breaker.force_open()
        with pytest.raises(CircuitOpenError):
            await engine.connect()
        assert 0 == checked_out(engine)


async def test_a_local_database(tmp_path: Path, breaker: CircuitBreaker) -> None:
    """
    A driver without SQLSTATEs answers, too: a missing table is proof of life.
    """
    engine = guard(create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/here.db"), breaker)
    with record(breaker) as events:
        assert 1 == await select(engine)
        with pytest.raises(exc.OperationalError, match="no such table"):
            await select(engine, "select * from nowhere")
    await engine.dispose()

    assert Outcome.FAILURE not in outcomes(events)
    assert 3 == breaker.snapshot().succeeded


async def test_errors_of_results_are_no_calls(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    What goes wrong with rows that have arrived is not the database's.
    """
    async with connected(postgres, breaker) as engine, engine.connect() as connection:
        found = await connection.execute(text("select 1"))
        with record(breaker) as events, pytest.raises(exc.NoSuchColumnError):
            found.mappings().one()["nothing"]

    assert [] == outcomes(events)


async def test_guarding_twice_changes_nothing(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    The same breaker again guards once; another one is refused.
    """
    async with connected(postgres, breaker) as engine:
        assert engine is guard(engine, breaker)
        with pytest.raises(ValueError, match="guarded by 'api' already"):
            guard(engine, CircuitBreaker("other"))
        with record(breaker) as events:
            assert 1 == await select(engine)
    assert [Outcome.SUCCESS] * 2 == outcomes(events)


async def test_a_guarded_engine_is_collected(breaker: CircuitBreaker) -> None:
    """
    A breaker that outlives its engines does not keep them.
    """
    engine = guard(create_async_engine("sqlite+aiosqlite://"), breaker)
    gone = weakref.ref(engine.sync_engine)
    await engine.dispose()
    del engine
    gc.collect()

    assert gone() is None


@pytest.mark.parametrize(
    "engine", [object(), None, create_engine("sqlite://")], ids=["object", "None", "sync"]
)
def test_what_is_no_async_engine_is_refused(engine: Any) -> None:
    """
    A wrong argument is named when it is given.
    """
    with pytest.raises(TypeError, match="engine must be an AsyncEngine"):
        guard(engine, CircuitBreaker())


def test_what_is_no_breaker_is_refused() -> None:
    """
    The second argument is checked as well.
    """
    nothing: Any = "breaker"
    with pytest.raises(TypeError, match="breaker must be a CircuitBreaker, not 'breaker'"):
        guard(create_async_engine("sqlite+aiosqlite://"), nothing)
