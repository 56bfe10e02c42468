"""The command line: what it says, refuses and leaves behind."""

from __future__ import annotations

import re
import signal
import socket
import sys
import time

import anyio
import pytest

import asyncbreaker
from asyncbreaker.__main__ import main
from asyncbreaker._demo import command, show
from asyncbreaker._demo.process import ServerError

from .support import run, started


def figures(output: str, row: str) -> list[str]:
    line = next(line for line in output.splitlines() if line.strip().startswith(row))
    return re.split(r"\s{2,}", line.strip())[1:]


def wait_until_nobody_listens(port: int) -> None:
    for _ in range(400):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.025)
    raise AssertionError(f"somebody still listens on {port}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("loop", [(), ("--trio",)], ids=["asyncio", "trio"])
def test_the_whole_demo(loop: tuple[str, ...]) -> None:
    """
    Without a terminal it prints lines and a table that speaks for the breaker.
    """
    done = run("demo", "--fast", *loop)

    assert (0, "") == (done.returncode, done.stderr)
    assert "breaker: closed -> open (tripped)" in done.stdout
    wasted_without, wasted_with = map(int, figures(done.stdout, "calls wasted"))
    assert wasted_with < wasted_without
    rejected_without, rejected_with = map(int, figures(done.stdout, "rejected"))
    assert 0 == rejected_without < rejected_with
    detected_without, detected_with = figures(done.stdout, "time to detect")
    assert "-" == detected_without
    assert detected_with.endswith(" s")
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("loop", [(), ("--trio",)], ids=["asyncio", "trio"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_stops_it_cleanly(loop: tuple[str, ...], number: int, code: int) -> None:
    """
    Ctrl-C and SIGTERM end it without a traceback and without a server left behind.
    """
    port = free_port()
    with started("demo", "--port", str(port), *loop) as process:
        assert process.stdout is not None
        while "healthy" not in process.stdout.readline():
            pass
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)

    assert (code, "") == (process.returncode, errors)
    wait_until_nobody_listens(port)


def test_the_server_ends_when_its_parent_is_killed() -> None:
    """
    SIGKILL leaves no time to clean up: the server notices by its stdin.
    """
    port = free_port()
    with started("demo", "--port", str(port)) as process:
        assert process.stdout is not None
        while "healthy" not in process.stdout.readline():
            pass
        process.kill()

    wait_until_nobody_listens(port)


def test_a_reader_that_leaves_is_no_error() -> None:
    """
    ``demo | head -1`` ends quietly.
    """
    with started("demo", "--fast") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert "" == process.stderr.read()
        assert 1 == process.wait(30)


def test_without_a_command_it_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """
    No command is no error: the usage is short.
    """
    assert 0 == main([])
    assert "demo" in capsys.readouterr().out


def test_version() -> None:
    """
    ``--version`` says the version of the package.
    """
    assert f"asyncbreaker {asyncbreaker.__version__}\n" == run("--version").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", "--nonsense"],
        ["nonsense"],
        ["demo", "--fa"],
        ["demo", "--port", "x"],
        ["demo", "--port", "65536"],
        ["demo", "--port", "-1"],
    ],
    ids=" ".join,
)
def test_unknown_words_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    One line on stderr that names the word, and exit code 2.
    """
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert 2 == caught.value.code
    output = capsys.readouterr()
    assert "" == output.out
    assert 1 == output.err.count("\n")
    assert arguments[-1] in output.err


@pytest.mark.parametrize("loop", [[], ["--trio"]], ids=["asyncio", "trio"])
def test_a_busy_port_is_refused(loop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """
    One line on stderr that names the port, and exit code 2.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert 2 == main(["demo", "--port", str(port), *loop])

    output = capsys.readouterr()
    assert "" == output.out
    assert (
        f"asyncbreaker demo: cannot listen on 127.0.0.1:{port}: Address already in use\n"
        == output.err
    )


@pytest.mark.parametrize(
    ("lacking", "named"),
    [
        (["httpx2", "httpx"], "httpx2 (or httpx)"),
        (["rich"], "rich"),
        (["trio"], "trio"),
        (["rich", "trio"], "rich and trio"),
    ],
    ids=["http", "rich", "trio", "two"],
)
def test_missing_extras_are_named(
    lacking: list[str],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    One line says what is missing and how to install it.
    """
    for name in lacking:
        monkeypatch.setitem(sys.modules, name, None)

    assert 2 == main(["demo", "--trio"])
    error = capsys.readouterr().err
    assert f"asyncbreaker demo: {named} missing: {command.INSTALL}\n" == error


def test_without_trio_only_trio_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    On asyncio the demo does without trio.
    """
    monkeypatch.setitem(sys.modules, "trio", None)

    assert [] == command.missing(trio=False)


def test_an_interrupt_before_we_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Ctrl-C has the same exit code where no signal receiver runs.
    """

    async def interrupted(fast: bool, port: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(show, "show", interrupted)

    assert 130 == main(["demo"])


def test_a_pipe_that_breaks_wherever(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Whoever finds out that nobody reads on, nobody is told.
    """

    async def broken(fast: bool, port: int) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(show, "show", broken)

    assert 1 == main(["demo"])
    assert ("", "") == capsys.readouterr()


def test_where_signals_cannot_be_received(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The demo runs on an event loop without signal receivers (asyncio on Windows).
    """

    def refuse(*_: object) -> None:
        raise NotImplementedError

    async def work(fast: bool, port: int) -> None:
        await anyio.sleep(0.01)

    monkeypatch.setattr(anyio, "open_signal_receiver", refuse)
    monkeypatch.setattr(show, "show", work)

    assert 0 == main(["demo"])


def test_trouble_with_the_server_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A server that somebody kills under the demo gives no traceback, however deep it was raised.
    """

    async def work(fast: bool, port: int) -> None:
        raise ExceptionGroup("deep", [ExceptionGroup("deeper", [ServerError("it is gone")])])

    monkeypatch.setattr(show, "show", work)

    assert 2 == main(["demo"])
    assert "asyncbreaker demo: it is gone\n" == capsys.readouterr().err
