"""A small TCP proxy on loopback that can be slow, cut, deaf or gone, at any moment."""

from __future__ import annotations

import asyncio
import socket
import struct
from types import TracebackType
from typing import Self

from tests.integrations.processes import free_port


class FaultyProxy:
    """Passes bytes to a server and back, and does to them what the test says.

    ``async with FaultyProxy(port) as proxy:``; clients connect to ``proxy.port``. Every
    fault holds for connections that exist, too, until ``heal``.
    """

    def __init__(self, target_port: int, target_host: str = "127.0.0.1") -> None:
        self.port = free_port()
        self.accepted = 0
        """Connections that came in."""
        self._target = target_host, target_port
        self._server: asyncio.Server | None = None
        self._links: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._latency = 0.0
        self._left: int | None = None  # bytes of answers that still pass
        self._hears = asyncio.Event()  # not set: a black hole
        self._hears.set()
        self._resetting = False

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.refuse()
        await self._cut()

    def latency(self, seconds: float) -> None:
        """Pass each piece on after so many seconds."""
        self._latency = seconds

    def blackhole(self) -> None:
        """Take connections and bytes, and answer nothing."""
        self._hears.clear()

    def truncate(self, after_bytes: int) -> None:
        """Pass so many bytes of answers in all, then close the connection on which more come."""
        self._left = after_bytes

    async def reset(self) -> None:
        """Reset every connection, and each that comes."""
        self._resetting = True
        await self._cut()

    async def refuse(self) -> None:
        """Take no connections any more; those that exist go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def heal(self) -> None:
        """Be a good proxy again."""
        self._latency, self._left, self._resetting = 0.0, None, False
        self._hears.set()
        if self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._links[task] = [writer]
        try:
            if not self._resetting:
                await self._link(reader, writer, self._links[task])
        except (OSError, asyncio.CancelledError):
            pass  # one side is gone, or the test has cut the line
        finally:
            for end in self._links.pop(task):
                _close(end, reset=self._resetting)

    async def _link(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ends: list[asyncio.StreamWriter],
    ) -> None:
        await self._hears.wait()
        there, back = await asyncio.open_connection(*self._target)
        ends.append(back)
        pumps = [
            asyncio.create_task(self._pump(reader, back, answers=False)),
            asyncio.create_task(self._pump(there, writer, answers=True)),
        ]
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in done:
                pump.result()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        while piece := await reader.read(65536):
            await self._hears.wait()
            await asyncio.sleep(self._latency)
            if answers and self._left is not None:
                piece, self._left = piece[: self._left], max(0, self._left - len(piece))
                writer.write(piece)
                await writer.drain()
                if not self._left:
                    return
            else:
                writer.write(piece)
                await writer.drain()

    async def _cut(self) -> None:
        tasks = list(self._links)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _close(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        link: socket.socket = writer.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()
