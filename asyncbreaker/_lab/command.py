"""``python -m asyncbreaker lab``: from the options to the exit code."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import NoReturn

from asyncbreaker._lab.picture import LEVELS, PLAIN_LEVELS
from asyncbreaker._lab.progress import Progress
from asyncbreaker._lab.question import Question, RefusalError, asked
from asyncbreaker._lab.report import report
from asyncbreaker._lab.trial import parts

NARROWEST, WIDEST = 40, 100  # characters
INTERRUPTED = 128 + signal.SIGINT  # what a shell expects


def lab(options: argparse.Namespace) -> int:
    """Run the lab; return the exit code. What cannot be is refused as wrong options are."""
    try:
        question = asked(options)
    except RefusalError as error:
        refuse: Callable[[str], NoReturn] = options.refuse
        refuse(str(error))
    with silent():  # to the end: calls that an interrupt leaves open are cancelled, and logged
        try:
            print(worked_out(question), flush=True)
        except BrokenPipeError:  # nobody reads on, so there is nobody to tell
            leave_nothing_to_flush()
            return 1
        except OSError as error:
            leave_nothing_to_flush()
            print(f"python -m asyncbreaker lab: the output: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return INTERRUPTED
    return 0


@contextmanager
def silent() -> Generator[None, None, None]:
    """Keep the library from logging: thousands of breakers' lives are played through."""
    logger = logging.getLogger("asyncbreaker")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def worked_out(question: Question) -> str:
    """Return the report, for the terminal that there is."""
    progress = Progress(sys.stderr, parts(question))
    try:
        return report(question, part=progress.part, width=width(), levels=levels())
    finally:
        progress.clear()


def width() -> int:
    """Return how wide a line may be."""
    return min(WIDEST, max(NARROWEST, shutil.get_terminal_size().columns))


def levels() -> str:
    """Return the characters for bars that the output can take."""
    try:
        LEVELS.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return PLAIN_LEVELS
    return LEVELS


def leave_nothing_to_flush() -> None:
    """Let the interpreter end quietly: it would flush what the closed pipe did not take."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
