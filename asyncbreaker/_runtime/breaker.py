"""The breaker: asks the circuit, awaits the call, reports back, tells the listeners."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from itertools import count
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    NoReturn,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)
from weakref import WeakSet, ref

from asyncbreaker._core import checks
from asyncbreaker._core.permits import Era, Permit
from asyncbreaker._core.states import Cause, State
from asyncbreaker._runtime.backend import Clock, checkpoint
from asyncbreaker._runtime.blocks import caller
from asyncbreaker._runtime.guard import Entering, Guard
from asyncbreaker._runtime.matching import Matcher, types_of
from asyncbreaker._runtime.misuse import check_decorated
from asyncbreaker._runtime.runner import Publish, Runner
from asyncbreaker._runtime.settings import Changes, HealthCheck, Settings
from asyncbreaker._runtime.snapshot import Snapshot
from asyncbreaker._runtime.stream import guard_stream
from asyncbreaker._runtime.telling import KINDS, EventStream, check_kinds, check_listener
from asyncbreaker.backoff import DEFAULT, Backoff
from asyncbreaker.events import Event, Listener, StateChanged
from asyncbreaker.recovery import Recovery, slow_start
from asyncbreaker.trip import TripRule, failure_lead

if TYPE_CHECKING:
    from typing import Unpack

P = ParamSpec("P")
P2 = ParamSpec("P2")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
T = TypeVar("T")
G = TypeVar("G", bound=AsyncIterator[Any])
Self_contra = TypeVar("Self_contra", contravariant=True)
E = TypeVar("E", bound=Event)

_numbers = count(1)
_live: WeakSet[CircuitBreaker] = WeakSet()


class Guarded(Protocol[P, R_co]):
    """A function under a breaker: what ``@breaker`` makes of it."""

    @property
    def breaker(self) -> CircuitBreaker:
        """The breaker that guards it."""
        ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    @overload
    def __get__(  # under @classmethod
        self: Guarded[Concatenate[type[T], P2], R_co], instance: T | None, owner: type[T], /
    ) -> Guarded[P2, R_co]: ...
    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Guarded[P, R_co]: ...
    @overload
    def __get__(
        self: Guarded[Concatenate[Self_contra, P2], R_co],
        instance: Self_contra,
        owner: type | None = None,
        /,
    ) -> Guarded[P2, R_co]: ...


class CircuitBreaker:
    """Guards the calls to one dependency.

    Made without parameters it is fit for production: it opens when failures lead
    successes by five for a second (or by twenty at once), waits half a second to ten,
    and comes back by letting the calls in flight grow from one. It belongs to no event
    loop: make it at import, use it under asyncio and trio.

    Args:
        name: Stands in errors, events and the log. Default: unique ("breaker-1").
        trip: When to open. Any ``Counts -> bool``, asked after each bad call.
        backoff: Seconds to stay open the n-th time in a row (from 1), asked once per
            opening; a plain number is constant and exact.
        recovery: How half-open admits calls and when it closes: ``slow_start(...)``
            or ``probing(...)``, the classic.
        fail_on: What is a failure when raised: an exception type, a tuple of them, or a
            predicate.
        succeed_on: What is a success although raised (a 404: the dependency answered);
            wins over *fail_on*. What is in neither is ignored.
        fail_on_result: Tells whether a returned value is a failure.
        slow: Seconds from which a call is slow, which counts as bad, also while it
            still runs. Without it a dependency that hangs is noticed only by the
            timeouts inside the guarded function.
        health_check: Awaited before the first probe, instead of sacrificing a user's
            call; what it raises means not yet.
        shadow: Decide and tell everything, reject nothing.
        listeners: Plain functions, told each ``StateChanged``.
        clock: Monotonic seconds. The only clock that is read.

    Raises:
        TypeError, ValueError: A value is of the wrong type or out of range; the
            message names parameter and value.
    """

    __slots__ = ("__weakref__", "_bare", "_runner", "_short")

    def __init__(
        self,
        name: str | None = None,
        *,
        trip: TripRule = failure_lead(),  # noqa: B008 - frozen
        backoff: Backoff | float = DEFAULT,
        recovery: Recovery = slow_start(),  # noqa: B008 - frozen
        fail_on: Matcher = Exception,
        succeed_on: Matcher = (),
        fail_on_result: Callable[[Any], bool] | None = None,
        slow: float | None = None,
        health_check: HealthCheck | None = None,
        shadow: bool = False,
        listeners: Iterable[Listener] = (),
        clock: Clock = time.monotonic,
    ) -> None:
        settings = Settings(
            trip=trip,
            backoff=backoff,
            recovery=recovery,
            fail_on=fail_on,
            succeed_on=succeed_on,
            fail_on_result=fail_on_result,
            slow=slow,
            health_check=health_check,
            shadow=shadow,
            listeners=listeners,
        )
        checks.function("clock", clock)
        name = f"breaker-{next(_numbers)}" if name is None else checks.text("name", name)
        # The runner's ``short`` and ``bare`` once more, one step nearer: a tenth of a
        # call's price.
        self._short: Era | Permit | None = None
        self._bare: Era | Permit | None = None
        self._runner = Runner(name, settings, clock, _publish_to(ref(self)))
        _live.add(self)

    # The ways in.

    async def call(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``await fn(*args, **kwargs)``, unless the circuit is open.

        It is awaited in the caller's own task: context variables, cancel scopes and
        deadlines reach *fn* as without a breaker. What it raises is passed on as it is.

        Raises:
            CircuitOpenError: *fn* was not called.
            TypeError: *fn* gave nothing to await, or is a coroutine already.
        """
        permit = self._short
        if permit is None:
            permit = self._runner.admit(fn)
            if permit.check:
                permit = await self._runner.check_health(permit)
        plain: Callable[..., Awaitable[R]] = fn
        try:
            # Passing on keywords that are not there costs more than asking for them.
            result = await (fn(*args, **kwargs) if kwargs else plain(*args))
        except BaseException as error:
            self._runner.raised(permit, error, fn)
            raise
        if permit.lead:
            self._runner.returned(permit, result)
        else:
            permit.succeeded += 1
        return result

    async def __aenter__(self) -> None:
        bare = self._bare
        if bare is not None:
            bare.blocks += 1
            return
        runner = self._runner
        frame = caller(1)
        permit = runner.short or runner.admit()
        if permit.check:
            permit = await runner.check_health(permit)
        runner.enter_block(frame, permit)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        permit = self._bare
        if permit is None or exc is not None or not permit.blocks:
            self._runner.leave_block(caller(1), exc)
            return
        permit.blocks -= 1
        if permit.lead:
            self._runner.succeed(permit)
        else:
            permit.succeeded += 1

    def guard(self) -> Guard:
        """Return a block that holds its own permit, to be judged from inside: see ``Guard``."""
        return Guard(self._runner, self)

    @overload
    def entering(
        self,
        fn: Callable[P, AbstractAsyncContextManager[T, Any]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Entering[T]: ...
    @overload
    def entering(
        self,
        fn: Callable[P, Awaitable[AbstractAsyncContextManager[T, Any]]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Entering[T]: ...
    def entering(
        self,
        fn: Callable[
            P,
            AbstractAsyncContextManager[T, Any] | Awaitable[AbstractAsyncContextManager[T, Any]],
        ],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Entering[T]:
        """Guard the entering of ``fn(*args, **kwargs)``, an async context manager.

        ``async with breaker.entering(pool.acquire) as connection:`` judges the acquiring;
        what the body raises, and the release, pass unjudged.

        Raises:
            CircuitOpenError: On entering; *fn* was not called.
        """
        return Entering(self.call, functools.partial(fn, *args, **kwargs))

    @overload
    def __call__(self, fn: Callable[P, G], /) -> Guarded[P, G]: ...
    @overload
    def __call__(
        self, fn: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Guarded[P, Coroutine[Any, Any, R]]: ...
    def __call__(self, fn: Callable[..., Any], /) -> Any:
        """Guard every call of *fn*, a coroutine function or an async generator function.

        The whole stream of a generator is one call. A method shares one breaker among
        all instances.

        Raises:
            TypeError: *fn* is not async: guarding it would stop nothing.
        """
        check_decorated("@breaker", fn, streams=True)
        stream = inspect.isasyncgenfunction(fn)
        guarded = guard_stream(self._runner, fn) if stream else self._guard_function(fn)
        guarded.__dict__["breaker"] = self
        return guarded

    def _guard_function(self, fn: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        # The body of ``call`` once more: calling it would cost another coroutine,
        # which is half of what a guarded call costs at all.
        runner = self._runner
        plain: Callable[..., Awaitable[R]] = fn

        @functools.wraps(fn)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            permit = runner.short
            if permit is None:
                permit = runner.admit()
                if permit.check:
                    permit = await runner.check_health(permit)
            try:
                result = await (fn(*args, **kwargs) if kwargs else plain(*args))
            except BaseException as error:
                runner.leave(permit, error)
                raise
            if permit.lead:
                runner.returned(permit, result)
            else:
                permit.succeeded += 1
            return result

        return guarded

    # Looking: changes nothing.

    @property
    def name(self) -> str:
        """Stands in errors, events and the log."""
        return self._runner.name

    @property
    def state(self) -> State:
        """The circuit's state."""
        return self._runner.circuit.state

    def snapshot(self) -> Snapshot:
        """Return one consistent look at everything."""
        return self._runner.snapshot()

    def __repr__(self) -> str:
        look = self.snapshot()
        return f"<CircuitBreaker {look.name!r}: {look.state.value}, {look.counts!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"cannot pickle or copy {self!r}: it stands for one dependency as this process sees it"
        )

    # Commands.

    def force_open(self, reason: str = "") -> None:
        """Reject every call until ``reset`` or ``disable``; *reason* is told and logged."""
        self._runner.command(Cause.FORCED, reason)

    def disable(self, reason: str = "") -> None:
        """Admit every call and record nothing until ``reset`` or ``force_open``."""
        self._runner.command(Cause.DISABLED, reason)

    def reset(self, reason: str = "") -> None:
        """Close from any state, with empty counts, as if new."""
        self._runner.command(Cause.RESET, reason)

    def configure(self, **changes: Unpack[Changes]) -> None:
        """Change settings at run time: the constructor's names, but *name* and *clock*.

        All or nothing. State, timer and history are kept, as far as they fit: of a
        window its newest entries. *recovery* holds from the next half-open, *slow* for
        calls that come from now on; *listeners* replaces the constructor's.

        Raises:
            TypeError, ValueError: As the constructor; then nothing has changed.
        """
        self._runner.configure(changes)

    # Waiting.

    async def wait_closed(self) -> None:
        """Return when the circuit is closed (or disabled). Somebody's calls must close it."""
        await checkpoint()
        await self._runner.waiting.until_closed(self._is_closed)

    async def wait_ready(self) -> None:
        """Return when the next call would be admitted. Reserves nothing.

        Waiters pass one by one, first come first served: the next one when a call has
        arrived since, or 50 ms later.
        """
        await checkpoint()
        runner = self._runner
        await runner.waiting.until_ready(runner.ready_at, runner.admits_all)

    def _is_closed(self) -> bool:
        return self.state in (State.CLOSED, State.DISABLED)

    # Events.

    @overload
    def add_listener(self, listener: Callable[[StateChanged], object], /) -> Callable[[], None]: ...
    @overload
    def add_listener(
        self, listener: Callable[[E], object], kind: type[E], /, *kinds: type[E]
    ) -> Callable[[], None]: ...
    def add_listener(
        self, listener: Callable[[Any], object], /, *kinds: type[Any]
    ) -> Callable[[], None]:
        """Call *listener*, a plain function, with each event of *kinds*; return what ends that.

        It is called after everything is decided, in the order of the transitions. What
        it raises is logged; it may call any method of the breaker.

        Args:
            listener: A plain function of one event.
            kinds: ``StateChanged`` (the default), ``CallRejected``, ``CallSettled``.

        Raises:
            TypeError: *listener* is async (use ``events``) or no function, or a kind
                is no event class.
        """
        check_listener("listener", listener)
        return self._runner.listen(listener, check_kinds(kinds, KINDS, (StateChanged,)))

    @overload
    def events(self) -> EventStream[StateChanged]: ...
    @overload
    def events(self, kind: type[E], /, *kinds: type[E]) -> EventStream[E]: ...
    def events(self, *kinds: type[Any]) -> EventStream[Any]:
        """Return the events of *kinds* as an async iterator, for your own task.

        ``async with breaker.events() as stream: async for event in stream: ...``. It
        keeps 1000 events for a consumer that sleeps; then the oldest are dropped, and
        counted in ``stream.dropped``.
        """
        checked = check_kinds(kinds, KINDS, (StateChanged,))
        return EventStream(lambda take: self._runner.listen(take, checked))


def _publish_to(breaker: ref[CircuitBreaker]) -> Publish:
    def publish(short: Era | Permit | None, bare: Era | Permit | None) -> None:
        alive = breaker()
        if alive is not None:
            alive._short, alive._bare = short, bare  # pyright: ignore[reportPrivateUsage]  # own file

    return publish


def live_breakers() -> list[CircuitBreaker]:
    """Return every breaker that is alive, in no order."""
    return list(_live)


def clock_of(breaker: CircuitBreaker) -> Clock:
    """Return the breaker's clock, for whoever dates something about it."""
    return breaker._runner.clock  # pyright: ignore[reportPrivateUsage]  # of this file


def failures_of(breaker: CircuitBreaker) -> tuple[type[BaseException], ...]:
    """The types of errors that it opens for; none if that is not all, or only a predicate knows."""
    settings = breaker._runner.settings  # pyright: ignore[reportPrivateUsage]  # of this file
    if settings.slow is not None or settings.fail_on_result is not None:
        return ()
    return types_of(settings.fail_on) or ()
