"""The peers' documented defaults, as settings of the machine; `rows` says where they are stated.

The figures are the documented ones. How a system acts on them is what its source does when
it is called from an event loop; a note says where the documentation promises otherwise.
"""

from __future__ import annotations

from benchmarks.lab.peers.backoffs import equal_jittered, lengthened, linear
from benchmarks.lab.peers.settings import HalfOpen, Open, Settings, Trip, Window

PYBREAKER = Settings(
    Trip("consecutive_failures", 5),
    Open(60),
    HalfOpen("concurrent"),
    excluded="success",
    stale="apply",
    on_open="keep",
    on_half_open="keep",
    raises_on_trip="breaker_error",
)

CIRCUITBREAKER = Settings(
    Trip("consecutive_failures", 5),
    # Every success closes and every failure from the fifth on opens, whenever it comes.
    Open(30, anchor="last_failure", late_success="closes"),
    HalfOpen("unbounded"),
    stale="apply",
    on_open="keep",
    on_half_open="keep",
)

AIOBREAKER = Settings(
    Trip("consecutive_failures", 5),
    Open(60),
    HalfOpen("unbounded"),
    excluded="success",
    stale="as_admitted",
    on_open="keep",
    on_half_open="keep",
    raises_on_trip="breaker_error",
)

PURGATORY = Settings(
    Trip("consecutive_failures", 5),
    Open(30, boundary="exclusive"),
    HalfOpen("unbounded"),
    stale="apply",
)

RESILIENCE4J = Settings(
    Trip("failure_rate", 0.5, min_calls=100, evaluate_on="any"),
    Open(60, boundary="exclusive"),
    HalfOpen("total", limit=10, rate=0.5, calls=10),
    Window("count", size=100),
    stale="apply",
    on_open="keep",
)

POLLY = Settings(
    Trip("failure_rate", 0.1, min_calls=100),
    Open(5),
    HalfOpen("total"),
    Window("bucketed", seconds=30, buckets=10, align="lazy"),
    stale="apply",
    on_open="keep",
    on_half_open="keep",
)

GOBREAKER = Settings(
    Trip("consecutive_failures", 6),
    Open(60, boundary="exclusive", transition="lazy_read"),
    HalfOpen("total"),
)

HYSTRIX = Settings(
    Trip("failure_rate", 0.5, min_calls=20, every=0.5),
    Open(5, boundary="exclusive"),
    HalfOpen("total"),
    # A bucket lasts as long as a look is away, not the documented second: the
    # health counts have buckets of their own.
    Window("bucketed", seconds=10, buckets=20),
    stale="apply",
    on_open="keep",
    on_half_open="keep",
)

LINKERD2 = Settings(
    Trip("consecutive_failures", 7),
    Open(1, lengthened(1, 60, 0.5), transition="timer"),
    HalfOpen("total"),
    stale="apply",
)

# With one host and the defaults alone, nothing would be rejected, for two reasons: one
# ejected host is more than max_ejection_percent (10 %) of one, and always_eject_one_host
# is off; and none healthy of one is less than healthy_panic_threshold (50 %), so that
# Envoy would send everything to it anyway. The model has always_eject_one_host on and a
# panic threshold of 0, in order to show what an ejection does. (Envoy counts no more than
# eleven ejections in a row, the model all: that takes half an hour of them.)
ENVOY = Settings(
    Trip("consecutive_failures", 5),
    Open(30, linear(30, 300), transition="timer", sweep=10, forget=10),
    None,
    stale="apply",
)

FINAGLE = Settings(
    Trip(
        "any_of",
        of=(
            Trip("consecutive_failures", 5),
            Trip("failure_rate", 0.2, op=">", min_calls=5),
        ),
    ),
    Open(5, equal_jittered(5, 300), transition="timer"),
    HalfOpen("total"),
    Window("moving", seconds=30, buckets=5),
    on_open="keep",
    on_half_open="keep",
)
