"""A circuit breaker for asyncio and trio, async from the first line."""

from asyncbreaker._core.states import Cause, Outcome, Reason, State
from asyncbreaker._core.windows import Counts
from asyncbreaker._runtime.breaker import CircuitBreaker, Guarded, live_breakers
from asyncbreaker._runtime.guard import Entering, Guard
from asyncbreaker._runtime.matching import Matcher
from asyncbreaker._runtime.registry import Registry
from asyncbreaker._runtime.snapshot import Snapshot
from asyncbreaker._runtime.telling import EventStream
from asyncbreaker.backoff import (
    Backoff,
    Wait,
    constant,
    equal_jitter,
    exponential,
    full_jitter,
    hasten,
    linear,
    spread,
)
from asyncbreaker.errors import (
    AsyncBreakerError,
    CircuitOpenError,
    FailureSummary,
    RegistryFullError,
    RejectedError,
)
from asyncbreaker.events import CallRejected, CallSettled, Event, Listener, StateChanged
from asyncbreaker.recovery import Recovery, probing, slow_start
from asyncbreaker.trip import (
    LastCalls,
    LastSeconds,
    TripRule,
    consecutive_failures,
    failure_count,
    failure_lead,
    failure_rate,
    slow_rate,
)

__version__ = "0.1.0"

__all__ = [
    "AsyncBreakerError",
    "Backoff",
    "CallRejected",
    "CallSettled",
    "Cause",
    "CircuitBreaker",
    "CircuitOpenError",
    "Counts",
    "Entering",
    "Event",
    "EventStream",
    "FailureSummary",
    "Guard",
    "Guarded",
    "LastCalls",
    "LastSeconds",
    "Listener",
    "Matcher",
    "Outcome",
    "Reason",
    "Recovery",
    "Registry",
    "RegistryFullError",
    "RejectedError",
    "Snapshot",
    "State",
    "StateChanged",
    "TripRule",
    "Wait",
    "consecutive_failures",
    "constant",
    "equal_jitter",
    "exponential",
    "failure_count",
    "failure_lead",
    "failure_rate",
    "full_jitter",
    "hasten",
    "linear",
    "live_breakers",
    "probing",
    "slow_rate",
    "slow_start",
    "spread",
]
