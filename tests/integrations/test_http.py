"""What the HTTP adapters agree on: Retry-After, keys and origins, in all their corners."""

from __future__ import annotations

import logging
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbreaker import CircuitBreaker, Registry
from asyncbreaker.integrations._http import FAILURES, Breakers, Statuses, origin_of, retry_after


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("9" * 400, float("inf")),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1e3", None),
        ("0x10", None),
        ("1_000", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("7, 8", None),
        ("\u0667", None),
        ("Wed, 99 Nov 2026 07:00:00 GMT", None),
        ("Wed, 25 Nov 99999 07:00:00 GMT", None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_seconds_are_read_and_garbage_is_not(text: str, expected: float | None) -> None:
    """
    A header that says no number of seconds and no date asks for nothing.
    """
    assert expected == retry_after({"retry-after": text})


def test_no_header_asks_for_nothing() -> None:
    """
    Most answers have none.
    """
    assert retry_after({}) is None


@pytest.mark.parametrize("clock_is_wrong_by", [-86400, 0, 86400])
def test_a_date_counts_from_the_server_s_own(clock_is_wrong_by: int) -> None:
    """
    Where the answer says what time it is there, the clocks of the two need not agree.
    """
    there = 1_800_000_000 + clock_is_wrong_by
    headers = {
        "date": formatdate(there, usegmt=True),
        "retry-after": formatdate(there + 60, usegmt=True),
    }

    assert 60.0 == retry_after(headers)


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_a_date_counts_from_ours_where_there_is_none(date: str) -> None:
    """
    Without a date of the answer our own clock must do.
    """
    headers = {"date": date, "retry-after": formatdate(time.time() + 3600, usegmt=True)}
    found = retry_after(headers)

    assert found is not None
    assert 3590 <= found <= 3600


def test_a_date_that_has_passed_asks_for_nothing() -> None:
    """
    Nobody need wait for yesterday.
    """
    assert retry_after({"retry-after": formatdate(0, usegmt=True)}) is None


def test_a_date_without_a_zone_is_universal() -> None:
    """
    Some servers leave the zone out, which says that it is unknown, not that it is ours.
    """
    headers = {
        "date": "Wed, 25 Nov 2026 07:00:00 GMT",
        "retry-after": "Wed, 25 Nov 2026 07:01:00 -0000",
    }

    assert 60.0 == retry_after(headers)


@given(
    st.text()
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{4,6} \d+:\d+:\d+", fullmatch=True)
)
def test_whatever_it_says_nothing_is_raised(text: str) -> None:
    """
    A server cannot break its clients by a header.
    """
    found = retry_after({"retry-after": text, "date": text[::-1]})

    assert found is None or found >= 0


@pytest.mark.parametrize(
    ("scheme", "host", "port", "expected"),
    [
        ("https", "api.example.com", None, "https://api.example.com"),
        ("https", "api.example.com", 443, "https://api.example.com"),
        ("https", "api.example.com", 8443, "https://api.example.com:8443"),
        ("http", "api.example.com", 80, "http://api.example.com"),
        ("http", "api.example.com", 443, "http://api.example.com:443"),
        ("http", "::1", 8000, "http://[::1]:8000"),
        ("other", "host", 80, "other://host:80"),
    ],
)
def test_an_origin_is_spelled_in_one_way(
    scheme: str, host: str, port: int | None, expected: str
) -> None:
    """
    Whether a port is written or the scheme's own makes no second breaker.
    """
    assert expected == origin_of(scheme, host, port)


def test_a_registry_finds_one_breaker_per_key() -> None:
    """
    Requests of one origin share a breaker, with the settings of the registry's factory.
    """
    registry = Registry(lambda key: CircuitBreaker(f"to {key}"))
    breakers: Breakers[str] = Breakers(registry, None, lambda request: request)

    assert breakers["http://a"] is breakers["http://a"] is registry["http://a"]
    assert "to http://b" == breakers["http://b"].name


def test_one_breaker_is_for_all() -> None:
    """
    A single breaker guards every request, whatever its origin.
    """
    breaker = CircuitBreaker()
    breakers: Breakers[str] = Breakers(breaker, None, lambda request: request)

    assert breaker is breakers["http://a"] is breakers["http://b"]


async def later(request: str) -> str:
    return request


class Later:
    """Is async only when it is called."""

    async def __call__(self, request: str) -> str:
        return request


@pytest.mark.parametrize("key", [later, Later()], ids=["function", "object"])
def test_an_async_key_is_refused(key: Any) -> None:
    """
    A key that must be waited for is refused when it is given.
    """
    with pytest.raises(TypeError, match="key must be a plain function, not the async"):
        Breakers(None, key, str)


def test_a_key_that_turns_out_async_is_refused() -> None:
    """
    A coroutine that a plain function returns is no key, and is not left behind.
    """
    breakers: Breakers[str] = Breakers(None, lambda request: later(request), str)  # type: ignore[arg-type, return-value]

    with pytest.raises(TypeError, match="must return a string, not <coroutine"):
        breakers["http://a"]


@pytest.mark.parametrize(
    "failures",
    [500, None, "500", b"500", [True], [99], [600], [500.0], ["500"], {1: ""}],
)
def test_what_is_no_status_is_refused(failures: Any) -> None:
    """
    The message shows what was given.
    """
    with pytest.raises(TypeError, match="failures must be status codes from 100 to 599"):
        Statuses[int](failures, int)


@pytest.mark.parametrize(
    "failures", [[], [500], {500}, range(500, 600), [HTTPStatus.BAD_GATEWAY], FAILURES, bool]
)
def test_what_is_a_status_is_taken(failures: Any) -> None:
    """
    Any collection of codes will do, also the standard library's, or a function.
    """
    Statuses[int](failures, int)


class Permit:
    """Notes its verdicts."""

    def __init__(self) -> None:
        self.verdicts: list[str] = []

    def ignore(self) -> None:
        self.verdicts.append("ignored")


def test_a_predicate_that_raises_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """
    It learns nothing, and does not fill the log.
    """
    permit: Any = Permit()

    def broken(response: int) -> bool:
        raise LookupError("broken")

    statuses = Statuses[int](broken, int)
    with caplog.at_level(logging.ERROR, "asyncbreaker"):
        for _ in range(3):
            statuses.judge(permit, 500, {})

    assert ["ignored"] * 3 == permit.verdicts
    assert 1 == len(caplog.records)
    assert "LookupError: broken" in caplog.text
