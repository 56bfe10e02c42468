"""A very short demo in this process, as lines and as a live picture."""

from __future__ import annotations

import io
import sys
from typing import Any

import anyio
import pytest
from rich.console import Console

from asyncbreaker import CircuitBreaker
from asyncbreaker._demo import client, picture
from asyncbreaker._demo.process import ServerError, running_server
from asyncbreaker._demo.run import Run, service
from asyncbreaker._demo.show import perform, show
from asyncbreaker._demo.sides import Call, End, Side

from .support import TINY

pytestmark = pytest.mark.anyio


async def shown(*, terminal: bool) -> str:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=80, legacy_windows=False)
    await perform(TINY, 0, console)
    return output.getvalue()


async def test_a_terminal_sees_a_picture() -> None:
    """
    Both sides are drawn side by side, with progress and state, before the table.
    """
    output = await shown(terminal=True)

    for words in ("so far", "without a breaker", "callers answered", "━", "time to recover"):
        assert words in output


async def test_a_pipe_sees_lines() -> None:
    """
    No control sequence goes to a file.
    """
    output = await shown(terminal=False)

    assert "\x1b" not in output
    for phase, _ in TINY.phases:
        assert f"service: {phase} (" in output


async def test_show_writes_to_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The script is chosen by ``--fast``.
    """
    monkeypatch.setattr("asyncbreaker._demo.show.FAST", TINY)
    await show(fast=True, port=0)

    assert "what happened" in capsys.readouterr().out


async def test_a_terminal_without_unicode() -> None:
    """
    The history is drawn with letters that every terminal has.
    """
    console = Console(file=io.TextIOWrapper(io.BytesIO(), "ascii"), force_terminal=True, width=80)
    run = Run(TINY)
    run.over = True
    run.guarded.calls.append(Call(0.0, End.ANSWERED, 0.01))
    await picture.watch(run, console)

    assert "#" in picture.history(run, run.guarded, picture.PLAIN_LEVELS)


async def test_a_server_that_does_not_obey() -> None:
    """
    The run ends with the reason when the service is gone.
    """

    async def gone(path: str) -> object:
        raise OSError("gone")

    with pytest.raises(ExceptionGroup) as caught:
        await Run(TINY).play(gone, gone)
    assert caught.group_contains(ServerError, match="gone")


async def test_a_server_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A process that says nothing is no server.
    """
    monkeypatch.setattr(sys, "executable", "/bin/true")

    with pytest.raises(ServerError, match="ended at once"):
        async with running_server(0, 1.0):
            pass


async def test_other_paths_are_not_found() -> None:
    """
    Any path but ours gives 404.
    """
    async with service(TINY) as (fetch, _):
        for path in ("/", "/phase/nonsense"):
            with pytest.raises(Exception, match="404"):
                await fetch(path)


async def test_a_request_in_two_pieces_and_a_caller_who_leaves() -> None:
    """
    The server waits for the whole head, and answers into the void without harm.
    """
    async with running_server(0, 1.0) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        async with await anyio.connect_tcp(host, int(port)) as hurried:
            await hurried.send(b"GET /with HTTP/1.1\r\n\r\n")
        async with await anyio.connect_tcp(host, int(port)) as patient:
            await patient.send(b"GET /with HT")
            await anyio.sleep(0.1)
            await patient.send(b"TP/1.1\r\n\r\n")
            assert (await patient.receive()).startswith(b"HTTP/1.1 200 OK")


async def test_a_side_keeps_what_became_of_its_calls() -> None:
    """
    Answered, failed and rejected are told apart.
    """

    async def answers(path: str) -> object:
        return path

    async def fails(path: str) -> object:
        raise OSError(path)

    breaker = CircuitBreaker("tested")
    side = Side("/with", breaker)
    assert side.recent_wait() is None
    await side.call(answers)
    await side.call(fails)
    breaker.force_open()
    await side.call(answers)

    assert [End.ANSWERED, End.FAILED, End.REJECTED] == [call.end for call in side.calls]
    assert "forced-open" == side.state
    assert "-" == Side("/without").state


def test_httpx_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where httpx2 is missing, httpx is taken.
    """
    stand_in: Any = type(sys)("httpx")
    monkeypatch.setitem(sys.modules, "httpx2", None)
    monkeypatch.setitem(sys.modules, "httpx", stand_in)

    assert stand_in is client.load_http()
