"""What users hand in is refused with the name of the parameter and its value."""

import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from asyncbreaker._core import checks
from asyncbreaker.backoff import (
    Wait,
    check_backoff,
    constant,
    equal_jitter,
    exponential,
    full_jitter,
    hasten,
    linear,
    spread,
)
from asyncbreaker.recovery import probing, slow_start
from asyncbreaker.trip import (
    LastCalls,
    LastSeconds,
    check_rule,
    consecutive_failures,
    failure_count,
    failure_lead,
    failure_rate,
    slow_rate,
)

NAN, INF = math.nan, math.inf
NO_NUMBERS: tuple[Any, ...] = (True, False, "1", None, [1], 1j)
WINDOW = LastCalls(20)

Make = Callable[[Any], object]

# Each with a maker of the object from a value for that parameter alone.
COUNTS: list[tuple[str, Make]] = [
    ("buckets", lambda v: LastSeconds(30, v)),
    ("size", lambda v: LastCalls(v)),
    ("lead", lambda v: failure_lead(v)),
    ("burst", lambda v: failure_lead(1, burst=v)),
    ("count", lambda v: consecutive_failures(v)),
    ("count", lambda v: failure_count(v, window=WINDOW)),
    ("minimum", lambda v: failure_rate(minimum=v)),
    ("minimum", lambda v: slow_rate(minimum=v)),
    ("rejections", lambda v: hasten(1.0, v) if v is None else Wait(1.0, v)),  # None: never early
    ("rejections", lambda v: hasten(1.0, rejections=v)),
    ("probes", lambda v: probing(v)),
    ("successes", lambda v: probing(successes=v)),
    ("sample", lambda v: slow_start(sample=v)),
]
ABOVE_ZERO: list[tuple[str, Make]] = [
    ("seconds", lambda v: LastSeconds(v)),
    ("forget", lambda v: failure_lead(forget=v)),
    ("lease", lambda v: probing(lease=v)),
    ("lease", lambda v: slow_start(lease=v)),
    ("threshold", lambda v: failure_rate(v)),
    ("threshold", lambda v: slow_rate(v)),
]
FROM_ZERO: list[tuple[str, Make]] = [
    ("sustain", lambda v: failure_lead(sustain=v)),
    ("seconds", lambda v: Wait(v)),
    ("at_least", lambda v: Wait(1.0, 1, v)),
    ("seconds", lambda v: constant(v)),
    ("initial", lambda v: linear(v, 1.0, 1.0)),
    ("step", lambda v: linear(1.0, v, 1.0)),
    ("maximum", lambda v: linear(1.0, 1.0, v)),
    ("initial", lambda v: exponential(v)),
    ("factor", lambda v: exponential(1.0, v)),
    ("maximum", lambda v: exponential(1.0, maximum=v)),
    ("backoff", lambda v: full_jitter(v)),
    ("backoff", lambda v: equal_jitter(v)),
    ("backoff", lambda v: spread(v)),
    ("share", lambda v: spread(1.0, v)),
    ("backoff", lambda v: hasten(v)),
    ("at_least", lambda v: hasten(1.0, at_least=v)),
    ("backoff", lambda v: check_backoff("backoff", v)),
    ("tolerance", lambda v: slow_start(tolerance=v)),
    ("backstep", lambda v: slow_start(backstep=v)),
    ("calm", lambda v: slow_start(calm=v)),
]
MAY_BE_INFINITE = ["forget", "lease", "sustain", "maximum", "calm"]
EVERYTHING = COUNTS + ABOVE_ZERO + FROM_ZERO


