"""A small real HTTP server on loopback that answers, or breaks, as a test has written."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import anyio
from anyio.abc import SocketAttribute, SocketStream

Answer = Callable[[SocketStream], Awaitable[None]]
"""Writes one answer; what it raises closes the connection."""


class HangUpError(Exception):
    """The server closes the connection."""


class HttpServer:
    """Takes requests on loopback; ``server.answers["/path"]`` says how each is answered."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.answers: dict[str, Answer] = {}
        self.requests: list[str] = []
        """The paths that were asked for, in their order."""

    async def serve(self, stream: SocketStream) -> None:
        """Answer the requests of one connection."""
        async with stream:
            try:
                while path := await self._request(stream):
                    self.requests.append(path)
                    await self.answers.get(path.partition("?")[0], ok())(stream)
            except (HangUpError, anyio.BrokenResourceError, anyio.EndOfStream):
                pass  # as the test wanted, or the client has gone

    async def _request(self, stream: SocketStream) -> str:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive()
        head, _, body = head.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:])
        length = int(fields.get("content-length", "0"))
        while len(body) < length:
            body += await stream.receive()
        return lines[0].split(" ")[1]


@asynccontextmanager
async def http_server() -> AsyncIterator[HttpServer]:
    """A server that runs for the block, which must not take longer than 20 seconds."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server = HttpServer(listener.extra(SocketAttribute.local_port))
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, server.serve)
        with anyio.fail_after(20):
            yield server
        tasks.cancel_scope.cancel()


def head(status: int, fields: Mapping[str, str]) -> bytes:
    """The first lines of an answer."""
    lines = [f"HTTP/1.1 {status} Words", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def ok(body: bytes = b"hello") -> Answer:
    """A good answer."""
    return answer(200, body=body)


def answer(status: int, body: bytes = b"words", **fields: str) -> Answer:
    """A whole answer; *fields* in Python's spelling."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    length = {} if status in (101, 204, 304) else {"content-length": str(len(body))}
    data = head(status, {**length, **named}) + (body if length else b"")
    return lambda stream: stream.send(data)


def cut(body: bytes = b"hel", promised: int = 5) -> Answer:
    """A good answer whose body ends too early."""

    async def write(stream: SocketStream) -> None:
        await stream.send(head(200, {"content-length": str(promised)}) + body)
        raise HangUpError

    return write


def gated(gate: anyio.Event, first: bytes = b"hel", rest: bytes = b"lo") -> Answer:
    """A good answer whose body comes in two parts, the second when the gate is opened."""

    async def write(stream: SocketStream) -> None:
        await stream.send(head(200, {"content-length": str(len(first) + len(rest))}) + first)
        await gate.wait()
        await stream.send(rest)

    return write


async def silence(stream: SocketStream) -> None:
    """No answer at all."""
    await anyio.sleep_forever()


async def hangup(stream: SocketStream) -> None:
    """The connection is closed instead of an answer."""
    raise HangUpError


async def reset(stream: SocketStream) -> None:
    """The connection is reset instead of an answer."""
    link = stream.extra(SocketAttribute.raw_socket)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise HangUpError


async def garbage(stream: SocketStream) -> None:
    """What is no HTTP."""
    await stream.send(b"who is there?\r\n\r\n")
    raise HangUpError
