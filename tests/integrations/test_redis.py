"""The adapter of redis-py and valkey-py, against a real Valkey that is killed and frozen."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from asyncbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    Outcome,
    State,
)
from asyncbreaker.integrations import redis as adapter
from asyncbreaker.integrations.redis import guard, is_outage
from asyncbreaker.testing import ManualClock, force_state, record
from tests.integrations.loops import anyio_backend
from tests.integrations.proxy import FaultyProxy
from tests.integrations.support import breaker_of, outcomes
from tests.integrations.valkey import ValkeyServer
from tests.runtime.support import settled

__all__ = ["anyio_backend"]  # the fixture

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["redis", "valkey"])
def library(request: pytest.FixtureRequest) -> str:
    """Both libraries have the same interface."""
    name: str = request.param
    return name


def errors_of(library: str) -> Any:
    return importlib.import_module(f"{library}.exceptions")


def family(library: str) -> type[Exception]:
    kind: type[Exception] = getattr(errors_of(library), f"{library.capitalize()}Error")
    return kind


@asynccontextmanager
async def connected(
    library: str,
    breaker: CircuitBreaker,
    port: int,
    *,
    pool: str = "ConnectionPool",
    connections: int = 1,
    **options: Any,
) -> AsyncIterator[Any]:
    """A guarded client with few connections and short timeouts, that does not try again."""
    module = importlib.import_module(f"{library}.asyncio")
    retry = importlib.import_module(f"{library}.asyncio.retry").Retry
    backoff = importlib.import_module(f"{library}.backoff").NoBackoff
    settings = {
        "socket_timeout": 0.5,
        "socket_connect_timeout": 5.0,
        "max_connections": connections,
        "retry": retry(backoff(), 0),
        **options,
    }
    held = getattr(module, pool)(host="127.0.0.1", port=port, **settings)
    client = getattr(module, library.capitalize())(connection_pool=held)
    try:
        async with asyncio.timeout(20):
            yield guard(client, breaker)
    finally:
        await held.disconnect()


async def test_each_command_is_one_call(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker
) -> None:
    """
    Commands work as before, and each is one call.
    """
    async with connected(library, breaker, valkey.port) as client:
        await client.flushdb()
        with record(breaker) as events:
            assert await client.set("key", "value")
            assert b"value" == await client.get("key")
            assert 1 == await client.incr("number")
            assert [b"key", b"number"] == sorted([key async for key in client.scan_iter()])

    assert [Outcome.SUCCESS] * 4 == outcomes(events)


async def test_it_is_still_a_client(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker
) -> None:
    """
    What is returned is one of the library's clients, for whoever asks; the other stays unguarded.
    """
    module = importlib.import_module(f"{library}.asyncio")
    kind = getattr(module, library.capitalize())
    plain = kind(host="127.0.0.1", port=valkey.port)
    client = guard(plain, breaker)
    breaker.force_open()
    async with client:
        assert isinstance(client, kind)
        with pytest.raises(CircuitOpenError):
            await client.ping()
        assert await plain.ping()
        async with client.client() as single:
            with pytest.raises(CircuitOpenError):
                await single.ping()
    await plain.aclose()


async def test_a_killed_server_opens_and_a_restarted_one_closes(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """
    A killed server fails the next command, everything is refused, and after the wait it works.
    """
    async with connected(library, breaker, valkey.port) as client:
        assert await client.ping()
        valkey.kill()
        with pytest.raises(errors_of(library).ConnectionError) as failed:
            await client.ping()
        assert is_outage(failed.value)
        assert not isinstance(failed.value, CircuitOpenError)
        assert State.OPEN is breaker.state
        with pytest.raises(CircuitOpenError):
            await client.ping()

        clock.advance(10.0)
        with pytest.raises(errors_of(library).ConnectionError):
            await client.ping()
        assert State.OPEN is breaker.state

        valkey.start()
        clock.advance(10.0)
        assert await client.ping()
        assert State.CLOSED is breaker.state


async def test_a_restart_in_mid_traffic(
    valkey: ValkeyServer, library: str, clock: ManualClock
) -> None:
    """
    Callers that go on calling find their way back by themselves.
    """
    breaker = breaker_of(clock, failures=3)
    async with connected(library, breaker, valkey.port, connections=10) as client:

        async def ask() -> bool:
            with contextlib.suppress(errors_of(library).ConnectionError):
                return bool(await client.ping())
            return False

        assert all(await asyncio.gather(*(ask() for _ in range(10))))
        valkey.kill()
        assert not any(await asyncio.gather(*(ask() for _ in range(10))))
        valkey.start()
        assert State.OPEN is breaker.state
        answers = [False]
        for _ in range(10):  # each connection in the pool finds out for itself that it is dead
            clock.advance(10.0)
            answers = await asyncio.gather(*(ask() for _ in range(10)))
            if all(answers):
                break
        assert all(answers)
        assert State.CLOSED is breaker.state


async def test_a_frozen_server_opens(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker
) -> None:
    """
    A server that answers nothing is noticed by the timeout of the socket.
    """
    async with connected(library, breaker, valkey.port) as client:
        assert await client.ping()
        valkey.freeze()
        with pytest.raises(errors_of(library).TimeoutError) as caught:
            await client.ping()
        assert is_outage(caught.value)
        assert State.OPEN is breaker.state
        valkey.thaw()


Fault = Callable[[FaultyProxy], Awaitable[None] | None]


@pytest.mark.parametrize(
    "fault",
    [
        lambda proxy: proxy.latency(2.0),
        lambda proxy: proxy.reset(),
        lambda proxy: proxy.blackhole(),
        lambda proxy: proxy.truncate(3),
    ],
    ids=["latency", "reset", "blackhole", "truncation"],
)
async def test_a_bad_network_opens_and_a_good_one_closes(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker, clock: ManualClock, fault: Fault
) -> None:
    """
    Whatever the network does to a command is a failure of it, and passes when it is well.
    """
    async with (
        FaultyProxy(valkey.port) as proxy,
        connected(library, breaker, proxy.port) as client,
    ):
        assert await client.set("key", "value")
        if (waiting := fault(proxy)) is not None:
            await waiting
        for _ in range(3):  # the first time uvloop may speak of a closed handler instead
            with contextlib.suppress(RuntimeError, CircuitOpenError, family(library)):
                await client.get("key")
        assert State.OPEN is breaker.state
        await proxy.heal()
        clock.advance(10.0)
        assert b"value" == await client.get("key")
        assert State.CLOSED is breaker.state


async def test_what_the_server_says_of_a_command_is_proof_of_life(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker
) -> None:
    """
    A wrong type, an unknown command or a script's error is a success of the dependency.
    """
    async with connected(library, breaker, valkey.port) as client:
        await client.set("text", "value")
        with record(breaker) as events:
            for command in (("LPUSH", "text", "x"), ("NOTHING",), ("EVAL", "error('x')", "0")):
                with pytest.raises(errors_of(library).ResponseError) as caught:
                    await client.execute_command(*command)
                assert not is_outage(caught.value)

    assert [Outcome.SUCCESS] * 3 == outcomes(events)


OUTAGE, ALIVE, LOCAL = Outcome.FAILURE, Outcome.SUCCESS, Outcome.IGNORED


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("ConnectionError", "Connection closed by server.", OUTAGE),
        ("ConnectionError", "max number of clients reached", OUTAGE),
        ("ConnectionError", "No connection available.", LOCAL),
        ("ConnectionError", "Too many connections", LOCAL),
        ("TimeoutError", "Timeout reading from socket", OUTAGE),
        ("BusyLoadingError", "loading the dataset in memory", OUTAGE),
        ("ClusterDownError", "CLUSTERDOWN", OUTAGE),
        ("InvalidResponse", "Protocol Error", OUTAGE),
        ("AuthenticationError", "invalid password", ALIVE),
        ("AuthorizationError", "no permission", ALIVE),
        ("NoPermissionError", "no permission", ALIVE),
        ("ReadOnlyError", "a replica", ALIVE),
        ("ResponseError", "WRONGTYPE", ALIVE),
        ("TryAgainError", "multiple keys", ALIVE),
        ("WatchError", "Watched variable changed.", ALIVE),
        ("DataError", "Invalid input of type", LOCAL),
        ("LockError", "not owned", LOCAL),
    ],
)
async def test_which_errors_are_an_outage(
    library: str, breaker: CircuitBreaker, name: str, text: str, expected: Outcome
) -> None:
    """
    Only the connection and the server's state are; what it says of a command never is.
    """
    error = getattr(errors_of(library), name)(text)
    guarding: Any = adapter._Guarding(library, breaker)

    async def fail() -> None:
        raise error

    with record(breaker) as events, pytest.raises(type(error)) as caught:
        await guarding.call(fail)

    assert error is caught.value
    assert [expected] == outcomes(events)
    assert (expected is OUTAGE) is is_outage(error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionResetError("reset"), True),
        (TimeoutError("time"), True),
        (ValueError("value"), False),
        (asyncio.CancelledError("cancelled"), False),
        (ExceptionGroup("a leaf is", [ValueError(), TimeoutError()]), True),
        (ExceptionGroup("no leaf is", [ValueError(), KeyError()]), False),
    ],
    ids=str,
)
def test_which_other_errors_are_an_outage(error: BaseException, expected: bool) -> None:
    """
    What comes from below the library counts as well.
    """
    assert expected is is_outage(error)


async def test_the_rejection_belongs_to_both_families(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker
) -> None:
    """
    Who handles the library's connection errors handles a rejection, which carries our figures
    and survives pickle.
    """
    errors = errors_of(library)
    force_state(breaker, State.OPEN)
    async with connected(library, breaker, valkey.port) as client:
        found: list[Any] = []
        for _ in range(2):
            with pytest.raises(errors.ConnectionError) as caught:
                await client.get("key")
            found.append(caught.value)
    first, second = found
    again = pickle.loads(pickle.dumps(first))

    assert first is not second
    assert isinstance(first, CircuitOpenError)
    assert not isinstance(first, (errors.BusyLoadingError, errors.AuthenticationError))
    assert (first.breaker, first.retry_after) == ("api", 10.0)
    assert (type(first), str(first)) == (type(again), str(again))
    assert f"{library.capitalize()}RejectedError" == type(first).__name__
    assert type(first) is getattr(adapter, type(first).__name__)
    assert first.__suppress_context__


async def test_retries_of_the_library_are_inside_of_one_call(
    library: str, breaker: CircuitBreaker
) -> None:
    """
    The library's own retry tries within a call, and never a rejection.
    """
    retry = importlib.import_module(f"{library}.asyncio.retry").Retry
    backoff = importlib.import_module(f"{library}.backoff").NoBackoff
    async with connected(library, breaker, 9, retry=retry(backoff(), 3)) as client:
        with pytest.raises(errors_of(library).ConnectionError):
            await client.get("key")
        assert 1 == breaker.snapshot().failed
        with pytest.raises(CircuitOpenError):
            await client.get("key")
        assert 1 == breaker.snapshot().rejected


async def test_a_pipeline_is_one_call(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker
) -> None:
    """
    What is executed together is judged together; what was only collected is none.
    """
    async with connected(library, breaker, valkey.port) as client:
        await client.delete("key")
        with record(breaker) as events:
            async with client.pipeline(transaction=True) as pipe:
                assert [] == await pipe.execute()
                pipe.set("key", "1").incr("key").get("key")
                assert [True, 2, b"2"] == await pipe.execute()
            pipe = client.pipeline(transaction=False)
            pipe.lpush("key", "x").get("key")
            found = await pipe.execute(raise_on_error=False)
            assert [errors_of(library).ResponseError, bytes] == [type(each) for each in found]
            pipe.lpush("key", "x")
            with pytest.raises(errors_of(library).ResponseError):
                await pipe.execute()

    assert [Outcome.SUCCESS] * 3 == outcomes(events)


async def test_a_pipeline_is_refused_and_fails(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """
    A pipeline opens the circuit, and is refused by it, like a command.
    """
    async with connected(library, breaker, valkey.port) as client:
        await client.ping()
        valkey.kill()
        with pytest.raises(errors_of(library).ConnectionError):
            await client.pipeline().get("key").execute()
        assert State.OPEN is breaker.state
        with pytest.raises(CircuitOpenError):
            await client.pipeline().get("key").execute()
        valkey.start()
        clock.advance(10.0)
        assert [None] == await client.pipeline().get("nothing").execute()


async def test_transactions_watch(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker
) -> None:
    """
    WATCH, what is read under it, and EXEC are a call each; a changed key is an answer.
    """
    async with connected(library, breaker, valkey.port, connections=2) as client:
        await client.set("key", "1")
        with record(breaker) as events:
            async with client.pipeline() as pipe:
                await pipe.watch("key")
                value = int(await pipe.get("key"))
                await client.set("key", "7")
                pipe.multi()
                pipe.set("key", value + 1)
                with pytest.raises(errors_of(library).WatchError):
                    await pipe.execute()
        assert [Outcome.SUCCESS] * 4 == outcomes(events)

        async def add(pipe: Any) -> None:
            value = int(await pipe.get("key"))
            pipe.multi()
            pipe.set("key", value + 1)

        assert [True] == await client.transaction(add, "key")
        assert b"8" == await client.get("key")


async def test_scripts_need_no_place_of_their_own(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """
    A pipeline that loads a script on the way is one probe.
    """
    async with connected(library, breaker, valkey.port) as client:
        await client.script_flush()
        script = client.register_script("return 42")
        pipe = client.pipeline()
        await script(client=pipe)
        force_state(breaker, State.OPEN)
        clock.advance(10.0)
        assert [42] == await pipe.execute()
    assert State.CLOSED is breaker.state


async def test_locks_are_guarded(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker
) -> None:
    """
    A lock is made of commands.
    """
    async with connected(library, breaker, valkey.port) as client:
        await client.delete("lock")
        async with client.lock("lock", timeout=5):
            assert await client.exists("lock")
        breaker.force_open()
        with pytest.raises(CircuitOpenError):
            await client.lock("lock").acquire(blocking=False)


async def test_a_busy_pool_never_opens(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker
) -> None:
    """
    A hundred callers of one connection, most of which wait in vain, are no outage.
    """
    async with connected(
        library,
        breaker,
        valkey.port,
        pool="BlockingConnectionPool",
        timeout=0.1,
        socket_timeout=5.0,
    ) as client:
        asking = (client.blpop("nothing", 0.03) for _ in range(100))
        found = await asyncio.gather(*asking, return_exceptions=True)

    assert {type(None), errors_of(library).ConnectionError} == {type(each) for each in found}
    assert (0, State.CLOSED) == (breaker.snapshot().failed, breaker.state)


async def test_too_many_connections_never_open(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker
) -> None:
    """
    A pool that refuses at once what it has no connection for is a limit of ours.
    """
    async with connected(library, breaker, valkey.port) as client:
        found = await asyncio.gather(*(client.ping() for _ in range(5)), return_exceptions=True)

    assert any(isinstance(each, errors_of(library).ConnectionError) for each in found)
    assert 0 == breaker.snapshot().failed


async def test_who_waits_is_refused_when_it_opens(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker
) -> None:
    """
    A hundred callers in the pool's line learn at once that the circuit is open; the command
    that runs goes on.
    """
    async with connected(
        library,
        breaker,
        valkey.port,
        pool="BlockingConnectionPool",
        timeout=15,
        socket_timeout=15,
    ) as client:
        await client.delete("list")
        held = asyncio.create_task(client.blpop("list", 10))
        tasks = [asyncio.create_task(client.ping()) for _ in range(100)]
        await settled()
        force_state(breaker, State.OPEN)
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert {True} == {isinstance(each, CircuitOpenError) for each in found}
        assert {True} == {isinstance(each, errors_of(library).ConnectionError) for each in found}

        breaker.reset()
        async with connected(library, breaker, valkey.port) as other:
            await other.lpush("list", "x")
        assert (b"list", b"x") == tuple(await held)
        assert await client.ping()  # the line has left nothing behind


async def test_a_cancelled_command_takes_no_other_s_answer(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker
) -> None:
    """
    However far a command had come when it was cancelled, later ones get their own answers.
    """
    async with connected(library, breaker, valkey.port) as client:
        for turns in range(20):
            task = asyncio.create_task(client.echo("cancelled"))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert f"own {turns}".encode() == await client.echo(f"own {turns}")
    assert (0, State.CLOSED) == (breaker.snapshot().failed, breaker.state)


async def test_a_cancelled_probe_gives_its_place_back(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """
    A probe that is cancelled proves nothing, and the next command may be one.
    """
    async with connected(library, breaker, valkey.port, socket_timeout=15) as client:
        force_state(breaker, State.OPEN)
        clock.advance(10.0)
        await asyncio.gather(cancelled(client.blpop("nothing", 10)), return_exceptions=True)
        assert (0, State.HALF_OPEN) == (breaker.snapshot().in_flight, breaker.state)
        assert await client.ping()
        assert State.CLOSED is breaker.state


async def cancelled(command: Awaitable[object]) -> None:
    task = asyncio.ensure_future(command)
    await asyncio.sleep(0.05)
    task.cancel()
    await task


async def test_messages_are_as_before(
    valkey: ValkeyServer, library: str, breaker: CircuitBreaker
) -> None:
    """
    What listens for ever is no call, and gets its messages.
    """
    async with (
        connected(library, breaker, valkey.port, connections=3) as client,
        client.pubsub() as listening,
    ):
        await listening.subscribe("news")
        with record(breaker) as events:
            while (message := await listening.get_message(timeout=1)) is None or (
                message["type"] != "message"
            ):
                await client.publish("news", "hello")
        assert b"hello" == message["data"]
        assert {Outcome.SUCCESS} == set(outcomes(events))


def test_the_adapter_imports_neither_library() -> None:
    """
    Who has only one of the two can use it.
    """
    program = (
        "import sys; import asyncbreaker.integrations.redis as adapter;"
        "assert not {'redis', 'valkey'} & set(sys.modules);"
        "assert adapter.is_outage(OSError()) and not adapter.is_outage(ValueError());"
        "import valkey.asyncio;"
        "adapter.guard(valkey.asyncio.Valkey(), adapter.CircuitBreaker());"
        "assert 'redis' not in sys.modules"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)


def test_only_what_exists_is_found_in_the_module() -> None:
    """
    A name that the adapter does not have is missed as in any module.
    """
    with pytest.raises(AttributeError, match="OtherRejectedError"):
        adapter.OtherRejectedError  # noqa: B018


def clients() -> list[Any]:
    redis: Any = importlib.import_module("redis")
    cluster: Any = importlib.import_module("redis.asyncio")
    started = [cluster.cluster.ClusterNode("127.0.0.1", 9)]
    return [
        pytest.param(object, id="object"),
        pytest.param(lambda: None, id="None"),
        pytest.param(redis.Redis, id="sync"),
        pytest.param(lambda: cluster.RedisCluster(startup_nodes=started), id="cluster"),
    ]


@pytest.mark.parametrize("make", clients())
async def test_what_is_no_client_is_refused(make: Callable[[], Any]) -> None:
    """
    A wrong argument is named when it is given.
    """
    with pytest.raises(TypeError, match=r"client must be a redis\.asyncio\.Redis or a valkey"):
        guard(make(), CircuitBreaker())


async def test_a_guarded_client_is_not_guarded_again(library: str, breaker: CircuitBreaker) -> None:
    """
    Each command would be counted twice.
    """
    async with connected(library, breaker, 9) as client:
        with pytest.raises(TypeError, match="client is guarded already"):
            guard(client, breaker)


async def test_what_is_no_breaker_is_refused(library: str) -> None:
    """
    The second argument is checked as well.
    """
    module = importlib.import_module(f"{library}.asyncio")
    nothing: Any = "breaker"
    with pytest.raises(TypeError, match="breaker must be a CircuitBreaker, not 'breaker'"):
        guard(getattr(module, library.capitalize())(), nothing)
