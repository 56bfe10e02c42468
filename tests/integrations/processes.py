"""What starting a real server takes: a free port, and the patience until it answers."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable

LONGEST_START = 30.0  # seconds, on a machine that is busy with other tests


def free_port() -> int:
    """Return a port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(
    process: subprocess.Popen[bytes], port: int, answers: Callable[[int], bool]
) -> None:
    """Return when the server at *port* answers; raise if it ends, or takes too long."""
    end = time.monotonic() + LONGEST_START
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} has ended with {process.returncode}")
        try:
            if answers(port):
                return
        except OSError:
            pass  # not yet
        time.sleep(0.01)
    raise TimeoutError(f"{process.args!r} does not answer")
