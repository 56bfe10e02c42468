"""The default log: quiet at 3 a.m., and says why it opened."""

from __future__ import annotations

import logging
import math
from random import Random
from typing import Any

import anyio
import pytest

from asyncbreaker import (
    Cause,
    CircuitBreaker,
    CircuitOpenError,
    Counts,
    State,
    consecutive_failures,
    exponential,
    failure_rate,
    hasten,
    probing,
    slow_start,
    spread,
)
from asyncbreaker._core.circuit import Move
from asyncbreaker._runtime.journal import Journal
from asyncbreaker._runtime.snapshot import Failures
from asyncbreaker.testing import ManualClock, force_state
from tests.runtime.support import answer, fail, failing_call, fragile, rejected_call

pytestmark = pytest.mark.anyio


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "asyncbreaker")
    return caplog


def loud(log: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    """What was written at *level* or above, with its level."""
    return [f"{entry.levelname} {entry.message}" for entry in log.records if entry.levelno >= level]


async def call_for_an_hour(breaker: CircuitBreaker, clock: ManualClock) -> int:
    """Ten calls a second to a dead service; returns how many were rejected."""
    rejected = 0
    for _ in range(36_000):
        clock.advance(0.1)
        try:
            await breaker.call(fail)
        except CircuitOpenError:
            rejected += 1
        except ConnectionError:
            pass
    return rejected


@pytest.mark.parametrize("recovery", [slow_start(), probing()])
async def test_an_hours_outage_stays_under_seventy_lines(
    recovery: Any, clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    One WARNING, a summary a minute at most, nothing per rejection above DEBUG.
    """
    log.set_level(logging.INFO, "asyncbreaker")
    backoff = spread(hasten(exponential(0.5, maximum=10.0)), random=Random(3).random)
    breaker = CircuitBreaker("api", clock=clock, recovery=recovery, backoff=backoff)

    rejected = await call_for_an_hour(breaker, clock)

    lines = loud(log)
    assert rejected > 30_000
    assert 50 < len(lines) < 70
    assert ["WARNING"] == [line.split()[0] for line in lines if not line.startswith("INFO")]
    assert all("is still" in line for line in lines[1:])
    dates = [entry.created for entry in log.records]
    assert dates == sorted(dates)


async def test_a_trouble_is_one_warning_and_one_info(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    The opening is a WARNING, re-openings are DEBUG, the closing is INFO with the totals.
    """
    breaker = fragile(clock)
    await failing_call(breaker)
    await rejected_call(breaker)
    clock.advance(10.0)
    await failing_call(breaker)
    await rejected_call(breaker)
    clock.advance(10.0)
    await breaker.call(answer)

    assert [
        (
            "WARNING circuit 'api' opened: consecutive_failures(count=1); bad calls lead by 1 for "
            "0 s, 1 failures in a row; last failures: ConnectionError x1; the last one: "
            "ConnectionError: refused; asks again in 10 s"
        ),
        "INFO circuit 'api' closed after 20 s: 1 probes failed, 2 calls rejected",
    ] == loud(log)
    assert 3 == sum(entry.levelno == logging.DEBUG for entry in log.records)


async def test_long_times_are_readable(clock: ManualClock, log: pytest.LogCaptureFixture) -> None:
    """
    An outage of hours is written in plain figures.
    """
    breaker = fragile(clock, backoff=3600.0)
    await failing_call(breaker)
    clock.advance(7250.0)
    await breaker.call(answer)

    assert loud(log)[0].endswith("asks again in 3600 s")
    assert "closed after 7250 s:" in loud(log)[-1]


async def test_opening_again_soon_is_the_same_trouble(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    What trips again soon after closing is no second WARNING, and goes on counting.
    """
    breaker = fragile(clock, backoff=1.0)
    await failing_call(breaker)
    clock.advance(1.0)
    await breaker.call(answer)
    clock.advance(10.0)
    await failing_call(breaker)
    clock.advance(1.0)
    await breaker.call(answer)
    clock.advance(12.5)  # longer than the trouble had lasted
    await failing_call(breaker)

    levels = [line.split()[0] for line in loud(log)]
    assert ["WARNING", "INFO", "INFO", "WARNING"] == levels
    assert "after 12 s: 1 probes failed" in loud(log)[2]


async def test_the_warning_says_which_rule_and_what_counted(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    The rule, the counts and their rate, and the commonest errors stand in the WARNING.
    """
    breaker = fragile(clock, trip=failure_rate(0.5, minimum=4))
    await breaker.call(answer)
    with pytest.raises(LookupError):
        await breaker.call(raise_lookup)
    await failing_call(breaker)
    await failing_call(breaker)

    (line,) = loud(log)
    assert "opened: failure_rate(threshold=0.5, minimum=4, window=LastSeconds(" in line
    assert "3 of 4 calls failed (75%), 0 slow" in line
    assert "last failures: ConnectionError x2, LookupError x1" in line


async def raise_lookup() -> None:
    raise LookupError


async def test_records_carry_fields(clock: ManualClock, log: pytest.LogCaptureFixture) -> None:
    """
    Structured loggers find breaker, states and cause in the record.
    """
    breaker = fragile(clock)
    await failing_call(breaker)

    fields = vars(log.records[0])
    assert ("api", "closed", "open", "tripped") == (
        fields["breaker"],
        fields["old_state"],
        fields["new_state"],
        fields["cause"],
    )
    assert "asyncbreaker" == log.records[0].name


async def test_a_summary_is_written_by_an_arriving_call(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    No timer: a minute after the opening, and after each summary, the next call writes one.
    """
    breaker = fragile(clock, backoff=1000.0)
    await failing_call(breaker)
    clock.advance(59.0)
    await rejected_call(breaker)
    assert 1 == len(loud(log))
    clock.advance(1.0)
    assert 1 == len(loud(log))
    await rejected_call(breaker)
    await rejected_call(breaker)
    clock.advance(59.0)
    await rejected_call(breaker)
    assert 2 == len(loud(log))
    clock.advance(600.0)
    await rejected_call(breaker)

    assert 3 == len(loud(log))
    assert "INFO circuit 'api' is still open after 60 s: 0 probes failed, " in loud(log)[1]
    assert ("api", "open") == (vars(log.records[1])["breaker"], vars(log.records[1])["state"])


@pytest.mark.parametrize(
    ("order", "text"),
    [
        ("force_open", "held open by hand"),
        ("disable", "disabled by hand"),
    ],
)
async def test_orders_are_info(
    order: str, text: str, clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    An operator's order is one INFO with its reason; repeated, it is none.
    """
    breaker = fragile(clock)
    getattr(breaker, order)("incident 7")
    getattr(breaker, order)("incident 8")
    getattr(breaker, order)()
    breaker.reset()
    breaker.reset()

    assert [
        f"INFO circuit 'api' {text}: incident 7",
        "INFO circuit 'api' reset by hand",
    ] == loud(log)


async def test_an_order_ends_the_trouble(clock: ManualClock, log: pytest.LogCaptureFixture) -> None:
    """
    After a command no summary of the trouble before is written.
    """
    breaker = fragile(clock)
    await failing_call(breaker)
    breaker.force_open()
    clock.advance(600.0)
    await rejected_call(breaker)
    breaker.reset()

    assert ["WARNING", "INFO", "INFO"] == [line.split()[0] for line in loud(log)]
    assert "is still" not in log.text


async def test_rejections_are_not_logged(clock: ManualClock, log: pytest.LogCaptureFixture) -> None:
    """
    A thousand rejections write nothing.
    """
    breaker = fragile(clock)
    await failing_call(breaker)
    log.clear()
    for _ in range(1000):
        await rejected_call(breaker)

    assert [] == loud(log)


async def cancelled_call(breaker: CircuitBreaker) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await breaker.call(anyio.sleep, 1.0)


async def test_twenty_cancelled_calls_are_one_warning(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    When only cancelled calls come, one WARNING says that nothing is learned, and what to do.
    """
    breaker = CircuitBreaker("api", clock=clock)
    for _ in range(19):
        await cancelled_call(breaker)
    assert [] == loud(log)
    for _ in range(100):
        await cancelled_call(breaker)

    (line,) = loud(log)
    assert line.startswith("WARNING circuit 'api': the last 20 calls were all cancelled")
    assert "set slow=, or put the timeout inside" in line


async def test_cancelled_calls_between_others_are_no_warning(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    A call that ends between the cancelled ones proves something, so nothing is said.
    """
    breaker = CircuitBreaker("api", clock=clock)
    for _ in range(5):
        for _ in range(19):
            await cancelled_call(breaker)
        await breaker.call(answer)

    assert [] == loud(log)


async def test_ignored_errors_are_no_cancelled_calls(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    Calls that ended with an ignored error are not what the warning is about.
    """
    breaker = CircuitBreaker("api", fail_on=TimeoutError, clock=clock)
    for _ in range(100):
        await failing_call(breaker)
    for _ in range(100):
        async with breaker.guard() as permit:
            permit.ignore()

    assert [] == loud(log)


async def test_with_slow_cancelled_calls_are_no_warning(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    With ``slow=`` cancelled calls teach something, so nothing is said.
    """
    breaker = CircuitBreaker("api", slow=1.0, clock=clock)
    for _ in range(100):
        await cancelled_call(breaker)

    assert [] == loud(log)


def broken(*args: object) -> Any:
    raise ZeroDivisionError("mine")


@pytest.mark.parametrize(
    "settings",
    [
        {"trip": broken},
        {"trip": consecutive_failures(1) | broken},
        {"fail_on": broken},
        {"succeed_on": broken},
        {"backoff": broken},
        {"listeners": [broken]},
    ],
)
async def test_code_that_raises_is_logged_once(
    settings: dict[str, Any], clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    User code that raises is one ERROR with its traceback, however often; callers see nothing.
    """
    breaker = fragile(clock, **settings)
    for _ in range(5):
        with pytest.raises((ConnectionError, CircuitOpenError)):
            await breaker.call(fail)
        breaker.reset()

    (error,) = [entry for entry in log.records if entry.levelno == logging.ERROR]
    assert "raised, or answered nonsense, and is passed over" in error.message
    assert error.exc_info is not None
    assert ZeroDivisionError is error.exc_info[0]


async def test_a_result_predicate_that_raises_is_logged_once(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    The caller gets the result; it is ignored, and the log has the error once.
    """
    breaker = fragile(clock, fail_on_result=broken)
    for _ in range(5):
        assert 42 == await breaker.call(answer)

    assert 1 == len(loud(log))
    assert 5 == breaker.snapshot().ignored


@pytest.mark.parametrize(
    "wait", [math.nan, math.inf, -1.0, None, "5", True, pytest.param(10**400, id="huge")]
)
async def test_a_backoff_that_answers_nonsense_means_the_default(
    wait: Any, clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    Nonsense is logged, and the circuit opens for what the default backoff gives.
    """
    breaker = fragile(clock, backoff=lambda attempt: wait)
    await failing_call(breaker)

    assert State.OPEN is breaker.state
    retry_after = breaker.snapshot().retry_after
    assert retry_after is not None
    assert 0.25 <= retry_after <= 0.75
    assert 1 == sum(entry.levelno == logging.ERROR for entry in log.records)


async def test_a_rule_that_cannot_be_described_still_opens(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    A rule whose ``repr`` raises is named by its class.
    """

    class Shy:
        def __call__(self, counts: object) -> bool:
            return True

        def __repr__(self) -> str:
            raise ZeroDivisionError

    breaker = fragile(clock, trip=Shy())
    await failing_call(breaker)

    assert "opened: Shy;" in loud(log)[0]


async def test_an_error_whose_text_raises_is_still_a_failure(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    A failure is counted and logged although it cannot be read, and the caller gets it.
    """

    class UnreadableError(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    async def call() -> None:
        raise UnreadableError

    breaker = fragile(clock)
    with pytest.raises(UnreadableError):
        await breaker.call(call)

    assert "UnreadableError: (its text cannot be read)" in loud(log)[0]


async def test_a_failure_without_an_exception_is_described(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    What was judged a failure by its result, or by verdict, says so in the log.
    """
    breaker = fragile(clock, fail_on_result=lambda result: result == 42)
    await breaker.call(answer)
    assert "the last one: Failure: judged by fail_on_result" in loud(log)[0]

    breaker.reset()
    log.clear()
    async with breaker.guard() as permit:
        permit.failure()
    assert "the last one: Failure: reported by permit.failure()" in loud(log)[0]


async def test_a_line_of_the_log_is_one_line(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    An error that speaks in several lines does not break a log that is read line by line.
    """
    breaker = fragile(clock)
    await failing_call(breaker, "400, message:\n  cannot decode\r\n")

    assert "the last one: ConnectionError: 400, message: cannot decode; asks" in loud(log)[0]


async def test_passwords_and_queries_of_urls_are_not_logged(
    clock: ManualClock, log: pytest.LogCaptureFixture
) -> None:
    """
    Tokens in a URL do not reach the log, the error, or the snapshot.
    """
    breaker = fragile(clock)
    await failing_call(breaker, "no answer from https://me:secret@host/path?token=secret")

    error = await rejected_call(breaker)
    assert "secret" not in f"{log.text} {error} {breaker.snapshot()}"
    assert "https://...@host/path?..." in log.text


async def test_a_long_error_text_is_cut(clock: ManualClock, log: pytest.LogCaptureFixture) -> None:
    """
    An error that carries a whole page leaves only its beginning.
    """
    breaker = fragile(clock)
    await failing_call(breaker, "x" * 100_000)

    assert len(log.text) < 1000


def test_a_closing_whose_opening_was_not_seen_is_logged_without_totals(
    log: pytest.LogCaptureFixture,
) -> None:
    """
    When another thread's order was written in between, the line just has no figures.
    """
    move = Move(State.HALF_OPEN, State.CLOSED, Cause.RECOVERED, "", Counts(), 0.0, False)
    Journal("api").moved(move, CircuitBreaker()._runner.circuit, Failures())

    assert ["INFO circuit 'api' closed"] == loud(log)


@pytest.mark.anyio
async def test_a_dependency_that_flaps_is_no_louder(
    caplog: pytest.LogCaptureFixture, clock: ManualClock
) -> None:
    """
    From the fourth on, closings of one and the same trouble share a line a minute with summaries.
    """
    breaker = CircuitBreaker("flaps", recovery=probing(), backoff=5.0, clock=clock)

    async def answer_late() -> None:
        clock.advance(61.0)

    with caplog.at_level(logging.INFO, "asyncbreaker"):
        for _ in range(60):
            force_state(breaker, State.HALF_OPEN)
            await breaker.call(answer)
            clock.advance(5.0)
        assert (60, 1 + 3 + 4) == (breaker.snapshot().opened, len(caplog.records))

        force_state(breaker, State.HALF_OPEN)
        await breaker.call(answer_late)
    assert "closed" in caplog.records[-1].getMessage()


@pytest.mark.anyio
async def test_an_opening_that_is_over_before_it_is_told(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A backoff that resets the breaker: the WARNING promises no wait that there is not.
    """

    def hasty(attempt: int) -> float:
        breaker.reset("at once")
        return 10.0

    breaker = fragile(clock, backoff=hasty)
    await failing_call(breaker)

    (opened,) = [entry.message for entry in caplog.records if entry.levelname == "WARNING"]
    assert opened.startswith("circuit 'api' opened: consecutive_failures(count=1)")
    assert "asks again" not in opened
    assert State.CLOSED is breaker.state
