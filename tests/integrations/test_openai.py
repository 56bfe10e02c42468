"""A real SDK on top of the adapter: the OpenAI client through an outage."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from asyncbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    Registry,
    State,
    consecutive_failures,
    probing,
    retryable,
)
from asyncbreaker.integrations.httpx2 import BreakerTransport
from asyncbreaker.testing import ManualClock
from tests.integrations.http_server import (
    Answer,
    HangUpError,
    HttpServer,
    answer,
    head,
    http_server,
)

openai: Any = pytest.importorskip("openai", reason="wants a newer httpx2 than the adapter does")

pytestmark = pytest.mark.anyio

PATH = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Why?"}]


@pytest.fixture
def breaker(clock: ManualClock) -> CircuitBreaker:
    rule = consecutive_failures(1)
    return CircuitBreaker("llm", trip=rule, backoff=10.0, recovery=probing(), clock=clock)


@asynccontextmanager
async def sdk(
    breakers: Registry | CircuitBreaker, server: HttpServer, retries: int = 0, **guarding: Any
) -> AsyncIterator[Any]:
    http = httpx2.AsyncClient(transport=BreakerTransport(breakers=breakers, **guarding), timeout=5)
    url = f"{server.url}/v1"
    async with openai.AsyncOpenAI(
        base_url=url, api_key="key", http_client=http, max_retries=retries
    ) as client:
        yield client


async def ask(client: Any, model: str = "small") -> str:
    done = await client.chat.completions.create(model=model, messages=MESSAGES)
    text: str = done.choices[0].message.content
    return text


def completion(text: str = "Because.") -> Answer:
    """What the provider answers."""
    message = {"role": "assistant", "content": text}
    body = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "small",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
    }
    return answer(200, json.dumps(body).encode(), content_type="application/json")


def problem(status: int, **fields: str) -> Answer:
    """What the provider answers when it does not."""
    body = json.dumps({"error": {"message": "words", "type": "some"}}).encode()
    return answer(status, body, content_type="application/json", **fields)


def pieces(*texts: str, end: bool) -> Answer:
    """A streamed completion, which breaks off unless *end*."""
    events = [
        {
            "id": "1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "small",
            "choices": [{"index": 0, "delta": {"content": text}}],
        }
        for text in texts
    ]
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    body = ("".join(lines) + ("data: [DONE]\n\n" if end else "")).encode()

    async def write(stream: Any) -> None:
        fields = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        await stream.send(head(200, fields) + f"{len(body):x}\r\n".encode() + body + b"\r\n")
        if end:
            await stream.send(b"0\r\n\r\n")
        else:
            raise HangUpError

    return write


async def test_an_outage_and_the_return(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """
    The provider fails, is left alone, and is asked again after the wait.
    """
    async with http_server() as server, sdk(breaker, server) as client:
        server.answers[PATH] = completion()
        assert "Because." == await ask(client)
        server.answers[PATH] = problem(529)
        with pytest.raises(openai.APIStatusError):
            await ask(client)
        assert State.OPEN is breaker.state
        with pytest.raises(openai.APIConnectionError) as caught:
            await ask(client)
        assert isinstance(caught.value.__cause__, CircuitOpenError)
        assert not retryable(caught.value)
        assert 2 == len(server.requests)

        server.answers[PATH] = completion("Well again.")
        clock.advance(10.0)
        assert "Well again." == await ask(client)
        assert State.CLOSED is breaker.state


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429])
async def test_what_the_caller_did_wrong_is_no_outage(breaker: CircuitBreaker, status: int) -> None:
    """
    A context that is too long, or a key that is wrong, says nothing against the provider.
    """
    async with http_server() as server, sdk(breaker, server) as client:
        server.answers[PATH] = problem(status)
        for _ in range(3):
            with pytest.raises(openai.APIStatusError):
                await ask(client)

    assert (3, State.CLOSED) == (breaker.snapshot().succeeded, breaker.state)


async def test_a_rate_limit_says_for_how_long(breaker: CircuitBreaker) -> None:
    """
    A 429 that asks for a pause gets it.
    """
    async with http_server() as server, sdk(breaker, server) as client:
        server.answers[PATH] = problem(429, retry_after="42")
        with pytest.raises(openai.RateLimitError):
            await ask(client)
        with pytest.raises(openai.APIConnectionError):
            await ask(client)

    assert 42.0 == breaker.snapshot().retry_after


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # the SDK closes none
async def test_a_stream_that_breaks_off_is_a_failure(breaker: CircuitBreaker) -> None:
    """
    A 200 was sent long before the error.
    """
    async with http_server() as server, sdk(breaker, server) as client:

        async def read() -> list[str]:
            stream = await client.chat.completions.create(
                model="small", messages=MESSAGES, stream=True
            )
            return [chunk.choices[0].delta.content async for chunk in stream]

        server.answers[PATH] = pieces("Be", "cause.", end=True)
        assert ["Be", "cause."] == await read()
        assert 1 == breaker.snapshot().succeeded
        server.answers[PATH] = pieces("Be", end=False)
        with pytest.raises((httpx2.RemoteProtocolError, openai.APIConnectionError)):
            await read()
        assert State.OPEN is breaker.state


async def test_the_sdk_s_own_retries_do_not_hammer(breaker: CircuitBreaker) -> None:
    """
    With the SDK's retries on, what comes after the opening is refused, not sent.
    """
    async with http_server() as server, sdk(breaker, server, retries=2) as client:
        server.answers[PATH] = problem(500)
        with pytest.raises(openai.APIConnectionError):
            await ask(client)
        assert 1 == len(server.requests)


async def test_one_breaker_per_model(clock: ManualClock) -> None:
    """
    Where one model is ill the others go on.
    """
    rule = consecutive_failures(1)
    registry = Registry(lambda key: CircuitBreaker(key, trip=rule, clock=clock))

    def key(request: httpx2.Request) -> str:
        return f"{request.url.host} {json.loads(request.content)['model']}"

    async with http_server() as server, sdk(registry, server, key=key) as client:
        server.answers[PATH] = problem(503)
        with pytest.raises(openai.InternalServerError):
            await ask(client, "large")
        server.answers[PATH] = completion()
        assert "Because." == await ask(client, "small")
        with pytest.raises(openai.APIConnectionError):
            await ask(client, "large")

    assert ["127.0.0.1 large", "127.0.0.1 small"] == sorted(registry)
