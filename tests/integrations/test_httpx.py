"""The adapters of httpx and httpx2, against a real server on loopback."""

from __future__ import annotations

import gc
import importlib
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import h2.config
import h2.connection
import h2.events
import pytest
from anyio.abc import SocketAttribute, SocketStream

from asyncbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    Outcome,
    Registry,
    State,
    consecutive_failures,
)
from asyncbreaker.testing import ManualClock, force_state, record
from tests.integrations.http_server import (
    Answer,
    answer,
    cut,
    garbage,
    gated,
    hangup,
    http_server,
    ok,
    reset,
    silence,
)
from tests.integrations.support import breaker_of, outcomes

pytestmark = pytest.mark.anyio


class Library:
    """One of the two libraries, and its adapter."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.own: Any = importlib.import_module(name)
        self.adapter: Any = importlib.import_module(f"asyncbreaker.integrations.{name}")

    @asynccontextmanager
    async def client(
        self, breakers: Registry | CircuitBreaker | None, inner: Any = None, **options: Any
    ) -> AsyncIterator[Any]:
        guarding = options.pop("guarding", {})
        transport = self.adapter.BreakerTransport(inner, breakers=breakers, **guarding)
        settings: dict[str, Any] = {"timeout": 1.0, **options}
        async with self.own.AsyncClient(transport=transport, **settings) as client:
            yield client


@pytest.fixture(params=["httpx", "httpx2"])
def lib(request: pytest.FixtureRequest) -> Library:
    """Both libraries."""
    return Library(request.param)


async def test_a_good_answer_is_a_success(lib: Library, breaker: CircuitBreaker) -> None:
    """
    A request that is answered, and read, is one good call.
    """
    async with http_server() as server, lib.client(breaker) as client:
        with record(breaker) as events:
            assert "hello" == (await client.get(server.url)).text

    assert [Outcome.SUCCESS] == outcomes(events)


FAILING = (500, 502, 503, 504, 507, 508, *range(520, 530))


@pytest.mark.parametrize("memory", [False, True], ids=["real", "mock"])
async def test_which_statuses_are_failures(lib: Library, clock: ManualClock, memory: bool) -> None:
    """
    Only what says that the server is ill; the response reaches the caller as it is.
    """
    breaker = breaker_of(clock, failures=1000)
    statuses = [200, 204, 304, *range(400, 600)]

    def said(request: Any) -> Any:
        return lib.own.Response(int(request.url.path[1:]), text="words")

    inner = lib.own.MockTransport(said) if memory else None
    async with http_server() as server, lib.client(breaker, inner) as client:
        for status in statuses:
            server.answers[f"/{status}"] = answer(status)
            with record(breaker) as events:
                response = await client.get(f"{server.url}/{status}")
            assert status == response.status_code
            failed = status in FAILING
            assert (failed, [Outcome.FAILURE if failed else Outcome.SUCCESS]) == (
                lib.adapter.is_failure(response),
                outcomes(events),
            )
    last = breaker.snapshot().last_failure

    assert last is not None
    assert ("Failure", "HTTP 529") == (last.type, last.message)


@pytest.mark.parametrize("broken", [hangup, reset, garbage, silence])
async def test_a_broken_connection_is_a_failure(
    lib: Library, breaker: CircuitBreaker, broken: Answer
) -> None:
    """
    The error reaches the caller as it is, and what comes next is refused without a word sent.
    """
    async with http_server() as server, lib.client(breaker) as client:
        server.answers["/"] = broken
        with pytest.raises(lib.own.TransportError) as caught:
            await client.get(server.url)
        assert not isinstance(caught.value, CircuitOpenError)
        assert lib.adapter.is_outage(caught.value)
        assert State.OPEN is breaker.state
        with pytest.raises(lib.adapter.RequestRejectedError):
            await client.get(server.url)
        assert 1 == len(server.requests)


async def test_a_refused_connection_is_a_failure(lib: Library, breaker: CircuitBreaker) -> None:
    """
    A server that is not there opens the circuit, and its error is what is remembered.
    """
    async with lib.client(breaker) as client:
        with pytest.raises(lib.own.ConnectError):
            await client.get("http://127.0.0.1:9/")
    last = breaker.snapshot().last_failure

    assert State.OPEN is breaker.state
    assert last is not None
    assert "ConnectError" == last.type


async def test_the_rejection_belongs_to_both_families(
    lib: Library, breaker: CircuitBreaker
) -> None:
    """
    Who handles the library's transport errors handles a rejection, which tells of the request
    and survives pickle.
    """
    force_state(breaker, State.OPEN)
    found: list[Any] = []
    async with lib.client(breaker) as client:
        for _ in range(2):
            with pytest.raises(lib.own.TransportError) as caught:
                await client.post("http://127.0.0.1:9/path?a=1", json={"b": 2})
            found.append(caught.value)
    first, second = found
    again = pickle.loads(pickle.dumps(first))

    assert first is not second
    assert isinstance(first, lib.adapter.RequestRejectedError)
    assert isinstance(first, CircuitOpenError)
    assert not isinstance(first, lib.own.NetworkError | lib.own.TimeoutException)
    assert ("POST", "http://127.0.0.1:9/path?a=1") == (
        first.request.method,
        str(first.request.url),
    )
    assert ("api", 10.0) == (first.breaker, first.retry_after)
    assert (str(first), str(first.request.url)) == (str(again), str(again.request.url))
    assert "circuit 'api' is open" in repr(first)
    assert first.__suppress_context__
    assert not lib.adapter.is_outage(first)


async def test_one_breaker_per_origin(lib: Library) -> None:
    """
    Of two servers the healthy one goes on, also with a registry that two clients share.
    """
    registry = Registry(lambda key: CircuitBreaker(key, trip=consecutive_failures(1)))
    async with (
        http_server() as ill,
        http_server() as well,
        lib.client(registry) as one,
        lib.client(registry) as other,
    ):
        ill.answers["/"] = answer(500)
        await one.get(ill.url)
        with pytest.raises(lib.adapter.RequestRejectedError) as caught:
            await other.get(ill.url)
        assert ill.url == caught.value.breaker
        for client in (one, other):
            assert 200 == (await client.get(well.url)).status_code
        assert {ill.url, well.url} == set(registry)
        assert "degraded" == registry.health()["status"]


async def test_by_default_each_client_has_its_own(lib: Library) -> None:
    """
    Without a registry the breakers are the client's own, with the defaults.
    """
    async with http_server() as server, lib.client(None) as client:
        assert "hello" == (await client.get(server.url)).text


async def test_keys_of_one_s_own(lib: Library) -> None:
    """
    A key function chooses the breaker by what it likes of the request.
    """
    registry = Registry(CircuitBreaker)
    guarding = {"key": lambda request: f"{request.method} {request.url.path}"}
    async with http_server() as server, lib.client(registry, guarding=guarding) as client:
        await client.get(f"{server.url}/a")
        await client.post(f"{server.url}/b")

    assert ["GET /a", "POST /b"] == list(registry)


def failing(request: Any) -> str:
    raise LookupError("no tenant")


@pytest.mark.parametrize(
    ("key", "kind", "words"),
    [
        (failing, ValueError, r"key=<function failing .* raised LookupError: no tenant"),
        (lambda request: 7, TypeError, r"must return a string, not 7"),
        (lambda request: "", ValueError, r"returned an empty key"),
    ],
    ids=["raises", "number", "empty"],
)
async def test_a_bad_key_is_refused_before_anything_is_sent(
    lib: Library, key: Any, kind: type[Exception], words: str
) -> None:
    """
    The message names the function and what it did.
    """
    async with http_server() as server:
        async with lib.client(None, guarding={"key": key}) as client:
            with pytest.raises(kind, match=words):
                await client.get(server.url)
        assert [] == server.requests


async def test_a_url_without_host_is_refused(lib: Library, breaker: CircuitBreaker) -> None:
    """
    What leads nowhere is refused before anything is sent, and is no call.
    """
    async with lib.client(breaker) as client:
        with pytest.raises(lib.own.UnsupportedProtocol, match="'/path' has no host") as caught:
            await client.get("/path")
    look = breaker.snapshot()

    assert "GET" == caught.value.request.method
    assert not lib.adapter.is_outage(caught.value)
    assert (0, 0, 0) == (look.succeeded, look.failed, look.ignored)


async def test_an_unknown_protocol_is_local(lib: Library, breaker: CircuitBreaker) -> None:
    """
    What the library itself refuses proves nothing.
    """
    async with lib.client(breaker) as client:
        with record(breaker) as events, pytest.raises(lib.own.UnsupportedProtocol):
            await client.get("ftp://127.0.0.1/")

    assert [Outcome.IGNORED] == outcomes(events)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"transport": "api"}, TypeError, "transport must be an httpx"),
        ({"breakers": "api"}, TypeError, "breakers must be a Registry or a CircuitBreaker"),
        ({"key": "host"}, TypeError, "key must be callable, not 'host'"),
        ({"failures": "500"}, TypeError, "failures must be status codes"),
        ({"statuses": [500]}, TypeError, "unexpected keyword argument 'statuses'"),
    ],
    ids=["transport", "breakers", "key", "failures", "unknown"],
)
def test_bad_options_are_refused(
    lib: Library, options: Any, kind: type[Exception], words: str
) -> None:
    """
    A wrong argument is named when it is given.
    """
    with pytest.raises(kind, match=words):
        lib.adapter.BreakerTransport(**options)


def test_a_sync_transport_is_refused(lib: Library) -> None:
    """
    The other kind of transport would fail at the first request.
    """
    with lib.own.HTTPTransport() as transport:  # noqa: SIM117
        with pytest.raises(TypeError, match="transport must be an httpx"):
            lib.adapter.BreakerTransport(transport)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_pause_that_is_asked_for_is_kept(
    lib: Library, breaker: CircuitBreaker, clock: ManualClock, status: int
) -> None:
    """
    Retry-After opens at once, for as long as it says, and no longer than 300 s.
    """
    breaker.configure(trip=consecutive_failures(5))
    async with http_server() as server, lib.client(breaker) as client:
        for asked, kept in (("60", 60.0), ("86400", 300.0)):
            server.answers["/"] = answer(status, retry_after=asked)
            assert status == (await client.get(server.url)).status_code
            with pytest.raises(lib.adapter.RequestRejectedError) as caught:
                await client.get(server.url)
            assert kept == caught.value.retry_after
            server.answers["/"] = ok()
            clock.advance(kept)
            assert 200 == (await client.get(server.url)).status_code


async def test_an_error_while_reading_is_a_failure(lib: Library, breaker: CircuitBreaker) -> None:
    """
    A body that breaks off makes the call a failure, although its status was good.
    """
    async with http_server() as server, lib.client(breaker) as client:
        server.answers["/"] = cut()
        with pytest.raises(lib.own.RemoteProtocolError):
            await client.get(server.url)
        assert State.OPEN is breaker.state
        breaker.reset()
        with record(breaker) as events:
            async with client.stream("GET", server.url) as response:
                with pytest.raises(lib.own.RemoteProtocolError):
                    await response.aread()
        assert [Outcome.FAILURE] == outcomes(events)


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # the library closes none
@pytest.mark.parametrize("ending", ["read", "closed", "left", "iterated", "broken"])
async def test_the_end_of_a_body_gives_the_place_back(
    lib: Library, breaker: CircuitBreaker, clock: ManualClock, ending: str
) -> None:
    """
    A probe keeps its place until its body has been read, or until nobody wants it any more;
    then its outcome is that of the body.
    """
    gate = anyio.Event()
    async with http_server() as server, lib.client(breaker) as client:
        server.answers["/"] = cut() if ending == "broken" else gated(gate)
        force_state(breaker, State.OPEN)
        clock.advance(10.0)
        async with client.stream("GET", server.url) as response:
            assert (State.HALF_OPEN, 1) == (breaker.state, breaker.snapshot().in_flight)
            with pytest.raises(lib.adapter.RequestRejectedError):
                await client.get(server.url)
            match ending:
                case "read":
                    gate.set()
                    assert b"hello" == await response.aread()
                case "closed":
                    await response.aclose()
                case "iterated":
                    pieces = response.aiter_bytes()
                    assert b"hel" == await anext(pieces)
                    await pieces.aclose()
                case "broken":
                    with pytest.raises(lib.own.RemoteProtocolError):
                        await response.aread()
                case _:
                    pass
        assert (State.OPEN if ending == "broken" else State.CLOSED) is breaker.state


async def test_a_response_that_nobody_wants_gives_its_place_back(
    lib: Library, breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """
    One that is neither read nor closed proves nothing, and blocks nobody once it is collected.
    """

    class Endless(lib.own.AsyncByteStream):  # type: ignore[misc, name-defined]
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"more"

    inner = lib.own.MockTransport(lambda request: lib.own.Response(200, stream=Endless()))
    async with lib.client(breaker, inner) as client:
        force_state(breaker, State.OPEN)
        clock.advance(10.0)
        response = await client.send(client.build_request("GET", "http://api/"), stream=True)
        assert 1 == breaker.snapshot().in_flight
        del response
        gc.collect()
        assert (State.HALF_OPEN, 0) == (breaker.state, breaker.snapshot().in_flight)


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # the library closes none
async def test_an_iterator_that_is_dropped_is_a_success(
    lib: Library, breaker: CircuitBreaker
) -> None:
    """
    A reader that has had enough says that the server has answered.
    """
    gate = anyio.Event()
    transport = lib.adapter.BreakerTransport(breakers=breaker)
    async with http_server() as server, transport:
        server.answers["/"] = gated(gate)
        with record(breaker) as events:
            response = await transport.handle_async_request(lib.own.Request("GET", server.url))
            pieces = aiter(response.stream)
            assert b"hel" == await anext(pieces)
            await pieces.aclose()
            assert [Outcome.SUCCESS] == outcomes(events)
            await response.aclose()


async def test_who_is_cancelled_proves_nothing(lib: Library, breaker: CircuitBreaker) -> None:
    """
    A caller that gives up before the headers, or in the middle of a body, is neutral.
    """
    gate = anyio.Event()
    async with http_server() as server, lib.client(breaker, timeout=None) as client:
        with record(breaker) as events:
            for slow in (silence, gated(gate)):
                server.answers["/"] = slow
                with anyio.move_on_after(0.1):
                    await client.get(server.url)
        assert [Outcome.IGNORED, Outcome.IGNORED] == outcomes(events)


async def test_nothing_is_buffered(lib: Library, breaker: CircuitBreaker) -> None:
    """
    The first part of a body is there while the server still holds the second.
    """
    gate = anyio.Event()
    async with http_server() as server, lib.client(breaker) as client:
        server.answers["/"] = gated(gate)
        async with client.stream("GET", server.url) as response:
            pieces = response.aiter_bytes()
            assert b"hel" == await anext(pieces)
            gate.set()
            assert [b"lo"] == [piece async for piece in pieces]


async def test_only_the_time_to_the_headers_is_slow(lib: Library, clock: ManualClock) -> None:
    """
    A body may take as long as it likes.
    """
    breaker = CircuitBreaker("api", slow=1.0, clock=clock)
    gate = anyio.Event()
    async with http_server() as server, lib.client(breaker) as client:
        server.answers["/"] = gated(gate)
        async with client.stream("GET", server.url) as response:
            clock.advance(5.0)
            gate.set()
            assert b"hello" == await response.aread()
    look = breaker.snapshot()

    assert (1, 0) == (look.succeeded, look.slow)


async def test_a_busy_pool_never_opens(lib: Library, breaker: CircuitBreaker) -> None:
    """
    Many callers of one connection, some of which wait in vain, are no outage.
    """

    async def slowly(stream: Any) -> None:
        await anyio.sleep(0.01)
        await ok()(stream)

    found: list[str] = []
    inner = lib.own.AsyncHTTPTransport(limits=lib.own.Limits(max_connections=1))
    timeout = lib.own.Timeout(5.0, pool=0.05)
    async with http_server() as server, lib.client(breaker, inner, timeout=timeout) as client:
        server.answers["/"] = slowly

        async def ask() -> None:
            try:
                found.append((await client.get(server.url)).text)
            except lib.own.PoolTimeout:
                found.append("no connection")

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(ask)

    assert {"hello"} <= set(found) <= {"hello", "no connection"}
    assert (0, State.CLOSED) == (breaker.snapshot().failed, breaker.state)


async def test_a_probe_that_finds_no_connection_gives_its_place_back(
    lib: Library, breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """
    A pool that is busy neither opens nor closes, and the next probe may.
    """
    gate = anyio.Event()
    inner = lib.own.AsyncHTTPTransport(limits=lib.own.Limits(max_connections=1))
    timeout = lib.own.Timeout(5.0, pool=0.05)
    async with http_server() as server, lib.client(breaker, inner, timeout=timeout) as client:
        server.answers["/"] = gated(gate)
        async with client.stream("GET", server.url):
            force_state(breaker, State.OPEN)
            clock.advance(10.0)
            with pytest.raises(lib.own.PoolTimeout):
                await client.get(server.url)
            assert (State.HALF_OPEN, 0) == (breaker.state, breaker.snapshot().in_flight)
        gate.set()
        assert "hello" == (await client.get(server.url)).text
        assert State.CLOSED is breaker.state


async def test_a_body_of_the_caller_s_that_raises_is_local(
    lib: Library, breaker: CircuitBreaker
) -> None:
    """
    An upload that fails on this side says nothing of the server.
    """

    async def upload() -> AsyncIterator[bytes]:
        yield b"some"
        raise LookupError("the rest is not to be found")

    async with http_server() as server, lib.client(breaker) as client:
        with record(breaker) as events, pytest.raises(LookupError):
            await client.post(server.url, content=upload())

    assert [Outcome.IGNORED] == outcomes(events)


async def test_each_hop_of_a_redirect_is_guarded(lib: Library) -> None:
    """
    A redirect to another origin is a call of that origin's breaker.
    """
    registry = Registry(CircuitBreaker)
    async with (
        http_server() as one,
        http_server() as other,
        lib.client(registry, follow_redirects=True) as client,
    ):
        one.answers["/"] = answer(302, location=f"{other.url}/there")
        assert "hello" == (await client.get(one.url)).text
        assert [1, 1] == [registry[server.url].snapshot().succeeded for server in (one, other)]
        registry[other.url].force_open()
        with pytest.raises(lib.adapter.RequestRejectedError) as caught:
            await client.get(one.url)
        assert other.url == caught.value.breaker


async def test_each_step_of_an_authentication_is_guarded(
    lib: Library, breaker: CircuitBreaker
) -> None:
    """
    The challenge and the answer to it are a request each.
    """
    challenge = 'Digest realm="here", nonce="1", qop="auth", algorithm=MD5'
    async with http_server() as server, lib.client(breaker) as client:
        server.answers["/"] = answer(401, www_authenticate=challenge)
        response = await client.get(server.url, auth=lib.own.DigestAuth("user", "secret"))
        assert 401 == response.status_code
        assert 2 == len(server.requests)

    assert 2 == breaker.snapshot().succeeded


async def test_hooks_and_traces_are_as_before(lib: Library, breaker: CircuitBreaker) -> None:
    """
    What the library tells of a request is told, and extensions reach the transport.
    """
    told: list[str] = []

    async def hook(message: Any) -> None:
        told.append(type(message).__name__)

    async def trace(name: str, info: Any) -> None:
        told.append(name)

    hooks = {"request": [hook], "response": [hook]}
    async with http_server() as server, lib.client(breaker, event_hooks=hooks) as client:
        await client.get(server.url, extensions={"trace": trace})

    assert ["Request", "Response"] == [name for name in told if "." not in name]
    assert "http11.receive_response_body.complete" in told


async def test_the_transport_is_entered_and_left_once(
    lib: Library, breaker: CircuitBreaker
) -> None:
    """
    The life of the transport inside is that of ours.
    """
    done: list[str] = []

    class Counting(lib.own.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        async def __aenter__(self) -> Any:
            done.append("entered")
            return self

        async def __aexit__(self, *args: object) -> None:
            done.append("left")

        async def aclose(self) -> None:
            done.append("closed")

    async with lib.client(breaker, Counting()):
        assert ["entered"] == done
    assert ["entered", "left"] == done
    await lib.adapter.BreakerTransport(Counting()).aclose()
    assert ["entered", "left", "closed"] == done


async def test_a_transport_that_tries_again(lib: Library, clock: ManualClock) -> None:
    """
    Outside of the breaker each try is judged, and the first rejection ends them; inside they
    are one call.
    """

    class Retrying(lib.own.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        async def handle_async_request(self, request: Any) -> Any:
            for _ in range(3):
                response = await self.inner.handle_async_request(request)
                if response.status_code < 500:
                    break
                await response.aread()
            return response

        async def aclose(self) -> None:
            await self.inner.aclose()

    outer, inner = breaker_of(clock, failures=2), breaker_of(clock, failures=2)
    plain = lib.own.AsyncHTTPTransport
    outside = Retrying(lib.adapter.BreakerTransport(plain(), breakers=outer))
    async with http_server() as server:
        server.answers["/"] = answer(500)
        async with lib.own.AsyncClient(transport=outside) as client:
            with pytest.raises(lib.adapter.RequestRejectedError):
                await client.get(server.url)
        async with lib.client(inner, Retrying(plain())) as client:
            assert 500 == (await client.get(server.url)).status_code
        assert 5 == len(server.requests)

    assert (2, 1) == (outer.snapshot().failed, inner.snapshot().failed)


async def test_an_application_in_memory(lib: Library, breaker: CircuitBreaker) -> None:
    """
    The library's transport for applications is guarded like any other.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b"words"})

    inner = lib.own.ASGITransport(app=app)
    async with lib.client(breaker, inner, base_url="http://app") as client:
        assert 503 == (await client.get("/")).status_code
        with pytest.raises(lib.adapter.RequestRejectedError):
            await client.get("/")


