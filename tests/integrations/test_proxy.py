"""The faulty proxy does what it says, before adapters are judged by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.integrations.proxy import FaultyProxy

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def proxied_echo() -> AsyncIterator[FaultyProxy]:
    """A proxy before a server that sends everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1000):
            writer.write(piece)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(10), FaultyProxy(port) as proxy:
        yield proxy


Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ask(link: Link, text: bytes = b"hello") -> bytes:
    reader, writer = link
    writer.write(text)
    return await reader.readexactly(len(text))


@asynccontextmanager
async def connected(proxy: FaultyProxy) -> AsyncIterator[Link]:
    link = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield link
    finally:
        link[1].close()


async def test_it_passes_bytes_both_ways() -> None:
    """
    Without a fault it is not noticed.
    """
    async with proxied_echo() as proxy, connected(proxy) as link:
        assert b"hello" == await ask(link)
        assert b"again" == await ask(link, b"again")
    assert 1 == proxy.accepted


async def test_latency_delays() -> None:
    """
    An answer is there only after the latency.
    """
    async with proxied_echo() as proxy, connected(proxy) as link:
        proxy.latency(0.05)
        asking = asyncio.create_task(ask(link))
        _, late = await asyncio.wait([asking], timeout=0.01)
        assert 1 == len(late)
        assert b"hello" == await asking


async def test_a_reset_breaks_old_and_new_connections() -> None:
    """
    Clients see "connection reset by peer", and after healing all is well.
    """
    async with proxied_echo() as proxy, connected(proxy) as link:
        assert b"hello" == await ask(link)
        await proxy.reset()
        with pytest.raises(ConnectionResetError):
            await ask(link)
        async with connected(proxy) as new:
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await ask(new)
        await proxy.heal()
        async with connected(proxy) as new:
            assert b"hello" == await ask(new)


async def test_a_black_hole_takes_and_answers_nothing() -> None:
    """
    Old and new connections hang, and go on where they were after healing.
    """
    async with proxied_echo() as proxy, connected(proxy) as link:
        assert b"hello" == await ask(link)
        proxy.blackhole()
        async with connected(proxy) as new:
            asking = [asyncio.create_task(ask(link)), asyncio.create_task(ask(new))]
            _, hanging = await asyncio.wait(asking, timeout=0.05)
            assert 2 == len(hanging)
            await proxy.heal()
            assert [b"hello", b"hello"] == await asyncio.gather(*asking)


async def test_a_truncated_answer_ends_early() -> None:
    """
    The client gets the first bytes, then the end of the connection.
    """
    async with proxied_echo() as proxy, connected(proxy) as link:
        proxy.truncate(3)
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await ask(link)
        assert b"hel" == caught.value.partial


async def test_a_refusing_one_is_not_there() -> None:
    """
    New connections are refused, old ones go on.
    """
    async with proxied_echo() as proxy, connected(proxy) as link:
        assert b"hello" == await ask(link)
        await proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        assert b"hello" == await ask(link)
        await proxy.heal()
        async with connected(proxy) as new:
            assert b"hello" == await ask(new)
