"""Errors: their data, their text, and what survives pickle and copy."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from asyncbreaker.errors import (
    AsyncBreakerError,
    CircuitOpenError,
    FailureSummary,
    Reason,
    RegistryFullError,
    RejectedError,
)

FAILURE = FailureSummary("ConnectionRefusedError", "no route to host", 2.5)
ERRORS = [
    AsyncBreakerError("anything"),
    RejectedError("full"),
    CircuitOpenError("db", Reason.OPEN, 10.0, FAILURE),
    CircuitOpenError("db", Reason.OPEN, 0.0),
    CircuitOpenError("db", Reason.HALF_OPEN, None, FAILURE),
    CircuitOpenError(breaker="db", reason=Reason.FORCED),
    RegistryFullError("tenant-7", 1024),
]
COPIES: list[Callable[[Any], Any]] = [
    copy.copy,
    copy.deepcopy,
    *(
        lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("duplicate", COPIES)
def test_a_copy_has_everything(error: Exception, duplicate: Callable[[Any], Any]) -> None:
    """
    Type, text and attributes survive, and the copy is an object of its own.
    """
    other = duplicate(error)

    assert (type(error), str(error), vars(error)) == (type(other), str(other), vars(other))
    assert error is not other


@pytest.mark.parametrize("duplicate", COPIES)
def test_a_copy_has_the_notes(duplicate: Callable[[Any], Any]) -> None:
    """
    What was added on the way up survives as well.
    """
    error = CircuitOpenError("db", Reason.OPEN, 10.0, FAILURE)
    error.add_note("while fetching user 7")

    assert ["while fetching user 7"] == duplicate(error).__notes__


@pytest.mark.parametrize("duplicate", COPIES)
def test_a_copy_keeps_the_kinds_of_its_data(duplicate: Callable[[Any], Any]) -> None:
    """
    The reason is a ``Reason`` and the failure a ``FailureSummary``, not strings and tuples.
    """
    other = duplicate(CircuitOpenError("db", Reason.OPEN, 10.0, FAILURE))

    assert (Reason, FailureSummary) == (type(other.reason), type(other.last_failure))


def test_the_tree_is_as_drawn() -> None:
    """
    Whoever catches a rejection catches an open circuit, and nothing of the registry.
    """
    assert (RejectedError,) == CircuitOpenError.__bases__
    assert (AsyncBreakerError,) == RejectedError.__bases__
    assert (AsyncBreakerError,) == RegistryFullError.__bases__
    assert (Exception,) == AsyncBreakerError.__bases__


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CircuitOpenError("db", Reason.OPEN), "circuit 'db' is open"),
        (CircuitOpenError("db", Reason.OPEN, 10.0), "circuit 'db' is open; retry in 10 s"),
        (CircuitOpenError("db", Reason.OPEN, 0.0), "circuit 'db' is open; retry in 0 s"),
        (CircuitOpenError("db", Reason.OPEN, 0.123456), "circuit 'db' is open; retry in 0.123 s"),
        (
            CircuitOpenError("db", Reason.OPEN, 10.0, FAILURE),
            (
                "circuit 'db' is open; retry in 10 s"
                "; last failure 2.5 s ago: ConnectionRefusedError: no route to host"
            ),
        ),
        (
            CircuitOpenError("db", Reason.HALF_OPEN),
            "circuit 'db' is half-open and has no place free",
        ),
        (
            CircuitOpenError("db", Reason.FORCED, None, FailureSummary("TimeoutError", "", 60.0)),
            "circuit 'db' is held open by hand; last failure 60 s ago: TimeoutError",
        ),
        (
            RegistryFullError("tenant-7", 3),
            (
                "no room for a breaker 'tenant-7'"
                ": all 3 in the registry are forced open or disabled by hand"
            ),
        ),
    ],
)
def test_the_text_has_the_numbers(error: Exception, text: str) -> None:
    """
    One line says which circuit, why, until when, and what went wrong last.
    """
    assert text == str(error)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("retry_after", [None, 0.0, 1e-9, 3.0])
@pytest.mark.parametrize("message", ["", "one\ntwo", "\n", "one\ntwo\nthree"])
def test_the_text_is_one_line(reason: Reason, retry_after: float | None, message: str) -> None:
    """
    Whatever the failure's text, a rejection fits in a line of the log.
    """
    error = CircuitOpenError("d\nb", reason, retry_after, FailureSummary("E", message, 1.0))

    assert [str(error)] == str(error).splitlines()


def test_an_error_keeps_no_traceback_of_the_failure() -> None:
    """
    The summary is made of two strings and a number: no frames are kept alive by it.
    """
    assert (str, str, float) == tuple(map(type, FAILURE))


def test_attributes_are_what_was_handed_in() -> None:
    """
    Programs read attributes, never the text.
    """
    error = CircuitOpenError("db", Reason.OPEN, 10.0, FAILURE)

    assert ("db", Reason.OPEN, 10.0, FAILURE) == (
        error.breaker,
        error.reason,
        error.retry_after,
        error.last_failure,
    )
    full = RegistryFullError("tenant-7", 3)
    assert ("tenant-7", 3) == (full.key, full.maximum)


def test_long_times_are_told_without_an_exponent() -> None:
    """
    An hour reads as 3600 s, and a message of several lines is cut to the first.
    """
    failure = FailureSummary("OSError", "first\rsecond", 86_400.0)
    text = str(CircuitOpenError("db", Reason.OPEN, 3600.0, failure))

    assert "circuit 'db' is open; retry in 3600 s; last failure 86400 s ago: OSError: first" == text
