"""The peers as rows of the lab's tables: their defaults, the pages that state them, and notes."""

from __future__ import annotations

from collections.abc import Mapping

from asyncbreaker._lab.clients import Client, Clock
from benchmarks.lab.peers.defaults import (
    AIOBREAKER,
    CIRCUITBREAKER,
    ENVOY,
    FINAGLE,
    GOBREAKER,
    HYSTRIX,
    LINKERD2,
    POLLY,
    PURGATORY,
    PYBREAKER,
    RESILIENCE4J,
)
from benchmarks.lab.peers.machine import Machine
from benchmarks.lab.peers.own_code import Interlock, Nopanic
from benchmarks.lab.peers.peer import Peer
from benchmarks.lab.peers.settings import Random, Settings

GITHUB = "https://github.com/"


def _modelled(
    name: str,
    version: str,
    settings: str,
    machine: Settings,
    defaults: Mapping[str, str],
    note: str,
) -> Peer:
    """Return a row whose clients are machines with these settings."""

    def make(clock: Clock, random: Random) -> Client:
        return Machine(machine, random=random)

    return Peer(name, version, settings, defaults, note, make)


def _stated(page: str, *defaults: str) -> dict[str, str]:
    """Return the defaults with the one page that states them all."""
    return dict.fromkeys(defaults, page)


_INTERLOCK = f"{GITHUB}bagowix/interlock/blob/498933bdaff6dff4cee079f3e97c48353553ab36/"
_NOPANIC = f"{GITHUB}dagdelenemre/nopanic/blob/4edeef7a024c241b9e07bb8877af0c2d7bbbfc37/"
_AIOBREAKER = f"{GITHUB}arlyon/aiobreaker/blob/9b2cd294e133e60ad67fab09e84d03b7e7d31199/"
_RESILIENCE4J = f"{GITHUB}resilience4j/resilience4j/blob/335f5ebd5bc680d612958d08b2bd08578a00486a/"
_POLLY = f"{GITHUB}App-vNext/Polly/blob/3e58672f270c1162776f7be56dd0776bc4b7b7a9/"
_GOBREAKER = f"{GITHUB}sony/gobreaker/blob/0a18939f35cd354331b2f536acbcc56f734cbea5/"
_LINKERD2 = f"{GITHUB}linkerd/linkerd2/blob/2be89b7d9741e3d2e8524977c04673cd55937c35/"
_PROXY = f"{GITHUB}linkerd/linkerd2-proxy/blob/a7cdecc1b9f09fbb2900b84737c38143fbb2253f/"
_ENVOY = "https://envoyproxy.io/docs/envoy/latest/"
_FINAGLE = (
    f"{GITHUB}twitter/finagle/blob/91d24c33bd7587dad9a3d5e00702d1fbffaa56f3/"
    "finagle-core/src/main/scala/com/twitter/finagle/liveness/"
)

