"""How far the lab is: on a terminal only, and only when it takes long."""

from __future__ import annotations

import time
from typing import TextIO

from asyncbreaker._lab.engine import Say

PATIENCE = 1.0  # second before anything is said
PAUSE = 0.1  # seconds between two changes


class Progress:
    """A line on *stream* that is gone when the work is done."""

    def __init__(self, stream: TextIO | None, parts: int) -> None:
        self._stream = stream
        self._parts = parts
        self._begun = -1  # parts, less one
        self._due = time.monotonic() + PATIENCE if stream and stream.isatty() else float("inf")
        self._said = False

    def part(self) -> Say:
        """Begin the next part of the work; return what is told its share."""
        self._begun += 1
        self.say(0.0)
        return self.say

    def say(self, share: float) -> None:
        """Show how much is done, when it is time to."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + PAUSE
        self._said = True
        print(
            f"\rsimulated: {(self._begun + share) / self._parts:4.0%}",
            end="",
            file=self._stream,
            flush=True,
        )

    def clear(self) -> None:
        """Leave nothing behind."""
        if self._said:
            print("\r" + " " * 20 + "\r", end="", file=self._stream, flush=True)
