"""The adapter of aiohttp, against a real server on loopback."""

from __future__ import annotations

import asyncio
import gc
import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage
from yarl import URL

from asyncbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    Outcome,
    Registry,
    State,
    consecutive_failures,
)
from asyncbreaker.integrations.aiohttp import (
    RequestRejectedError,
    breaker_middleware,
    is_failure,
    is_outage,
)
from asyncbreaker.testing import ManualClock, force_state, record
from tests.integrations.http_server import (
    Answer,
    HangUpError,
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
from tests.integrations.loops import anyio_backend
from tests.integrations.support import breaker_of, outcomes

__all__ = ["anyio_backend"]  # the fixture

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def session_of(
    breakers: Registry | CircuitBreaker | None, **options: Any
) -> AsyncIterator[aiohttp.ClientSession]:
    middleware = breaker_middleware(breakers, **options.pop("middleware", {}))
    settings: dict[str, Any] = {"timeout": aiohttp.ClientTimeout(total=1.0), **options}
    middlewares = (*settings.pop("outside", ()), middleware)
    async with aiohttp.ClientSession(middlewares=middlewares, **settings) as session:
        yield session


async def test_a_good_answer_is_a_success(breaker: CircuitBreaker) -> None:
    """
    A request that is answered, and read, is one good call.
    """
    async with http_server() as server, session_of(breaker) as session:
        with record(breaker) as events:
            async with session.get(server.url) as response:
                assert "hello" == await response.text()

    assert [Outcome.SUCCESS] == outcomes(events)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *((status, Outcome.FAILURE) for status in (500, 502, 503, 504, 507, 508, 520, 529)),
        *((status, Outcome.SUCCESS) for status in (200, 204, 304, 400, 401, 404, 408, 409)),
        *((status, Outcome.SUCCESS) for status in (418, 422, 429, 501, 505, 511, 519, 530)),
    ],
)
async def test_which_statuses_are_failures(
    breaker: CircuitBreaker, status: int, expected: Outcome
) -> None:
    """
    Only what says that the server is ill; the response reaches the caller as it is, unread.
    """
    async with http_server() as server, session_of(breaker) as session:
        server.answers["/"] = answer(status)
        with record(breaker) as events:
            async with session.get(server.url) as response:
                assert (status, expected is Outcome.FAILURE) == (
                    response.status,
                    is_failure(response),
                )
                assert (b"" if status in (204, 304) else b"words") == await response.read()
        assert [expected] == outcomes(events)


@pytest.mark.parametrize("broken", [hangup, reset, garbage, silence])
async def test_a_broken_connection_is_a_failure(breaker: CircuitBreaker, broken: Answer) -> None:
    """
    The error reaches the caller as it is, and what comes next is refused without a word sent.
    (A GET aiohttp would try once more by itself.)
    """
    async with http_server() as server, session_of(breaker) as session:
        server.answers["/"] = broken
        with pytest.raises((aiohttp.ClientError, TimeoutError)) as caught:
            await session.post(server.url)
        assert is_outage(caught.value)
        assert State.OPEN is breaker.state
        with pytest.raises(RequestRejectedError):
            await session.post(server.url)
        assert 1 == len(server.requests)


async def test_a_refused_connection_is_a_failure(breaker: CircuitBreaker) -> None:
    """
    A server that is not there opens the circuit.
    """
    async with session_of(breaker) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get("http://127.0.0.1:9/")
    look = breaker.snapshot()

    assert State.OPEN is look.state
    assert look.last_failure is not None
    assert "ClientConnectorError" == look.last_failure.type


@pytest.mark.parametrize("timeout", [{"total": 0.1}, {"sock_read": 0.1}], ids=["total", "read"])
async def test_both_kinds_of_timeouts_are_failures(
    breaker: CircuitBreaker,
    timeout: dict[str, float],  # noqa: ASYNC109
) -> None:
    """
    The library's two errors for "too late" both count.
    """
    async with http_server() as server:  # noqa: SIM117
        async with session_of(breaker, timeout=aiohttp.ClientTimeout(**timeout)) as session:
            server.answers["/"] = silence
            with pytest.raises(TimeoutError):
                await session.get(server.url)
    assert State.OPEN is breaker.state


