"""A circuit breaker for asyncio and trio, async from the first line."""

from asyncbreaker._core.states import Cause, Outcome, Reason, State
from asyncbreaker._core.windows import Counts
from asyncbreaker._runtime.breaker import CircuitBreaker, Guarded, live_breakers
from asyncbreaker._runtime.bulkhead import Bulkhead
from asyncbreaker._runtime.fallback import Fallback
from asyncbreaker._runtime.guard import Entering, Guard
from asyncbreaker._runtime.hedge import Hedge
from asyncbreaker._runtime.last_good import LastGood, answer_age
from asyncbreaker._runtime.matching import Matcher
from asyncbreaker._runtime.pipeline import Pipeline
from asyncbreaker._runtime.policy import Policy
from asyncbreaker._runtime.registry import Registry
from asyncbreaker._runtime.retry import Retry, current_attempt
from asyncbreaker._runtime.retry_budget import RetryBudget
from asyncbreaker._runtime.retryable import retryable
from asyncbreaker._runtime.snapshot import Snapshot
from asyncbreaker._runtime.telling import EventStream
from asyncbreaker._runtime.timeout import Timeout
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
    BulkheadFullError,
    CircuitOpenError,
    FailureSummary,
    RegistryFullError,
    RejectedError,
)
from asyncbreaker.events import (
    BulkheadRejected,
    CallRejected,
    CallSettled,
    Event,
    FallbackFailed,
    FallbackUsed,
    GaveUp,
    HedgeStarted,
    HedgeWithheld,
    HedgeWon,
    LastGoodUsed,
    Listener,
    PolicyEvent,
    RetriesExhausted,
    RetryScheduled,
    StateChanged,
    TimedOut,
)
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
    "Bulkhead",
    "BulkheadFullError",
    "BulkheadRejected",
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
    "Fallback",
    "FallbackFailed",
    "FallbackUsed",
    "GaveUp",
    "Guard",
    "Guarded",
    "Hedge",
    "HedgeStarted",
    "HedgeWithheld",
    "HedgeWon",
    "LastCalls",
    "LastGood",
    "LastGoodUsed",
    "LastSeconds",
    "Listener",
    "Matcher",
    "Outcome",
    "Pipeline",
    "Policy",
    "PolicyEvent",
    "Reason",
    "Recovery",
    "Registry",
    "RegistryFullError",
    "RejectedError",
    "RetriesExhausted",
    "Retry",
    "RetryBudget",
    "RetryScheduled",
    "Snapshot",
    "State",
    "StateChanged",
    "TimedOut",
    "Timeout",
    "TripRule",
    "Wait",
    "answer_age",
    "consecutive_failures",
    "constant",
    "current_attempt",
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
    "retryable",
    "slow_rate",
    "slow_start",
    "spread",
]
