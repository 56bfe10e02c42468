"""Circuit breakers for httpx2: a transport around any async transport."""

from __future__ import annotations

from collections.abc import Callable, Collection

import httpx2

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


class RequestRejectedError(CircuitOpenError, httpx2.TransportError):
    """The circuit did not admit the request, and nothing was sent.

    Caught by ``except httpx2.TransportError`` too, but by none of the narrower classes
    (``httpx2.ConnectError``) that retries match.
    """

    def __init__(
        self,
        breaker: str,
        reason: Reason,
        retry_after: float | None = None,
        last_failure: FailureSummary | None = None,
        *,
        request: httpx2.Request | None = None,
    ) -> None:
        CircuitOpenError.__init__(self, breaker, reason, retry_after, last_failure)
        httpx2.TransportError.__init__(self, str(self), request=request)


class BreakerTransport(
    _httpx.Delegating[httpx2.Request, httpx2.Response], httpx2.AsyncBaseTransport
):
    """Guards every request that goes through a transport of httpx2.

    It does what ``asyncbreaker.integrations.httpx.BreakerTransport`` does for httpx.
    """

    def __init__(
        self,
        transport: httpx2.AsyncBaseTransport | None = None,
        *,
        breakers: Registry | CircuitBreaker | None = None,
        key: Callable[[httpx2.Request], str] | None = None,
        failures: Collection[int] | Callable[[httpx2.Response], bool] = FAILURES,
    ) -> None:
        if transport is None:
            transport = httpx2.AsyncHTTPTransport()
        _httpx.check_transport(transport, httpx2.AsyncBaseTransport, "httpx2.AsyncBaseTransport")
        self._guarding = _httpx.Guarding(transport, breakers, key, failures, _LIBRARY)


def is_outage(error: BaseException) -> bool:
    """Tell whether *error* says that the server is ill, or cannot be reached.

    For ``CircuitBreaker(fail_on=is_outage)``: transport errors, timeouts, and an
    ``httpx2.HTTPStatusError`` by its status; not what is local to this process. Of an
    exception group one is enough.
    """
    return _LIBRARY.is_outage(error)


def is_failure(response: httpx2.Response) -> bool:
    """Tell whether the status of *response* is one of ``FAILURES``: for ``fail_on_result=``."""
    return _httpx.is_failure(response)


class _Body(_httpx.Body, httpx2.AsyncByteStream):
    """A guarded body, of the class that the client asks for."""


def _no_host(message: str, request: httpx2.Request) -> httpx2.UnsupportedProtocol:
    return httpx2.UnsupportedProtocol(message, request=request)


_LIBRARY = _httpx.Library(
    outages=(httpx2.TransportError, OSError),
    local=(httpx2.PoolTimeout, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError),
    status_error=httpx2.HTTPStatusError,
    no_host=_no_host,
    rejection=RequestRejectedError,
    body=_Body,
)
