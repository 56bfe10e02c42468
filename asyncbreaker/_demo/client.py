"""The HTTP client: httpx2, or httpx where only that is installed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from types import ModuleType

Fetch = Callable[[str], Awaitable[object]]
"""Takes a path; raises unless the answer is good."""


def load_http() -> ModuleType:
    """Return httpx2 or httpx; raises ImportError when neither is installed."""
    try:
        return import_module("httpx2")
    except ImportError:
        return import_module("httpx")


@asynccontextmanager
async def http_client(url: str, timeout: float) -> AsyncGenerator[Fetch, None]:  # noqa: ASYNC109
    """Open a client; a call that has not been answered for *timeout* seconds raises."""
    http = load_http()
    async with http.AsyncClient(
        base_url=url,
        timeout=timeout,
        # No limit: callers must wait for the service, not for a place in our own pool.
        limits=http.Limits(max_connections=None),
        trust_env=False,  # a proxy would not know our loopback
        verify=False,  # no TLS here, and loading certificates takes a while
    ) as client:

        async def fetch(path: str) -> object:
            return (await client.get(path)).raise_for_status()

        yield fetch
