"""Circuit breakers for httpx: a transport around any async transport."""

from __future__ import annotations

from collections.abc import Callable, Collection

import httpx

from asyncbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    FailureSummary,
    Reason,
    Registry,
)
from asyncbreaker.integrations import _httpx
from asyncbreaker.integrations._http import FAILURES

__all__ = ["FAILURES", "BreakerTransport", "RequestRejectedError", "is_failure", "is_outage"]


class RequestRejectedError(CircuitOpenError, httpx.TransportError):
    """The circuit did not admit the request, and nothing was sent.

    Caught by ``except httpx.TransportError`` too, but by none of the narrower classes
    (``httpx.ConnectError``) that retries match.
    """

    def __init__(
        self,
        breaker: str,
        reason: Reason,
        retry_after: float | None = None,
        last_failure: FailureSummary | None = None,
        *,
        request: httpx.Request | None = None,
    ) -> None:
        CircuitOpenError.__init__(self, breaker, reason, retry_after, last_failure)
        httpx.TransportError.__init__(self, str(self), request=request)


class BreakerTransport(_httpx.Delegating[httpx.Request, httpx.Response], httpx.AsyncBaseTransport):
    """Guards every request that goes through a transport, each hop of a redirect on its own.

    ``httpx.AsyncClient(transport=BreakerTransport())``. Transport errors, timeouts and the
    status codes ``FAILURES`` are failures; a 429 or 503 with ``Retry-After`` opens at once
    for that long (at most 300 s); every other answer is a success. What is no fault of the
    server (a busy connection pool, a bad URL, an upload of yours that raises) is ignored.

    The body is part of the call: an error while reading makes it a failure, a full read
    or an early close ends it. Only until the headers does it count as *slow*; in
    half-open it keeps its place until its end, or the end of the lease. Nothing is
    buffered.

    Args:
        transport: The transport that does the work; by default an
            ``httpx.AsyncHTTPTransport()``. It is entered, left and closed with this one.
        breakers: A ``Registry``, to be shared by as many clients as you like, or one
            ``CircuitBreaker`` for everything. By default a registry of its own.
        key: Tells the breaker's key in the registry for a request. By default the
            origin, ``https://api.example.com``.
        failures: Status codes, or a predicate of the response, whose body is not read yet.

    Raises:
        TypeError, ValueError: A value is of the wrong type or out of range.
        RequestRejectedError: On a request: the circuit is open.
        httpx.UnsupportedProtocol: On a request: its URL has no host.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        breakers: Registry | CircuitBreaker | None = None,
        key: Callable[[httpx.Request], str] | None = None,
        failures: Collection[int] | Callable[[httpx.Response], bool] = FAILURES,
    ) -> None:
        if transport is None:
            transport = httpx.AsyncHTTPTransport()
        _httpx.check_transport(transport, httpx.AsyncBaseTransport, "httpx.AsyncBaseTransport")
        self._guarding = _httpx.Guarding(transport, breakers, key, failures, _LIBRARY)


def is_outage(error: BaseException) -> bool:
    """Tell whether *error* says that the server is ill, or cannot be reached.

    For ``CircuitBreaker(fail_on=is_outage)``: transport errors, timeouts, and an
    ``httpx.HTTPStatusError`` by its status; not what is local to this process. Of an
    exception group one is enough.
    """
    return _LIBRARY.is_outage(error)


def is_failure(response: httpx.Response) -> bool:
    """Tell whether the status of *response* is one of ``FAILURES``: for ``fail_on_result=``."""
    return _httpx.is_failure(response)


class _Body(_httpx.Body, httpx.AsyncByteStream):
    """A guarded body, of the class that the client asks for."""


def _no_host(message: str, request: httpx.Request) -> httpx.UnsupportedProtocol:
    return httpx.UnsupportedProtocol(message, request=request)


_LIBRARY = _httpx.Library(
    outages=(httpx.TransportError, OSError),
    local=(httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.LocalProtocolError),
    status_error=httpx.HTTPStatusError,
    no_host=_no_host,
    rejection=RequestRejectedError,
    body=_Body,
)
