"""The adapter of asyncpg, against a real PostgreSQL that is killed, frozen and restarted."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest

from asyncbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    Outcome,
    State,
    failure_lead,
)
from asyncbreaker.integrations.asyncpg import GuardedPool, guard, is_outage
from asyncbreaker.testing import ManualClock, force_state, record
from tests.integrations.loops import anyio_backend
from tests.integrations.postgres import PostgresServer
from tests.integrations.proxy import FaultyProxy
from tests.integrations.support import breaker_of, outcomes
from tests.runtime.support import settled

__all__ = ["anyio_backend"]  # the fixture

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def pooled(
    server: PostgresServer, breaker: CircuitBreaker, port: int | None = None, **options: Any
) -> AsyncIterator[GuardedPool]:
    """A guarded pool, of one connection unless told otherwise; every wait of it is short."""
    settings = {"min_size": 0, "max_size": 1, "timeout": 0.5, "command_timeout": 0.5, **options}
    dsn = server.dsn.replace(str(server.port), str(port or server.port))
    pool = await asyncpg.create_pool(dsn, ssl=False, **settings)
    try:
        async with asyncio.timeout(20):
            yield guard(pool, breaker)
    finally:
        pool.terminate()


async def test_acquiring_is_one_call_and_each_operation_another(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    A connection that had to be made and two queries are three calls.
    """
    with record(breaker) as events:
        async with pooled(postgres, breaker) as pool, pool.acquire() as connection:
            assert 1 == await connection.fetchval("select 1")
            assert [(2,)] == [tuple(row) for row in await connection.fetch("select $1::int", 2)]

    assert [Outcome.SUCCESS] * 3 == outcomes(events)


