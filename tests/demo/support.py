"""Runs the demo as a user does, or a very short script in this process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from asyncbreaker._demo.script import Phase, Script

TINY = Script(
    phases=tuple((phase, 0.1) for phase in Phase), warming=0.1, timeout=0.1, slow=0.05, rate=200.0
)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "asyncbreaker", *arguments]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=60)


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start it; it is stopped in any case."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command(*arguments), stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
