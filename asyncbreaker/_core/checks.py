"""Checks of what users hand in: each error names the parameter and the value."""

from __future__ import annotations

import inspect
import math


def number(name: str, value: object, *, finite: bool = True) -> float:
    """Return *value* as a float that is not negative; infinite only where *finite* is false."""
    # bool is an int to Python, but slow=True is a slip, not one second.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {value!r}")
    try:
        checked = float(value)
    except OverflowError:
        raise ValueError(f"{name} must be a finite number, not an int beyond float") from None
    if math.isnan(checked) or checked < 0 or (finite and math.isinf(checked)):
        raise ValueError(
            f"{name} must be a {'finite ' if finite else ''}number, at least 0, not {value!r}"
        )
    return checked


def positive(name: str, value: object, *, finite: bool = True) -> float:
    """Return *value* as a float above 0."""
    checked = number(name, value, finite=finite)
    if checked == 0:
        raise ValueError(f"{name} must be above 0, not {value!r}")
    return checked


def share(name: str, value: object) -> float:
    """Return *value* as a float from 0 to 1."""
    checked = number(name, value)
    if checked > 1:
        raise ValueError(f"{name} must be between 0 and 1, not {value!r}")
    return checked


def ratio(name: str, value: object) -> float:
    """Return *value* as a float above 0, at most 1."""
    checked = share(name, value)
    if checked == 0:
        raise ValueError(f"{name} must be above 0, not {value!r}")
    return checked


def count(name: str, value: object, *, least: int = 1) -> int:
    """Return *value* as an int of at least *least*."""
    if isinstance(value, bool) or not isinstance(value, int):
        # 1e9 and infinity are floats: a count that cannot be counted is a slip too.
        kind = ValueError if isinstance(value, float) else TypeError
        raise kind(f"{name} must be a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value!r}")
    return value


def text(name: str, value: object) -> str:
    """Return *value* as a string that is not empty."""
    instance(name, value, str, "a string")
    if not value:
        raise ValueError(f"{name} must not be empty, not {value!r}")
    return str(value)


def instance(name: str, value: object, kinds: type | tuple[type, ...], wanted: str) -> None:
    """Refuse what is none of *kinds*; *wanted* says in words what they are."""
    if not isinstance(value, kinds):
        raise TypeError(f"{name} must be {wanted}, not {value!r}")


def function(name: str, value: object) -> None:
    """Refuse what cannot be called, and coroutine functions, which would never be awaited."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, not {value!r}")
    if is_async(value):
        raise TypeError(f"{name} must be a plain function, not the coroutine function {value!r}")


def is_async(value: object) -> bool:
    """Tell whether calling *value* gives a coroutine or an async generator."""
    call = type(value).__call__ if callable(value) else None  # an object with async __call__
    return any(
        inspect.iscoroutinefunction(made) or inspect.isasyncgenfunction(made)
        for made in (value, call)
    )