async def test_the_rejection_belongs_to_both_families(breaker: CircuitBreaker) -> None:
    """
    Who handles aiohttp's connection errors handles a rejection, which tells of the request and
    survives pickle.
    """
    force_state(breaker, State.OPEN)
    found: list[RequestRejectedError] = []
    async with session_of(breaker) as session:
        for _ in range(2):
            with pytest.raises(aiohttp.ClientConnectionError) as caught:
                await session.post("http://127.0.0.1:9/path?a=1")
            assert isinstance(caught.value, RequestRejectedError)
            found.append(caught.value)
    first, second = found
    again: RequestRejectedError = pickle.loads(pickle.dumps(first))

    assert first is not second
    assert isinstance(first, CircuitOpenError)
    assert not isinstance(first, aiohttp.ClientConnectorError | aiohttp.ServerDisconnectedError)
    assert first.request is not None
    assert ("POST", URL("http://127.0.0.1:9/path?a=1")) == (
        first.request.method,
        first.request.url,
    )
    assert ("api", 10.0) == (first.breaker, first.retry_after)
    assert (str(first), None) == (str(again), again.request)
    assert not is_outage(first)


async def test_one_breaker_per_origin() -> None:
    """
    Of two servers the healthy one goes on, also with a registry that two sessions share.
    """
    registry = Registry(lambda key: CircuitBreaker(key, trip=consecutive_failures(1)))
    async with (
        http_server() as ill,
        http_server() as well,
        session_of(registry) as one,
        session_of(registry) as other,
    ):
        ill.answers["/"] = answer(500)
        async with one.get(ill.url):
            pass
        with pytest.raises(RequestRejectedError) as caught:
            await other.get(ill.url)
        assert ill.url == caught.value.breaker
        for session in (one, other):
            async with session.get(well.url) as response:
                assert 200 == response.status
        assert {ill.url, well.url} == set(registry)
        assert "degraded" == registry.health()["status"]


async def test_by_default_each_session_has_its_own() -> None:
    """
    Without a registry the breakers are the session's own, with the defaults.
    """
    async with http_server() as server, session_of(None) as session:  # noqa: SIM117
        async with session.get(server.url) as response:
            assert "hello" == await response.text()


async def test_keys_of_one_s_own() -> None:
    """
    A key function chooses the breaker by what it likes of the request.
    """
    registry = Registry(CircuitBreaker)

    def key(request: aiohttp.ClientRequest) -> str:
        return f"{request.method} {request.url.path}"

    async with http_server() as server, session_of(registry, middleware={"key": key}) as session:  # noqa: SIM117
        async with session.get(f"{server.url}/a"), session.post(f"{server.url}/b"):
            pass
    assert ["GET /a", "POST /b"] == list(registry)


def failing(request: aiohttp.ClientRequest) -> str:
    raise LookupError("no tenant")


def number(request: aiohttp.ClientRequest) -> Any:
    return 7


def nothing(request: aiohttp.ClientRequest) -> str:
    return ""


async def later(request: aiohttp.ClientRequest) -> str:
    return ""


