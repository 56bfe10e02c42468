"""The adapter of gRPC, against a real server on loopback."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
import pytest

from asyncbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    Outcome,
    State,
    consecutive_failures,
    retryable,
)
from asyncbreaker.integrations import grpc as adapter
from asyncbreaker.integrations.grpc import (
    FAILURES,
    RpcRejectedError,
    breaker_interceptors,
    is_outage,
)
from asyncbreaker.testing import ManualClock, force_state, record
from tests.integrations.support import outcomes

pytestmark = pytest.mark.asyncio

CODES: Any = grpc.StatusCode


class Service:
    """Does as its requests say; counts them."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Event()
        self.metadata: dict[str, str] = {}

    async def _do(self, request: bytes, context: Any) -> None:
        self.asked += 1
        self.metadata = dict(context.invocation_metadata())
        word = request.decode()
        if word == "hang":
            await self.gate.wait()
        elif word in CODES.__members__:
            await context.abort(CODES[word], "as asked")

    async def unary(self, request: bytes, context: Any) -> bytes:
        await self._do(request, context)
        return b"you said " + request

    async def stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        word, _, later = request.decode().partition(" ")
        await self._do(word.encode(), context)
        for number in range(3):
            yield str(number).encode()
            if later:
                await self._do(later.encode(), context)

    async def collect(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        found = [request async for request in requests]
        await self._do(found[0], context)
        return b" ".join(found)

    async def chat(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            await self._do(request, context)
            yield b"you said " + request


@asynccontextmanager
async def serving(port: int = 0) -> AsyncIterator[tuple[Service, Any, int]]:
    """A server for the block, at the end of which it is gone."""
    service = Service()
    handlers = {
        "unary": grpc.unary_unary_rpc_method_handler(service.unary),
        "stream": grpc.unary_stream_rpc_method_handler(service.stream),
        "collect": grpc.stream_unary_rpc_method_handler(service.collect),
        "chat": grpc.stream_stream_rpc_method_handler(service.chat),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("S", handlers),))
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        async with asyncio.timeout(20):
            yield service, server, bound
    finally:
        await server.stop(0)


@asynccontextmanager
async def stubs(breaker: CircuitBreaker, port: int, **options: Any) -> AsyncIterator[Any]:
    """A channel's four ways to call."""
    interceptors = breaker_interceptors(breaker, **options)
    target = f"127.0.0.1:{port}"
    async with grpc.aio.insecure_channel(target, interceptors=interceptors) as channel:

        class Stub:
            unary = channel.unary_unary("/S/unary")
            stream = channel.unary_stream("/S/stream")
            collect = channel.stream_unary("/S/collect")
            chat = channel.stream_stream("/S/chat")

        yield Stub()


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110 - grpc tells in its own time
            await asyncio.sleep(0.005)


async def each(*words: str) -> AsyncIterator[bytes]:
    for word in words:
        yield word.encode()


KINDS: dict[str, Callable[[Any, str], Any]] = {
    "unary": lambda stub, word: stub.unary(word.encode()),
    "stream": lambda stub, word: gathered(stub.stream(word.encode())),
    "collect": lambda stub, word: stub.collect(each(word)),
    "chat": lambda stub, word: gathered(stub.chat(each(word))),
}


async def gathered(call: Any) -> list[bytes]:
    return [message async for message in call]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("unary", b"you said word"),
        ("stream", [b"0", b"1", b"2"]),
        ("collect", b"word"),
        ("chat", [b"you said word"]),
    ],
)
async def test_a_good_call_is_a_success(
    breaker: CircuitBreaker, kind: str, expected: object
) -> None:
    """
    Each of the four kinds works as before, and is one good call when it has ended.
    """
    async with serving() as (_, _, port), stubs(breaker, port) as stub:
        with record(breaker) as events:
            assert expected == await KINDS[kind](stub, "word")
            await until(lambda: bool(outcomes(events)))
        assert [Outcome.SUCCESS] == outcomes(events)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", [code for code in CODES.__members__ if code != "OK"])
