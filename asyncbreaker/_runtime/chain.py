"""One policy around another: a step of a chain, and what is at its end."""

from __future__ import annotations

from functools import partial
from typing import Any


class Step(partial[Any]):
    """``policy.call`` with the function that it is to call: the policy's share of a chain."""


def innermost(fn: object) -> object:
    """Return the user's function at the end of a chain; *fn* itself if it is none."""
    while isinstance(fn, Step):
        fn = fn.args[-1]  # before it stands what a ``call`` that is a partial brings along
    return fn
