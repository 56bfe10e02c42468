"""The adapter of psycopg, against a real PostgreSQL that is killed, frozen and restarted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import psycopg_pool
import pytest
from psycopg.rows import TupleRow

from asyncbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    Outcome,
    State,
    failure_lead,
)
from asyncbreaker.integrations.psycopg import GuardedPool, guard, is_outage
from asyncbreaker.testing import ManualClock, force_state, record
from tests.integrations.loops import anyio_backend
from tests.integrations.postgres import PostgresServer
from tests.integrations.proxy import FaultyProxy
from tests.integrations.support import breaker_of, outcomes
from tests.runtime.support import settled

__all__ = ["anyio_backend"]  # the fixture

pytestmark = pytest.mark.anyio

Pool = GuardedPool[TupleRow]


@asynccontextmanager
async def pooled(
    server: PostgresServer, breaker: CircuitBreaker, port: int | None = None, **options: Any
) -> AsyncIterator[Pool]:
    """A guarded pool, of one connection unless told otherwise; every wait of it is short."""
    settings = {"min_size": 0, "max_size": 1, "timeout": 0.5, **options}
    dsn = server.dsn.replace(str(server.port), str(port or server.port))
    inner = psycopg_pool.AsyncConnectionPool(
        f"{dsn}?sslmode=disable&gssencmode=disable&connect_timeout=2", open=False, **settings
    )
    async with asyncio.timeout(20), guard(inner, breaker) as pool:
        yield pool


async def select(pool: Pool, query: str = "select 1") -> Any:
    async with pool.connection() as connection:
        row = await (await connection.execute(query)).fetchone()
        return row and row[0]


async def test_acquiring_is_one_call_and_each_operation_another(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    A connection that had to be made, two queries and the commit are four calls.
    """
    with record(breaker) as events:
        async with pooled(postgres, breaker) as pool, pool.connection() as connection:
            assert (1,) == await (await connection.execute("select 1")).fetchone()
            async with connection.cursor() as cursor:
                assert [(2,)] == await (await cursor.execute("select %s", (2,))).fetchall()

    assert [Outcome.SUCCESS] * 4 == outcomes(events)