def refused(make: Make, value: object, kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        make(value)
    return str(caught.value)


@pytest.mark.parametrize(("name", "make"), EVERYTHING)
@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number_is_a_type_error(name: str, make: Make, value: object) -> None:
    """
    Booleans, strings, None and the like are refused by name and value.
    """
    message = refused(make, value, TypeError)

    assert (True, True) == (name in message, repr(value) in message)


@pytest.mark.parametrize(("name", "make"), EVERYTHING)
@pytest.mark.parametrize("value", [NAN, -INF, -1.0, -1])
def test_nan_and_negatives_are_value_errors(name: str, make: Make, value: float) -> None:
    """
    NaN and negative numbers are refused by name and value.
    """
    message = refused(make, value, ValueError)

    assert (True, True) == (name in message, repr(value) in message)


@pytest.mark.parametrize(("name", "make"), COUNTS + ABOVE_ZERO)
def test_zero_is_refused_where_it_means_nothing(name: str, make: Make) -> None:
    """
    A count, size, window, threshold or lease of 0 is refused by name and value.
    """
    message = refused(make, 0, ValueError)

    assert (True, True) == (name in message, "0" in message)


@pytest.mark.parametrize(
    ("name", "make"), [case for case in EVERYTHING if case[0] not in MAY_BE_INFINITE]
)
def test_infinity_is_refused_where_it_means_nothing(name: str, make: Make) -> None:
    """
    Infinity is refused by name and value, except for a limit that may be absent.
    """
    message = refused(make, INF, ValueError)

    assert (True, True) == (name in message, "inf" in message)


@pytest.mark.parametrize(
    ("name", "make"), [case for case in EVERYTHING if case[0] in MAY_BE_INFINITE]
)
def test_infinity_is_taken_as_no_limit(name: str, make: Make) -> None:
    """
    Where a limit may be absent, infinity says so.
    """
    made = make(INF)

    assert INF == getattr(made, name)


@pytest.mark.parametrize(
    ("name", "make"), [case for case in FROM_ZERO if case[0] not in ("factor", "tolerance")]
)
def test_zero_is_taken_where_it_means_something(name: str, make: Make) -> None:
    """
    No seconds, no share and no step are sensible wishes.
    """
    made = make(0)

    assert made is None or getattr(made, name) == 0


@pytest.mark.parametrize(("name", "make"), COUNTS)
@pytest.mark.parametrize("value", [1.5, 2.0, 1e9])
def test_a_count_is_a_whole_number(name: str, make: Make, value: float) -> None:
    """
    A float is refused as a count, even a whole one.
    """
    message = refused(make, value, ValueError)

    assert (True, True) == (name in message, repr(value) in message)


@pytest.mark.parametrize(
    ("name", "make"),
    [case for case in ABOVE_ZERO + FROM_ZERO if case[0] not in ("threshold", "share")],
)
def test_an_int_beyond_float_is_refused(name: str, make: Make) -> None:
    """
    Seconds that no float can hold are refused by name, and the message stays short.
    """
    message = refused(make, 10**400, ValueError)

    assert (True, True) == (name in message, len(message) < 100)


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda: failure_rate(1.5), "threshold", "1.5"),
        (lambda: slow_rate(2), "threshold", "2"),
        (lambda: spread(1.0, share=1.01), "share", "1.01"),
        (lambda: exponential(1.0, 0.5), "factor", "0.5"),
        (lambda: exponential(1.0, 0), "factor", "0"),
        (lambda: slow_start(tolerance=0.9), "tolerance", "0.9"),
        (lambda: slow_start(tolerance=0), "tolerance", "0"),
        (lambda: failure_lead(5, burst=4), "burst", "4"),
        (lambda: failure_rate(minimum=11, window=LastCalls(10)), "minimum", "11"),
        (lambda: slow_rate(minimum=11, window=LastCalls(10)), "minimum", "11"),
        (lambda: failure_count(11, window=LastCalls(10)), "count", "11"),
    ],
)
def test_what_would_never_make_sense_is_a_value_error(
    make: Callable[[], object], name: str, value: str
) -> None:
    """
    A value that contradicts another, or its meaning, is refused by name and value.
    """
    with pytest.raises(ValueError, match=name) as caught:
        make()

    assert True is (value in str(caught.value))


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (lambda: failure_rate(1.0, minimum=10, window=LastCalls(10)), (1.0, 10)),
        (lambda: slow_rate(1, minimum=10, window=LastCalls(10)), (1, 10)),
    ],
)
def test_the_limits_themselves_are_taken(
    make: Callable[[], failure_rate | slow_rate], values: object
) -> None:
    """
    A threshold of 1 and a minimum as large as the window can be reached.
    """
    made = make()

    assert values == (made.threshold, made.minimum)


@pytest.mark.parametrize("window", [30, None, "30s", LastCalls])
@pytest.mark.parametrize(
    "make",
    [
        lambda w: failure_rate(window=w),
        lambda w: slow_rate(window=w),
        lambda w: failure_count(1, window=w),
    ],
)
def test_a_window_is_one_of_two(make: Make, window: object) -> None:
    """
    A number is no window: of seconds or of calls?
    """
    message = refused(make, window, TypeError)

    assert (True, True) == ("window" in message, repr(window) in message)


async def coroutine_function() -> None:
    """Never awaited."""


async def stream() -> AsyncIterator[int]:
    yield 1


class Async:
    async def __call__(self) -> None: ...


@pytest.mark.parametrize("value", [coroutine_function, stream, Async()])
@pytest.mark.parametrize(
    "make",
    [
        lambda v: check_rule("param", v),
        lambda v: check_backoff("param", v),
        lambda v: checks.function("param", v),
        lambda v: failure_lead() | v,
        lambda v: v & failure_lead(),
        lambda v: full_jitter(1.0, random=v),
        lambda v: hasten(v),
    ],
)
def test_a_coroutine_function_is_refused(make: Make, value: object) -> None:
    """
    A judgement that would have to be awaited is refused when it is handed in.
    """
    message = refused(make, value, TypeError)

    assert (True, True) == ("plain function" in message, repr(value) in message)


@pytest.mark.parametrize("value", [3, None, "often"])
@pytest.mark.parametrize(
    "make",
    [
        lambda v: check_rule("param", v),
        lambda v: checks.function("param", v),
        lambda v: spread(1.0, random=v),
        lambda v: failure_lead() & v,
    ],
)
def test_what_cannot_be_called_is_refused(make: Make, value: object) -> None:
    """
    A rule and a source of chance are called, so they must be callable.
    """
    message = refused(make, value, TypeError)

    assert True is (repr(value) in message)


@pytest.mark.parametrize(
    "make",
    [
        lambda: check_rule("trip", failure_lead),
        lambda: failure_lead() | consecutive_failures,
        lambda: check_backoff("backoff", exponential),
        lambda: spread(exponential),
    ],
)
def test_a_class_in_place_of_its_object_is_refused_with_a_hint(make: Callable[[], object]) -> None:
    """
    Forgotten parentheses are noticed, although a class is callable.
    """
    with pytest.raises(TypeError, match=r"call it$"):
        make()


def test_instance_names_what_is_wanted() -> None:
    """
    A wrong type is answered with the name, the wish in words and the value.
    """
    checks.instance("shadow", True, bool, "True or False")
    with pytest.raises(TypeError, match="shadow must be True or False, not 1"):
        checks.instance("shadow", 1, bool, "True or False")


def test_checked_numbers_come_back_as_floats() -> None:
    """
    Whoever checks gets the value that was meant.
    """
    assert (2.0, 3.0, 0.5, 1.0, 7) == (
        checks.number("a", 2),
        checks.positive("b", 3),
        checks.share("c", 0.5),
        checks.ratio("d", 1),
        checks.count("e", 7),
    )
