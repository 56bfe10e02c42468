"""One breaker per key, made when first asked for, bounded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakValueDictionary

from asyncbreaker._core import checks
from asyncbreaker._core.states import State
from asyncbreaker._runtime.breaker import CircuitBreaker, clock_of
from asyncbreaker._runtime.bulletin import log
from asyncbreaker.errors import RegistryFullError


class Registry:
    """Breakers by key: ``registry["api.example.com"]`` gets or makes one.

    Keys often come from outside (a host, a tenant), so their number is bounded. When a
    new one finds no room, what goes first are breakers that are closed and were not
    asked for in *idle* seconds, then the closed one that was not asked for for longest,
    then, with a WARNING, an open or half-open one. Forced and disabled ones stay: they
    are an operator's order. A breaker that went and that somebody still holds is found
    again under its key, so that a key never has two.

    Args:
        factory: Makes the breaker for a key; the only source of its settings.
        maximum: Breakers kept at most.
        idle: Seconds, by each breaker's own clock, after which a closed one may go.

    Raises:
        TypeError, ValueError: A value is of the wrong type or out of range.
        RegistryFullError: On asking for a new key: all are forced or disabled.
    """

    def __init__(
        self,
        factory: Callable[[str], CircuitBreaker],
        *,
        maximum: int = 1024,
        idle: float = 3600.0,
    ) -> None:
        checks.function("factory", factory)
        self._factory = factory
        self._maximum = checks.count("maximum", maximum)
        self._idle = checks.positive("idle", idle, finite=False)
        # With the date of the last use, longest unused first.
        self._used: OrderedDict[str, tuple[CircuitBreaker, float]] = OrderedDict()
        self._evicted: WeakValueDictionary[str, CircuitBreaker] = WeakValueDictionary()
        # Two threads that ask for a new key at once shall get one breaker; never held
        # while the factory runs.
        self._lock = threading.RLock()

    def __getitem__(self, key: str) -> CircuitBreaker:
        with self._lock:
            found = self._find(key)
        return self._add(key, self._make(key)) if found is None else found

    def __contains__(self, key: object) -> bool:
        return key in self._used

    def __iter__(self) -> Iterator[str]:
        return iter([key for key, _ in self.items()])

    def __len__(self) -> int:
        return len(self._used)

    def items(self) -> list[tuple[str, CircuitBreaker]]:
        """Return the keys and breakers of this moment, longest unused first; stamps no use."""
        with self._lock:
            return [(key, breaker) for key, (breaker, _) in self._used.items()]

    def health(self) -> dict[str, Any]:
        """Return a summary for a health page, as plain JSON values; stamps no use.

        ``status`` is "degraded" while any circuit refuses calls (is open, half-open or
        forced open), else "ok"; ``breakers`` has the snapshot of each by its key. It says
        how the dependencies are: a liveness check must not fail because of it.
        """
        snapshots = {key: breaker.snapshot() for key, breaker in self.items()}
        refusing = any(look.state in _REFUSING for look in snapshots.values())
        return {
            "status": "degraded" if refusing else "ok",
            "breakers": {key: look.as_dict() for key, look in snapshots.items()},
        }

    def _make(self, key: str) -> CircuitBreaker:
        checks.instance("key", key, str, "a string")
        with self._lock:
            if len(self._used) >= self._maximum:
                self._victim(key)  # a full registry makes nothing; evicted is in ``_add``
        breaker = self._factory(key)
        checks.instance("what factory returns", breaker, CircuitBreaker, "a CircuitBreaker")
        return breaker

    def _find(self, key: str) -> CircuitBreaker | None:
        if key in self._used:
            breaker, _ = self._used[key]
        elif (evicted := self._evicted.get(key)) is not None:
            breaker = evicted
            self._make_room(key)
            del self._evicted[key]
        else:
            return None
        self._stamp(key, breaker)
        return breaker

    def _add(self, key: str, breaker: CircuitBreaker) -> CircuitBreaker:
        with self._lock:
            faster = self._find(key)
            if faster is not None:
                return faster
            self._make_room(key)
            self._stamp(key, breaker)
            return breaker

    def _stamp(self, key: str, breaker: CircuitBreaker) -> None:
        self._used[key] = breaker, clock_of(breaker)()
        self._used.move_to_end(key)

    def _make_room(self, key: str) -> None:
        """Evict what is idle, and one more if that did not make room."""
        for other in self._idle_keys():
            self._evict(other)
        if len(self._used) >= self._maximum:
            self._evict(self._victim(key))

    def _idle_keys(self) -> list[str]:
        idle: list[str] = []
        for key, (breaker, used) in self._used.items():
            if clock_of(breaker)() - used < self._idle:
                break  # all that follow were used later
            if breaker.state is State.CLOSED:
                idle.append(key)
        return idle

    def _victim(self, key: str) -> str:
        for state in (State.CLOSED, None):
            for other, (breaker, _) in self._used.items():
                if breaker.state is (state or breaker.state) and breaker.state not in _ORDERED:
                    return other
        raise RegistryFullError(key, self._maximum)

    def _evict(self, key: str) -> None:
        breaker, _ = self._used.pop(key)
        self._evicted[key] = breaker
        if breaker.state is not State.CLOSED:
            log.warning(
                "registry is full (%d): drops circuit %r although it is %s",
                self._maximum,
                breaker.name,
                breaker.state.value,
                extra={"breaker": breaker.name, "state": breaker.state.value},
            )


_ORDERED = (State.FORCED_OPEN, State.DISABLED)
_REFUSING = (State.OPEN, State.HALF_OPEN, State.FORCED_OPEN)
