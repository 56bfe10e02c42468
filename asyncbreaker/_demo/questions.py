"""What the callers of ``--full`` ask: most look at an item, some buy it."""

from __future__ import annotations

import random
from collections.abc import Iterator

LOOK, BUY = "look", "buy"
ITEMS = 60
BUYING = 0.1  # of the callers


def questions() -> Iterator[str]:
    """Yield what the callers ask one after the other, as paths; the same in every run."""
    chance = random.Random(2007)
    # The n-th most popular is asked for 1/n times as often as the first (Zipf's law), so that
    # some have never been answered when the trouble begins.
    popularity = [1 / (rank + 1) for rank in range(ITEMS)]
    while True:
        verb = BUY if chance.random() < BUYING else LOOK
        (item,) = chance.choices(range(ITEMS), popularity)
        yield f"/{verb}/{item}"