@pytest.mark.parametrize(
    ("key", "kind", "words"),
    [
        (failing, ValueError, r"key=<function failing .* raised LookupError: no tenant"),
        (number, TypeError, r"key=<function number .* must return a string, not 7"),
        (nothing, ValueError, r"key=<function nothing .* returned an empty key"),
        (lambda request: later(request), TypeError, r"must return a string, not <coroutine"),
    ],
    ids=["raises", "number", "empty", "coroutine"],
)
async def test_a_bad_key_is_refused_before_anything_is_sent(
    key: Any, kind: type[Exception], words: str
) -> None:
    """
    The message names the function and what it did.
    """
    async with http_server() as server:
        async with session_of(None, middleware={"key": key}) as session:
            with pytest.raises(kind, match=words):
                await session.get(server.url)
        assert [] == server.requests


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"breakers": "api"}, TypeError, "breakers must be a Registry or a CircuitBreaker"),
        ({"key": "host"}, TypeError, "key must be callable, not 'host'"),
        ({"key": later}, TypeError, "key must be a plain function, not the async"),
        ({"breakers": CircuitBreaker(), "key": nothing}, ValueError, "one breaker needs none"),
        ({"failures": 500}, TypeError, "failures must be status codes"),
        ({"failures": [True, 500]}, TypeError, "failures must be status codes"),
        ({"failures": later}, TypeError, "failures must be a plain function"),
        ({"statuses": [500]}, TypeError, "unexpected keyword argument 'statuses'"),
    ],
    ids=["breakers", "key", "async key", "both", "number", "flag", "async failures", "unknown"],
)
def test_bad_options_are_refused(options: Any, kind: type[Exception], words: str) -> None:
    """
    A wrong argument is named when it is given.
    """
    with pytest.raises(kind, match=words):
        breaker_middleware(**options)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_pause_that_is_asked_for_is_kept(
    breaker: CircuitBreaker, clock: ManualClock, status: int
) -> None:
    """
    Retry-After opens at once, for as long as it says.
    """
    breaker.configure(trip=consecutive_failures(5))
    async with http_server() as server, session_of(breaker) as session:
        server.answers["/"] = answer(status, retry_after="60")
        async with session.get(server.url) as response:
            assert status == response.status
        with pytest.raises(RequestRejectedError) as caught:
            await session.get(server.url)
        assert 60.0 == caught.value.retry_after
        server.answers["/"] = ok()
        clock.advance(60.0)
        async with session.get(server.url) as response:
            assert 200 == response.status


async def test_an_error_while_reading_is_a_failure(breaker: CircuitBreaker) -> None:
    """
    A body that breaks off makes the call a failure, although its status was good.
    """
    async with http_server() as server, session_of(breaker) as session:
        server.answers["/"] = cut()
        async with session.get(server.url) as response:
            assert 200 == response.status
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
    assert State.OPEN is breaker.state


READERS: dict[str, Callable[[Any], Any]] = {
    "read": lambda content: content.read(),
    "read some": lambda content: content.read(2),
    "readany": lambda content: content.readany(),
    "readexactly": lambda content: content.readexactly(4),
    "readline": lambda content: content.readline(),
    "readuntil": lambda content: content.readuntil(b"!"),
    "readchunk": lambda content: content.readchunk(),
    "async for": lambda content: anext(aiter(content)),
    "iter_any": lambda content: anext(content.iter_any()),
    "iter_chunked": lambda content: anext(content.iter_chunked(2)),
    "iter_chunks": lambda content: anext(content.iter_chunks()),
}


@pytest.mark.parametrize("reader", READERS)
async def test_every_way_of_reading_is_watched(breaker: CircuitBreaker, reader: str) -> None:
    """
    However a body is read, that it breaks off is noticed.
    """
    async with http_server() as server, session_of(breaker) as session:
        server.answers["/"] = cut(b"")
        async with session.get(server.url) as response:
            with pytest.raises(aiohttp.ClientPayloadError):
                await READERS[reader](response.content)
    assert State.OPEN is breaker.state


@pytest.mark.parametrize("reader", READERS)
async def test_every_way_of_reading_reads(breaker: CircuitBreaker, reader: str) -> None:
    """
    What is read is what the library's own stream would have given.
    """
    expected = {
        "read some": b"he",
        "readexactly": b"hell",
        "iter_chunked": b"he",
        "readchunk": (b"hello", True),
        "iter_chunks": (b"hello", True),
    }
    gate = anyio.Event()

    async def chunked(stream: Any) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        await gate.wait()
        await stream.send(b"5\r\nhello\r\n0\r\n\r\n")

    async with http_server() as server, session_of(breaker) as session:
        server.answers["/"] = chunked
        async with session.get(server.url) as response:
            gate.set()
            assert expected.get(reader, b"hello") == await READERS[reader](response.content)
            assert isinstance(response.content.total_bytes, int)


