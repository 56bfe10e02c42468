"""``python -m asyncbreaker demo``: from the options to the exit code."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib import import_module

import anyio

INSTALL = "pip install '.[demo]' in the source tree of asyncbreaker-resilience"
INTERRUPTED = 128  # plus the signal: what a shell expects


def demo(*, fast: bool, trio: bool, port: int, full: bool = False) -> int:
    """Run the demo; return the exit code, having said in one line on stderr why if it is 2."""
    lacking = missing(trio=trio)
    if lacking:
        return refuse(f"{' and '.join(lacking)} missing: {INSTALL}")
    from asyncbreaker._demo.show import ServerError, show, show_full

    # What the breaker logs is shown already, and would tear the picture.
    logging.getLogger("asyncbreaker").addHandler(logging.NullHandler())
    code, shown = 0, show_full if full else show
    try:
        code = anyio.run(until_signal, lambda: shown(fast, port), backend=backend(trio=trio))
    except* ServerError as group:
        code = refuse(innermost(group))
    except* BrokenPipeError:  # nobody reads on, so there is nobody to tell
        code = 1
    except* KeyboardInterrupt:  # before we listen to signals, or where we cannot
        code = INTERRUPTED + signal.SIGINT
    return code


def innermost(group: BaseExceptionGroup[Exception]) -> str:
    """Return the text of the first error that is not a group of others."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return str(error)


def backend(*, trio: bool) -> str:
    """Return anyio's name of the event loop."""
    return "trio" if trio else "asyncio"


def missing(*, trio: bool) -> list[str]:
    """Name what is not installed."""
    wanted = {"httpx2 (or httpx)": ("httpx2", "httpx"), "rich": ("rich",)}
    if trio:
        wanted["trio"] = ("trio",)
    return [what for what, names in wanted.items() if not any(map(installed, names))]


def installed(name: str) -> bool:
    """Tell whether a package can be imported."""
    with suppress(ImportError):
        import_module(name)
        return True
    return False


def refuse(why: str) -> int:
    """Say why not, in one line; return the exit code."""
    print(f"asyncbreaker demo: {why}", file=sys.stderr)
    return 2


async def until_signal(work: Callable[[], Awaitable[object]]) -> int:
    """Do *work* to its end, or cancel it at Ctrl-C or SIGTERM; return the exit code."""
    code = 0

    async def listen() -> None:
        nonlocal code
        # Windows has no such receiver on asyncio: there KeyboardInterrupt does it.
        with (
            suppress(NotImplementedError),
            anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
        ):
            code = INTERRUPTED + await anext(signals)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await work()
        tasks.cancel_scope.cancel()
    return code
