"""``python -m asyncbreaker lab``: what it says, refuses and leaves behind."""

from __future__ import annotations

import logging
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import StringIO

import pytest

from asyncbreaker.__main__ import main
from asyncbreaker._lab import command, progress, question, report
from asyncbreaker._lab.engine import Say
from asyncbreaker._lab.picture import LEVELS, PLAIN_LEVELS
from asyncbreaker._lab.progress import Progress
from asyncbreaker._lab.question import Question
from asyncbreaker._lab.trial import Trial, trials

QUICK = ("lab", "--rate", "0.1", "--outage", "100", "--after", "20")
# What most other processes do is measured in this one; there it would take its time.
UNMEASURED = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
LINES = re.compile(r"\A[^\n]+\n\Z")


@pytest.fixture(autouse=True)
def _width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(question, "QUIET_CALLS", 1000)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "asyncbreaker", *arguments],
        capture_output=True,
        env={**UNMEASURED, **environment},
        timeout=120,
    )


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert 0 == main([*QUICK, *arguments])
    output = capsys.readouterr()
    assert "" == output.err
    return output.out


def test_everything_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    """
    The numbers in words, the rows, the columns, the picture, the verdict.
    """
    text = printed(capsys, "--trip", "consecutive_failures(3)", "--backoff", "7")
    words, rows, table, legend, title, drawn, judged = text.rstrip().split("\n\n")

    assert words.startswith("One client makes 0.1 calls a second, at random moments")
    assert "yours          CircuitBreaker(trip=consecutive_failures(3), backoff=7)" in rows
    names = ["yours", "defaults", "defaults+slow", "classic", "no breaker"]
    assert names == [line.split("  ")[0] for line in table.splitlines()[2:]]
    assert 9 <= len(legend.splitlines())
    assert "Yours over time, in the outage of 100 s" == title
    assert ["load", "admitted", "failed", "state", "time"] == [
        line.split()[0] for line in drawn.splitlines()[:5]
    ]
    assert judged.startswith(("The weak point of yours: it ", "At nothing is another breaker"))


