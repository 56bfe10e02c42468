"""The peers that the lab runs through their own code: they take a clock.

Neither awaits anything but the guarded call, and their locks are never contended here,
so that they can be driven by hand. They are imported late: the lab installs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from asyncbreaker._lab.clients import Awaited, Clock


class Interlock(Awaited):
    """interlock-cb, with its defaults."""

    def __init__(self, clock: Clock) -> None:
        interlock = import_module("interlock")
        self._clock = clock
        breaker = interlock.CircuitBreaker(name="lab", clock=self, listener=self)
        super().__init__(breaker.call_async, interlock.CircuitOpenError)

    def monotonic(self) -> float:
        """Be its clock."""
        return self._clock.now

    def on_state_change(self, *, name: str, old: Any, new: Any) -> None:
        """Be its listener; the hooks that are not here it does without."""
        if new.name == "OPEN":
            self.openings.append(self._clock.now)
            if old.name == "CLOSED":
                self.trips.append(self._clock.now)


class Nopanic(Awaited):
    """nopanic, with its defaults."""

    def __init__(self, clock: Clock) -> None:
        nopanic = import_module("nopanic")
        self._clock = clock
        breaker = nopanic.CircuitBreaker(clock=clock, on_state_change=self._hear)
        super().__init__(breaker.acall, nopanic.CircuitOpen)

    def _hear(self, breaker: Any, old: str, new: str) -> None:
        """Be its listener."""
        if new == "open":
            self.openings.append(self._clock.now)
            if old == "closed":
                self.trips.append(self._clock.now)