async def test_mounted_for_one_host_only(lib: Library, breaker: CircuitBreaker) -> None:
    """
    Where only some hosts are to be guarded, the client's mounts choose.
    """
    mounts = {"http://127.0.0.1": lib.adapter.BreakerTransport(breakers=breaker)}
    breaker.force_open()
    async with http_server() as server, lib.own.AsyncClient(mounts=mounts) as client:
        with pytest.raises(lib.adapter.RequestRejectedError):
            await client.get(server.url)
        assert 200 == (await client.get(f"http://localhost:{server.port}")).status_code


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ({404}, Outcome.FAILURE),
        ([500], Outcome.SUCCESS),
        (lambda response: response.headers["x"] == "bad", Outcome.FAILURE),
        (lambda response: response.headers["missing"], Outcome.IGNORED),
    ],
    ids=["set", "other", "predicate", "raises"],
)
async def test_what_is_a_failure_can_be_chosen(
    lib: Library, breaker: CircuitBreaker, failures: Any, expected: Outcome
) -> None:
    """
    Other statuses, or a predicate of the response; one that raises learns nothing.
    """
    async with http_server() as server:  # noqa: SIM117
        async with lib.client(breaker, guarding={"failures": failures}) as client:
            server.answers["/"] = answer(404, x="bad")
            with record(breaker) as events:
                assert "words" == (await client.get(server.url)).text
    assert [expected] == outcomes(events)


