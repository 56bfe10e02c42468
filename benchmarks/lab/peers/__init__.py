"""The other circuit breakers of the outage lab, each with its documented defaults."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from benchmarks.lab.peers.peer import Peer
from benchmarks.lab.peers.rows import ROWS

__all__ = ["PEERS", "Peer"]

PEERS: Mapping[str, Peer] = MappingProxyType({peer.name: peer for peer in ROWS})
"""By name, in the order of the lab's tables."""
