"""The registry: one breaker per key, never two, never too many."""

from __future__ import annotations

import gc
import json
import logging
import threading
from typing import Any

import pytest

from asyncbreaker import AsyncBreakerError, CircuitBreaker, Registry, RegistryFullError, State
from asyncbreaker.testing import ManualClock, force_state


class Factory:
    """Makes breakers on one clock, and remembers the keys it was asked for."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.asked: list[str] = []

    def __call__(self, key: str) -> CircuitBreaker:
        self.asked.append(key)
        return CircuitBreaker(key, clock=self._clock)


@pytest.fixture
def factory(clock: ManualClock) -> Factory:
    return Factory(clock)


def keys(registry: Registry) -> list[str]:
    return [key for key, _ in registry.items()]


def test_a_key_has_one_breaker(factory: Factory) -> None:
    """
    Asking for a key again gives the same breaker, made once.
    """
    registry = Registry(factory)

    assert registry["a"] is registry["a"]
    assert registry["a"] is not registry["b"]
    assert ["a", "b"] == factory.asked


def test_membership_and_length_make_nothing(factory: Factory) -> None:
    """
    ``in`` and ``len`` look without making a breaker.
    """
    registry = Registry(factory)
    registry["a"]

    assert (True, False, False) == ("a" in registry, "b" in registry, 5 in registry)
    assert 1 == len(registry)
    assert ["a"] == factory.asked


def test_items_is_a_copy_of_this_moment(factory: Factory) -> None:
    """
    What is made after ``items()`` is not in the list it gave.
    """
    registry = Registry(factory)
    registry["a"]
    items = registry.items()
    registry["b"]

    assert [("a", registry["a"])] == items


def test_items_stamps_no_use(factory: Factory, clock: ManualClock) -> None:
    """
    Looking at all breakers makes none of them younger.
    """
    registry = Registry(factory, maximum=2, idle=10.0)
    registry["old"]
    clock.advance(5.0)
    registry["new"]
    clock.advance(5.0)
    for _, breaker in registry.items():
        breaker.snapshot()
    registry["newest"]

    assert ["new", "newest"] == keys(registry)


def test_twenty_thousand_keys_keep_their_bound(factory: Factory) -> None:
    """
    Keys chosen by an attacker cannot make a registry grow.
    """
    registry = Registry(factory, maximum=8)
    for number in range(20_000):
        registry[f"{number}"]

    assert 8 == len(registry)
    assert [f"{number}" for number in range(19_992, 20_000)] == keys(registry)


def test_idle_ones_go_first(factory: Factory, clock: ManualClock) -> None:
    """
    All that are closed and were not used for so long make room together.
    """
    registry = Registry(factory, maximum=4, idle=60.0)
    for key in ("a", "b", "c"):
        registry[key]
    clock.advance(59.0)
    registry["d"]
    clock.advance(1.0)
    registry["e"]

    assert ["d", "e"] == keys(registry)


def test_a_use_keeps_a_breaker_from_being_idle(factory: Factory, clock: ManualClock) -> None:
    """
    ``registry[key]`` stamps the use.
    """
    registry = Registry(factory, idle=60.0)
    registry["a"]
    registry["b"]
    clock.advance(30.0)
    registry["a"]
    clock.advance(30.0)
    registry["c"]

    assert ["a", "c"] == keys(registry)


def test_idle_open_ones_stay(factory: Factory, clock: ManualClock) -> None:
    """
    A breaker that is not closed is in use, however long nobody asked for it.
    """
    registry = Registry(factory, idle=60.0)
    force_state(registry["open"], State.OPEN)
    force_state(registry["half"], State.HALF_OPEN)
    registry["closed"]
    clock.advance(1000.0)
    registry["new"]

    assert ["open", "half", "new"] == keys(registry)


def test_then_the_longest_unused_closed_one_goes(
    factory: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Without idle ones the longest unused closed breaker makes room, silently.
    """
    registry = Registry(factory, maximum=3)
    force_state(registry["open"], State.OPEN)
    registry["a"]
    registry["b"]
    registry["a"]
    caplog.clear()
    registry["c"]

    assert ["open", "a", "c"] == keys(registry)
    assert [] == caplog.records


