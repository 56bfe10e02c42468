"""Starts the server's process, and sees to it that it ends with us."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio.streams.text import TextReceiveStream

from asyncbreaker._demo.server import HOST


class ServerError(Exception):
    """The server could not start."""


@asynccontextmanager
async def running_server(port: int, warming: float) -> AsyncGenerator[str, None]:
    """Run the server in a second process; yield its URL. Port 0: any free one."""
    command = [sys.executable, "-m", "asyncbreaker._demo.server", str(port), str(warming)]
    # In a session of its own Ctrl-C reaches us alone; it ends when we close its stdin.
    async with await anyio.open_process(command, stderr=None, start_new_session=True) as process:
        assert process.stdout is not None
        line = ""
        async for text in TextReceiveStream(process.stdout):
            line += text
            if line.endswith("\n"):
                break
        word, _, number = line.strip().partition(" ")
        if word != "port":
            reason = line.strip() or "its process ended at once"
            raise ServerError(f"cannot listen on {HOST}:{port}: {reason}")
        yield f"http://{HOST}:{number}"
