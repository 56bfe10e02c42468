"""What is no call at all: a coroutine instead of its function, a function with nothing to await."""

from __future__ import annotations

import dis
import inspect
from types import TracebackType
from typing import NoReturn

from asyncbreaker._runtime.chain import innermost

_GET_AWAITABLE = dis.opmap["GET_AWAITABLE"]
_OURS = __name__.rpartition(".")[0] + "."


def refuse(fn: object) -> NoReturn:
    """Refuse what cannot be called; a coroutine is closed, so that Python need not warn of it."""
    if inspect.iscoroutine(fn):
        fn.close()
        raise TypeError(
            "call() makes the coroutine itself, so that none is made when the call is rejected: "
            f"write call(fn, ...) instead of call(fn(...)); got {fn!r}"
        ) from None
    raise TypeError(f"call() needs a callable that returns an awaitable, not {fn!r}") from None


def is_misuse(fn: object, error: BaseException) -> bool:
    """Tell whether *error* came of calling *fn* because it is no async callable.

    A ``TypeError`` that *fn* itself raises, also for wrong arguments, is judged like any
    other error.
    """
    if type(error) is not TypeError:
        return False
    if not callable(fn):
        return True
    last = _last(error.__traceback__)
    if last is None:
        return False
    module: object = last.tb_frame.f_globals.get("__name__")
    if module == __name__:
        return True  # a policy further inside has explained it
    awaiting = last.tb_frame.f_code.co_code[last.tb_lasti] == _GET_AWAITABLE
    return awaiting and isinstance(module, str) and module.startswith(_OURS)


def explain(fn: object, error: BaseException) -> NoReturn:
    """Raise *error*, a misuse, with a hint at what to do instead."""
    if not callable(fn):
        refuse(fn)
    last = _last(error.__traceback__)
    if last is not None and last.tb_frame.f_globals.get("__name__") == __name__:
        raise error
    fn = innermost(fn)
    text = f"call() needs a callable that returns an awaitable; {fn!r} did not: {error}"
    if inspect.isasyncgenfunction(fn):
        text += "; decorate async generator functions with @breaker"
    else:
        text += "; for an async context manager use `async with breaker.entering(fn, ...)`"
    raise TypeError(text) from None


def explain_misuse(fn: object, error: BaseException) -> None:
    """Raise *error* with a hint if it is a misuse; else return."""
    if is_misuse(fn, error):
        explain(fn, error)


def _last(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback


def check_decorated(decorator: str, fn: object, *, streams: bool) -> None:
    """Refuse what is not async: guarding it would stop nothing.

    *streams*: the decorator also takes async generator functions.
    """
    if inspect.iscoroutinefunction(fn) or _has_async_call(fn):
        return
    stream = inspect.isasyncgenfunction(fn)
    if stream and streams:
        return
    wanted = "a coroutine function" + (" or an async generator function" if streams else "")
    raise TypeError(f"{decorator} needs {wanted}, not {fn!r}{_hint(decorator, fn, stream)}")


def _has_async_call(fn: object) -> bool:
    return callable(fn) and inspect.iscoroutinefunction(type(fn).__call__)


def _hint(decorator: str, fn: object, stream: bool) -> str:
    if stream:
        return ": a stream cannot be called again; guard it with @breaker"
    if type(fn) in (classmethod, staticmethod):
        return f": put @{type(fn).__name__} above {decorator}"
    return ": a function that is not async would never be judged"
