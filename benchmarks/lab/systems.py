"""The rows of every table: no breaker, ours, and the peers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from asyncbreaker._lab.clients import Client, Clock, Guarded, Unguarded
from asyncbreaker._lab.configurations import Setup
from benchmarks.lab.peers import PEERS

Make = Callable[[Clock, Callable[[], float]], Client]


@dataclass(frozen=True)
class System:
    """What guards a client, and how to make one."""

    name: str
    make: Make
    settings: str


def ours(setup: Setup) -> Make:
    """Return how to make a client with a breaker of ours."""
    return lambda clock, random: Guarded(setup.breaker(clock=clock, random=random))


OURS = "asyncbreaker"
SLOW = "asyncbreaker, slow=0.5"
NONE = "no breaker"

SYSTEMS = {
    system.name: system
    for system in (
        System(NONE, lambda clock, random: Unguarded(), ""),
        System(OURS, ours(Setup()), "the defaults"),
        System(SLOW, ours(Setup(slow=0.5)), "the defaults and slow=0.5"),
        *(System(peer.name, peer.make, peer.settings) for peer in PEERS.values()),
    )
}
