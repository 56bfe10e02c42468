"""What the HTTP adapters agree on: what is a failure, Retry-After, a breaker per origin."""

from __future__ import annotations

import inspect
import logging
import re
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Generic, TypeVar, cast

from asyncbreaker import CircuitBreaker, Guard, Registry

Request = TypeVar("Request")
Response = TypeVar("Response")

FAILURES = frozenset({500, 502, 503, 504, 507, 508, *range(520, 530)})
"""Status codes that say that the server, or one behind it, is ill."""

_ASKS_FOR_PAUSE = (429, 503)
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")
_log = logging.getLogger("asyncbreaker")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for; None for none, or garbage.

    A date counts from the response's own ``Date``, so that the clocks of two machines
    need not agree; without one, from ours.
    """
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    then = _timestamp(text)
    if then is None:
        return None
    sent = _timestamp(headers.get("date", ""))
    seconds = then - (time.time() if sent is None else sent)
    return seconds if seconds >= 0 else None


def _timestamp(text: str) -> float | None:
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


class Statuses(Generic[Response]):
    """Which responses are failures: a set of status codes, or a predicate of the response."""

    def __init__(
        self,
        failures: Collection[int] | Callable[[Response], bool],
        status: Callable[[Response], int],
    ) -> None:
        self._status = status
        self._predicate = _checked_failures(failures)
        self._complained = False

    def judge(self, permit: Guard, response: Response, headers: Mapping[str, str]) -> None:
        """Take the beginning of *response*: settle a failure; the others end with their body."""
        status = self._status(response)
        pause = retry_after(headers) if status in _ASKS_FOR_PAUSE else None
        failed = self._failed(response)
        if failed is None:
            permit.ignore()
        elif failed or (status == 429 and pause is not None):
            permit.failure(retry_after=pause, error=f"HTTP {status}")
        else:
            permit.answered()

    def _failed(self, response: Response) -> bool | None:
        """None: the user's predicate raised, so nothing is learned."""
        if not callable(self._predicate):
            return self._status(response) in self._predicate
        try:
            return bool(self._predicate(response))
        except Exception:
            if not self._complained:
                self._complained = True  # once: failing predicates come in storms
                _log.exception("failures=%r raised; the response tells nothing", self._predicate)
            return None


def _checked_failures(
    failures: Collection[int] | Callable[[Response], bool],
) -> frozenset[int] | Callable[[Response], bool]:
    if callable(failures):
        return _checked_function("failures", failures)
    given = cast("object", failures)
    if isinstance(given, Collection) and not isinstance(given, (str, bytes)):
        codes = frozenset(cast("Collection[object]", given))
        if all(isinstance(code, int) and 100 <= code <= 599 for code in codes):
            return cast("frozenset[int]", codes)
    raise TypeError(
        f"failures must be status codes from 100 to 599 or a function of a response, not {given!r}"
    )


F = TypeVar("F", bound=Callable[..., object])


def _checked_function(name: str, fn: F) -> F:
    if not callable(fn):
        raise TypeError(f"{name} must be callable, not {fn!r}")
    if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(
        getattr(fn, "__call__", None)  # noqa: B004 - an object with an async __call__
    ):
        raise TypeError(f"{name} must be a plain function, not the async {fn!r}")
    return fn


class Breakers(Generic[Request]):
    """Finds the breaker of a request: one for all, or one per key out of a registry."""

    def __init__(
        self,
        breakers: Registry | CircuitBreaker | None,
        key: Callable[[Request], str] | None,
        origin: Callable[[Request], str],
    ) -> None:
        if breakers is not None and not isinstance(
            cast("object", breakers), (Registry, CircuitBreaker)
        ):
            raise TypeError(f"breakers must be a Registry or a CircuitBreaker, not {breakers!r}")
        if key is not None and isinstance(breakers, CircuitBreaker):
            raise ValueError(
                "key= chooses among the breakers of a registry: one breaker needs none"
            )
        self._breakers = Registry(CircuitBreaker) if breakers is None else breakers
        self._key = None if key is None else _checked_function("key", key)
        self._origin = origin

    def __getitem__(self, request: Request) -> CircuitBreaker:
        """Return the breaker for *request*.

        Raises:
            ValueError: The key function has raised, or its key is empty.
            TypeError: Its key is no string.
        """
        origin = self._origin(request)  # also under a key: refuses what no server can answer
        if isinstance(self._breakers, CircuitBreaker):
            return self._breakers
        return self._breakers[origin if self._key is None else self._ask(self._key, request)]

    def _ask(self, function: Callable[[Request], str], request: Request) -> str:
        try:
            key = cast("object", function(request))
        except Exception as error:
            raise ValueError(f"key={function!r} raised {type(error).__name__}: {error}") from error
        if not isinstance(key, str):
            if inspect.iscoroutine(key):
                key.close()
            raise TypeError(f"key={function!r} must return a string, not {key!r}")
        if not key:
            raise ValueError(f"key={function!r} returned an empty key")
        return key


def origin_of(scheme: str, host: str, port: int | None) -> str:
    """Return ``scheme://host:port``, the port only where it is not the scheme's own."""
    host = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443, "ws": 80, "wss": 443}.get(scheme)
    return f"{scheme}://{host}" if port is None or port == usual else f"{scheme}://{host}:{port}"
