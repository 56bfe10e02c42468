"""Rejections in Starlette and FastAPI applications, through a real server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import aiohttp
import httpx
import pytest
import uvicorn
from fastapi import Depends, FastAPI, Header, Query, WebSocket
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from asyncbreaker import (
    Bulkhead,
    BulkheadFullError,
    CircuitBreaker,
    CircuitOpenError,
    Reason,
    RejectedError,
    State,
    consecutive_failures,
    probing,
)
from asyncbreaker.integrations.starlette import rejected_handler
from asyncbreaker.testing import ManualClock, force_state
from tests.integrations.processes import free_port

pytestmark = pytest.mark.asyncio


@pytest.fixture
def breaker(clock: ManualClock) -> CircuitBreaker:
    rule = consecutive_failures(1)
    return CircuitBreaker("secret-name", trip=rule, backoff=7.2, recovery=probing(), clock=clock)


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The application behind a real uvicorn; its URL."""
    port = free_port()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        await task


async def get(url: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(url, headers=headers)


async def ask() -> str:
    return "fresh"


def plain_app(endpoint: Callable[[Request], Awaitable[Response]], **options: Any) -> Starlette:
    app = Starlette(routes=[Route("/", endpoint)], **options)
    app.add_exception_handler(RejectedError, rejected_handler)
    return app


class PassOn(BaseHTTPMiddleware):
    """Does nothing, in the way that hides disconnects."""

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response


@pytest.mark.parametrize("middleware", [[], [Middleware(PassOn)]], ids=["alone", "middleware"])
async def test_a_rejection_is_a_503_with_retry_after(
    breaker: CircuitBreaker, middleware: list[Middleware]
) -> None:
    """
    The client is told when to come again, and nothing of what is behind.
    """

    async def home(request: Request) -> Response:
        return PlainTextResponse(await breaker.call(ask))

    force_state(breaker, State.OPEN)
    async with served(plain_app(home, middleware=middleware)) as url:
        refused = await get(url)
        breaker.reset()
        answered = await get(url)

    assert (503, "8") == (refused.status_code, refused.headers["retry-after"])
    assert "application/problem+json" == refused.headers["content-type"]
    assert {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "A dependency is unavailable. Try again in 8 s.",
    } == refused.json()
    assert "secret" not in refused.text
    assert (200, "fresh") == (answered.status_code, answered.text)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (CircuitOpenError("api", Reason.OPEN, 0.0), "1"),
        (CircuitOpenError("api", Reason.OPEN, 0.2), "1"),
        (CircuitOpenError("api", Reason.OPEN, 1.0), "1"),
        (CircuitOpenError("api", Reason.OPEN, 1.01), "2"),
        (CircuitOpenError("api", Reason.OPEN, 300.0), "300"),
        (CircuitOpenError("api", Reason.HALF_OPEN), "1"),
        (CircuitOpenError("api", Reason.FORCED), "1"),
        (BulkheadFullError("small", 1), "1"),
        (RejectedError("of one's own"), "1"),
    ],
    ids=str,
)
async def test_retry_after_is_in_whole_seconds(error: Exception, seconds: str) -> None:
    """
    Rounded up, and at least one, also where nobody knows.
    """
    response = await rejected_handler(Request({"type": "http", "headers": []}), error)

    assert seconds == response.headers["retry-after"]


async def test_a_full_bulkhead_is_answered_too() -> None:
    """
    Every kind of rejection is.
    """
    bulkhead = Bulkhead(1)
    hold = asyncio.Event()

    async def home(request: Request) -> Response:
        await bulkhead.call(hold.wait)
        return PlainTextResponse("done")

    async with served(plain_app(home)) as url:
        first = asyncio.create_task(get(url))
        while bulkhead.running == 0:  # noqa: ASYNC110 - a bulkhead tells nobody
            await asyncio.sleep(0.01)
        assert 503 == (await get(url)).status_code
        hold.set()
        assert 200 == (await first).status_code


