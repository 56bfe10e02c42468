"""The event loops of adapters for libraries that know asyncio only: import the fixture."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import BACKENDS

__all__ = ["anyio_backend"]


@pytest.fixture(params=[backend for backend in BACKENDS if backend.id != "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """The event loop of a test marked ``anyio``: asyncio's own, and uvloop."""
    return request.param
