"""Circuit breakers for gRPC: interceptors for the channels of grpc.aio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from typing import Any, cast

import grpc  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
import grpc.aio  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

from asyncbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    FailureSummary,
    Guard,
    Outcome,
    Reason,
)
from asyncbreaker.integrations._calls import admitted, leave, leaves
from asyncbreaker.integrations._thin import check_breaker

__all__ = ["FAILURES", "RpcRejectedError", "breaker_interceptors", "is_outage"]

_CODES: Any = grpc.StatusCode

FAILURES = frozenset(
    {
        _CODES.UNAVAILABLE,
        _CODES.DEADLINE_EXCEEDED,
        _CODES.RESOURCE_EXHAUSTED,
        _CODES.INTERNAL,
        _CODES.UNKNOWN,
    }
)
"""Status codes that say that the server is ill, or cannot be reached."""

# What a call that was cancelled on this side says of itself: nobody else tells the two apart.
_CANCELLED_HERE = ("Locally cancelled by application!", "Cancelled upon garbage collection!")


class RpcRejectedError(CircuitOpenError, grpc.aio.AioRpcError):  # type: ignore[misc]
    """The circuit did not admit the call, and nothing was sent.

    Caught by ``except grpc.aio.AioRpcError`` too, with the code ``UNAVAILABLE``. A retry that
    looks at codes alone should leave it out: ``asyncbreaker.retryable``.
    """

    def __init__(
        self,
        breaker: str,
        reason: Reason,
        retry_after: float | None = None,
        last_failure: FailureSummary | None = None,
    ) -> None:
        CircuitOpenError.__init__(self, breaker, reason, retry_after, last_failure)
        empty = grpc.aio.Metadata()
        grpc.aio.AioRpcError.__init__(self, _CODES.UNAVAILABLE, empty, empty, str(self))

    __repr__ = Exception.__repr__


def breaker_interceptors(
    breaker: CircuitBreaker, *, failures: Collection[Any] = FAILURES
) -> list[grpc.aio.ClientInterceptor]:
    """Return the interceptors that guard every call of a channel by *breaker*.

    ``grpc.aio.insecure_channel(target, interceptors=breaker_interceptors(breaker))``. A call is
    judged when it has ended, by its status: the codes *failures* are failures, every other
    one, also an error, is an answer of the server, a success. That the caller cancels is
    neutral, but a success once a message of a response stream has come. A response stream
    counts as *slow* only until its first message, and keeps its place in half-open until its
    end, or the end of the lease. Retries by service config are inside of one call.

    Args:
        breaker: The breaker of the server behind the channel.
        failures: The ``grpc.StatusCode`` that are failures: by default ``UNAVAILABLE``,
            ``DEADLINE_EXCEEDED``, ``RESOURCE_EXHAUSTED``, ``INTERNAL`` and ``UNKNOWN``. With
            ``CANCELLED`` in it a call that the *server* has cancelled is one, too.

    Raises:
        TypeError: *breaker* is no breaker, or *failures* holds what is no status code.
        RpcRejectedError: On a call: the circuit is open.
    """
    check_breaker(breaker)
    calls = _Calls(breaker, _checked(failures))
    return [_UnaryUnary(calls), _UnaryStream(calls), _StreamUnary(calls), _StreamStream(calls)]


def is_outage(error: BaseException) -> bool:
    """Tell whether *error* says that the server is ill, or cannot be reached.

    For ``CircuitBreaker(fail_on=is_outage)``: an ``AioRpcError`` with a code of ``FAILURES``. Of
    an exception group one is enough.
    """
    return any(_is_outage(leaf) for leaf in leaves(error))


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, CircuitOpenError) or not isinstance(error, grpc.aio.AioRpcError):
        return False
    return cast("Any", error).code() in FAILURES


def _checked(failures: object) -> frozenset[object]:
    if isinstance(failures, Collection) and not isinstance(failures, str):
        codes = frozenset(cast("Collection[object]", failures))
        if all(isinstance(code, grpc.StatusCode) for code in codes):
            return codes
    raise TypeError(f"failures must be a collection of grpc.StatusCode, not {failures!r}")


class _Calls:
    """Makes the calls of one channel calls of the breaker."""

    def __init__(self, breaker: CircuitBreaker, failures: frozenset[object]) -> None:
        self._breaker = breaker
        self._failures = failures

    async def begin(self, continuation: Callable[..., Awaitable[Any]], *args: Any) -> _Begun:
        """Begin a call, whose own end will settle it."""
        permit = await admitted(self._breaker, _rejected)
        begun = _Begun(permit, self._failures)
        try:
            begun.call = await continuation(*args)
        except BaseException as error:  # a channel that is closed, say: nothing was sent
            await leave(permit, lambda _: Outcome.IGNORED, error)
            raise
        begun.call.add_done_callback(begun.done)
        return begun


def _rejected(error: CircuitOpenError) -> RpcRejectedError:
    return RpcRejectedError(error.breaker, error.reason, error.retry_after, error.last_failure)


class _Begun:
    """One call that has begun."""

    call: Any

    def __init__(self, permit: Guard, failures: frozenset[object]) -> None:
        self._permit = permit
        self._failures = failures
        self._answered = False

    async def responses(self) -> AsyncIterator[Any]:
        """Yield the responses as they come."""
        async for response in self.call:
            if not self._answered:
                self._answered = True
                self._permit.answered()
            yield response

    def done(self, call: Any) -> None:
        """Judge the call, which has ended."""
        code, details = _ended(call.code()), _ended(call.details())
        if code is _CODES.CANCELLED and details in _CANCELLED_HERE and not self._answered:
            self._permit.ignore()
        elif code in self._failures and details not in _CANCELLED_HERE:
            self._permit.failure(error=f"{code.name}: {details}")
        else:
            self._permit.success()


def _ended(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return what a call that has ended says: it need not be waited for."""
    said: object = None
    try:
        coroutine.send(None)
    except StopIteration as stop:
        said = stop.value
    return said


class _Interceptor:
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls


class _UnaryUnary(_Interceptor, grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        return (await self._calls.begin(continuation, client_call_details, request)).call


class _UnaryStream(_Interceptor, grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[misc]
    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        return (await self._calls.begin(continuation, client_call_details, request)).responses()


class _StreamUnary(_Interceptor, grpc.aio.StreamUnaryClientInterceptor):  # type: ignore[misc]
    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        begun = await self._calls.begin(continuation, client_call_details, request_iterator)
        return begun.call


class _StreamStream(_Interceptor, grpc.aio.StreamStreamClientInterceptor):  # type: ignore[misc]
    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        begun = await self._calls.begin(continuation, client_call_details, request_iterator)
        return begun.responses()