@pytest.mark.parametrize("ending", ["read", "released", "closed", "left"])
async def test_the_end_of_a_body_gives_the_place_back(
    breaker: CircuitBreaker, clock: ManualClock, ending: str
) -> None:
    """
    A probe keeps its place until its body has been read, or until nobody wants it any more;
    both prove that the server is well.
    """
    gate = anyio.Event()
    async with http_server() as server, session_of(breaker) as session:
        server.answers["/"] = gated(gate)
        force_state(breaker, State.OPEN)
        clock.advance(10.0)
        async with session.get(server.url) as response:
            assert (State.HALF_OPEN, 1) == (breaker.state, breaker.snapshot().in_flight)
            with pytest.raises(RequestRejectedError):
                await session.get(server.url)
            if ending == "read":
                gate.set()
                assert b"hello" == await response.read()
            elif ending == "released":
                response.release()
            elif ending == "closed":
                response.close()
        assert State.CLOSED is breaker.state


async def test_a_response_that_nobody_wants_gives_its_place_back(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """
    One that is neither read nor closed proves nothing, and blocks nobody once its connection
    has ended (until then aiohttp keeps it).
    """
    gate = anyio.Event()

    async def broken_off(stream: Any) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        await gate.wait()
        raise HangUpError

    async with http_server() as server, session_of(breaker) as session:
        server.answers["/"] = broken_off
        force_state(breaker, State.OPEN)
        clock.advance(10.0)
        await session.get(server.url)
        gate.set()
        while breaker.snapshot().in_flight:
            gc.collect()
            await asyncio.sleep(0.01)
        assert State.HALF_OPEN is breaker.state


async def test_who_is_cancelled_while_reading_proves_nothing(breaker: CircuitBreaker) -> None:
    """
    A caller that gives up in the middle of a body is neutral.
    """
    gate = anyio.Event()
    async with http_server() as server, session_of(breaker) as session:
        server.answers["/"] = gated(gate)
        with record(breaker) as events:
            async with session.get(server.url) as response:
                assert b"hel" == await response.content.readany()
                with anyio.move_on_after(0.05):
                    await response.content.readany()
        assert [Outcome.IGNORED] == outcomes(events)


async def test_nothing_is_buffered(breaker: CircuitBreaker) -> None:
    """
    The first part of a body is there while the server still holds the second.
    """
    gate = anyio.Event()
    async with http_server() as server, session_of(breaker) as session:
        server.answers["/"] = gated(gate)
        async with session.get(server.url) as response:
            pieces = response.content.iter_any()
            assert b"hel" == await anext(pieces)
            gate.set()
            assert [b"lo"] == [piece async for piece in pieces]


async def test_only_the_time_to_the_headers_is_slow(clock: ManualClock) -> None:
    """
    A body may take as long as it likes.
    """
    breaker = CircuitBreaker("api", slow=1.0, clock=clock)
    gate = anyio.Event()
    async with http_server() as server, session_of(breaker) as session:
        server.answers["/"] = gated(gate)
        async with session.get(server.url) as response:
            clock.advance(5.0)
            gate.set()
            assert b"hello" == await response.read()
    look = breaker.snapshot()

    assert (1, 0) == (look.succeeded, look.slow)


async def test_a_body_of_the_caller_s_that_raises_is_local(breaker: CircuitBreaker) -> None:
    """
    An upload that fails on this side says nothing of the server.
    """

    async def upload() -> AsyncIterator[bytes]:
        yield b"some"
        raise LookupError("the rest is not to be found")

    async with http_server() as server, session_of(breaker) as session:
        server.answers["/"] = silence
        with record(breaker) as events, pytest.raises(aiohttp.ClientConnectionError):
            await session.post(server.url, data=upload())

    assert [Outcome.IGNORED] == outcomes(events)


async def test_a_busy_connector_never_opens(breaker: CircuitBreaker) -> None:
    """
    A hundred callers of one connection, most of which wait in vain, are no outage.
    """

    async def slowly(stream: Any) -> None:
        await asyncio.sleep(0.03)
        await ok()(stream)

    connector = aiohttp.TCPConnector(limit=1)
    timeout = aiohttp.ClientTimeout(total=5, connect=0.1)
    async with http_server() as server:  # noqa: SIM117
        async with session_of(breaker, connector=connector, timeout=timeout) as session:
            server.answers["/"] = slowly

            async def ask() -> int:
                async with session.get(server.url) as response:
                    await response.read()
                    return response.status

            found = await asyncio.gather(*(ask() for _ in range(100)), return_exceptions=True)
    kinds = {type(each) for each in found}

    assert int in kinds
    assert all(issubclass(kind, TimeoutError) for kind in kinds - {int})
    assert (0, State.CLOSED) == (breaker.snapshot().failed, breaker.state)


async def test_a_status_that_is_raised_counts_once(breaker: CircuitBreaker) -> None:
    """
    That the session raises for a status makes no second failure of it.
    """
    async with http_server() as server:
        async with session_of(breaker, raise_for_status=True) as session:
            server.answers["/"] = answer(500)
            with record(breaker) as events, pytest.raises(aiohttp.ClientResponseError) as caught:
                await session.get(server.url)
        assert is_outage(caught.value)
        assert [Outcome.FAILURE] == outcomes(events)


async def test_a_retry_outside_sees_each_attempt(clock: ManualClock) -> None:
    """
    A middleware that tries again is judged by every try, until it is refused.
    """
    breaker = breaker_of(clock, failures=3)
    tries: list[int] = []

    async def retrying(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        while True:
            response = await handler(request)
            tries.append(response.status)
            if response.status != 500:
                return response
            response.release()

    async with http_server() as server, session_of(breaker, outside=[retrying]) as session:
        server.answers["/"] = answer(500)
        with pytest.raises(RequestRejectedError):
            await session.get(server.url)

    assert ([500] * 3, 3) == (tries, breaker.snapshot().failed)


async def test_each_hop_of_a_redirect_is_guarded() -> None:
    """
    A redirect to another origin is a call of that origin's breaker.
    """
    registry = Registry(CircuitBreaker)
    async with http_server() as one, http_server() as other, session_of(registry) as session:
        one.answers["/"] = answer(302, location=f"{other.url}/there")
        async with session.get(one.url) as response:
            assert "hello" == await response.text()
        assert [1, 1] == [registry[server.url].snapshot().succeeded for server in (one, other)]
        registry[other.url].force_open()
        with pytest.raises(RequestRejectedError) as caught:
            await session.get(one.url)
        assert other.url == caught.value.breaker


async def test_digest_authentication_is_two_calls(breaker: CircuitBreaker) -> None:
    """
    The challenge and the answer to it are a request each, by the library's own middleware.
    """
    digest = aiohttp.DigestAuthMiddleware("user", "secret")
    challenge = 'Digest realm="here", nonce="1", qop="auth", algorithm=MD5'
    async with http_server() as server, session_of(breaker, outside=[digest]) as session:
        server.answers["/"] = answer(401, www_authenticate=challenge)
        async with session.get(server.url) as response:
            assert 401 == response.status
        assert 2 == len(server.requests)

    assert 2 == breaker.snapshot().succeeded


async def test_one_request_may_go_without(breaker: CircuitBreaker) -> None:
    """
    A health probe of one's own passes an open circuit.
    """
    force_state(breaker, State.OPEN)
    async with http_server() as server, session_of(breaker) as session:  # noqa: SIM117
        async with session.get(server.url, middlewares=()) as response:
            assert 200 == response.status


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_answers_without_a_body_end_at_once(breaker: CircuitBreaker, method: str) -> None:
    """
    What has no body, or has arrived whole, is a success before anybody reads it.
    """
    async with http_server() as server, session_of(breaker) as session:
        server.answers["/"] = answer(204)
        with record(breaker) as events:
            async with session.request(method, server.url):
                assert [Outcome.SUCCESS] == outcomes(events)


async def test_of_a_websocket_the_handshake_is_the_call(breaker: CircuitBreaker) -> None:
    """
    A socket that stays open for hours is no call that lasts for hours.
    """

    async def chat(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"you said {message.data}")
        return socket

    app = web.Application()
    app.router.add_get("/", chat)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with session_of(breaker) as session:
        with record(breaker) as events:
            async with session.ws_connect(url) as socket:
                assert [Outcome.SUCCESS] == outcomes(events)
                await socket.send_str("hello")
                assert "you said hello" == await socket.receive_str()
        breaker.force_open()
        with pytest.raises(RequestRejectedError):
            await session.ws_connect(url)
    await runner.cleanup()


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ({404}, Outcome.FAILURE),
        (frozenset({500}), Outcome.SUCCESS),
        (lambda response: response.headers["x"] == "bad", Outcome.FAILURE),
        (lambda response: response.headers["missing"], Outcome.IGNORED),
    ],
    ids=["set", "other", "predicate", "raises"],
)
async def test_what_is_a_failure_can_be_chosen(
    breaker: CircuitBreaker, failures: Any, expected: Outcome
) -> None:
    """
    Other statuses, or a predicate of the response; one that raises learns nothing.
    """
    async with http_server() as server:  # noqa: SIM117
        async with session_of(breaker, middleware={"failures": failures}) as session:
            server.answers["/"] = answer(404, x="bad")
            with record(breaker) as events:
                async with session.get(server.url) as response:
                    assert "words" == await response.text()
    assert [expected] == outcomes(events)


