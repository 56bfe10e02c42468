"""Real servers for the adapters' tests: one of each per process, running at each test's begin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asyncbreaker import CircuitBreaker
from asyncbreaker.testing import ManualClock
from tests.integrations.postgres import PostgresServer
from tests.integrations.support import breaker_of
from tests.integrations.valkey import ValkeyServer


@pytest.fixture
def breaker(clock: ManualClock) -> CircuitBreaker:
    """Opens at the first failure, for 10 seconds; one good probe closes it."""
    return breaker_of(clock)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The process; take ``postgres`` instead."""
    server = PostgresServer()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A PostgreSQL that runs, and that the test may kill, freeze and restart."""
    if not postgres_server.running:
        postgres_server.start()
    yield postgres_server
    if postgres_server.running:
        postgres_server.thaw()


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    """The process; take ``valkey`` instead."""
    server = ValkeyServer()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def valkey(valkey_server: ValkeyServer) -> Iterator[ValkeyServer]:
    """A Valkey that runs, and that the test may kill, freeze and restart."""
    if not valkey_server.running:
        valkey_server.start()
    yield valkey_server
    if valkey_server.running:
        valkey_server.thaw()
