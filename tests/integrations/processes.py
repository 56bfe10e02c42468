"""What starting a real server takes: a free port, and the patience until it answers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# Reads who runs, a line each time; when its own reader is gone, however, none shall.
_GUARDIAN = """
while read -r pid; do last=$pid; done
if [ -n "$last" ]; then kill -9 "$last" $(ps -o pid= --ppid "$last"); fi
rm -rf "$1"
"""


class Server:
    """A process that can be killed, frozen and restarted, with a port and a folder of its own."""

    def __init__(self, name: str) -> None:
        self.port = free_port()
        self._place = Path(tempfile.mkdtemp(prefix=f"asyncbreaker-{name}-"))
        self._process: subprocess.Popen[bytes] | None = None
        # In a session of its own: what ends the tests, by whatever signal, does not end it.
        self._guardian = subprocess.Popen(
            ["sh", "-c", _GUARDIAN, "sh", self._place], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    @property
    def running(self) -> bool:
        """Whether it runs; also while it is frozen."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start, and return when it answers."""
        raise NotImplementedError

    def kill(self) -> None:
        """Kill it, as the power would go."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        self._guard("")

    def freeze(self) -> None:
        """Stop it: connections stay, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after ``freeze``."""
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Kill it if it runs, and start it again on the same port."""
        if self.running:
            self.kill()
        self.start()

    def stop(self) -> None:
        """Kill it, and remove its folder."""
        if self.running:
            self.kill()
        self._guard("")
        self._guardian.communicate()

    def _started(self, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        self._process = process
        self._guard(str(process.pid))
        return process

    def _guard(self, pid: str) -> None:
        assert self._guardian.stdin is not None
        self._guardian.stdin.write(f"{pid}\n".encode())
        self._guardian.stdin.flush()

    def _pids(self) -> list[int]:
        assert self._process is not None
        return [self._process.pid]

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):  # has ended by itself
                os.kill(pid, number)


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