async def test_a_connection_that_lay_ready_proves_nothing(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    Nothing is learned of the server when a pool hands out what it had.
    """
    async with pooled(postgres, breaker) as pool:
        await pool.release(await pool.acquire())
        with record(breaker) as events:
            connection = await pool.acquire()
            await pool.release(connection)

    assert [Outcome.IGNORED] == outcomes(events)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_killed_server_opens_and_a_restarted_one_closes(
    postgres: PostgresServer, breaker: CircuitBreaker, clock: ManualClock, restarted: bool
) -> None:
    """
    A killed server fails the query that runs, everything is refused, and after the wait the
    pool works again.
    """
    async with pooled(postgres, breaker, command_timeout=10) as pool:
        running = asyncio.create_task(pool.fetchval("select pg_sleep(60)"))
        while not pool.get_size():  # noqa: ASYNC110 - the driver tells nobody
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # the query is on its way; sooner it would fail as well
        postgres.kill()
        with pytest.raises((asyncpg.PostgresConnectionError, OSError)):
            await running
        assert State.OPEN is breaker.state
        with pytest.raises(CircuitOpenError):
            await pool.fetchval("select 1")

        if restarted:
            postgres.start()
        clock.advance(10.0)
        if restarted:
            assert 1 == await pool.fetchval("select 1")
            assert State.CLOSED is breaker.state
        else:
            with pytest.raises(OSError, match=r"refused|Connect call failed"):
                await pool.fetchval("select 1")
            assert State.OPEN is breaker.state


async def test_a_connection_that_died_unnoticed_is_a_failure(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    A connection that was lost while nothing ran on it fails the next operation, and counts.
    """
    async with pooled(postgres, breaker) as pool, pool.acquire() as connection:
        await connection.fetchval("select 1")
        postgres.kill()
        while pool.get_size():  # noqa: ASYNC110 - the driver tells nobody
            await asyncio.sleep(0.01)
        with pytest.raises(asyncpg.InterfaceError, match="released back to the pool"):
            await connection.fetchval("select 1")

    assert State.OPEN is breaker.state


async def test_a_frozen_server_opens(postgres: PostgresServer, clock: ManualClock) -> None:
    """
    A server that answers nothing is noticed by the timeouts, although its connections stay.
    """
    breaker = breaker_of(clock, failures=2)
    async with pooled(postgres, breaker, max_size=2) as pool:
        held = [await pool.acquire() for _ in range(2)]
        postgres.freeze()
        found = await asyncio.gather(
            *(connection.fetchval("select 1") for connection in held), return_exceptions=True
        )
        assert {TimeoutError} == {type(error) for error in found}
        assert State.OPEN is breaker.state
        with pytest.raises(CircuitOpenError):
            await held[0].fetchval("select 1")
        postgres.thaw()


async def test_a_frozen_server_fails_to_connect_to(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    That no connection can be made in time is a failure.
    """
    async with pooled(postgres, breaker) as pool:
        postgres.freeze()
        with pytest.raises(TimeoutError):
            async with pool.acquire(timeout=0.1):
                pass
        assert State.OPEN is breaker.state
        postgres.thaw()


Fault = Callable[[FaultyProxy], Awaitable[None] | None]


@pytest.mark.parametrize(
    "fault",
    [
        lambda proxy: proxy.latency(5.0),
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
        pooled(postgres, breaker, port=proxy.port) as pool,
    ):
        async with pool.acquire() as connection:
            await connection.fetchval("select 1")
            if (waiting := fault(proxy)) is not None:
                await waiting
            with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
                await connection.fetchval("select 2")
            assert State.OPEN is breaker.state
            await proxy.heal()
        clock.advance(10.0)
        await pool.expire_connections()
        assert 3 == await pool.fetchval("select 3")
        assert State.CLOSED is breaker.state


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("select 1/0", asyncpg.DivisionByZeroError),
        ("selekt", asyncpg.PostgresSyntaxError),
        ("select * from nowhere", asyncpg.UndefinedTableError),
        ("insert into once values (1), (1)", asyncpg.UniqueViolationError),
        ("set role nobody_there", asyncpg.InvalidParameterValueError),
        ("select pg_cancel_backend(pg_backend_pid())", asyncpg.QueryCanceledError),
    ],
)
async def test_what_the_server_says_of_a_statement_is_proof_of_life(
    postgres: PostgresServer, breaker: CircuitBreaker, statement: str, kind: type[Exception]
) -> None:
    """
    An error that the server has sent is a success of the dependency.
    """
    async with pooled(postgres, breaker) as pool, pool.acquire() as connection:
        await connection.execute("create temporary table once (id int primary key)")
        with record(breaker) as events, pytest.raises(kind):
            await connection.execute(statement)

    assert [Outcome.SUCCESS] == outcomes(events)


def raised(sqlstate: str) -> Exception:
    found: Exception = asyncpg.PostgresError.new({"C": sqlstate, "M": "words"})
    return found


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (raised("08000"), True),
        (raised("08006"), True),
        (raised("53300"), True),
        (raised("53100"), True),
        (raised("57P01"), True),
        (raised("57P02"), True),
        (raised("57P03"), True),
        (raised("57014"), False),
        (raised("23505"), False),
        (raised("40001"), False),
        (raised("40P01"), False),
        (raised("42501"), False),
        (raised("42601"), False),
        (raised("28P01"), False),
        (raised("XX000"), False),
        (asyncpg.PostgresError("without a code"), False),
        (asyncpg.InterfaceError("connection is closed"), True),
        (asyncpg.InterfaceError("cannot perform operation: connection is closed"), True),
        (asyncpg.InterfaceError("pool is closing"), False),
        (asyncpg.InterfaceError("another operation is in progress"), False),
        (ConnectionResetError(), True),
        (FileNotFoundError(2, "no socket of a server"), True),
        (FileNotFoundError(2, "no file of ours", "rows.csv"), False),
        (TimeoutError(), True),
        (ValueError(), False),
        (asyncio.CancelledError(), False),
        (ExceptionGroup("", [ValueError(), TimeoutError()]), True),
        (ExceptionGroup("", [ValueError(), ExceptionGroup("", [KeyError()])]), False),
    ],
    ids=lambda value: str(getattr(value, "sqlstate", None) or value) or type(value).__name__,
)
def test_which_errors_are_an_outage(error: BaseException, expected: bool) -> None:
    """
    Only the connection and the server's going are; a statement's error never is.
    """
    assert expected is is_outage(error)


async def test_a_connection_that_was_given_back_is_misuse(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    To go on with a connection after its release says nothing of the server.
    """
    async with pooled(postgres, breaker) as pool:
        connection = await pool.acquire()
        await pool.release(connection)
        with record(breaker) as events, pytest.raises(asyncpg.InterfaceError):
            await connection.fetchval("select 1")

    assert [Outcome.IGNORED] == outcomes(events)


@pytest.mark.parametrize("ending", ["close", "terminate", "pool", "statement"])
async def test_what_was_closed_on_this_side_is_misuse(
    postgres: PostgresServer, breaker: CircuitBreaker, ending: str
) -> None:
    """
    To go on with what one has closed oneself says nothing of the server.
    """
    async with pooled(postgres, breaker) as pool:
        connection = await pool.acquire()
        statement = await connection.prepare("select 1")
        if ending == "pool":
            pool.terminate()
        elif ending == "terminate":
            connection.terminate()
        else:
            await connection.close()
        with record(breaker) as events, pytest.raises(asyncpg.InterfaceError):
            await (statement if ending == "statement" else connection).fetchval("select 1")

    assert [Outcome.IGNORED] == outcomes(events)


async def test_what_runs_when_the_pool_is_terminated_is_no_failure(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    To end one's own pool under a query that runs is no outage.
    """
    async with pooled(postgres, breaker, command_timeout=10) as pool, pool.acquire() as connection:
        running = asyncio.create_task(connection.fetchval("select pg_sleep(60)"))
        await asyncio.sleep(0.05)
        pool.terminate()
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await running

    assert (0, State.CLOSED) == (breaker.snapshot().failed, breaker.state)


async def test_an_argument_that_the_driver_refuses_proves_nothing(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    An error with a code, but raised before anything was sent, is no answer of the server.
    """
    async with pooled(postgres, breaker) as pool, pool.acquire() as connection:
        await connection.fetchval("select $1::int", 1)
        postgres.freeze()
        with record(breaker) as events, pytest.raises(asyncpg.DataError):
            await connection.fetchval("select $1::int", "one")
        postgres.thaw()

    assert [Outcome.IGNORED] == outcomes(events)


@pytest.mark.parametrize("direction", ["out", "in"])
async def test_a_file_of_our_own_is_no_outage(
    postgres: PostgresServer, breaker: CircuitBreaker, tmp_path: Path, direction: str
) -> None:
    """
    A file that COPY is to write or to read, and cannot, is not the server's.
    """
    missing = tmp_path / "nowhere" / "file"
    async with pooled(postgres, breaker) as pool, pool.acquire() as connection:
        await connection.execute("create temporary table kept (id int)")
        copies = {
            "out": lambda: connection.copy_from_table("kept", output=missing),
            "in": lambda: connection.copy_to_table("kept", source=missing),
        }
        with pytest.raises(FileNotFoundError):
            await copies[direction]()

    assert (0, State.CLOSED) == (breaker.snapshot().failed, breaker.state)


async def test_misuse_is_neither(postgres: PostgresServer, breaker: CircuitBreaker) -> None:
    """
    What the caller does wrong with a connection is nothing to the breaker.
    """
    async with pooled(postgres, breaker) as pool, pool.acquire() as connection:
        await connection.fetchval("select 1")
        with record(breaker) as events:
            slow = asyncio.create_task(connection.fetchval("select pg_sleep(0.1)"))
            await asyncio.sleep(0.02)
            with pytest.raises(asyncpg.InterfaceError, match="in progress"):
                await connection.fetchval("select 2")
            await slow

    assert [Outcome.IGNORED, Outcome.SUCCESS] == outcomes(events)


async def test_a_busy_pool_never_opens(postgres: PostgresServer, clock: ManualClock) -> None:
    """
    A hundred callers of one connection, most of which wait in vain, are no outage.
    """
    breaker = breaker_of(clock)

    async def ask(pool: GuardedPool) -> None:
        async with pool.acquire(timeout=0.1) as connection:
            await connection.fetchval("select pg_sleep(0.03)")

    async with pooled(postgres, breaker, timeout=5, command_timeout=5) as pool:
        await pool.fetchval("select 1")
        found = await asyncio.gather(*(ask(pool) for _ in range(100)), return_exceptions=True)

    assert {type(None), TimeoutError} == {type(error) for error in found}
    assert (0, State.CLOSED) == (breaker.snapshot().failed, breaker.state)


async def test_to_wait_for_a_connection_is_not_slow(
    postgres: PostgresServer, clock: ManualClock
) -> None:
    """
    A busy pool of our own makes no slow dependency, however long its line.
    """
    breaker = CircuitBreaker("db", slow=1.0, clock=clock)
    async with pooled(postgres, breaker) as pool:
        held = await pool.acquire()
        tasks = [asyncio.create_task(pool.fetchval("select 1")) for _ in range(50)]
        await settled()
        clock.advance(60.0)
        await pool.release(held)
        assert [1] * 50 == await asyncio.gather(*tasks)

    assert (0, State.CLOSED) == (breaker.snapshot().slow, breaker.state)


async def test_a_connection_given_back_twice_is_counted_once(
    postgres: PostgresServer, clock: ManualClock
) -> None:
    """
    Who is careless at the end of a block does not make the pool's line look shorter.
    """
    breaker = CircuitBreaker("db", slow=1.0, clock=clock)
    async with pooled(postgres, breaker) as pool:
        for _ in range(3):
            async with pool.acquire() as connection:
                await pool.release(connection)
        held = await pool.acquire()
        task = asyncio.create_task(pool.fetchval("select 1"))
        await settled()
        clock.advance(60.0)
        await pool.release(held)
        assert 1 == await task

    assert 0 == breaker.snapshot().slow


async def test_a_lost_connection_that_was_never_given_back_is_forgotten(
    postgres: PostgresServer, clock: ManualClock
) -> None:
    """
    It stands in no line any more: a connect that takes long is still slow.
    """
    breaker = CircuitBreaker("db", slow=1.0, clock=clock)
    async with pooled(postgres, breaker, timeout=5) as pool:
        lost = await pool.acquire()
        postgres.restart()
        while pool.get_size():  # noqa: ASYNC110 - the driver tells nobody
            await asyncio.sleep(0.01)
        del lost
        postgres.freeze()
        task = asyncio.create_task(pool.fetchval("select 1"))
        await settled()
        clock.advance(60.0)
        postgres.thaw()
        assert 1 == await task

    assert 1 == breaker.snapshot().slow


async def test_who_waits_is_refused_when_it_opens(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    A hundred callers in the pool's line learn at once that the circuit is open.
    """
    async with pooled(postgres, breaker) as pool:
        held = await pool.acquire()
        tasks = [asyncio.create_task(pool.fetchval("select 1")) for _ in range(100)]
        await settled()
        force_state(breaker, State.OPEN)
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert {CircuitOpenError} == {type(error) for error in found}

        breaker.reset()
        await pool.release(held)
        assert 1 == await pool.fetchval("select 1")  # the line has left nothing behind


async def test_a_cancelled_acquire_leaks_no_connection(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    However far it had come, a cancelled acquire leaves the pool whole.
    """
    async with pooled(postgres, breaker) as pool:
        for turns in range(40):
            task = asyncio.create_task(take(pool))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert 1 == await pool.fetchval("select 1")
        assert 1 == pool.get_idle_size()
    assert 0 == breaker.snapshot().failed


async def take(pool: GuardedPool) -> None:
    async with pool.acquire():
        await asyncio.sleep(0)


async def test_a_cancelled_operation_proves_nothing(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    A caller that gives up is neutral, and the connection can be used again.
    """
    async with pooled(postgres, breaker, command_timeout=10) as pool:
        task = asyncio.create_task(pool.fetchval("select pg_sleep(60)"))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert 1 == await pool.fetchval("select 1")
    look = breaker.snapshot()

    assert (0, State.CLOSED) == (look.failed, look.state)


class FakePool:
    """Counts what it has handed out."""

    def __init__(self) -> None:
        self.out = 0
        self.line = asyncio.Event()

    async def acquire(self, *, timeout: float | None) -> object:  # noqa: ASYNC109
        await self.line.wait()
        self.out += 1
        return self

    async def release(self, connection: object, *, timeout: float | None) -> None:  # noqa: ASYNC109
        self.out -= 1

    def get_size(self) -> int:
        return self.out

    def get_max_size(self) -> int:
        return 1


async def test_what_is_handed_out_while_it_opens_is_given_back(breaker: CircuitBreaker) -> None:
    """
    A connection that comes in the very moment in which the circuit opens is not lost.
    """
    fake = FakePool()
    task = asyncio.create_task(take(guard(fake, breaker)))
    await settled()

    fake.line.set()
    await asyncio.sleep(0)
    force_state(breaker, State.OPEN)
    await asyncio.gather(task, return_exceptions=True)

    assert 0 == fake.out


async def test_a_connection_from_elsewhere_may_be_given_back(breaker: CircuitBreaker) -> None:
    """
    What was acquired from asyncpg's own pool is given back to it.
    """
    fake = FakePool()
    fake.line.set()
    plain = await fake.acquire(timeout=None)
    await guard(fake, breaker).release(plain)

    assert 0 == fake.out


async def test_a_transaction_is_committed(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    Begin, statements and commit pass, and what was written is there.
    """
    async with pooled(postgres, breaker) as pool, pool.acquire() as connection:
        await connection.execute("create temporary table kept (id int)")
        async with connection.transaction(isolation="serializable"):
            await connection.execute("insert into kept values (1)")
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("insert into kept values (2)")
        await transaction.rollback()
        again = connection.transaction()
        await again.start()
        await connection.execute("insert into kept values (3)")
        await again.commit()

        assert [1, 3] == [row["id"] for row in await connection.fetch("select id from kept")]


async def test_a_failed_transaction_is_rolled_back(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    The body's own error ends the transaction and arrives unchanged.
    """
    error = LookupError("of the body")
    async with pooled(postgres, breaker) as pool, pool.acquire() as connection:
        await connection.execute("create temporary table kept (id int)")
        with pytest.raises(LookupError) as caught:  # noqa: PT012
            async with connection.transaction():
                await connection.execute("insert into kept values (1)")
                raise error

        assert error is caught.value
        assert 0 == await connection.fetchval("select count(*) from kept")


@pytest.mark.parametrize("fails", [False, True])
async def test_the_end_of_a_transaction_is_never_refused(
    postgres: PostgresServer, breaker: CircuitBreaker, fails: bool
) -> None:
    """
    When the circuit opens in a transaction, what was begun is ended as it would have been.
    """
    async with pooled(postgres, breaker) as pool, pool.acquire() as connection:
        await connection.execute("create temporary table kept (id int)")
        with contextlib.suppress(LookupError):
            async with connection.transaction():
                await connection.execute("insert into kept values (1)")
                breaker.force_open()
                if fails:
                    raise LookupError
        assert 0 == breaker.snapshot().rejected
        breaker.reset()

        assert (0 if fails else 1) == await connection.fetchval("select count(*) from kept")


async def test_a_commit_whose_arrival_opens_the_circuit_is_not_refused(
    postgres: PostgresServer, clock: ManualClock
) -> None:
    """
    Calls that are slow are found when the next one arrives; if that is a commit, it is made.
    """
    breaker = breaker_of(clock)
    breaker.configure(trip=failure_lead(1, sustain=0.0), slow=1.0)
    async with pooled(postgres, breaker, max_size=2) as pool:  # noqa: SIM117
        async with pool.acquire() as connection, pool.acquire() as other:
            await connection.execute("create temporary table kept (id int)")
            async with connection.transaction():
                await connection.execute("insert into kept values (1)")
                hanging = asyncio.create_task(other.fetchval("select pg_sleep(0.2)"))
                await settled()
                clock.advance(1.0)
            assert State.OPEN is breaker.state
            await hanging
            breaker.reset()
            assert 1 == await connection.fetchval("select count(*) from kept")


async def test_a_rollback_whose_arrival_opens_the_circuit_keeps_its_error(
    postgres: PostgresServer, clock: ManualClock
) -> None:
    """
    The error that ends such a transaction is the body's own, with nothing chained to it.
    """
    breaker = breaker_of(clock)
    breaker.configure(trip=failure_lead(1, sustain=0.0), slow=1.0)
    error = LookupError("of the body")
    async with pooled(postgres, breaker, max_size=2) as pool:  # noqa: SIM117
        async with pool.acquire() as connection, pool.acquire() as other:
            hanging = asyncio.create_task(other.fetchval("select pg_sleep(0.2)"))
            with pytest.raises(LookupError) as caught:  # noqa: PT012
                async with connection.transaction():
                    await settled()
                    clock.advance(1.0)
                    raise error
            assert State.OPEN is breaker.state
            await hanging

    assert (error, None) == (caught.value, error.__context__)


async def test_a_commit_that_fails_is_a_failure(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    The end of a transaction is judged like every operation.
    """
    async with pooled(postgres, breaker) as pool, pool.acquire() as connection:
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            async with connection.transaction():
                postgres.kill()

    assert State.OPEN is breaker.state


async def test_a_cursor_s_rows_are_one_call(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    Iterating is one call however many rows there are; fetching by hand is a call each time.
    """
    query = "select generate_series(1, 200)"
    async with pooled(postgres, breaker) as pool, pool.acquire() as connection:  # noqa: SIM117
        async with connection.transaction():
            with record(breaker) as events:
                assert 200 == len([row async for row in connection.cursor(query)])
            assert [Outcome.SUCCESS] == outcomes(events)
            with record(breaker) as events:
                cursor = await connection.cursor(query)
                assert 3 == len(await cursor.fetch(3))
                await cursor.forward(2)
                assert (6,) == tuple(await cursor.fetchrow())
            assert [Outcome.SUCCESS] * 4 == outcomes(events)


async def test_a_cursor_that_breaks_is_a_failure(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    An error after many rows makes the whole iteration a failure.
    """
    async with pooled(postgres, breaker) as pool, pool.acquire() as connection:
        rows = 0
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):  # noqa: PT012
            async with connection.transaction():
                async for _ in connection.cursor("select generate_series(1, 200)", prefetch=10):
                    rows += 1
                    if rows == 5:
                        postgres.kill()
    assert rows >= 5
    assert State.OPEN is breaker.state


async def test_a_reader_that_has_had_enough_is_a_success(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    To leave the loop early, or to raise in it, says nothing against the server.
    """
    async with pooled(postgres, breaker) as pool, pool.acquire() as connection:  # noqa: SIM117
        async with connection.transaction():
            with record(breaker) as events:
                rows: Any = aiter(connection.cursor("select generate_series(1, 200)"))
                assert (1,) == tuple(await anext(rows))
                await rows.aclose()

    assert [Outcome.SUCCESS] == outcomes(events)


async def test_prepared_statements_are_guarded(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    Preparing is a call, and each execution.
    """
    async with pooled(postgres, breaker) as pool, pool.acquire() as connection:
        with record(breaker) as events:
            statement = await connection.prepare("select generate_series(1, $1::int)")
            assert 1 == await statement.fetchval(1)
            assert 2 == len(await statement.fetch(2))
            async with connection.transaction():
                assert 3 == len([row async for row in statement.cursor(3)])
            assert "select generate_series(1, $1::int)" == statement.get_query()
    assert [Outcome.SUCCESS] * 6 == outcomes(events)


async def test_the_pool_s_own_operations_are_guarded(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    What a pool does with a connection of its own choice is two calls.
    """
    async with pooled(postgres, breaker) as pool:
        await pool.execute("create table if not exists plain (id int)")
        await pool.executemany("insert into plain values ($1)", [(1,), (2,)])
        await pool.copy_records_to_table("plain", records=[(3,)])
        assert (1,) == tuple(await pool.fetchrow("select id from plain order by id"))
        await pool.execute("drop table plain")
        look = breaker.snapshot()

    assert (6, 4) == (look.succeeded, look.ignored)  # five, and one connection; four lay ready


async def test_a_pool_is_entered_and_left(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    A guarded pool is opened and closed by its block, like asyncpg's own.
    """
    inner = asyncpg.create_pool(postgres.dsn, min_size=1, max_size=1, ssl=False)
    async with guard(inner, breaker) as pool:
        assert 1 == await pool.fetchval("select 1")
        assert repr(inner) in repr(pool)

    assert inner.is_closing()


async def test_a_pool_may_be_awaited(postgres: PostgresServer, breaker: CircuitBreaker) -> None:
    """
    As ``await create_pool()``: to connect is a call, and a failure of it counts.
    """
    with record(breaker) as events:
        pool = await guard(asyncpg.create_pool(postgres.dsn, min_size=1, ssl=False), breaker)
    assert ([Outcome.SUCCESS], 1) == (outcomes(events), pool.get_size())
    await pool.close()

    postgres.kill()
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await guard(asyncpg.create_pool(postgres.dsn, min_size=1, ssl=False), breaker)
    assert State.OPEN is breaker.state


@pytest.mark.parametrize("up", [False, True], ids=["empty", "up"])
async def test_a_pool_that_connects_nothing_proves_nothing(
    postgres: PostgresServer, breaker: CircuitBreaker, clock: ManualClock, up: bool
) -> None:
    """
    To enter a pool that needs no connection, or has it already, does not close a circuit.
    """
    inner = asyncpg.create_pool(postgres.dsn, min_size=int(up), max_size=1, ssl=False)
    if up:
        await inner
    force_state(breaker, State.OPEN)
    clock.advance(10.0)
    async with guard(inner, breaker):
        assert State.HALF_OPEN is breaker.state


async def test_an_acquiring_block_is_entered_once(
    postgres: PostgresServer, breaker: CircuitBreaker
) -> None:
    """
    To enter a block again would lose its connection, and is refused.
    """
    async with pooled(postgres, breaker) as pool:
        block = pool.acquire()
        async with block:
            with pytest.raises(RuntimeError, match="entered before"):
                await block.__aenter__()
        async with block as connection:
            assert 1 == await connection.fetchval("select 1")


async def test_entering_a_plain_pool(postgres: PostgresServer, clock: ManualClock) -> None:
    """
    Without the adapter's pool ``entering`` guards the acquiring, by the adapter's predicate.
    """
    breaker = breaker_of(clock, fail_on=is_outage)
    pool = await asyncpg.create_pool(postgres.dsn, min_size=0, max_size=1, ssl=False, timeout=0.3)
    async with breaker.entering(pool.acquire) as connection:
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await connection.execute("selekt")
    pool.terminate()
    postgres.kill()
    pool = await asyncpg.create_pool(postgres.dsn, min_size=0, max_size=1, ssl=False, timeout=0.3)
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        async with breaker.entering(pool.acquire):
            pass
    pool.terminate()

    assert State.OPEN is breaker.state


@pytest.mark.parametrize(
    ("pool", "guarding", "words"),
    [
        (object(), CircuitBreaker(), "pool must be an asyncpg.Pool"),
        (None, CircuitBreaker(), "pool must be an asyncpg.Pool"),
        ("dsn", CircuitBreaker(), "pool must be an asyncpg.Pool"),
    ],
    ids=["object", "None", "text"],
)
def test_what_is_no_pool_is_refused(pool: Any, guarding: CircuitBreaker, words: str) -> None:
    """
    A wrong argument is named when it is given.
    """
    with pytest.raises(TypeError, match=words):
        guard(pool, guarding)


async def test_a_guarded_pool_is_not_guarded_again(breaker: CircuitBreaker) -> None:
    """
    Each operation would be counted twice.
    """
    pool: Any = guard(FakePool(), breaker)
    with pytest.raises(TypeError, match=r"pool must be an asyncpg\.Pool, not <GuardedPool"):
        guard(pool, breaker)


async def test_a_guarded_pool_may_be_copied(breaker: CircuitBreaker) -> None:
    """
    What is not there is missed, also by a copy that is being made.
    """
    pool = copy.copy(guard(FakePool(), breaker))
    assert 0 == pool.get_size()
    with pytest.raises(AttributeError, match="nothing"):
        pool.nothing  # noqa: B018


async def test_what_is_no_breaker_is_refused() -> None:
    """
    The second argument is checked as well.
    """
    nothing: Any = "breaker"
    with pytest.raises(TypeError, match="breaker must be a CircuitBreaker, not 'breaker'"):
        guard(FakePool(), nothing)