async def test_the_status_judges(breaker: CircuitBreaker, code: str, kind: str) -> None:
    """
    Five codes say that the server is ill; with every other one it has answered.
    """
    expected = Outcome.FAILURE if CODES[code] in FAILURES else Outcome.SUCCESS
    async with serving() as (_, _, port), stubs(breaker, port) as stub:
        with record(breaker) as events:
            with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)) as caught:
                await KINDS[kind](stub, code)
            await until(lambda: bool(outcomes(events)))
        assert [expected] == outcomes(events)
        if code != "CANCELLED":
            assert CODES[code] is caught.value.code()
            assert (expected is Outcome.FAILURE) is is_outage(caught.value)
    last = breaker.snapshot().last_failure

    assert (f"{code}: as asked" if expected is Outcome.FAILURE else None) == (last and last.message)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_open_circuit_sends_nothing(breaker: CircuitBreaker, kind: str) -> None:
    """
    The rejection reaches the caller wherever it waits, and no call reaches the server.
    """
    async with serving() as (service, _, port), stubs(breaker, port) as stub:
        force_state(breaker, State.OPEN)
        with pytest.raises(RpcRejectedError) as caught:
            await KINDS[kind](stub, "word")
        assert 0 == service.asked
    error = caught.value
    again = pickle.loads(pickle.dumps(error))

    assert isinstance(error, CircuitOpenError)
    assert ("api", 10.0) == (error.breaker, error.retry_after)
    assert (CODES.UNAVAILABLE, str(error)) == (error.code(), error.details())
    assert (str(error), CODES.UNAVAILABLE) == (str(again), again.code())
    assert "RpcRejectedError(" in repr(error)
    assert not retryable(error)
    assert not is_outage(error)


async def test_a_rejected_call_tells_its_status(breaker: CircuitBreaker) -> None:
    """
    Who asks the call object for its code is told that the server is unavailable.
    """
    async with stubs(breaker, 9) as stub:
        force_state(breaker, State.OPEN)
        call = stub.unary(b"word")
        assert CODES.UNAVAILABLE is await call.code()
        assert "circuit 'api' is open" in await call.details()


async def test_a_server_that_is_gone_opens_and_one_that_is_back_closes(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """
    A refused connection is a failure; after the wait the channel works again.
    """
    async with serving() as (_, server, port), stubs(breaker, port) as stub:
        assert b"you said word" == await stub.unary(b"word")
        await server.stop(0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.unary(b"word")
        assert CODES.UNAVAILABLE is caught.value.code()
        assert State.OPEN is breaker.state
        async with serving(port):
            clock.advance(10.0)
            assert b"you said word" == await stub.unary(b"word", wait_for_ready=True)
            await until(lambda: State.CLOSED is breaker.state)


async def test_a_server_that_goes_in_mid_stream_is_a_failure(breaker: CircuitBreaker) -> None:
    """
    An error after some messages makes the whole call a failure.
    """
    async with serving() as (_, server, port), stubs(breaker, port) as stub:
        messages: list[bytes] = []

        async def read() -> None:
            async for message in stub.stream(b"word hang"):
                messages.append(message)
                await server.stop(0)

        with pytest.raises(grpc.aio.AioRpcError):
            await read()
        assert [b"0"] == messages
        await until(lambda: State.OPEN is breaker.state)


async def test_the_caller_s_deadline_is_a_failure(breaker: CircuitBreaker) -> None:
    """
    That no answer came in time says that the server is slow.
    """
    async with serving() as (_, _, port), stubs(breaker, port) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.unary(b"hang", timeout=0.1)
        assert CODES.DEADLINE_EXCEEDED is caught.value.code()
        assert State.OPEN is breaker.state


@pytest.mark.parametrize("kind", KINDS)
async def test_a_caller_that_is_cancelled_proves_nothing(
    breaker: CircuitBreaker, clock: ManualClock, kind: str
) -> None:
    """
    To give up before anything came is neutral, and gives a probe's place back.
    """
    async with serving() as (service, _, port), stubs(breaker, port) as stub:
        force_state(breaker, State.OPEN)
        clock.advance(10.0)
        task = asyncio.ensure_future(KINDS[kind](stub, "hang"))
        await until(lambda: service.asked == 1)
        assert 1 == breaker.snapshot().in_flight
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: breaker.snapshot().in_flight == 0)
        assert (State.HALF_OPEN, 1) == (breaker.state, breaker.snapshot().ignored)


async def test_a_call_that_is_cancelled_proves_nothing(breaker: CircuitBreaker) -> None:
    """
    ``call.cancel()`` is neutral, too.
    """
    async with serving() as (service, _, port), stubs(breaker, port) as stub:
        call = stub.unary(b"hang")
        await until(lambda: service.asked == 1)
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert call.cancelled()
        await until(lambda: breaker.snapshot().ignored == 1)


async def test_a_reader_that_has_had_enough_is_a_success(breaker: CircuitBreaker) -> None:
    """
    To leave a stream after a message says that the server has answered.
    """
    async with serving() as (_, _, port), stubs(breaker, port) as stub:
        call = stub.stream(b"word hang")
        assert b"0" == await call.read()
        call.cancel()
        await until(lambda: breaker.snapshot().succeeded == 1)


@pytest.mark.parametrize("counted", [False, True])
async def test_a_cancellation_by_the_server_can_be_a_failure(
    breaker: CircuitBreaker, counted: bool
) -> None:
    """
    Some servers cancel what runs when they go: then ``CANCELLED`` belongs to the failures.
    """
    failures = FAILURES | {CODES.CANCELLED} if counted else FAILURES
    async with serving() as (_, _, port), stubs(breaker, port, failures=failures) as stub:
        with record(breaker) as events:
            with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)):
                await stub.unary(b"CANCELLED")
            await until(lambda: bool(outcomes(events)))
    assert [Outcome.FAILURE if counted else Outcome.SUCCESS] == outcomes(events)


