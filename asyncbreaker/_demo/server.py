"""The demo's HTTP server, run as a process of its own: ``-m asyncbreaker._demo.server``.

``GET /with`` and ``GET /without``, and what is below them, each reach a backend
of their own, so that neither side suffers from what the other sends; ``GET /phase/<phase>``
changes both. The first line on stdout is ``port <n>``, or what went wrong. It ends when its
stdin does, so that it outlives its parent in no case.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time

from asyncbreaker._demo.backend import Backend
from asyncbreaker._demo.script import Phase

HOST = "127.0.0.1"
TICK = 0.005  # seconds between two looks at the queues
LATENCY = 0.03  # seconds from a call's turn to its answer

REASONS = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}


class Service:
    """Both backends, and which path reaches what."""

    def __init__(self, warming: float) -> None:
        self.backends = {"with": Backend(warming), "without": Backend(warming)}

    def take(self, path: str, connection: Connection) -> None:
        """Pass a call on to where its path leads."""
        folder, _, rest = path.removeprefix("/").partition("/")
        if folder in self.backends:
            self.backends[folder].arrive(connection.answer)
        elif folder == "phase" and rest in set(Phase):
            for backend in self.backends.values():
                backend.enter(Phase(rest), time.monotonic())
            connection.answer(200)
        else:
            connection.answer(404)

    async def work(self) -> None:
        """Serve, until cancelled, whose turn it is."""
        loop = asyncio.get_running_loop()
        while True:
            for backend in self.backends.values():
                for answer in backend.served(time.monotonic()):
                    loop.call_later(LATENCY, answer, 200)
            await asyncio.sleep(TICK)


class Connection(asyncio.Protocol):
    """One keep-alive connection. As much HTTP/1.1 as GET needs."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember whom to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget whom to answer: the call itself stays in the queue."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Take a call when its head is complete; the client sends one at a time."""
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if end:
            self._received = rest
            self._service.take(head.split()[1].decode("ascii", "replace"), self)

    def answer(self, status: int) -> None:
        """Answer the call, if somebody still listens."""
        if self._transport is not None:
            head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Length: 0\r\n\r\n"
            self._transport.write(head.encode())


async def serve(port: int, warming: float) -> None:
    """Announce the port and serve until stdin ends."""
    loop = asyncio.get_running_loop()
    service = Service(warming)
    try:
        server = await loop.create_server(lambda: Connection(service), HOST, port)
    except OSError as error:
        print(os.strerror(error.errno or 0), flush=True)
        return
    print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        work = asyncio.create_task(service.work())
        await stdin_ended()
        work.cancel()


async def stdin_ended() -> None:
    """Wait until the parent has closed our stdin, or is gone."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def watch() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(ended.set)

    # A daemon thread reads a pipe on every platform, and never keeps us alive.
    threading.Thread(target=watch, daemon=True).start()
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
