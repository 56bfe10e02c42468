"""The constructor refuses what makes no sense, by parameter and value."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest

from asyncbreaker import (
    CircuitBreaker,
    Counts,
    LastCalls,
    State,
    consecutive_failures,
    constant,
    failure_count,
    failure_lead,
    failure_rate,
    probing,
    slow_rate,
    slow_start,
)


async def coroutine_function(*args: object) -> Any:
    """Never called."""


NUMBER = "a finite number, at least 0"

BAD: list[tuple[str, Any, type[Exception], str]] = [
    ("name", 5, TypeError, "name must be a string, not 5"),
    ("name", b"api", TypeError, "name must be a string, not b'api'"),
    ("name", "", ValueError, "name must not be empty, not ''"),
    ("trip", None, TypeError, "trip must be .*, not None"),
    ("trip", 5, TypeError, "trip must be .*, not 5"),
    ("trip", failure_lead, TypeError, "trip must be .*failure_lead"),
    ("trip", coroutine_function, TypeError, "trip must be a plain function"),
    ("backoff", None, TypeError, "backoff must be a number, not None"),
    ("backoff", "5", TypeError, "backoff must be a number, not '5'"),
    ("backoff", True, TypeError, "backoff must be a number, not True"),
    ("backoff", -1, ValueError, f"backoff must be {NUMBER}, not -1"),
    ("backoff", math.nan, ValueError, f"backoff must be {NUMBER}, not nan"),
    ("backoff", math.inf, ValueError, f"backoff must be {NUMBER}, not inf"),
    ("backoff", 10**400, ValueError, "backoff must be a finite number"),
    ("backoff", constant, TypeError, "backoff must be a backoff, not the class"),
    ("backoff", coroutine_function, TypeError, "backoff must be a plain function"),
    ("recovery", None, TypeError, r"recovery must be slow_start\(...\) or probing\(...\), not No"),
    ("recovery", probing, TypeError, "recovery must be slow_start"),
    ("recovery", "probing", TypeError, "recovery must be .*, not 'probing'"),
    (
        "fail_on",
        None,
        TypeError,
        "fail_on must be an exception type, a tuple of them, or a predicate, not None",
    ),
    ("fail_on", int, TypeError, "fail_on must name exception types, not <class 'int'>"),
    ("fail_on", (ValueError, "x"), TypeError, "fail_on must name exception types, not 'x'"),
    ("fail_on", [ValueError], TypeError, "fail_on must be .*, a tuple of them, or a predicate"),
    ("fail_on", KeyboardInterrupt, ValueError, "fail_on must not name .*KeyboardInterrupt"),
    ("fail_on", coroutine_function, TypeError, "fail_on must be a plain function"),
    (
        "succeed_on",
        None,
        TypeError,
        "succeed_on must be an exception type, a tuple of them, or a predicate, not None",
    ),
    ("succeed_on", int, TypeError, "succeed_on must name exception types, not <class 'int'>"),
    ("succeed_on", (GeneratorExit,), ValueError, "succeed_on must not name .*GeneratorExit"),
    ("succeed_on", coroutine_function, TypeError, "succeed_on must be a plain function"),
    ("fail_on_result", 5, TypeError, "fail_on_result must be callable, not 5"),
    ("fail_on_result", coroutine_function, TypeError, "fail_on_result must be a plain function"),
    ("slow", 0, ValueError, "slow must be above 0, not 0"),
    ("slow", -1.0, ValueError, f"slow must be {NUMBER}, not -1.0"),
    ("slow", math.nan, ValueError, f"slow must be {NUMBER}, not nan"),
    ("slow", math.inf, ValueError, f"slow must be {NUMBER}, not inf"),
    ("slow", True, TypeError, "slow must be a number, not True"),
    ("slow", "1", TypeError, "slow must be a number, not '1'"),
    ("health_check", 5, TypeError, "health_check must be callable, not 5"),
    ("shadow", 1, TypeError, "shadow must be True or False, not 1"),
    ("shadow", None, TypeError, "shadow must be True or False, not None"),
    ("listeners", 5, TypeError, "listeners must be an iterable of functions, not 5"),
    ("listeners", print, TypeError, "listeners must be an iterable of functions"),
    ("listeners", [None], TypeError, "listeners must be callable, not None"),
    ("listeners", "ab", TypeError, "listeners must be callable, not 'a'"),
    ("listeners", [coroutine_function], TypeError, "listeners must be plain functions"),
    ("clock", 5, TypeError, "clock must be callable, not 5"),
    ("clock", coroutine_function, TypeError, "clock must be a plain function"),
]


@pytest.mark.parametrize(
    ("parameter", "value", "error", "text"), [pytest.param(*row, id=row[0]) for row in BAD]
)
def test_a_bad_value_is_refused(
    parameter: str, value: Any, error: type[Exception], text: str
) -> None:
    """
    The error has the right type and names parameter and value.
    """
    with pytest.raises(error, match=text):
        CircuitBreaker(**{parameter: value})


@pytest.mark.parametrize(
    ("parameter", "value", "error", "text"),
    [pytest.param(*row, id=row[0]) for row in BAD if row[0] not in ("name", "clock")],
)
def test_configure_refuses_the_same_and_changes_nothing(
    parameter: str, value: Any, error: type[Exception], text: str
) -> None:
    """
    ``configure`` checks as the constructor does, before anything is changed.
    """
    breaker = CircuitBreaker()
    before = breaker._runner.settings
    good: dict[str, Any] = {"backoff": 1.0, "shadow": True, "slow": 2.0}

    with pytest.raises(error, match=text):
        breaker.configure(**{**good, parameter: value})
    assert before is breaker._runner.settings


@pytest.mark.parametrize(
    "rule",
    [
        consecutive_failures(3),
        failure_count(3, window=LastCalls(10)),
        failure_rate(),
        consecutive_failures(3) | failure_rate(),
        failure_count(3, window=LastCalls(10)) & consecutive_failures(3),
    ],
)
def test_slow_needs_a_rule_that_sees_slow_calls(rule: Any) -> None:
    """
    ``slow=`` that no rule would ever see is refused, with the way out.
    """
    with pytest.raises(ValueError, match=r"slow=1\.0 has no effect with trip=.*failure_lead\(\)"):
        CircuitBreaker(trip=rule, slow=1.0)
    with pytest.raises(ValueError, match="has no effect"):
        CircuitBreaker(trip=rule).configure(slow=1.0)
    with pytest.raises(ValueError, match="has no effect"):
        CircuitBreaker(slow=1.0).configure(trip=rule)


@pytest.mark.parametrize(
    "rule",
    [
        failure_lead(),
        slow_rate(),
        failure_rate() | slow_rate(),
        consecutive_failures(3) & failure_lead(),
        lambda counts: counts.slow > 3,
    ],
)
def test_slow_fits_rules_that_see_slow_calls(rule: Any) -> None:
    """
    One part that sees slow calls is enough; a plain function may see them.
    """
    assert State.CLOSED is CircuitBreaker(trip=rule, slow=1.0).state


@pytest.mark.parametrize(
    "settings",
    [
        {"backoff": 0},
        {"backoff": lambda attempt: attempt},
        {"fail_on": (ConnectionError, TimeoutError)},
        {"fail_on": ()},
        {"fail_on": lambda error: True},
        {"fail_on": BaseException},
        {"fail_on": BaseExceptionGroup},
        {"fail_on": functools.partial(isinstance, 5)},
        {"succeed_on": LookupError},
        {"fail_on_result": bool},
        {"slow": 1},
        {"slow": None},
        {"recovery": probing(3, 2)},
        {"recovery": slow_start(calm=math.inf)},
        {"health_check": coroutine_function},
        {"listeners": (print for _ in range(2))},
        {"listeners": {print}},
        {"clock": lambda: 5.0},
    ],
)
def test_good_values_are_taken(settings: dict[str, Any]) -> None:
    """
    Whatever makes sense is accepted, integers for seconds too.
    """
    assert State.CLOSED is CircuitBreaker(**settings).state


def test_positional_settings_are_refused() -> None:
    """
    Only the name may come without its word.
    """
    with pytest.raises(TypeError, match="positional"):
        CircuitBreaker("api", failure_lead())  # type: ignore[misc]


def test_no_parameter_is_needed() -> None:
    """
    The default is complete.
    """
    assert Counts() == CircuitBreaker().snapshot().counts
