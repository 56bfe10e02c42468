"""What users of the adapters see of types: read by mypy and pyright, never run."""

from __future__ import annotations

from typing import Any, assert_type

import aiohttp
import httpx
import httpx2
import psycopg
import redis.asyncio
from fastapi import FastAPI
from psycopg.rows import TupleRow, dict_row
from psycopg_pool import AsyncConnectionPool
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from starlette.applications import Starlette

from asyncbreaker import CircuitBreaker, Registry, RejectedError, retryable
from asyncbreaker.integrations import aiohttp as for_aiohttp
from asyncbreaker.integrations import httpx as for_httpx
from asyncbreaker.integrations import httpx2 as for_httpx2
from asyncbreaker.integrations import psycopg as for_psycopg
from asyncbreaker.integrations import redis as for_redis
from asyncbreaker.integrations import sqlalchemy as for_sqlalchemy
from asyncbreaker.integrations.starlette import rejected_handler

breaker = CircuitBreaker()
registry = Registry(CircuitBreaker)


def health_and_retries(error: Exception) -> None:
    assert_type(registry.health(), dict[str, Any])
    assert_type(retryable(error), bool)
    assert_type(retryable(error, wait_open=5.0), bool)


async def httpx_clients() -> None:
    transport = for_httpx.BreakerTransport(httpx.AsyncHTTPTransport(), breakers=registry)
    async with httpx.AsyncClient(transport=transport) as client:
        assert_type(await client.get("http://api/"), httpx.Response)
    for_httpx.BreakerTransport(key=lambda request: request.url.host, failures={500})
    for_httpx.BreakerTransport(failures=lambda response: response.is_error)
    for_httpx.BreakerTransport(key=lambda request: 7)  # type: ignore[arg-type, return-value]  # pyright: ignore
    for_httpx.BreakerTransport(httpx2.AsyncHTTPTransport())  # type: ignore[arg-type]  # pyright: ignore
    for_httpx2.BreakerTransport(httpx2.AsyncHTTPTransport(), breakers=breaker)
    try:
        await client.get("http://api/")
    except for_httpx.RequestRejectedError as error:
        assert_type(error.request, httpx.Request)
        assert_type(error.retry_after, float | None)


async def aiohttp_clients() -> None:
    guarded = for_aiohttp.breaker_middleware(registry, key=lambda request: request.method)
    session = aiohttp.ClientSession(middlewares=[guarded])
    async with session, session.get("http://api/") as response:
        assert_type(for_aiohttp.is_failure(response), bool)


async def databases(engine: AsyncEngine) -> None:
    assert_type(for_sqlalchemy.guard(engine, breaker), AsyncEngine)
    for_sqlalchemy.guard(create_async_engine("sqlite+aiosqlite://").sync_engine, breaker)  # type: ignore[arg-type]  # pyright: ignore
    plain: AsyncConnectionPool[psycopg.AsyncConnection[TupleRow]] = AsyncConnectionPool("")
    pool = for_psycopg.guard(plain, breaker)
    async with pool.connection() as connection:
        assert_type(connection, for_psycopg.GuardedConnection[TupleRow])
        cursor = await connection.execute("select 1")
        assert_type(await cursor.fetchone(), tuple[Any, ...] | None)
        async with connection.cursor(row_factory=dict_row) as named:
            assert_type(await named.fetchall(), list[dict[str, Any]])
        assert_type(connection.raw, psycopg.AsyncConnection[TupleRow])
    assert_type(for_redis.guard(redis.asyncio.Redis(), breaker), redis.asyncio.Redis)


def applications() -> None:
    Starlette().add_exception_handler(RejectedError, rejected_handler)
    FastAPI().add_exception_handler(RejectedError, rejected_handler)
    Starlette(exception_handlers={RejectedError: rejected_handler})