async def test_the_breaker_s_own_matchers_may_exempt(lib: Library, clock: ManualClock) -> None:
    """
    What the adapter takes for a failure the breaker's ``succeed_on`` may still take for none.
    """
    breaker = CircuitBreaker(
        trip=consecutive_failures(1), succeed_on=lib.own.ReadTimeout, clock=clock
    )
    async with http_server() as server, lib.client(breaker, timeout=0.1) as client:
        server.answers["/"] = silence
        with pytest.raises(lib.own.ReadTimeout):
            await client.get(server.url)

    assert (1, State.CLOSED) == (breaker.snapshot().succeeded, breaker.state)


async def test_a_breaker_of_one_s_own_by_the_predicates(lib: Library, clock: ManualClock) -> None:
    """
    Without the transport the same rules hold, by ``fail_on`` and ``fail_on_result``.
    """
    is_outage, is_failure = lib.adapter.is_outage, lib.adapter.is_failure
    rule = consecutive_failures(2)
    breaker = CircuitBreaker(trip=rule, fail_on=is_outage, fail_on_result=is_failure, clock=clock)
    async with http_server() as server, lib.own.AsyncClient() as client:
        server.answers["/"] = answer(500)
        response = await breaker.call(client.get, server.url)
        with pytest.raises(lib.own.HTTPStatusError) as caught:
            response.raise_for_status()
        assert is_outage(caught.value)
        assert is_outage(ExceptionGroup("a leaf is", [ValueError(), caught.value]))
        assert not is_outage(ExceptionGroup("no leaf is", [ValueError(), KeyError()]))
        with pytest.raises(lib.own.UnsupportedProtocol):
            await breaker.call(client.get, "nowhere")
        with pytest.raises(lib.own.ConnectError):
            await breaker.call(client.get, "http://127.0.0.1:9/")
    assert State.OPEN is breaker.state


