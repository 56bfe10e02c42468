"""A peer: a row of the lab's tables, and where its defaults are stated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from asyncbreaker._lab.clients import Client, Clock
from benchmarks.lab.peers.settings import Random


@dataclass(frozen=True, slots=True)
class Peer:
    """Another system's circuit breaker, with its documented defaults."""

    name: str
    version: str
    """What was read."""
    settings: str
    """The defaults in a few words."""
    defaults: Mapping[str, str]
    """Each default, as it is called there, and the address of the page that states it."""
    note: str
    """How it differs from what one might expect, and what the lab leaves out."""
    make: Callable[[Clock, Random], Client]
    own_code: bool = False
    """Whether the lab runs its own code, not a model."""

    @property
    def pages(self) -> tuple[str, ...]:
        """The address of a page for each default."""
        return tuple(self.defaults.values())
