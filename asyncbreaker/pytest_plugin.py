"""The pytest plugin: fixture and marker ``reset_breakers``, which isolate tests from each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

NAME = "reset_breakers"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", f"{NAME}: reset every live circuit breaker before and after the test"
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let the marker ask for the fixture."""
    names: list[str] | None = getattr(item, "fixturenames", None)
    if names is not None and item.get_closest_marker(NAME) and NAME not in names:
        names.insert(0, NAME)


@pytest.fixture
def reset_breakers() -> Iterator[None]:
    """Reset every live circuit breaker before and after the test."""
    _reset_all()
    yield
    _reset_all()


def _reset_all() -> None:
    # Imported late: a plugin is loaded in every test run, also where no breaker is used.
    from asyncbreaker import live_breakers

    for breaker in live_breakers():
        breaker.reset("between tests")