class Http2Server:
    """Answers every request over HTTP/2 with its path, or ends a path "/reset" half way."""

    async def serve(self, stream: SocketStream) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        connection = h2.connection.H2Connection(config)
        connection.initiate_connection()
        async with stream:
            await stream.send(connection.data_to_send())
            while True:
                try:
                    events = connection.receive_data(await stream.receive())
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return
                for event in events:
                    if isinstance(event, h2.events.RequestReceived):
                        self._answer(connection, event)
                await stream.send(connection.data_to_send())

    def _answer(self, connection: Any, event: Any) -> None:
        path = dict(event.headers)[":path"]
        connection.send_headers(event.stream_id, [(":status", "200")])
        connection.send_data(event.stream_id, path.encode())
        if path == "/reset":
            connection.reset_stream(event.stream_id)
        else:
            connection.end_stream(event.stream_id)


async def test_http2(lib: Library, breaker: CircuitBreaker) -> None:
    """
    Streams of one connection are calls of their own; one that is reset is a failure.
    """
    breaker.configure(trip=consecutive_failures(2))
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
    inner = lib.own.AsyncHTTPTransport(http1=False, http2=True)
    texts: list[str] = []
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, Http2Server().serve)
        async with lib.client(breaker, inner, timeout=5) as client:

            async def ask(path: str) -> None:
                response = await client.get(url + path)
                assert "HTTP/2" == response.http_version
                texts.append(response.text)

            async with anyio.create_task_group() as asking:
                for number in range(5):
                    asking.start_soon(ask, f"/{number}")
            with pytest.raises(lib.own.RemoteProtocolError):
                await client.get(f"{url}/reset")
        tasks.cancel_scope.cancel()
    look = breaker.snapshot()

    assert [f"/{number}" for number in range(5)] == sorted(texts)
    assert (5, 1) == (look.succeeded, look.failed)


@pytest.mark.parametrize(("one", "other"), [("httpx", "httpx2"), ("httpx2", "httpx")])
def test_an_adapter_imports_its_library_alone(one: str, other: str) -> None:
    """
    Who has only one of the two can use it, and the package itself imports neither.
    """
    program = (
        "import sys, asyncbreaker;"
        f"assert '{one}' not in sys.modules;"
        f"import asyncbreaker.integrations.{one};"
        f"assert '{other}' not in sys.modules"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
