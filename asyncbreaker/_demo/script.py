"""What the demo plays: which phases, for how long, at what load. Plain numbers, in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """How the service is doing."""

    HEALTHY = "healthy"  # answers everything at once
    SLOW = "slow"  # can answer a third of the load
    DEAD = "dead"  # answers none: calls wait in its queue, and are refused when it is full
    RECOVERING = "recovering"  # back with cold caches: its capacity grows from a tenth


@dataclass(frozen=True, slots=True)
class Script:
    """One run. Both sides get the same calls at the same moments, with the same timeout."""

    phases: tuple[tuple[Phase, float], ...]
    warming: float
    """From being back to full capacity."""
    timeout: float
    """After which a caller gives up."""
    slow: float
    """From which the breaker calls a call slow."""
    rate: float = 60.0
    """Calls per second on each side; the healthy service can answer 100."""

    @property
    def seconds(self) -> float:
        """How long calls are sent; the last ones may end a timeout later."""
        return sum(seconds for _, seconds in self.phases)


FULL = Script(
    phases=(
        (Phase.HEALTHY, 3.0),
        (Phase.SLOW, 3.0),
        (Phase.DEAD, 4.0),
        (Phase.RECOVERING, 9.5),
    ),
    warming=5.0,
    timeout=0.6,
    slow=0.25,
)

FAST = Script(
    phases=(
        (Phase.HEALTHY, 0.4),
        (Phase.SLOW, 0.6),
        (Phase.DEAD, 0.8),
        (Phase.RECOVERING, 3.2),
    ),
    warming=1.5,
    timeout=0.4,
    slow=0.2,
)
