"""Starts the server's process, and sees to it that it ends with us."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from asyncbreaker._demo.server import HOST

PATIENCE = 2.0  # seconds in which it shall end by itself
LONGEST = 1000  # bytes of the line in which it says its port


class ServerError(Exception):
    """The server could not start."""


@asynccontextmanager
async def running_server(port: int, warming: float) -> AsyncGenerator[str, None]:
    """Run the server in a second process; yield its URL. Port 0: any free one."""
    command = [sys.executable, "-m", "asyncbreaker._demo.server", str(port), str(warming)]
    # In a session of its own Ctrl-C reaches us alone; it ends when we close its stdin.
    process = await anyio.open_process(command, stderr=None, start_new_session=True)
    try:
        yield await announced(process, port)
    finally:
        # Shielded: at Ctrl-C, too, it may end by itself. What then still runs, aclose() kills.
        with anyio.move_on_after(PATIENCE, shield=True):
            await process.aclose()


async def announced(process: Process, port: int) -> str:
    """Return the URL that the server says it listens at."""
    assert process.stdout is not None
    try:
        line = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", LONGEST)
    except anyio.IncompleteRead:
        raise ServerError("the server's process ended at once") from None
    word, _, number = line.decode().partition(" ")
    if word != "port":
        raise ServerError(f"cannot listen on {HOST}:{port}: {line.decode()}")
    return f"http://{HOST}:{number}"