async def test_a_client_that_goes_away_is_neutral(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """
    A handler that is cancelled because its client is gone proves nothing of the dependency,
    and gives a probe's place back.
    """
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    async def home(request: Request) -> Response:
        async def unless_gone() -> None:
            while not await request.is_disconnected():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            call.cancel()

        call = asyncio.create_task(breaker.call(hang))
        watching = asyncio.create_task(unless_gone())
        await asyncio.wait([call])
        await watching
        ended.set()
        return PlainTextResponse("to nobody")

    force_state(breaker, State.OPEN)
    clock.advance(10.0)
    async with served(plain_app(home)) as url:
        port = int(url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
        await begun.wait()
        assert 1 == breaker.snapshot().in_flight
        writer.close()
        await ended.wait()
    look = breaker.snapshot()

    assert (0, 1, 0) == (look.failed, look.ignored, look.in_flight)


async def test_a_stream_that_its_client_leaves_is_no_failure(breaker: CircuitBreaker) -> None:
    """
    A guarded stream that is sent on ends well when the browser has had enough.
    """
    ended = asyncio.Event()

    @breaker
    async def lines() -> AsyncIterator[str]:
        try:
            while True:
                yield "line\n"
                await asyncio.sleep(0.005)
        finally:
            ended.set()

    async def home(request: Request) -> Response:
        return StreamingResponse(lines())

    async with served(plain_app(home)) as url:
        async with httpx.AsyncClient() as client, client.stream("GET", url) as response:
            assert "line" == await anext(response.aiter_lines())
        await ended.wait()

    assert (0, State.CLOSED) == (breaker.snapshot().failed, breaker.state)


async def test_background_tasks_are_guarded_like_anything_else(breaker: CircuitBreaker) -> None:
    """
    What fails after the answer is counted, and the answer stands.
    """

    async def fail() -> None:
        raise ConnectionError("refused")

    async def later() -> None:
        with pytest.raises(ConnectionError):
            await breaker.call(fail)

    async def home(request: Request) -> Response:
        return PlainTextResponse("accepted", background=BackgroundTask(later))

    async with served(plain_app(home)) as url:
        assert "accepted" == (await get(url)).text
        while State.OPEN is not breaker.state:  # noqa: ASYNC110 - the task tells nobody
            await asyncio.sleep(0.01)


shop = CircuitBreaker("shop", trip=consecutive_failures(1), backoff=7.2)


# In a module whose annotations are strings, as many are: they must be found through the breaker.
@shop
async def stock(
    item: Annotated[str, Query(min_length=2)], tenant: Annotated[str, Header()] = "none"
) -> str:
    if item == "broken":
        raise ConnectionError("refused")
    return f"{item} of {tenant}"


closed: list[str] = []


@shop
async def session(limit: Limit = 10) -> AsyncIterator[int]:
    try:
        yield limit
    finally:
        closed.append("closed")


Limit = int


def fast_app() -> FastAPI:
    """An application with dependencies under a breaker."""
    shop.reset()
    closed.clear()
    app = FastAPI()
    app.add_exception_handler(RejectedError, rejected_handler)

    @app.get("/stock")
    async def read_stock(found: Annotated[str, Depends(stock)]) -> dict[str, str]:
        return {"stock": found}

    @app.get("/session")
    async def read_session(found: Annotated[int, Depends(session)], fail: bool = False) -> int:
        if fail:
            raise LookupError("of the endpoint")
        return found

    @app.exception_handler(ConnectionError)
    async def bad_gateway(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 502)

    @app.exception_handler(LookupError)
    async def not_found(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 404)

    @app.websocket("/chat")
    async def chat(websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            word = await websocket.receive_text()
            await websocket.send_text(f"{word}: {await shop.call(ask)}")

    @app.websocket("/closed")
    async def closes(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()
        await shop.call(ask)

    return app


async def test_a_dependency_keeps_its_signature() -> None:
    """
    Parameters, validation and the schema are as without the breaker, whose circuit the
    dependency's own errors open.
    """
    app = fast_app()
    async with served(app) as url:
        found = await get(f"{url}/stock?item=apples", tenant="one")
        assert {"stock": "apples of one"} == found.json()
        assert 422 == (await get(f"{url}/stock?item=a")).status_code
        failed = await get(f"{url}/stock?item=broken")
        assert (502, "refused") == (failed.status_code, failed.json()["detail"])
        assert 503 == (await get(f"{url}/stock?item=apples")).status_code
    schema = app.openapi()["paths"]["/stock"]["get"]["parameters"]

    assert [("item", "query", True), ("tenant", "header", False)] == [
        (parameter["name"], parameter["in"], parameter["required"]) for parameter in schema
    ]


async def test_a_dependency_that_yields_is_ended() -> None:
    """
    What comes after the yield runs, also when the endpoint fails, which is none of its breaker's
    business.
    """
    app = fast_app()
    async with served(app) as url:
        assert 7 == (await get(f"{url}/session?limit=7")).json()
        assert 404 == (await get(f"{url}/session?fail=true")).status_code
        assert ["closed", "closed"] == closed
        assert State.CLOSED is shop.state
        shop.force_open()
        assert 503 == (await get(f"{url}/session")).status_code


async def test_a_websocket_is_told_to_come_again() -> None:
    """
    A socket whose handler is rejected is closed with "try again later".
    """
    async with served(fast_app()) as url, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{url}/chat") as socket:
            await socket.send_str("first")
            assert "first: fresh" == await socket.receive_str()
            shop.force_open()
            await socket.send_str("second")
            message = await socket.receive()
            assert (aiohttp.WSMsgType.CLOSE, 1013) == (message.type, message.data)
        async with session.ws_connect(f"{url}/closed") as socket:
            assert aiohttp.WSMsgType.CLOSE is (await socket.receive()).type
