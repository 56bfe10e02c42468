"""Importing: nothing optional, nothing started, and what is public is what is listed."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType

import pytest

import asyncbreaker


def run(code: str) -> str:
    """Run *code* in a fresh interpreter; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert "" == done.stderr
    return done.stdout.strip()


def test_importing_brings_in_nothing_optional() -> None:
    """
    A user who has only the required package can import it.
    """
    optional = {"trio", "httpx2", "httpx", "rich", "pytest", "uvloop", "hypothesis", "_pytest"}
    code = "import asyncbreaker, sys; print(*{name.split('.')[0] for name in sys.modules})"
    assert set() == optional & set(run(code).split())


def test_importing_and_making_start_nothing() -> None:
    """
    No thread, no event loop, no socket: not by the import and not by a breaker or a policy.
    """
    code = """
import socket, threading
made = []
socket.socket.__init__ = lambda *args, **kwargs: made.append(args)
import asyncio, asyncbreaker
breaker = asyncbreaker.CircuitBreaker(slow=1.0)
registry = asyncbreaker.Registry(asyncbreaker.CircuitBreaker)
registry["a"]
from asyncbreaker import Bulkhead, Fallback, Hedge, LastGood, Pipeline, Retry, RetryBudget, Timeout
retry = Retry(budget=RetryBudget())
pipeline = Pipeline(
    Fallback(value=None), LastGood(), retry, Hedge(0.1), breaker, Bulkhead(1), Timeout(1.0)
)
@pipeline
async def guarded(): ...
print(threading.active_count(), len(made), asyncio._get_running_loop())
"""
    assert "1 0 None" == run(code)


def test_what_is_listed_is_sorted_and_real() -> None:
    """
    ``__all__`` is sorted, has no doubles, and names just what the module has.
    """
    names = {
        name
        for name, value in vars(asyncbreaker).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert sorted(names) == asyncbreaker.__all__


def test_every_vocabulary_module_lists_what_is_re_exported() -> None:
    """
    A name may be imported from its module or from the package: it is the same object.
    """
    from asyncbreaker import backoff, errors, events, recovery, trip

    for module in (backoff, errors, events, recovery, trip):
        assert sorted(module.__all__) == module.__all__
        for name in module.__all__:
            assert getattr(asyncbreaker, name) is getattr(module, name)


def test_the_package_has_a_version() -> None:
    """
    The version is that of the installed distribution.
    """
    from importlib.metadata import version

    assert version("asyncbreaker-resilience") == asyncbreaker.__version__


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_breaker_from_before_a_fork_works_in_the_child() -> None:
    """
    A breaker made and used in the parent guards calls in both processes, separately.
    """
    code = """
import asyncio, logging, os
from asyncbreaker import CircuitBreaker, CircuitOpenError, State, consecutive_failures

logging.disable()
breaker = CircuitBreaker("api", trip=consecutive_failures(1), backoff=1000.0)

async def answer(): return 42
async def fail(): raise ConnectionError
async def wait():
    await breaker.wait_closed()
    return await breaker.call(answer)

async def trip():
    try:
        await breaker.call(fail)
    except ConnectionError:
        pass
    try:
        await breaker.call(answer)
    except CircuitOpenError:
        return breaker.state

assert 42 == asyncio.run(wait())
child = os.fork()
if not child:
    code = 1
    try:
        if State.OPEN is asyncio.run(trip()):
            breaker.reset()
            code = 0 if 42 == asyncio.run(wait()) else 2
    finally:
        os._exit(code)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), breaker.state.value, asyncio.run(wait()))
"""
    assert "0 closed 42" == run(code)