ROWS = (
    Peer(
        "interlock-cb",
        "2.8.2",
        "50 % of the last 100, at least 10; 60 s; 10 probes, 1 at a time",
        _stated(
            f"{_INTERLOCK}docs/guides/configuration.md",
            "failure_rate_threshold = 0.5 (50 %)",
            "window_type = COUNT_BASED",
            "window_size = 100",
            "minimum_number_of_calls = 10",
            "wait_duration_in_open = 60.0",
            "permitted_calls_in_half_open = 10",
            "max_concurrent_probes = 1",
            "slow_call_duration_threshold = 60.0",
            "slow_call_rate_threshold = 1.0",
        ),
        "Half-open waits for all ten answers and judges by their share. A call is slow from "
        "60 s on, which none here ever is.",
        lambda clock, random: Interlock(clock),
        own_code=True,
    ),
    Peer(
        "nopanic",
        "0.3.0",
        "50 % of 30 s, at least 5; 30 s; 1 probe",
        _stated(
            f"{_NOPANIC}src/nopanic/breaker.py",
            "failure_threshold = 0.5 (50 %)",
            "window = 30.0",
            "window_buckets = 10",
            "min_calls = 5",
            "reset_timeout = 30.0",
            "half_open_max_calls = 1",
            "slow_call_duration = None",
        ),
        "Its windows are aligned to the clock's zero, so that all clients turn them at once.",
        lambda clock, random: Nopanic(clock),
        own_code=True,
    ),
    _modelled(
        "pybreaker",
        "1.4.1",
        "5 in a row; 60 s; 1 probe",
        PYBREAKER,
        {
            **_stated(
                "https://pypi.org/project/pybreaker/1.4.1/",
                "fail_max = 5",
                "reset_timeout = 60",
                "the next call passes (1 probe)",
            ),
            **_stated(
                f"{GITHUB}danielfm/pybreaker/blob/3c436f2/src/pybreaker/__init__.py",
                "success_threshold = 1",
            ),
        },
        "As documented: one trial call. In threads a lock is held for the whole call, so that "
        "the others wait for the verdict; here they are rejected, since on an event loop "
        "nobody can wait for a thread's lock. Its asynchronous calls, which need Tornado, are "
        "not modelled: the lock does not hold the others off, and the call that comes after "
        "the open time is made twice, while the circuit closes before the first has answered.",
    ),
    _modelled(
        "circuitbreaker",
        "2.1.3",
        "5 in a row; 30 s; all calls until the first answer",
        CIRCUITBREAKER,
        _stated(
            "https://pypi.org/project/circuitbreaker/2.1.3/",
            "FAILURE_THRESHOLD = 5",
            "RECOVERY_TIMEOUT = 30",
        ),
        "Its documentation promises one test execution; used from asyncio, every call that "
        "comes before the first answer is let through. Late answers count: a success from "
        "before closes an open circuit at once, a failure starts the open time anew.",
    ),
    _modelled(
        "aiobreaker",
        "1.2.0",
        "5 in a row; 60 s; all calls until the first answer",
        AIOBREAKER,
        _stated(
            f"{_AIOBREAKER}aiobreaker/circuitbreaker.py",
            "fail_max = 5",
            "timeout_duration = 60 s",
        ),
        "Its documentation speaks of the next call; every call that comes before the first "
        "answer is let through. A call reports to the state that admitted it: a late failure "
        "starts the open time anew, and a trial call's answer opens or closes even after "
        "another's has decided.",
    ),
    _modelled(
        "purgatory",
        "3.0.1",
        "5 in a row; 30 s; all calls until the first answer",
        PURGATORY,
        _stated(
            "https://mardiros.github.io/purgatory/develop/service/circuitbreaker.html",
            "default_threshold = 5",
            "default_ttl = 30",
        ),
        "Half-open lets every call through until the first answer.",
    ),
    _modelled(
        "resilience4j",
        "2.x, source of CircuitBreakerConfig at 335f5eb",
        "50 % of the last 100; 60 s; 10 probes",
        RESILIENCE4J,
        _stated(
            f"{_RESILIENCE4J}resilience4j-circuitbreaker/src/main/java/io/github/resilience4j/"
            "circuitbreaker/CircuitBreakerConfig.java",
            "failureRateThreshold = 50 %",
            "slidingWindowType = COUNT_BASED",
            "slidingWindowSize = 100",
            "minimumNumberOfCalls = 100",
            "waitDurationInOpenState = 60 s",
            "permittedNumberOfCallsInHalfOpenState = 10",
            "maxWaitDurationInHalfOpenState = 0 (no limit)",
            "slowCallDurationThreshold = 60 s",
            "slowCallRateThreshold = 100 %",
        ),
        "Slow calls are left out: a call is slow after 60 s, which none here ever is.",
    ),
    _modelled(
        "Polly",
        "8, documentation of the v8 API",
        "10 % of 30 s, at least 100; 5 s; 1 probe",
        POLLY,
        {
            **_stated(
                "https://pollydocs.org/strategies/circuit-breaker",
                "FailureRatio = 0.1 (10 %)",
                "SamplingDuration = 30 s",
                "MinimumThroughput = 100",
                "BreakDuration = 5 s",
                "a probe (1)",
            ),
            **_stated(
                f"{_POLLY}src/Polly.Core/CircuitBreaker/Health/HealthMetrics.cs",
                "NumberOfWindows = 10",
            ),
        },
        "Nothing is left out that a call here could meet.",
    ),
    _modelled(
        "gobreaker",
        "v2",
        "6 in a row; 60 s; 1 probe",
        GOBREAKER,
        _stated(
            f"{_GOBREAKER}v2/gobreaker.go",
            "ReadyToTrip: more than 5 in a row (6)",
            "Timeout = 60 s",
            "MaxRequests = 1",
            "Interval = 0 (counts are not cleared while closed)",
        ),
        "Nothing is left out that a call here could meet.",
    ),
    _modelled(
        "Hystrix",
        "1.5, wiki of 2016-10-26",
        "50 % of 10 s, at least 20, looked at every 500 ms; 5 s; 1 probe",
        HYSTRIX,
        _stated(
            f"{GITHUB}Netflix/Hystrix/wiki/Configuration",
            "circuitBreaker.errorThresholdPercentage = 50 %",
            "metrics.rollingStats.timeInMilliseconds = 10000 (10 s)",
            "circuitBreaker.requestVolumeThreshold = 20",
            "metrics.healthSnapshot.intervalInMilliseconds = 500",
            "circuitBreaker.sleepWindowInMilliseconds = 5000 (5 s)",
        )
        | _stated(
            f"{GITHUB}Netflix/Hystrix/blob/001526b797310fa0b5befa767750cb20e82376a1/hystrix-core/"
            "src/main/java/com/netflix/hystrix/HystrixCircuitBreaker.java",
            "one request after the sleep window (1 probe)",
        ),
        "Its thread pool (10 at once) and its timeout (1 s, which is the callers' here) are "
        "left out. The looks begin with a client's first call, and anew when it closes.",
    ),
    _modelled(
        "Linkerd2",
        "2.x, consecutive failure accrual",
        "7 in a row; 1 s doubling to 60 s, up to 0.5 of it more by chance; 1 probe",
        LINKERD2,
        {
            "failure-accrual = consecutive": "https://linkerd.io/2/reference/circuit-breaking/",
            **_stated(
                f"{_LINKERD2}policy-controller/k8s/index/src/outbound/index.rs",
                "failure-accrual-consecutive-max-failures = 7",
                "failure-accrual-consecutive-min-penalty = 1 s",
                "failure-accrual-consecutive-max-penalty = 60 s",
                "failure-accrual-consecutive-jitter-ratio = 0.5",
            ),
            **_stated(
                f"{_PROXY}linkerd/app/outbound/src/http/breaker/consecutive_failures.rs",
                "probation (1 request)",
            ),
        },
        "It is off unless a service asks for it. One endpoint is modelled, and every failure "
        "counts, not only answers of 5xx. The jitter is as documented; the proxy cuts it to "
        "whole seconds. While an endpoint is shut and there is no other, the proxy lets requests "
        "wait in a queue, and rejects only once that has lasted for 3 s (failfast), until the "
        "next probe; the model rejects from the start.",
    ),
    _modelled(
        "Envoy",
        "latest, outlier detection",
        "5 in a row; 30 s times ejections, at most 300 s, ended by a sweep every 10 s; no probe",
        ENVOY,
        {
            **_stated(
                f"{_ENVOY}api-v3/config/cluster/v3/outlier_detection.proto",
                "consecutive_5xx = 5",
                "enforcing_consecutive_5xx = 100 %",
                "base_ejection_time = 30 s",
                "max_ejection_time = 300 s",
                "max_ejection_time_jitter = 0 s",
                "interval = 10 s",
                "always_eject_one_host = false (the model: true)",
                "max_ejection_percent = 10 %",
            ),
            **_stated(
                f"{_ENVOY}intro/arch_overview/upstream/load_balancing/panic_threshold",
                "healthy_panic_threshold = 50 % (the model: 0)",
            ),
        },
        "Not the defaults alone: with one host and the default healthy_panic_threshold of "
        "50 %, Envoy would send everything to it anyway, and max_ejection_percent of 10 % "
        "would not let it be ejected in the first place. The model sets the panic threshold "
        "to 0 and always_eject_one_host, in order to show the ejection. What compares hosts "
        "with each other needs five of them and is left out. Each client's sweep has a phase "
        "of its own.",
    ),
    _modelled(
        "Finagle",
        "source at 91d24c3",
        "5 in a row, or less than 0.8 successes over 30 s; 5 s doubling to 300 s, half of it "
        "by chance; 1 probe",
        FINAGLE,
        {
            **_stated(
                f"{_FINAGLE}FailureAccrualPolicy.scala",
                "DefaultConsecutiveFailures = 5",
                "DefaultSuccessRateThreshold = 0.8",
                "DefaultSuccessRateWindow = 30 s",
                "DefaultMinimumRequestThreshold = 5",
            ),
            **_stated(
                f"{_FINAGLE}FailureAccrualFactory.scala",
                "markDeadFor: equal jittered, 5 s to 300 s",
                "ProbeOpen, ProbeClosed (1 probe)",
            ),
        },
        "One endpoint is modelled, and one backoff, where each of the two policies has its "
        "own and the longer wins. What an unavailable endpoint would still be sent, for want "
        "of another, is rejected. A failed probe always opens again, and late answers count "
        "for nothing, as in its traces; in its code a late success zeroes the run, so that a "
        "failed probe may be followed by another at once.",
    ),
)