async def test_what_speaks_no_word_proves_nothing(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    A connection that lay ready, and a block in which nothing was asked, say nothing.
    """
    async with pooled(postgres, breaker) as pool:
        await select(pool)
        with record(breaker) as events:
            async with pool.connection():
                pass

    assert [Outcome.IGNORED] == outcomes(events)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_killed_server_opens_and_a_restarted_one_closes(
    postgres: PostgresServer, breaker: CircuitBreaker, clock: ManualClock, restarted: bool
) -> None:
    """
    A killed server fails the query that runs, everything is refused, and after the wait the
    pool works again.
    """
    async with pooled(postgres, breaker, reconnect_timeout=0.5) as pool:
        running = asyncio.create_task(select(pool, "select pg_sleep(60)"))
        while not pool.get_stats().get("requests_num"):  # noqa: ASYNC110 - the pool tells nobody
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # the query is on its way; sooner it would fail as well
        postgres.kill()
        with pytest.raises(psycopg.OperationalError):
            await running
        assert State.OPEN is breaker.state
        with pytest.raises(CircuitOpenError):
            await select(pool)

        if restarted:
            postgres.start()
        clock.advance(10.0)
        if restarted:
            while State.CLOSED is not breaker.state:  # the pool tries again in its own time
                clock.advance(10.0)
                with contextlib.suppress(psycopg_pool.PoolTimeout):
                    assert 1 == await select(pool)
        else:
            with pytest.raises(psycopg_pool.PoolTimeout):
                await select(pool)
            assert State.OPEN is breaker.state


async def test_a_connection_that_died_unnoticed_is_a_failure(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    A connection that was lost while nothing ran on it fails the next operation, and counts.
    """
    async with pooled(postgres, breaker) as pool:
        with pytest.raises(psycopg.OperationalError):  # noqa: PT012
            async with pool.connection() as connection:
                await connection.execute("select 1")
                postgres.kill()
                await connection.execute("select 1")
        assert connection.closed

    assert State.OPEN is breaker.state


async def test_a_frozen_server_opens_by_slow(postgres: PostgresServer, clock: ManualClock) -> None:
    """
    Of a server that answers nothing the breaker learns by ``slow=``, while the query hangs.
    """
    breaker = CircuitBreaker("db", slow=1.0, backoff=10.0, clock=clock)
    async with pooled(postgres, breaker, max_size=30) as pool:
        held = [await pool.getconn() for _ in range(25)]
        postgres.freeze()
        hanging = [asyncio.create_task(connection.execute("select 1")) for connection in held]
        await settled()
        clock.advance(1.5)
        with pytest.raises(CircuitOpenError):
            await select(pool)
        postgres.thaw()
        await asyncio.gather(*hanging)
        for connection in held:
            await pool.putconn(connection)


async def test_a_server_that_takes_no_connection_opens(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    That the pool could make no connection in time is a failure.
    """
    async with pooled(postgres, breaker) as pool:
        postgres.freeze()
        with pytest.raises(psycopg_pool.PoolTimeout):
            async with pool.connection(timeout=0.2):
                pass
        assert State.OPEN is breaker.state
        postgres.thaw()


Fault = Callable[[FaultyProxy], Awaitable[None] | None]


@pytest.mark.parametrize(
    "fault",
    [lambda proxy: proxy.reset(), lambda proxy: proxy.truncate(3)],
    ids=["reset", "truncation"],
)
async def test_a_bad_network_opens_and_a_good_one_closes(
    postgres: PostgresServer, breaker: CircuitBreaker, clock: ManualClock, fault: Fault
) -> None:
    """
    A connection that breaks under a query is a failure of it, and passes when all is well.
    """
    async with (
        FaultyProxy(postgres.port) as proxy,
        pooled(postgres, breaker, port=proxy.port) as pool,
    ):
        with pytest.raises(psycopg.OperationalError):  # noqa: PT012
            async with pool.connection() as connection:
                await connection.execute("select 1")
                if (waiting := fault(proxy)) is not None:
                    await waiting
                await connection.execute("select 2")
        assert State.OPEN is breaker.state
        await proxy.heal()
        while State.CLOSED is not breaker.state:  # the pool tries again in its own time
            clock.advance(10.0)
            with contextlib.suppress(psycopg_pool.PoolTimeout):
                assert 3 == await select(pool, "select 3")


@pytest.mark.parametrize(
    "fault",
    [lambda proxy: proxy.latency(0.05), lambda proxy: proxy.blackhole()],
    ids=["latency", "blackhole"],
)
async def test_a_network_that_only_delays_is_slow(
    postgres: PostgresServer, clock: ManualClock, fault: Fault
) -> None:
    """
    A query that takes too long is slow, which counts as bad, although it ends well.
    """
    breaker = CircuitBreaker("db", slow=1.0, backoff=10.0, clock=clock)
    async with (
        FaultyProxy(postgres.port) as proxy,
        pooled(postgres, breaker, port=proxy.port) as pool,
        pool.connection() as connection,
    ):
        fault(proxy)
        hanging = asyncio.create_task(connection.execute("select 2"))
        await settled()
        clock.advance(1.0)
        await proxy.heal()
        assert (2,) == await (await hanging).fetchone()
        assert 1 == breaker.snapshot().slow


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("select 1/0", psycopg.errors.DivisionByZero),
        ("selekt", psycopg.errors.SyntaxError),
        ("select * from nowhere", psycopg.errors.UndefinedTable),
        ("insert into once values (1), (1)", psycopg.errors.UniqueViolation),
        ("select pg_cancel_backend(pg_backend_pid())", psycopg.errors.QueryCanceled),
    ],
)
async def test_what_the_server_says_of_a_statement_is_proof_of_life(
    postgres: PostgresServer, breaker: CircuitBreaker, statement: str, kind: type[Exception]
) -> None:
    """
    An error that the server has sent is a success of the dependency, and so is the rollback.
    """
    async with pooled(postgres, breaker) as pool:
        with pytest.raises(kind):  # noqa: PT012
            async with pool.connection() as connection:
                await connection.execute("create temporary table once (id int primary key)")
                with record(breaker) as events:
                    await connection.execute(statement)
        assert [Outcome.SUCCESS] == outcomes(events)
        assert 1 == await select(pool)

    assert 0 == breaker.snapshot().failed


def raised(sqlstate: str) -> Exception:
    return psycopg.errors.lookup(sqlstate)("words")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *((raised(state), True) for state in ("08000", "08006", "53300", "53100")),
        *((raised(state), True) for state in ("57P01", "57P02", "57P03")),
        *((raised(state), False) for state in ("57014", "23505", "40001", "40P01", "42501")),
        *((raised(state), False) for state in ("42601", "28P01", "25P02", "XX000")),
        (psycopg.OperationalError("server closed the connection unexpectedly"), True),
        (psycopg.errors.ConnectionTimeout("connection timeout expired"), True),
        (psycopg_pool.PoolTimeout("couldn't get a connection after 30.00 sec"), True),
        (psycopg_pool.PoolClosed("the pool is closed"), False),
        (psycopg_pool.TooManyRequests("the queue is full"), False),
        (psycopg.errors.PipelineAborted("pipeline aborted"), False),
        (psycopg.InterfaceError("the connection is closed"), True),
        (psycopg.InterfaceError("the cursor is closed"), False),
        (psycopg.ProgrammingError("no result available"), False),
        (psycopg.DatabaseError("without a code"), False),
        (ConnectionResetError("reset"), True),
        (TimeoutError("time"), True),
        (ValueError("value"), False),
        (asyncio.CancelledError("cancelled"), False),
        (ExceptionGroup("a leaf is", [ValueError(), TimeoutError()]), True),
        (ExceptionGroup("no leaf is", [ValueError(), ExceptionGroup("", [KeyError()])]), False),
    ],
    ids=lambda value: str(getattr(value, "sqlstate", None) or value),
)
def test_which_errors_are_an_outage(error: BaseException, expected: bool) -> None:
    """
    Only the connection and the server's going are; a statement's error never is.
    """
    assert expected is is_outage(error)


async def test_misuse_is_neither(postgres: PostgresServer, breaker: CircuitBreaker) -> None:
    """
    What the caller does wrong is nothing to the breaker.
    """
    async with pooled(postgres, breaker) as pool, pool.connection() as connection:
        await connection.execute("select 1")
        with record(breaker) as events, pytest.raises(psycopg.ProgrammingError):
            await connection.execute("select %s", ())

    assert [Outcome.IGNORED] == outcomes(events)


async def test_a_busy_pool_never_opens(postgres: PostgresServer, clock: ManualClock) -> None:
    """
    A hundred callers of one connection, most of which wait in vain, are no outage.
    """
    breaker = breaker_of(clock)

    async def ask(pool: Pool) -> None:
        async with pool.connection(timeout=0.1) as connection:
            await connection.execute("select pg_sleep(0.03)")

    async with pooled(postgres, breaker) as pool:
        await select(pool)
        found = await asyncio.gather(*(ask(pool) for _ in range(100)), return_exceptions=True)

    assert {type(None), psycopg_pool.PoolTimeout} == {type(error) for error in found}
    assert (0, State.CLOSED) == (breaker.snapshot().failed, breaker.state)


async def test_to_wait_for_a_connection_is_not_slow(
    postgres: PostgresServer, clock: ManualClock
) -> None:
    """
    A busy pool of our own makes no slow dependency, however long its line.
    """
    breaker = CircuitBreaker("db", slow=1.0, clock=clock)
    async with pooled(postgres, breaker, timeout=10) as pool:
        held = await pool.getconn()
        tasks = [asyncio.create_task(select(pool)) for _ in range(50)]
        await settled()
        clock.advance(60.0)
        await pool.putconn(held)
        assert [1] * 50 == await asyncio.gather(*tasks)

    assert (0, State.CLOSED) == (breaker.snapshot().slow, breaker.state)


async def test_a_full_queue_is_no_outage(postgres: PostgresServer, breaker: CircuitBreaker) -> None:
    """
    A bound on the pool's own line is a limit of ours.
    """
    async with pooled(postgres, breaker, max_waiting=1) as pool:
        held = await pool.getconn()
        waiting = asyncio.create_task(pool.getconn(2.0))
        await settled()
        with pytest.raises(psycopg_pool.TooManyRequests):
            await pool.getconn()
        await pool.putconn(held)
        await pool.putconn(await waiting)

    assert 0 == breaker.snapshot().failed


async def test_who_waits_is_refused_when_it_opens(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    A hundred callers in the pool's line learn at once that the circuit is open.
    """
    async with pooled(postgres, breaker, timeout=10) as pool:
        held = await pool.getconn()
        tasks = [asyncio.create_task(select(pool)) for _ in range(100)]
        await settled()
        force_state(breaker, State.OPEN)
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert {CircuitOpenError} == {type(error) for error in found}

        breaker.reset()
        await pool.putconn(held)
        assert 1 == await select(pool)  # the line has left nothing behind


async def test_a_cancelled_acquire_leaks_no_connection(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    However far it had come, a cancelled acquire leaves the pool whole.
    """
    async with pooled(postgres, breaker) as pool:
        await select(pool)
        for turns in range(40):
            task = asyncio.create_task(take(pool))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert 1 == await select(pool)
        assert 1 == pool.get_stats()["pool_available"]
    assert 0 == breaker.snapshot().failed


async def take(pool: Pool) -> None:
    async with pool.connection():
        await asyncio.sleep(0)


async def test_a_cancelled_operation_proves_nothing(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    A caller that gives up is neutral, and the pool can be used again.
    """
    async with pooled(postgres, breaker) as pool:
        task = asyncio.create_task(select(pool, "select pg_sleep(60)"))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert 1 == await select(pool)
    look = breaker.snapshot()

    assert (0, State.CLOSED) == (look.failed, look.state)


@pytest.mark.parametrize("fails", [False, True])
async def test_the_end_of_a_transaction_is_never_refused(
    postgres: PostgresServer, breaker: CircuitBreaker, fails: bool
) -> None:
    """
    When the circuit opens in a transaction, what was begun is ended as it would have been.
    """
    async with pooled(postgres, breaker) as pool, pool.connection() as connection:
        await connection.execute("create temporary table kept (id int)")
        with contextlib.suppress(LookupError):
            async with connection.transaction("here") as transaction:
                assert "here" == transaction.savepoint_name
                await connection.execute("insert into kept values (1)")
                breaker.force_open()
                if fails:
                    raise LookupError
        assert 0 == breaker.snapshot().rejected
        breaker.reset()
        found = await (await connection.execute("select count(*) from kept")).fetchone()

    assert (0 if fails else 1,) == found


async def test_commits_and_rollbacks_by_hand(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    Each is a call where there is something to end, and else none.
    """
    async with pooled(postgres, breaker) as pool, pool.connection() as connection:
        await connection.execute("create temporary table kept (id int)")
        await connection.commit()
        await connection.execute("insert into kept values (1)")
        with record(breaker) as events:
            await connection.rollback()
            await connection.rollback()
            await connection.commit()
        assert [Outcome.SUCCESS] == outcomes(events)
        found = await (await connection.execute("select count(*) from kept")).fetchone()

    assert (0,) == found


async def test_a_commit_whose_arrival_opens_the_circuit_is_not_refused(
    postgres: PostgresServer, clock: ManualClock
) -> None:
    """
    Calls that are slow are found when the next one arrives; if that is a commit, it is made.
    """
    breaker = breaker_of(clock)
    breaker.configure(trip=failure_lead(1, sustain=0.0), slow=1.0)
    async with pooled(postgres, breaker, max_size=2) as pool, pool.connection() as other:
        async with pool.connection() as connection:
            await connection.execute("create table if not exists kept (id int)")
            await connection.execute("delete from kept")
            await connection.execute("insert into kept values (1)")
            hanging = asyncio.create_task(other.execute("select pg_sleep(0.2)"))
            await settled()
            clock.advance(1.0)
        assert State.OPEN is breaker.state
        await hanging
        breaker.reset()
        found = await (await other.execute("select count(*) from kept")).fetchone()
        await other.execute("drop table kept")

    assert (1,) == found


async def test_a_commit_that_fails_is_a_failure(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    The end of a block is judged like every operation.
    """
    async with pooled(postgres, breaker) as pool:
        with pytest.raises(psycopg.OperationalError):  # noqa: PT012
            async with pool.connection() as connection:
                await connection.execute("select 1")
                postgres.kill()

    assert State.OPEN is breaker.state


async def test_cursors_on_the_client_s_side_have_their_rows(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    To fetch what has arrived already is no call.
    """
    async with pooled(postgres, breaker) as pool, pool.connection() as connection:
        cursor = await connection.execute("select generate_series(1, 9)")
        with record(breaker) as events:
            assert (1,) == await cursor.fetchone()
            assert [(2,), (3,)] == await cursor.fetchmany(2)
            await cursor.scroll(1)
            assert [(5,), (6,), (7,), (8,), (9,)] == [row async for row in cursor]
            assert [] == await cursor.fetchall()
        assert 9 == cursor.rowcount

    assert [] == outcomes(events)


async def test_cursors_on_the_server_s_side_ask_for_them(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    Each fetch is a call, and iterating is one.
    """
    async with pooled(postgres, breaker) as pool, pool.connection() as connection:  # noqa: SIM117
        async with connection.cursor("named", scrollable=True) as cursor:
            await cursor.execute("select generate_series(1, 300)")
            with record(breaker) as events:
                assert (1,) == await cursor.fetchone()
                assert 299 == len([row async for row in cursor])
                await cursor.scroll(-2)
                assert [(300,)] == await cursor.fetchall()
    assert [Outcome.SUCCESS] * 4 == outcomes(events)


async def test_streams_copies_and_many(postgres: PostgresServer, breaker: CircuitBreaker) -> None:
    """
    A stream, a copy and a statement for many rows are one call each.
    """
    async with pooled(postgres, breaker) as pool, pool.connection() as connection:
        await connection.execute("create temporary table kept (id int)")
        cursor = connection.cursor()
        with record(breaker) as events:
            async with cursor.copy("copy kept (id) from stdin") as copy:
                for number in (1, 2, 3):
                    await copy.write_row((number,))
            await cursor.executemany("insert into kept values (%s)", [(4,), (5,)])
            rows = [row async for row in cursor.stream("select id from kept order by id")]
        assert [(1,), (2,), (3,), (4,), (5,)] == rows

    assert [Outcome.SUCCESS] * 3 == outcomes(events)


async def test_what_is_raised_in_a_copy_is_the_caller_s(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    An error of the code in the block, even an OSError, says nothing of the server.
    """
    async with pooled(postgres, breaker) as pool:
        with record(breaker) as events, contextlib.suppress(ConnectionError):
            async with pool.connection() as connection:  # noqa: SIM117
                async with connection.cursor().copy("copy pg_class to stdout"):
                    raise ConnectionError("another one's")

    assert Outcome.FAILURE not in outcomes(events)


async def test_a_pipeline_is_one_call(postgres: PostgresServer, breaker: CircuitBreaker) -> None:
    """
    What is sent together is judged together.
    """
    async with pooled(postgres, breaker) as pool, pool.connection() as connection:
        await connection.execute("select 1")
        with record(breaker) as events:
            async with connection.pipeline():
                cursor = await connection.execute("select 2")
                await connection.execute("select 3")
                assert (2,) == await cursor.fetchone()
        assert [Outcome.SUCCESS] == outcomes(events)


async def test_a_pipeline_that_breaks_is_a_failure(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    A connection that is lost under a pipeline fails its call.
    """
    async with pooled(postgres, breaker) as pool:
        with pytest.raises(psycopg.OperationalError):  # noqa: PT012
            async with pool.connection() as connection, connection.pipeline():
                await connection.execute("select 1")
                postgres.kill()
    assert 1 == breaker.snapshot().failed


async def test_a_connection_from_elsewhere_may_be_given_back(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    What was acquired from psycopg's own pool is given back to it.
    """
    async with pooled(postgres, breaker) as pool:
        inner: Any = pool._inner
        await pool.putconn(await inner.getconn())
        assert 1 == await select(pool)


async def test_the_pool_is_managed_as_before(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    What speaks of the pool alone is psycopg's own.
    """
    async with pooled(postgres, breaker) as pool:
        await pool.wait(5.0)
        await pool.check()
        await pool.resize(0, 2)
        await pool.drain()
        assert 0 == pool.pop_stats()["requests_waiting"]
        assert not pool.closed
        raw: Any = pool
        assert 2 == raw.max_size  # not named here, and passed on
        connection = await pool.getconn()
        assert connection.raw.info.dbname == "postgres"
        await connection.close()
        await pool.putconn(connection)
        await pool.close()
        assert pool.closed


async def test_opening_waits_as_a_call(postgres: PostgresServer, breaker: CircuitBreaker) -> None:
    """
    A pool that is to be ready and cannot connect is a failure.
    """
    postgres.kill()
    inner = psycopg_pool.AsyncConnectionPool(postgres.dsn, min_size=1, open=False)
    pool = guard(inner, breaker)
    with pytest.raises(psycopg_pool.PoolTimeout):
        await pool.open(wait=True, timeout=0.2)
    await pool.close()

    assert State.OPEN is breaker.state


async def test_entering_a_plain_pool(postgres: PostgresServer, clock: ManualClock) -> None:
    """
    Without the adapter's pool ``entering`` guards the acquiring, by the adapter's predicate.
    """
    breaker = breaker_of(clock, fail_on=is_outage)
    settings: Any = {"min_size": 0, "max_size": 1, "open": False, "timeout": 0.3}
    async with psycopg_pool.AsyncConnectionPool(postgres.dsn, **settings) as pool:
        with pytest.raises(psycopg.errors.SyntaxError):
            async with breaker.entering(pool.connection) as connection:
                await connection.execute("selekt")
        assert State.CLOSED is breaker.state
    postgres.kill()
    async with psycopg_pool.AsyncConnectionPool(postgres.dsn, **settings) as pool:
        with pytest.raises(psycopg_pool.PoolTimeout):
            async with breaker.entering(pool.connection):
                pass

    assert State.OPEN is breaker.state


@pytest.mark.parametrize("pool", [object(), None, "dsn"], ids=["object", "None", "text"])
def test_what_is_no_pool_is_refused(pool: Any) -> None:
    """
    A wrong argument is named when it is given.
    """
    with pytest.raises(TypeError, match=r"pool must be a psycopg_pool\.AsyncConnectionPool"):
        guard(pool, CircuitBreaker())


async def test_what_is_no_breaker_is_refused() -> None:
    """
    The second argument is checked as well.
    """
    nothing: Any = "breaker"
    with pytest.raises(TypeError, match="breaker must be a CircuitBreaker, not 'breaker'"):
        guard(psycopg_pool.AsyncConnectionPool("", min_size=1, open=False), nothing)