def test_the_default_configuration_on_a_terminal_of_any_width(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    No line is wider than the terminal, from 40 characters on; none is wider than 100.
    """
    done: list[Trial] = []

    def once(asked: Question, part: Callable[[], Say]) -> Iterator[Trial]:
        if not done:  # the figures are the same at any width
            done.extend(trials(asked, part))
        return iter(done)

    monkeypatch.setattr(report, "trials", once)
    for columns, widest in ((10, 40), (40, 40), (63, 63), (80, 80), (100, 100), (300, 100)):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = printed(capsys).splitlines()

        assert widest == max(map(len, lines))


def test_the_same_seed_gives_the_same_output() -> None:
    """
    Byte for byte, in another process too, with chance in every place.
    """
    chance = (
        *("--trip", "failure_lead() | slow_rate(window=LastCalls(50))", "--slow", "0.3"),
        *("--backoff", "spread(equal_jitter(full_jitter(9)))", "--clients", "2"),
    )
    one, same, other = (
        run(*QUICK, *chance, "--seed", seed, PYTHONHASHSEED=number)
        for seed, number in (("5", "1"), ("5", "2"), ("6", "1"))
    )

    assert (0, b"") == (one.returncode, one.stderr)
    assert one.stdout == same.stdout
    assert one.stdout != other.stdout


def test_an_output_without_unicode() -> None:
    """
    Where the encoding has no blocks, bars are drawn in ASCII.
    """
    done = run(*QUICK, PYTHONIOENCODING="ascii")

    assert (0, b"") == (done.returncode, done.stderr)
    assert f"calls per second: {PLAIN_LEVELS[-1]} the figure".encode() in done.stdout
    assert LEVELS[-1] in run(*QUICK, PYTHONIOENCODING="utf-8").stdout.decode("utf-8")


def test_an_output_of_unknown_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Nothing is taken for granted of it.
    """
    monkeypatch.setattr(sys, "stdout", StringIO())

    assert PLAIN_LEVELS == command.levels()


@pytest.mark.parametrize("kind", ["refuse", "hang", "partial", "slow", "cold"])
def test_every_kind_runs(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    What is answered in the outage is a column where anything can be.
    """
    text = printed(capsys, "--kind", kind)

    assert (kind in ("partial", "slow")) == ("answered  " in text)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rate", "nan"],
        ["--rate", "inf"],
        ["--rate", "0"],
        ["--rate", "-5"],
        ["--rate", "five"],
        ["--rate", "True"],
        ["--rate", "1e-9"],
        ["--rate", "1_000"],
        ["--rate", "1" * 500],
        ["--rate", "5\n6"],
        ["--clients", "0"],
        ["--clients", "1.5"],
        ["--clients", "\u0665"],
        ["--clients", "9" * 5000],
        ["--baseline", "1"],
        ["--baseline", "-0.1"],
        ["--baseline", "1%"],
        ["--outage", "0"],
        ["--outage", "1e9"],
        ["--outage", "1e-320"],
        ["--latency", "0"],
        ["--timeout", "0"],
        ["--timeout", "601"],
        ["--timeout", "1e-320"],
        ["--utilisation", "1.1"],
        ["--utilisation", "0"],
        ["--utilisation", "1e-320"],
        ["--share", "1.5"],
        ["--share", "0"],
        ["--slower", "0.5"],
        ["--before", "-1"],
        ["--after", "1"],
        ["--slow", "0"],
        ["--seed", "-1"],
        ["--seed", "0.5"],
        ["--tries", "11"],
        ["--kind", "worse"],
        ["--nonsense", "1"],
        ["--rat", "5"],
        ["--trip", "consecutive_failure(5)"],
        ["--trip", "failure_lead(5, burst=2)"],
        ["--trip", ""],
        ["--backoff", "inf"],
        ["--recovery", "probe()"],
    ],
    ids=lambda arguments: " ".join(arguments)[:30],
)
def test_what_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """
    One line on stderr names the option and the value, or its beginning; exit code 2.
    """
    with pytest.raises(SystemExit) as caught:
        main([*QUICK, *arguments])

    output = capsys.readouterr()
    assert (2, "") == (caught.value.code, output.out)
    assert LINES.match(output.err)
    assert arguments[0] in output.err
    assert repr(arguments[1][:40])[1:-1] in output.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("--rate 2001", "--rate 2001 times --clients 1 is 2,001 calls/s, at most 2,000 are"),
        ("--rate 2000.0001", "is 2,000.0001 calls/s, at most 2,000 are"),
        ("--kind partial --share 0.3 --baseline 0.3", "--share 0.3 must be above --baseline 0.3"),
        ("--rate 50 --clients 41", "is 2,050 calls/s, at most 2,000 are simulated: lower one"),
        ("--rate 1 --outage 14400", "are 14,440 s together, at most 14,400 are simulated"),
        ("--rate 2000 --outage 600", "million calls would be simulated, at most 5 million are"),
        ("--rate 0.1 --clients 10000 --before 5000", "at most 5 million are: lower"),
        (
            "--slow 0.5 --trip consecutive_failures(5)",
            "argument --slow: slow=0.5 has no effect with trip=consecutive_failures(count=5)",
        ),
    ],
)
def test_what_does_not_go_together(
    arguments: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    It is refused like a single wrong word, before anything runs.
    """
    with pytest.raises(SystemExit) as caught:
        main(["lab", "--after", "20", *arguments.split()])

    output = capsys.readouterr()
    assert (2, "") == (caught.value.code, output.out)
    assert LINES.match(output.err)
    assert why in output.err


def test_help_has_units(capsys: pytest.CaptureFixture[str]) -> None:
    """
    The help says what every number counts.
    """
    with pytest.raises(SystemExit) as caught:
        main(["lab", "--help"])

    text = capsys.readouterr().out
    assert 0 == caught.value.code
    assert max(map(len, text.splitlines())) <= 80
    for option in ("--rate CALLS/S", "--timeout SECONDS", "--baseline SHARE", "--trip RULE"):
        assert f"\n  {option}" in text


def test_reading_the_command_line_imports_no_engine() -> None:
    """
    The lab is loaded when it is run.
    """
    code = "import sys, asyncbreaker.__main__; print([n for n in sys.modules if '._lab.' in n])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "['asyncbreaker._lab.options']\n" == done.stdout


def test_the_library_logs_nothing_meanwhile(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """
    Thousands of openings are not told to the log; afterwards it is as before.
    """
    caplog.set_level(logging.DEBUG)
    printed(capsys)

    assert [] == caplog.records
    assert not logging.getLogger("asyncbreaker").disabled


def test_an_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Ctrl-C ends it without a traceback, and the log is as before.
    """

    def interrupted(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "report", interrupted)

    assert 130 == main([*QUICK])
    assert ("", "") == capsys.readouterr()
    assert not logging.getLogger("asyncbreaker").disabled


def test_a_signal_while_it_works() -> None:
    """
    The same in the middle of a call of a breaker.
    """
    # It works for seconds; -c because the signal must not come before Python listens to it.
    code = (
        "import sys; from asyncbreaker.__main__ import main; import asyncbreaker._lab.command; "
        "print('ready', flush=True); "
        "sys.exit(main('lab --rate 2000 --outage 150 --after 40'.split()))"
    )
    # An interrupt in the middle of coverage's own work would leave its lock taken: UNMEASURED.
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=UNMEASURED,
    ) as process:
        try:
            assert process.stdout is not None
            assert b"ready\n" == process.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()  # or leaving the block would wait for ever

    assert (130, b"", b"") == (process.returncode, output, errors)


def test_a_reader_that_leaves_is_no_error() -> None:
    """
    ``lab | true`` ends quietly.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "asyncbreaker", *QUICK],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"" == process.stderr.read()
        assert 1 == process.wait(60)


class Terminal(StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's redirections")
@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        (">/dev/full", 1, "python -m asyncbreaker lab: the output: [Errno 28] No space left"),
    ],
)
def test_streams_that_take_nothing(redirection: str, code: int, said: str) -> None:
    """
    A closed or full stream brings no traceback; of a full one it is said in a line.
    """
    if "full" in redirection and not os.path.exists("/dev/full"):
        pytest.skip("there is no stream that is always full here")
    command = shlex.join([sys.executable, "-W", "error", "-m", "asyncbreaker", *QUICK])
    done = subprocess.run(
        ["sh", "-c", f"{command} {redirection}"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ} if said else UNMEASURED,
    )

    assert code == done.returncode
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == (1 if said else 0)


def test_progress_is_for_terminals_and_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    After a second it says how far it is, ten times a second at most, and is gone in the end.
    """
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    terminal, pipe = Terminal(), StringIO()
    for stream in (terminal, pipe):
        now = 0.0
        shown = Progress(stream, 2)
        shown.part()(0.5)
        now = 1.0
        say = shown.part()
        now = 1.05
        say(0.5)
        now = 1.1
        say(0.75)
        shown.clear()

    said = ["simulated:  50%", "simulated:  88%", " " * 20, ""]
    assert ["", *said] == terminal.getvalue().split("\r")
    assert "" == pipe.getvalue()


def test_quick_work_leaves_no_progress() -> None:
    """
    What was never shown need not be wiped out.
    """
    terminal = Terminal()
    Progress(terminal, 1).clear()

    assert "" == terminal.getvalue()
