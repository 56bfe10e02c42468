"""The one implementation behind the adapters of httpx and httpx2; imports neither."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar, cast

from asyncbreaker import CircuitBreaker, CircuitOpenError, Guard, Outcome, Registry, RejectedError
from asyncbreaker.integrations._calls import Judge, admitted, leave, leaves
from asyncbreaker.integrations._http import FAILURES, Breakers, Statuses, origin_of


class _URL(Protocol):
    @property
    def scheme(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int | None: ...


class _Request(Protocol):
    @property
    def url(self) -> Any: ...  # a _URL: the library's own class has no such base


class Stream(Protocol):
    """What is read of a body."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def aclose(self) -> None:
        """Give the connection back."""
        ...


class _Response(Protocol):
    stream: Any  # replaced by the guarded one

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def is_closed(self) -> bool: ...


class _StatusError(Protocol):
    response: _Response


RequestT = TypeVar("RequestT", bound=_Request)
ResponseT = TypeVar("ResponseT", bound=_Response)


Request_contra = TypeVar("Request_contra", contravariant=True)
Response_co = TypeVar("Response_co", covariant=True)


class Transport(Protocol[Request_contra, Response_co]):
    """What is wrapped."""

    async def handle_async_request(self, request: Request_contra, /) -> Response_co:
        """Return the response to *request*; its body is yet to be read."""
        ...

    async def __aenter__(self) -> Any: ...
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    async def aclose(self) -> None:
        """Close every connection."""
        ...


class Guarding(Generic[RequestT, ResponseT]):
    """Makes the requests of one transport through breakers."""

    def __init__(
        self,
        transport: Transport[RequestT, ResponseT],
        breakers: Registry | CircuitBreaker | None,
        key: Callable[[RequestT], str] | None,
        failures: Collection[int] | Callable[[ResponseT], bool],
        library: Library[RequestT],
    ) -> None:
        self.transport = transport
        self._breakers = Breakers(breakers, key, library.origin)
        self._statuses = Statuses(failures, _status)
        self._library = library

    async def handle(self, request: RequestT) -> ResponseT:
        """Return the response to *request*, whose body ends the call."""
        breaker = self._breakers[request]
        guard = await admitted(breaker, lambda error: self._library.rejected(error, request))
        try:
            response = await self.transport.handle_async_request(request)
            self._statuses.judge(guard, response, response.headers)
        except BaseException as error:
            await leave(guard, self._library.judge, error)
            raise
        if response.is_closed:  # made in memory, or read already
            guard.success()
        else:
            response.stream = self._library.body(response.stream, guard)
        return response


class Delegating(Generic[RequestT, ResponseT]):
    """A transport around another one, whose life is that of the other."""

    _guarding: Guarding[RequestT, ResponseT]

    async def handle_async_request(self, request: RequestT) -> ResponseT:
        """Return the response to *request*; its body is yet to be read."""
        return await self._guarding.handle(request)

    async def __aenter__(self) -> Self:
        await self._guarding.transport.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._guarding.transport.__aexit__(exc_type, exc_value, traceback)

    async def aclose(self) -> None:
        """Close the transport inside."""
        await self._guarding.transport.aclose()


def _status(response: _Response) -> int:
    return response.status_code


class Library(Generic[RequestT]):
    """What differs between httpx and httpx2: their classes."""

    def __init__(
        self,
        *,
        outages: tuple[type[Exception], ...],
        local: tuple[type[Exception], ...],
        status_error: type[Exception],
        no_host: Callable[[str, RequestT], Exception],
        rejection: Callable[..., CircuitOpenError],
        body: Callable[[Stream, Guard, Judge], object],
    ) -> None:
        self._outages = outages
        self._local = (*local, RejectedError)
        self._status_error = status_error
        self._no_host = no_host
        self._rejection = rejection
        self._body = body

    def rejected(self, error: CircuitOpenError, request: RequestT) -> CircuitOpenError:
        """Return the library's own kind of rejection."""
        told = error.breaker, error.reason, error.retry_after, error.last_failure
        return self._rejection(*told, request=request)

    def body(self, stream: Stream, guard: Guard) -> object:
        """Return *stream*, guarded."""
        return self._body(stream, guard, self.judge)

    def origin(self, request: RequestT) -> str:
        """Return the origin that the request goes to, or refuse it."""
        url: _URL = request.url
        if not url.host:
            raise self._no_host(f"the request's URL {str(url)!r} has no host", request)
        return origin_of(url.scheme, url.host, url.port)

    def is_outage(self, error: BaseException) -> bool:
        """Tell whether *error* says that the server is ill, or cannot be reached."""
        return any(self._is_outage(leaf) for leaf in leaves(error))

    def _is_outage(self, error: BaseException) -> bool:
        if isinstance(error, self._status_error):
            return is_failure(cast("_StatusError", error).response)
        return isinstance(error, self._outages) and not isinstance(error, self._local)

    def judge(self, error: Exception) -> Outcome:
        """Judge what the transport raised: what is no outage is trouble of our own."""
        return Outcome.FAILURE if self.is_outage(error) else Outcome.IGNORED


def is_failure(response: _Response) -> bool:
    """Tell whether *response* says that the server is ill."""
    return response.status_code in FAILURES


class Body:
    """A body that is passed on as it comes; its end is the end of the call."""

    def __init__(self, stream: Stream, guard: Guard, judge: Judge) -> None:
        self._stream = stream
        self._guard = guard
        self._judge = judge

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._stream:
                yield part
        except GeneratorExit:  # its reader has had enough
            self._guard.success()
            raise
        except BaseException as error:
            await leave(self._guard, self._judge, error)
            raise
        self._guard.success()

    async def aclose(self) -> None:
        """Give the connection back; not to be read to its end is no failure."""
        self._guard.success()  # before anything is awaited: closing may be cancelled
        await self._stream.aclose()

    def __del__(self) -> None:
        # Neither read nor closed: its place in half-open is wanted by others.
        self._guard.ignore()


def check_transport(transport: object, wanted: type, name: str) -> None:
    """Refuse what is no async transport of the library, such as a sync one."""
    if not isinstance(transport, wanted):
        raise TypeError(f"transport must be an {name}, not {transport!r}")
