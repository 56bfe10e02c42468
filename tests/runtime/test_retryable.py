"""Which errors a retry library may act on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asyncbreaker import BulkheadFullError, CircuitOpenError, Reason, retryable


class SdkError(Exception):
    """What a client library makes of another error."""


def opened(retry_after: float | None = 2.0, reason: Reason = Reason.OPEN) -> CircuitOpenError:
    return CircuitOpenError("api", reason, retry_after)


def raised_from(cause: BaseException) -> Exception:
    error = SdkError("wrapped")
    error.__cause__ = cause
    return error


def circle() -> Exception:
    one, other = SdkError("one"), SdkError("other")
    one.__cause__, other.__cause__ = other, one
    return one


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionError("refused"), True),
        (ValueError("value"), True),
        (raised_from(ConnectionError("refused")), True),
        (circle(), True),
        (opened(), False),
        (opened(None, Reason.HALF_OPEN), False),
        (BulkheadFullError("small", 1), False),
        (raised_from(opened()), False),
        (raised_from(raised_from(opened())), False),
        (raised_from(ExceptionGroup("", [ValueError(), opened()])), False),
        (ExceptionGroup("", [ValueError(), ConnectionError()]), True),
        (ExceptionGroup("", [ValueError(), ExceptionGroup("", [opened()])]), False),
        (ExceptionGroup("", [ValueError(), raised_from(opened())]), False),
        (BaseExceptionGroup("", [ValueError(), asyncio.CancelledError()]), False),
        (asyncio.CancelledError(), False),
        (KeyboardInterrupt(), False),
    ],
    ids=lambda value: f"{value!r}"[:40],
)
def test_a_rejection_is_not_worth_another_try(error: BaseException, expected: bool) -> None:
    """
    Nor is what was made of one, nor a cancellation; every other error may be.
    """
    assert expected is retryable(error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (opened(5.0), True),
        (opened(5.1), False),
        (opened(None, Reason.HALF_OPEN), True),
        (opened(None, Reason.FORCED), True),
        (raised_from(opened(1.0)), True),
        (raised_from(opened(9.0)), False),
        (ExceptionGroup("", [opened(1.0), opened(9.0)]), False),
        (BulkheadFullError("small", 1), False),
        (ConnectionError("refused"), True),
        (asyncio.CancelledError(), False),
    ],
    ids=lambda value: f"{value!r}"[:40],
)
def test_an_open_circuit_may_be_waited_for(error: BaseException, expected: bool) -> None:
    """
    Within the bound, or where nobody knows how long it takes.
    """
    assert expected is retryable(error, wait_open=5.0)


@pytest.mark.parametrize("wait", [-1, float("nan"), True, "5", None])
def test_a_bound_that_is_none_is_refused(wait: Any) -> None:
    """
    The message names the parameter and the value.
    """
    with pytest.raises((TypeError, ValueError), match="wait_open"):
        retryable(ValueError(), wait_open=wait)


def test_a_bound_may_be_infinite() -> None:
    """
    Who waits for ever waits for every circuit.
    """
    assert retryable(opened(1e9), wait_open=float("inf"))