async def test_a_caller_s_cancellation_never_is(breaker: CircuitBreaker) -> None:
    """
    Also where ``CANCELLED`` is a failure, what this side cancels is none.
    """
    failures = FAILURES | {CODES.CANCELLED}
    async with serving() as (service, _, port), stubs(breaker, port, failures=failures) as stub:
        call = stub.unary(b"hang")
        await until(lambda: service.asked == 1)
        call.cancel()
        await until(lambda: breaker.snapshot().ignored == 1)
        stream = stub.stream(b"word hang")
        assert b"0" == await stream.read()
        stream.cancel()
        await until(lambda: breaker.snapshot().succeeded == 1)
    assert 0 == breaker.snapshot().failed


async def test_which_codes_are_failures_can_be_chosen(breaker: CircuitBreaker) -> None:
    """
    What the table says may be wrong for a server of one's own.
    """
    async with serving() as (_, _, port), stubs(breaker, port, failures=[CODES.ABORTED]) as stub:
        with record(breaker) as events:
            for code in ("UNAVAILABLE", "ABORTED"):
                with pytest.raises(grpc.aio.AioRpcError):
                    await stub.unary(code.encode())
            await until(lambda: len(outcomes(events)) == 2)
    assert [Outcome.SUCCESS, Outcome.FAILURE] == outcomes(events)


async def test_only_the_time_to_the_first_message_is_slow(clock: ManualClock) -> None:
    """
    A stream may take as long as it likes, once it has begun.
    """
    breaker = CircuitBreaker("rpc", slow=1.0, clock=clock)
    async with serving() as (service, _, port), stubs(breaker, port) as stub:
        call = stub.stream(b"word hang")
        assert b"0" == await call.read()
        clock.advance(5.0)
        service.gate.set()
        assert [b"1", b"2"] == [message async for message in call]
        await until(lambda: breaker.snapshot().succeeded == 1)
    assert 0 == breaker.snapshot().slow