def response_error(status: int, cause: Exception | None = None) -> Exception:
    info: Any = None
    error = aiohttp.ClientResponseError(info, (), status=status, message="words")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (response_error(500), True),
        (response_error(404), False),
        (response_error(400, BadHttpMessage("no HTTP")), True),
        (aiohttp.ClientPayloadError("cut"), True),
        (aiohttp.ServerDisconnectedError(), True),
        (aiohttp.ServerTimeoutError(), True),
        (TimeoutError("time"), True),
        (ConnectionResetError("reset"), True),
        (aiohttp.InvalidURL("nowhere"), False),
        (ValueError("value"), False),
        (asyncio.CancelledError("cancelled"), False),
        (ExceptionGroup("a leaf is", [ValueError(), TimeoutError()]), True),
        (ExceptionGroup("no leaf is", [ValueError(), KeyError()]), False),
    ],
    ids=lambda value: f"{value!r}"[:40],
)
def test_which_errors_are_an_outage(error: BaseException, expected: bool) -> None:
    """
    The predicate for breakers that are not in a session.
    """
    assert expected is is_outage(error)


async def test_a_breaker_of_one_s_own_by_the_predicates(clock: ManualClock) -> None:
    """
    Without the middleware the same rules hold, by ``fail_on`` and ``fail_on_result``.
    """
    breaker = CircuitBreaker(
        trip=consecutive_failures(2), fail_on=is_outage, fail_on_result=is_failure, clock=clock
    )
    async with http_server() as server, aiohttp.ClientSession() as session:
        server.answers["/"] = answer(500)
        (await breaker.call(session.get, server.url)).release()
        with pytest.raises(aiohttp.InvalidURL):
            await breaker.call(session.get, "nowhere")
        with pytest.raises(aiohttp.ClientError):
            await breaker.call(session.get, "http://127.0.0.1:9/")
    assert State.OPEN is breaker.state


async def test_a_url_without_host_is_refused(breaker: CircuitBreaker) -> None:
    """
    What leads nowhere is refused before anything is sent, and proves nothing.
    """

    async def elsewhere(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.url = URL("/path")
        return await handler(request)

    async with http_server() as server, session_of(breaker, outside=[elsewhere]) as session:
        with pytest.raises(aiohttp.InvalidURL, match="it has no host"):
            await session.get(server.url)
        assert [] == server.requests
    assert 0 == breaker.snapshot().ignored
