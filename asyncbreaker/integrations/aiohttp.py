"""Circuit breakers for aiohttp: a client middleware."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from typing import Any, ParamSpec, TypeVar

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from asyncbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    FailureSummary,
    Guard,
    Outcome,
    Reason,
    Registry,
    RejectedError,
)
from asyncbreaker.integrations._calls import admitted, leave, leaves
from asyncbreaker.integrations._http import FAILURES, Breakers, Statuses, origin_of

__all__ = ["FAILURES", "RequestRejectedError", "breaker_middleware", "is_failure", "is_outage"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_Request = aiohttp.ClientRequest
_Response = aiohttp.ClientResponse


class RequestRejectedError(CircuitOpenError, aiohttp.ClientConnectionError):
    """The circuit did not admit the request, and nothing was sent.

    Caught by ``except aiohttp.ClientConnectionError`` too, but by none of the narrower
    classes (``aiohttp.ClientConnectorError``) that retries match.
    """

    request: aiohttp.RequestInfo | None
    """What was to be sent; None after pickling, which its headers do not survive."""

    def __init__(
        self,
        breaker: str,
        reason: Reason,
        retry_after: float | None = None,
        last_failure: FailureSummary | None = None,
        *,
        request: aiohttp.RequestInfo | None = None,
    ) -> None:
        super().__init__(breaker, reason, retry_after, last_failure)
        self.request = request

    def __reduce__(self) -> tuple[type[CircuitOpenError], tuple[object, ...], dict[str, object]]:
        kind, arguments, state = super().__reduce__()
        return kind, arguments, {**state, "request": None}


def breaker_middleware(
    breakers: Registry | CircuitBreaker | None = None,
    *,
    key: Callable[[_Request], str] | None = None,
    failures: Collection[int] | Callable[[_Response], bool] = FAILURES,
) -> aiohttp.ClientMiddlewareType:
    """Return a client middleware that guards every request, each hop of a redirect on its own.

    ``aiohttp.ClientSession(middlewares=[breaker_middleware()])``. Connection errors, timeouts
    and the status codes ``FAILURES`` are failures; a 429 or 503 with ``Retry-After`` opens at
    once for that long (at most 300 s); every other answer is a success. What is no fault of
    the server (a busy connector, an upload of yours that raises) is ignored. A failing
    response reaches the caller as it is, unread. Put a middleware that retries before this
    one; a single request goes without it by ``middlewares=()``.

    The body is part of the call: an error while reading makes it a failure; that it has
    arrived whole, or that the response was released or closed before, ends it. Only until
    the headers does it count as *slow*; in half-open it keeps its place until its end, or
    the end of the lease. Nothing is buffered. Of a websocket the handshake is the call.

    Args:
        breakers: A ``Registry``, to be shared by as many sessions as you like, or one
            ``CircuitBreaker`` for everything. By default a registry of its own.
        key: Tells the breaker's key in the registry for a request. By default the
            origin, ``https://api.example.com``.
        failures: Status codes, or a predicate of the response, whose body is not read yet.

    Raises:
        TypeError, ValueError: A value is of the wrong type or out of range.
        RequestRejectedError: On a request: the circuit is open.
    """
    chosen = Breakers(breakers, key, _origin)
    statuses = Statuses[_Response](failures, _status)

    async def guarded(
        request: _Request, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        permit = await admitted(chosen[request], lambda error: _rejected(error, request))
        try:
            response = await handler(request)
            statuses.judge(permit, response, response.headers)
        except BaseException as error:
            await leave(permit, _judge, error)
            raise
        content = response.content
        if content.is_eof() or response.status == 101:
            permit.success()
        else:
            # The stream itself tells when all has arrived, what it is told goes through
            # ours: the errors of reading, and that the response is closed before.
            content.on_eof(permit.success)
            response.content = _Body(content, permit)  # type: ignore[assignment]  # pyright: ignore
        return response

    return guarded


def is_outage(error: BaseException) -> bool:
    """Tell whether *error* says that the server is ill, or cannot be reached.

    For ``CircuitBreaker(fail_on=is_outage)``: connection and payload errors, timeouts, and
    an ``aiohttp.ClientResponseError`` by its status; not what is local to this process. Of
    an exception group one is enough.
    """
    return any(_is_outage(leaf) for leaf in leaves(error))


def is_failure(response: aiohttp.ClientResponse) -> bool:
    """Tell whether the status of *response* is one of ``FAILURES``: for ``fail_on_result=``."""
    return response.status in FAILURES


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, aiohttp.ClientResponseError):
        unreadable = isinstance(error.__cause__, HttpProcessingError)  # told as a 400
        return unreadable or error.status in FAILURES
    if isinstance(error, RejectedError) or _is_local(error):
        return False
    lost = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError)
    return isinstance(error, lost)  # a TimeoutError is an OSError


def _is_local(error: BaseException) -> bool:
    """Tell whether the request did not even leave: no connection was free, or its body failed."""
    if isinstance(error, TimeoutError):
        return any("_wait_for_available_connection" in names for names in _functions(error))
    # A body of the caller's that raises is told as a connection error from that.
    cause = error.__cause__
    sending = type(error) is aiohttp.ClientConnectionError and cause is not None
    return sending and not isinstance(cause, (OSError, aiohttp.ClientError))


def _functions(error: BaseException | None) -> Iterator[set[str]]:
    """Yield the names of the functions that *error*, and what it came from, has passed."""
    while error is not None:
        yield {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
        error = error.__cause__ or error.__context__


def _judge(error: Exception) -> Outcome:
    return Outcome.FAILURE if is_outage(error) else Outcome.IGNORED


def _status(response: aiohttp.ClientResponse) -> int:
    return response.status


def _origin(request: aiohttp.ClientRequest) -> str:
    url = request.url
    if not url.host:
        raise aiohttp.InvalidURL(url, "it has no host")
    return origin_of(url.scheme, url.host, url.port)


def _rejected(error: CircuitOpenError, request: aiohttp.ClientRequest) -> RequestRejectedError:
    info, after, last = request.request_info, error.retry_after, error.last_failure
    return RequestRejectedError(error.breaker, error.reason, after, last, request=info)


class _Body:
    """A response's stream, passed on as it comes; its end is the end of the call."""

    def __init__(self, stream: aiohttp.StreamReader, permit: Guard) -> None:
        self._stream = stream
        self._permit = permit

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_stream"), name)

    async def _reading(
        self, read: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        try:
            return await read(*args, **kwargs)
        except BaseException as error:
            await leave(self._permit, _judge, error)
            raise

    async def read(self, n: int = -1) -> bytes:
        return await self._reading(self._stream.read, n)

    async def readany(self) -> bytes:
        return await self._reading(self._stream.readany)

    async def readchunk(self) -> tuple[bytes, bool]:
        return await self._reading(self._stream.readchunk)

    async def readexactly(self, n: int) -> bytes:
        return await self._reading(self._stream.readexactly, n)

    async def readline(self, **options: Any) -> bytes:
        return await self._reading(self._stream.readline, **options)

    async def readuntil(self, separator: bytes = b"\n", **options: Any) -> bytes:
        return await self._reading(self._stream.readuntil, separator, **options)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _until(b"", self.readline)

    def iter_any(self) -> AsyncIterator[bytes]:
        return _until(b"", self.readany)

    def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        return _until(b"", lambda: self.read(n))

    def iter_chunks(self) -> AsyncIterator[tuple[bytes, bool]]:
        return _until((b"", False), self.readchunk)

    def set_exception(self, *args: Any) -> None:
        """Take note that the response is closed: not to be read to its end is no failure."""
        self._permit.success()
        self._stream.set_exception(*args)

    def __del__(self) -> None:
        # Neither read nor closed: its place in half-open is wanted by others. (aiohttp
        # keeps such a response until its connection ends, or the lease does.)
        self._permit.ignore()


async def _until(last: T, read: Callable[[], Awaitable[T]]) -> AsyncIterator[T]:
    while (piece := await read()) != last:
        yield piece