@pytest.mark.parametrize("state", [State.OPEN, State.HALF_OPEN])
def test_then_an_open_one_goes_with_a_warning(
    state: State, factory: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The last resort is the longest unused open or half-open breaker, and the log says so.
    """
    registry = Registry(factory, maximum=3)
    registry["forced"].force_open()
    force_state(registry["first"], state)
    force_state(registry["second"], State.OPEN)
    caplog.clear()
    registry["new"]

    assert ["forced", "second", "new"] == keys(registry)
    assert [
        (logging.WARNING, f"registry is full (3): drops circuit 'first' although it is {state}")
    ] == [(entry.levelno, entry.message) for entry in caplog.records]
    assert "first" == caplog.records[0].__dict__["breaker"]


def test_an_operators_order_is_never_dropped(factory: Factory) -> None:
    """
    When all are forced or disabled a new key is refused, and nothing is made for it.
    """
    registry = Registry(factory, maximum=2)
    registry["forced"].force_open()
    registry["disabled"].disable()

    with pytest.raises(RegistryFullError, match="no room for a breaker 'new': all 2 in") as caught:
        registry["new"]
    assert ("new", 2) == (caught.value.key, caught.value.maximum)
    assert isinstance(caught.value, AsyncBreakerError)
    assert ["forced", "disabled"] == keys(registry) == factory.asked
    assert State.FORCED_OPEN is registry["forced"].state


def test_an_evicted_breaker_that_is_held_is_found_again(factory: Factory) -> None:
    """
    While somebody holds an evicted breaker its key gets no second one.
    """
    registry = Registry(factory, maximum=1)
    held = registry["a"]
    registry["b"]
    assert "a" not in registry

    assert held is registry["a"]
    assert ["a"] == keys(registry)
    assert ["a", "b"] == factory.asked


def test_an_evicted_breaker_that_nobody_holds_is_made_anew(factory: Factory) -> None:
    """
    The registry itself keeps no evicted breaker alive.
    """
    registry = Registry(factory, maximum=1)
    registry["a"]
    registry["b"]
    gc.collect()
    registry["a"]

    assert ["a", "b", "a"] == factory.asked


def test_an_evicted_breaker_finds_no_room_among_orders(factory: Factory) -> None:
    """
    Being found again needs room like a new key.
    """
    registry = Registry(factory, maximum=1)
    held = registry["a"]
    registry["b"].force_open()

    with pytest.raises(RegistryFullError):
        registry["a"]
    registry["b"].reset()
    assert held is registry["a"]


def test_a_factory_that_raises_evicts_nothing(clock: ManualClock) -> None:
    """
    The error reaches who asked, and no breaker had to go for it.
    """

    def picky(key: str) -> CircuitBreaker:
        if not key.isalpha():
            raise LookupError(key)
        return CircuitBreaker(key, clock=clock)

    registry = Registry(picky, maximum=2)
    registry["a"]
    registry["b"]
    for number in range(10):
        with pytest.raises(LookupError):
            registry[f"{number}"]

    assert ["a", "b"] == keys(registry)


@pytest.mark.parametrize("made", [None, "breaker", CircuitBreaker])
def test_a_factory_must_make_breakers(made: Any) -> None:
    """
    What the factory returns is checked before anything is kept.
    """
    registry = Registry(lambda key: made)

    with pytest.raises(TypeError, match="what factory returns must be a CircuitBreaker, not"):
        registry["a"]
    assert 0 == len(registry)


@pytest.mark.parametrize("key", [5, None, b"a", ("a",)])
def test_keys_are_strings(key: Any, factory: Factory) -> None:
    """
    A key that is no string is refused, and nothing is made.
    """
    with pytest.raises(TypeError, match="key must be a string, not"):
        Registry(factory)[key]
    assert [] == factory.asked


def test_a_factory_may_use_the_registry(clock: ManualClock) -> None:
    """
    The factory runs under no lock, so it may ask for other keys.
    """

    def make(key: str) -> CircuitBreaker:
        if key != "parent":
            registry["parent"]
        return CircuitBreaker(key, clock=clock)

    registry = Registry(make)
    registry["child"]

    assert ["parent", "child"] == keys(registry)


@pytest.mark.parametrize("evicted", [False, True])
def test_who_comes_second_gets_the_firsts_breaker(evicted: bool, clock: ManualClock) -> None:
    """
    Two that ask for a new key at once get one breaker, also if it was evicted meanwhile.
    """
    first: list[CircuitBreaker] = []
    asked: list[str] = []

    def slowly(key: str) -> CircuitBreaker:
        asked.append(key)
        if asked == ["a"]:
            first.append(registry["a"])  # somebody is faster
            if evicted:
                registry["b"]
        return CircuitBreaker(key, clock=clock)

    registry = Registry(slowly, maximum=1)

    assert registry["a"] is first[0]
    assert ["a"] == keys(registry)


def test_threads_get_the_same_breaker(factory: Factory) -> None:
    """
    Any number of threads that ask for the same keys at once agree.
    """
    registry = Registry(factory, maximum=50)
    got: list[dict[str, CircuitBreaker]] = []
    errors: list[BaseException] = []
    together = threading.Barrier(8)

    def ask() -> None:
        try:
            together.wait()
            got.append({f"{number}": registry[f"{number}"] for number in range(40)})
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == errors
    assert [dict(registry.items())] * 8 == got


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"factory": None}, TypeError, "factory must be callable, not None"),
        ({"maximum": 0}, ValueError, "maximum must be at least 1, not 0"),
        ({"maximum": -1}, ValueError, "maximum must be at least 1, not -1"),
        ({"maximum": True}, TypeError, "maximum must be a whole number, not True"),
        ({"maximum": float("inf")}, ValueError, "maximum must be a whole number, not inf"),
        ({"maximum": "9"}, TypeError, "maximum must be a whole number, not '9'"),
        ({"idle": 0}, ValueError, "idle must be above 0, not 0"),
        ({"idle": -1.0}, ValueError, "idle must be a number, at least 0, not -1.0"),
        ({"idle": float("nan")}, ValueError, "idle must be a number, at least 0, not nan"),
        ({"idle": False}, TypeError, "idle must be a number, not False"),
        ({"idle": None}, TypeError, "idle must be a number, not None"),
    ],
)
def test_bad_settings_are_refused(
    settings: dict[str, Any], error: type[Exception], text: str, factory: Factory
) -> None:
    """
    The message names parameter and value.
    """
    with pytest.raises(error, match=text):
        Registry(**{"factory": factory, **settings})


def test_an_async_factory_is_refused() -> None:
    """
    A factory is a plain function.
    """

    async def make(key: str) -> CircuitBreaker:
        return CircuitBreaker(key)

    with pytest.raises(TypeError, match="factory must be a plain function"):
        Registry(make)  # type: ignore[arg-type]


def test_a_guard_in_hand_keeps_the_breaker_of_its_key(factory: Factory) -> None:
    """
    A breaker that was evicted while a block of it is open is found again under its key.
    """
    registry = Registry(factory, maximum=1)
    guard = registry["a"].guard()
    registry["b"]
    gc.collect()
    registry["a"]

    assert ["a", "b"] == factory.asked
    del guard


def test_it_is_iterated_by_key(factory: Factory) -> None:
    """
    A registry is read like a mapping.
    """
    registry = Registry(factory)
    registry["a"], registry["b"]

    assert ["a", "b"] == list(registry)


def test_health_sums_it_up(clock: ManualClock) -> None:
    """
    All is well while every circuit is closed or disabled, and degraded while one refuses; the
    snapshots say which, in plain JSON values.
    """
    registry = Registry(lambda key: CircuitBreaker(key, clock=clock))
    assert {"status": "ok", "breakers": {}} == registry.health()
    for key in ("closed", "disabled", "open"):
        assert key == registry[key].name
    registry["disabled"].disable("migration")
    assert "ok" == registry.health()["status"]

    for state in (State.OPEN, State.HALF_OPEN, State.FORCED_OPEN):
        force_state(registry["open"], state)
        health = registry.health()
        assert "degraded" == health["status"]
        assert state == health["breakers"]["open"]["state"]
    assert ["closed", "disabled", "open"] == list(health["breakers"])
    assert health == json.loads(json.dumps(health))


def test_health_stamps_no_use(clock: ManualClock) -> None:
    """
    A health page that is asked every second keeps no idle breaker alive.
    """
    registry = Registry(lambda key: CircuitBreaker(key, clock=clock), maximum=2)
    for key in ("old", "new"):
        assert key == registry[key].name
    registry.health()
    assert "third" == registry["third"].name

    assert ["new", "third"] == list(registry)