async def test_a_probe_keeps_its_place_until_the_end(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """
    Others are rejected while the probe's stream lasts, and admitted after it.
    """
    async with serving() as (service, _, port), stubs(breaker, port) as stub:
        force_state(breaker, State.OPEN)
        clock.advance(10.0)
        call = stub.stream(b"word hang")
        assert b"0" == await call.read()
        with pytest.raises(RpcRejectedError):
            await stub.unary(b"word")
        service.gate.set()
        assert [b"1", b"2"] == [message async for message in call]
        await until(lambda: State.CLOSED is breaker.state)


async def test_the_call_object_is_the_library_s(breaker: CircuitBreaker) -> None:
    """
    Metadata, status, callbacks and writing by hand work as before.
    """
    done: list[Any] = []
    async with serving() as (service, _, port), stubs(breaker, port) as stub:
        call = stub.unary(b"word", metadata=(("tenant", "one"),))
        call.add_done_callback(done.append)
        assert b"you said word" == await call
        assert "one" == service.metadata["tenant"]
        assert CODES.OK is await call.code()
        await call.initial_metadata()
        await call.trailing_metadata()
        assert 1 == len(done)

        chat = stub.chat()
        await chat.write(b"first")
        assert b"you said first" == await chat.read()
        await chat.write(b"second")
        assert b"you said second" == await chat.read()
        await chat.done_writing()
        assert grpc.aio.EOF is await chat.read()
        assert CODES.OK is await chat.code()


async def test_many_streams_at_once_are_told_apart(breaker: CircuitBreaker) -> None:
    """
    Each call settles itself, whatever the others do.
    """
    breaker.configure(trip=consecutive_failures(100))
    words = ["word", "word UNAVAILABLE", "NOT_FOUND", "word"] * 10
    async with serving() as (_, _, port), stubs(breaker, port) as stub:
        calls = (gathered(stub.stream(word.encode())) for word in words)
        await asyncio.gather(*calls, return_exceptions=True)
        await until(lambda: breaker.snapshot().succeeded + breaker.snapshot().failed == 40)
    look = breaker.snapshot()

    assert (30, 10) == (look.succeeded, look.failed)


async def test_what_cannot_begin_is_local(breaker: CircuitBreaker) -> None:
    """
    A call that fails before anything is sent, as on a closed channel, proves nothing.
    """
    error = grpc.aio.UsageError("Channel is closed.")
    calls: Any = adapter._Calls(breaker, frozenset())

    async def closed(details: object, request: object) -> None:
        raise error

    with record(breaker) as events, pytest.raises(grpc.aio.UsageError) as caught:
        await calls.begin(closed, None, b"word")

    assert error is caught.value
    assert [Outcome.IGNORED] == outcomes(events)


async def test_a_breaker_of_one_s_own_by_the_predicate(clock: ManualClock) -> None:
    """
    Without the interceptors the same codes count, by ``fail_on``.
    """
    breaker = CircuitBreaker(trip=consecutive_failures(1), fail_on=is_outage, clock=clock)
    async with serving() as (_, _, port):  # noqa: SIM117
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            method = channel.unary_unary("/S/unary")
            for code in ("NOT_FOUND", "UNAVAILABLE"):
                assert State.CLOSED is breaker.state
                with pytest.raises(grpc.aio.AioRpcError):
                    await breaker.call(method, code.encode())
    assert State.OPEN is breaker.state


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("value"), False),
        (ExceptionGroup("no leaf is", [ValueError(), KeyError()]), False),
        (ExceptionGroup("a leaf is", [grpc.aio.AioRpcError(CODES.INTERNAL, None, None)]), True),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_which_other_errors_are_an_outage(error: BaseException, expected: bool) -> None:
    """
    Only what a call has ended with, also in a group.
    """
    assert expected is is_outage(error)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"breaker": "rpc"}, "breaker must be a CircuitBreaker, not 'rpc'"),
        ({"failures": {14}}, "failures must be a collection of grpc.StatusCode"),
        ({"failures": "UNAVAILABLE"}, "failures must be a collection of grpc.StatusCode"),
        ({"failures": CODES.UNAVAILABLE}, "failures must be a collection of grpc.StatusCode"),
        ({"codes": []}, "unexpected keyword argument 'codes'"),
    ],
    ids=["breaker", "number", "text", "code", "unknown"],
)
async def test_bad_options_are_refused(options: Any, words: str) -> None:
    """
    A wrong argument is named when it is given.
    """
    with pytest.raises(TypeError, match=words):
        breaker_interceptors(**{"breaker": CircuitBreaker(), **options})
