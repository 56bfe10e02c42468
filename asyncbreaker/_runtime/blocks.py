"""What belongs to the ``async with`` block that is being left: its permit, its limit."""

from __future__ import annotations

import dis
import sys
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from itertools import islice
from types import FrameType, TracebackType
from typing import Generic, TypeVar

from asyncbreaker._runtime.backend import current_task

T = TypeVar("T")

# Documented, and cheaper than inspect.currentframe().f_back.
caller = sys._getframe  # pyright: ignore[reportPrivateUsage]

MOST = 10_000  # blocks entered by a helper and never left that way, before the oldest are dropped

_RETURNS = {dis.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST") if name in dis.opmap}


class SingleUse:
    """A block that is entered once: it holds what one entering has taken."""

    __slots__ = ("_used",)

    def __init__(self) -> None:
        self._used = False

    def _use(self) -> None:
        if self._used:
            raise RuntimeError("this guard has been entered before; ask for another")
        self._used = True


class Blocks(Generic[T]):
    """The blocks that are open and have something of their own, such as a permit.

    An ``async with`` statement enters and leaves in one frame, so the frame names the
    block. Kept is the frame itself, not its id, which would be used again. A helper
    (``AsyncExitStack``, a class that delegates) enters in a frame of its own, which has
    returned by the time the block is left; there the task is all there is.
    """

    def __init__(self) -> None:
        self._open: dict[FrameType, list[tuple[T, object]]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, frame: FrameType, task: object, kept: T) -> None:
        """Keep *kept* for the block that *frame* enters."""
        if len(self._open) >= MOST:
            self._drop_oldest()
        self._open.setdefault(frame, []).append((kept, task))

    def leave(self, frame: FrameType, task: object) -> T | None:
        """Return what was kept for the block that *frame* leaves; None if there is nothing here."""
        entered: FrameType | None = frame
        if frame not in self._open:
            entered = None if _is_statement(frame) else self._helper(task)
        if entered is None:
            return None
        held = self._open[entered]
        kept, _ = held.pop()
        if not held:
            del self._open[entered]
        return kept

    def _helper(self, task: object) -> FrameType | None:
        for frame in reversed(self._open):
            if self._open[frame][-1][1] is task and _has_returned(frame):
                return frame
        return None

    def _drop_oldest(self) -> None:
        returned = (frame for frame in self._open if _has_returned(frame))
        for frame in list(islice(returned, MOST // 10)):
            del self._open[frame]


def _has_returned(frame: FrameType) -> bool:
    return frame.f_lasti >= 0 and frame.f_code.co_code[frame.f_lasti] in _RETURNS


def _is_statement(frame: FrameType) -> bool:
    """Tell whether *frame* awaits the end of an ``async with``, no call of ``__aexit__``."""
    # The compiler marks what it awaits: 2 is the __aexit__ of a statement. The frame
    # stands a few code units behind the mark, at the sending; how many, versions differ.
    code, here = frame.f_code.co_code, frame.f_lasti
    near = range(here - 2, here - 10, -2)
    return next((code[at + 1] == 2 for at in near if code[at] == _GET_AWAITABLE), False)


_GET_AWAITABLE = dis.opmap["GET_AWAITABLE"]


class Statement(ABC):
    """``async with`` on what many blocks share: each gets a ``guard()`` of its own."""

    def __init__(self) -> None:
        self._blocks: Blocks[AbstractAsyncContextManager[object, bool | None]] = Blocks()

    @abstractmethod
    def guard(self) -> AbstractAsyncContextManager[object, bool | None]:
        """Return a block."""
        ...

    async def __aenter__(self) -> None:
        frame, block = caller(1), self.guard()
        await block.__aenter__()
        self._blocks.enter(frame, current_task(), block)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        block = self._blocks.leave(caller(1), current_task())
        return None if block is None else await block.__aexit__(exc_type, exc, traceback)
