"""The peers: every trace through the machine, their defaults, and what each model does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from asyncbreaker._lab.clients import Client, Clock
from asyncbreaker._lab.engine import Simulation
from asyncbreaker._lab.scenarios import hard_outage
from benchmarks.lab.peers import PEERS, Peer, defaults
from benchmarks.lab.peers.machine import Call, Machine
from benchmarks.lab.peers.settings import (
    AtChange,
    HalfOpen,
    Open,
    Settings,
    State,
    Trip,
    Window,
)

TRACES = Path(__file__).parent.parent / "traces"
SYSTEMS = ("gobreaker", "pybreaker", "finagle")

NEVER = Trip("any_of")  # no rule, no opening: for scenarios about counts alone
COUNTS = {
    "requests": "requests",
    "successes": "successes",
    "failures": "failures",
    "excluded": "excluded",
    "consecutive_successes": "good_run",
    "consecutive_failures": "bad_run",
}


def scenarios() -> list[tuple[str, dict[str, Any]]]:
    """Return every scenario of every file, with its system."""
    return [
        (system, scenario)
        for system in SYSTEMS
        for scenario in json.loads((TRACES / f"{system}.json").read_text())["scenarios"]
    ]


ALL = scenarios()
IDS = [f"{system}-{scenario['name']}" for system, scenario in ALL]


def trip_of(stated: dict[str, Any]) -> Trip:
    parts = tuple(trip_of(part) for part in stated.pop("of", ()))
    return Trip(**stated, of=parts)


def window_of(stated: dict[str, Any]) -> Window:
    if stated["type"] == "tumbling":
        # The one kind that the machine knows: it has no settings for these.
        assert stated.pop("boundary") == "exclusive"
        assert stated.pop("reanchor")
        assert stated.pop("bumps_generation")
    return Window(**stated)


def half_open_of(stated: dict[str, Any]) -> HalfOpen:
    # "wait" rejects, too: no scenario here has a call that waits.
    assert stated.pop("excess") in ("reject", "wait")
    admission, decide = stated.pop("admission"), stated.pop("decide")
    assert decide["kind"] in ("consecutive_successes", "cumulative_successes")
    assert not stated, "something would go unheeded"
    return HalfOpen(admission["kind"], admission["limit"], decide["successes"])


def settings_of(config: dict[str, Any]) -> Settings:
    """Return a scenario's config as settings; nothing of it may go unheeded."""
    stated = json.loads(json.dumps(config))
    trip = trip_of(stated.pop("trip")) if "trip" in stated else NEVER
    half_open = stated.pop("half_open", None)
    keeps: dict[str, AtChange] = stated.pop("counts", {})
    classify = stated.pop("classify", {"excluded": "neutral"})
    settings = Settings(
        trip,
        Open(**stated.pop("open", {"seconds": 0.0})),
        half_open_of(half_open) if half_open else None,
        window_of(stated.pop("window")),
        excluded=classify["excluded"],
        stale=stated.pop("stale", "ignore"),
        on_open=keeps.pop("on_open", "clear"),
        on_half_open=keeps.pop("on_half_open", "clear"),
        on_close=keeps.pop("on_close", "clear"),
        raises_on_trip=stated.pop("raises_on_trip", "original"),
        initial_state=State(stated.pop("initial_state", "closed")),
    )
    assert not stated, "something would go unheeded"
    assert not keeps, "something would go unheeded"
    return settings


class Replay:
    """A machine, taken through the steps of a scenario."""

    def __init__(self, settings: Settings) -> None:
        self.machine = Machine(settings, random=lambda: 0.0, began=0.0)
        self.calls: dict[str, Call] = {}

    def step(self, step: dict[str, Any]) -> None:
        """Do the step, as often as it says, and check all that it expects."""
        moved = len(self.machine.moves)
        for _ in range(step.get("repeat", 1)):
            self.once(step, step["at"])
        self.check_after(step, moved)

    def once(self, step: dict[str, Any], now: float) -> None:
        machine, op = self.machine, step["op"]
        before = machine.state
        match op:
            case "success" | "failure" | "excluded":
                call = machine.admit(now)
                self.check_admission(step, call)
                if call is not None:
                    before = machine.state
                    self.end(op, call, now)
                self.check_raised(step, call is not None, before)
            case "acquire":
                call = machine.admit(now)
                self.check_admission(step, call)
                if call is not None:
                    self.calls[step["call"]] = call
            case "release_success" | "release_failure" | "release_excluded":
                self.end(op.removeprefix("release_"), self.calls.pop(step["call"]), now)
            case "observe":
                machine.look(now)
            case "trip":
                machine.open(now)
            case "half_open":
                machine.half_open(now)
            case "close":
                machine.close(now)
            case "clear_counts":
                machine.clear(now)
            case _:
                raise AssertionError(f"unheeded: {op}")

    def end(self, how: str, call: Call, now: float) -> None:
        if how == "excluded":
            self.machine.exclude(call, now)
        else:
            self.machine.settle(call, how == "success", now)

    def check_admission(self, step: dict[str, Any], call: Call | None) -> None:
        if "expect" in step:
            assert step["expect"] == ("rejected" if call is None else "allowed")
        if "reason" in step:
            full = self.machine.state is State.HALF_OPEN
            assert step["reason"] == ("half_open_full" if full else "open")

    def check_raised(self, step: dict[str, Any], admitted: bool, before: State) -> None:
        if "raises" not in step:
            return
        tripped = before is not State.OPEN and self.machine.state is State.OPEN
        if not admitted:
            seen = "breaker_error"
        elif step["op"] == "success":
            seen = "none"
        else:
            seen = self.machine.settings.raises_on_trip if tripped else "original"
        assert step["raises"] == seen

    def check_after(self, step: dict[str, Any], moved: int) -> None:
        machine = self.machine
        state, seen = machine.look(step["at"]), machine.seen
        known: dict[str, Callable[[], object]] = {
            "state_after": lambda: state.value,
            "counts": lambda: {key: getattr(seen, COUNTS[key]) for key in step["counts"]},
            "transitions": lambda: [
                f"{old.value}->{new.value}" for old, new in machine.moves[moved:]
            ],
            "event_counts": lambda: {"opened": len(machine.openings)},
            "open_seconds": lambda: machine.open_seconds,
        }
        for key in step.keys() & known.keys():
            assert step[key] == known[key](), key
        assert step.keys() <= known.keys() | DONE | {"note"}, "something would go unchecked"


DONE = {"at", "op", "repeat", "call", "expect", "reason", "raises"}


@pytest.mark.parametrize(("system", "scenario"), ALL, ids=IDS)
def test_trace(system: str, scenario: dict[str, Any]) -> None:
    """
    With its config as settings, the machine does what the system's own tests say.
    """
    assert scenario["verified"] == "interpreter"
    replay = Replay(settings_of(scenario["config"]))
    for step in scenario["steps"]:
        replay.step(step)


def config_of(wanted: str, name: str) -> Settings:
    return next(
        settings_of(scenario["config"])
        for system, scenario in ALL
        if (system, scenario["name"]) == (wanted, name)
    )


def test_defaults_are_those_of_the_traces() -> None:
    """
    What a system's own tests call its default is the peer's.
    """
    for name in ("default_six_consecutive_failures", "default_exact_boundary_is_still_open"):
        assert config_of("gobreaker", name) == defaults.GOBREAKER
    assert config_of("pybreaker", "transition_events") == defaults.PYBREAKER


def test_peers() -> None:
    """
    They come in the order of the lab's tables.
    """
    assert list(PEERS) == [
        "interlock-cb",
        "nopanic",
        "pybreaker",
        "circuitbreaker",
        "aiobreaker",
        "purgatory",
        "resilience4j",
        "Polly",
        "gobreaker",
        "Hystrix",
        "Linkerd2",
        "Envoy",
        "Finagle",
    ]
    assert [peer.name for peer in PEERS.values()] == list(PEERS)
    assert [name for name, peer in PEERS.items() if peer.own_code] == ["interlock-cb", "nopanic"]


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_every_default_has_a_page(peer: Peer) -> None:
    """
    Every number of the summary is a default, and every default carries an address.
    """
    assert len(peer.pages) == len(peer.defaults) > 0
    assert all(re.fullmatch(r"https://\S+", page) for page in peer.pages)
    stated = " ".join(peer.defaults)
    for number in re.findall(r"\d+(?:\.\d+)?", peer.settings):
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d])", stated), number
    assert peer.version
    assert peer.note.endswith(".")


def made(name: str, chance: float = 0.0) -> Machine:
    client = PEERS[name].make(Clock(), lambda: chance)
    assert isinstance(client, Machine)
    return client


def ask(client: Client, now: float, good: bool) -> bool:
    """Make a whole call; return whether it was let through."""
    call = client.admit(now)
    if call is None:
        return False
    client.settle(call, good, now)
    return True


def failures_until_open(client: Client, now: float = 0.0, most: int = 1000) -> int:
    return next(n for n in range(most) if not ask(client, now, good=False))


def let_through(client: Client, now: float, asked: int = 20) -> int:
    """Return how many of so many calls at once are let through."""
    return sum(client.admit(now) is not None for _ in range(asked))


@pytest.mark.parametrize(
    ("name", "failures", "seconds", "probes"),
    [
        ("pybreaker", 5, 60.0, 1),
        ("circuitbreaker", 5, 30.0, 20),
        ("aiobreaker", 5, 60.0, 20),
        ("purgatory", 5, 30.0, 20),
        ("resilience4j", 100, 60.0, 10),
        ("Polly", 100, 5.0, 1),
        ("gobreaker", 6, 60.0, 1),
        ("Linkerd2", 7, 1.0, 1),
        ("Envoy", 5, 30.0, 20),
        ("Finagle", 5, 5.0, 1),
    ],
)
def test_dead_service(name: str, failures: int, seconds: float, probes: int) -> None:
    """
    Each opens after so many failures, for so long, and then lets so many try at once.
    """
    client = made(name)
    assert failures_until_open(client) == failures
    assert not ask(client, seconds - 0.001, good=True)
    assert let_through(client, seconds + 0.001) == probes
    assert client.openings == client.trips == [0.0]


@pytest.mark.parametrize(
    ("name", "at_the_end"),
    [
        ("pybreaker", True),
        ("circuitbreaker", True),
        ("aiobreaker", True),
        ("purgatory", False),
        ("resilience4j", False),
        ("Polly", True),
        ("gobreaker", False),
    ],
)
def test_end_of_the_open_time(name: str, at_the_end: bool) -> None:
    """
    Some are still open at the very end of it.
    """
    client = made(name)
    failures_until_open(client)
    assert ask(client, client.open_seconds, good=True) is at_the_end


@pytest.mark.parametrize(
    "name", ["pybreaker", "circuitbreaker", "aiobreaker", "purgatory", "Finagle"]
)
def test_one_success_ends_a_run(name: str) -> None:
    """
    Only failures in a row open.
    """
    client = made(name)
    for _ in range(10):
        assert all(ask(client, 0.0, good=False) for _ in range(4))
        assert ask(client, 0.0, good=True)
    assert client.state is State.CLOSED


@pytest.mark.parametrize("name", [name for name, peer in PEERS.items() if not peer.own_code])
def test_failed_and_successful_probes(name: str) -> None:
    """
    What fails opens again, though that is no trip from closed; what succeeds closes.
    """
    client = made(name)
    for _ in range(100):
        ask(client, 0.0, good=False)
    assert client.look(0.5) is State.OPEN  # Hystrix opens at a look
    later = client.openings[-1] + client.open_seconds + 10.0
    for _ in range(10):
        ask(client, later, good=False)
    if name != "Envoy":
        assert len(client.trips) == len(client.openings) - 1
    later += client.open_seconds + 10.0
    for _ in range(10):
        assert ask(client, later, good=True)
    assert client.look(later) is State.CLOSED


def test_circuitbreaker_late_answers() -> None:
    """
    A success from before closes it at once; a failure starts the open time anew.
    """
    client = made("circuitbreaker")
    good, bad = client.admit(0.0), client.admit(0.0)
    failures_until_open(client)
    assert good
    assert bad
    client.settle(bad, False, 10.0)
    assert not ask(client, 35.0, good=True)
    client.settle(good, True, 36.0)
    assert ask(client, 37.0, good=True)
    assert client.openings == [0.0]


def test_aiobreaker_late_answers() -> None:
    """
    A trial call's answer decides even after another's has decided.
    """
    client = made("aiobreaker")
    late = client.admit(0.0)
    failures_until_open(client)
    assert late
    client.settle(late, False, 10.0)
    assert not ask(client, 65.0, good=True)
    first, second, third = (client.admit(70.0) for _ in range(3))
    assert first
    assert second
    assert third
    client.settle(first, True, 70.1)
    assert client.look(70.1) is State.CLOSED
    client.settle(second, False, 70.2)
    assert client.look(70.2) is State.OPEN
    client.settle(third, True, 70.3)
    assert client.look(70.3) is State.CLOSED
    assert (client.openings, client.trips) == ([0.0, 70.2], [0.0, 70.2])


def test_purgatory_late_answers() -> None:
    """
    While it is open they change nothing.
    """
    client = made("purgatory")
    good, bad = client.admit(0.0), client.admit(0.0)
    failures_until_open(client)
    assert good
    assert bad
    client.settle(good, True, 1.0)
    client.settle(bad, False, 2.0)
    assert client.state is State.OPEN
    assert ask(client, 30.1, good=True)


def test_resilience4j_window() -> None:
    """
    Half of the last hundred opens, and so may a success that completes the hundred.
    """
    client = made("resilience4j")
    for _ in range(50):
        assert ask(client, 0.0, good=False)
    for _ in range(50):
        assert ask(client, 0.0, good=True)
    assert client.state is State.OPEN

    client = made("resilience4j")
    for number in range(1000):
        assert ask(client, 0.0, good=number % 100 >= 49)
    assert client.state is State.CLOSED


@pytest.mark.parametrize(("bad", "state"), [(4, State.CLOSED), (5, State.OPEN)])
def test_resilience4j_verdict(bad: int, state: State) -> None:
    """
    Ten answers, one verdict.
    """
    client = made("resilience4j")
    failures_until_open(client)
    for number in range(10):
        assert client.look(60.1) is not State.CLOSED
        assert ask(client, 60.1, good=number >= bad)
    assert client.state is state


def test_polly_window() -> None:
    """
    A tenth of at least a hundred calls, none older than thirty seconds.
    """
    client = made("Polly")
    for number in range(90):
        assert ask(client, number / 10, good=True)
    for _ in range(10):
        assert ask(client, 9.0, good=False)
    assert client.openings == [9.0]

    client = made("Polly")
    for number in range(90):
        assert ask(client, number / 100, good=True)
    for _ in range(99):
        assert ask(client, 30.9, good=False)
    assert client.openings == [], "the successes are forgotten: 99 calls are too few"
    assert ask(client, 30.9, good=False)
    assert client.openings == [30.9]


def test_hystrix_looks_twice_a_second() -> None:
    """
    It opens at the first look at twenty calls, half of which failed: not before.
    """
    client = made("Hystrix")
    for _ in range(19):
        assert ask(client, 0.1, good=False)
    assert client.look(0.6) is State.CLOSED  # the look at 0.6 saw 19
    assert ask(client, 0.61, good=False)
    assert ask(client, 1.09, good=False)
    assert not ask(client, 1.11, good=False)
    assert client.openings == [pytest.approx(1.1)]
    assert not ask(client, 6.09, good=False)
    assert let_through(client, 6.11) == 1


def test_hystrix_forgets() -> None:
    """
    After ten seconds a failure does not count, and while nothing comes nothing opens.
    """
    client = made("Hystrix")
    for _ in range(19):
        assert ask(client, 0.0, good=False)
    assert client.look(1000.0) is State.CLOSED
    for number in range(100):
        assert ask(client, 1000.0 + number / 10, good=number % 3 != 0)
    assert client.state is State.CLOSED


@pytest.mark.parametrize(
    ("early", "late", "openings"),
    [(0.01, 9.99, [10.0]), (0.49, 10.01, []), (0.51, 10.49, [10.5])],
)
def test_hystrix_window(early: float, late: float, openings: list[float]) -> None:
    """
    A look counts all of the ten seconds before it, and nothing older.
    """
    client = made("Hystrix")
    assert ask(client, 0.0, good=True)  # from now on it looks
    for number in range(20):
        assert ask(client, early if number < 18 else late, good=False)
    client.look(11.0)
    assert openings == client.openings


def test_hystrix_opens_without_a_call() -> None:
    """
    It may be that old successes have gone which outweighed the failures.
    """
    client = made("Hystrix")
    for _ in range(12):
        assert ask(client, 0.0, good=True)
    for number in range(20):
        assert ask(client, 5.0, good=number % 2 == 0)
    client.look(11.0)
    assert [10.5] == client.openings


def test_hystrix_looks_on_in_step() -> None:
    """
    An idle stretch does not put the looks off.
    """
    client = made("Hystrix")
    assert ask(client, 0.0, good=True)
    for _ in range(20):
        assert ask(client, 1000.1, good=False)
    client.look(1001.0)
    assert [1000.5] == client.openings


def test_hystrix_begins_anew_when_it_closes() -> None:
    """
    The failures of the outage are forgotten.
    """
    client = made("Hystrix")
    for _ in range(100):
        assert ask(client, 0.0, good=False)
    assert client.look(0.5) is State.OPEN
    assert ask(client, 5.6, good=True)
    assert client.look(6.5) is State.CLOSED


def test_linkerd2_penalties() -> None:
    """
    They double from a second to a minute, and up to half of it is added by chance.
    """
    assert penalties("Linkerd2", 0.0) == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert penalties("Linkerd2", 1.0) == [1.5, 3.0, 6.0, 12.0, 24.0, 48.0, 60.0, 60.0]


def test_finagle_penalties() -> None:
    """
    Five seconds; then half of a doubling time, and as much again by chance.
    """
    assert penalties("Finagle", 0.0) == [5.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0]
    assert penalties("Finagle", 1.0) == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]


def penalties(name: str, chance: float) -> list[float]:
    client = made(name, chance)
    failures_until_open(client)
    waited = [client.open_seconds]
    for _ in range(7):
        assert ask(client, client.openings[-1] + client.open_seconds, good=False)
        waited.append(client.open_seconds)
    assert ask(client, client.openings[-1] + client.open_seconds, good=True)
    failures_until_open(client, client.openings[-1] + client.open_seconds)
    assert client.open_seconds == waited[0], "a success begins anew"
    return waited


def test_linkerd2_hears_any_answer_in_probation() -> None:
    """
    The first one decides, even one from before.
    """
    client = made("Linkerd2")
    late, later = client.admit(0.0), client.admit(0.0)
    failures_until_open(client)
    assert late
    assert later
    client.settle(later, True, 0.5)
    assert client.look(0.5) is State.OPEN
    client.settle(late, True, 1.0)
    assert client.look(1.0) is State.CLOSED


def test_envoy_ejections() -> None:
    """
    A relapse at once is ejected for twice as long; ten quiet seconds are forgiven one.
    """
    client = made("Envoy")  # sweeps at 0, 10, 20 ...
    assert failures_until_open(client, 1.0) == 5
    assert not ask(client, 39.9, good=True)
    assert let_through(client, 40.0) == 20
    assert client.state is State.CLOSED, "no half-open"
    assert failures_until_open(client, 41.0) == 5
    assert not ask(client, 109.9, good=True)
    assert ask(client, 110.0, good=True)
    assert failures_until_open(client, 121.0) == 5
    assert client.open_seconds == 60.0, "one of two was forgiven"
    assert ask(client, 190.0, good=True)
    assert failures_until_open(client, 1000.0) == 5
    assert client.open_seconds == 30.0
    assert client.trips == client.openings == [1.0, 41.0, 121.0, 1000.0]


def test_envoy_forgives_from_the_end_of_the_ejection() -> None:
    """
    The quiet seconds count from then on, though the next call comes later.
    """
    client = made("Envoy")  # sweeps at 0, 10, 20 ...
    failures_until_open(client, 1.0)
    failures_until_open(client, 50.0)  # ten seconds after the sweep that let it in again
    assert 30.0 == client.open_seconds


def test_envoy_longest_ejection() -> None:
    """
    At most five minutes.
    """
    client, now = made("Envoy"), 0.0
    for number in range(1, 13):
        failures_until_open(client, now)
        assert client.open_seconds == min(30.0 * number, 300.0)
        now += client.open_seconds


def test_envoy_sweeps_have_a_phase() -> None:
    """
    Clients that were made together do not sweep together.
    """
    client = made("Envoy", 0.25)  # sweeps at 2.5, 12.5 ...
    failures_until_open(client, 1.0)
    assert not ask(client, 32.4, good=True)
    assert ask(client, 32.5, good=True)


def test_finagle_success_rate() -> None:
    """
    Less than 0.8 over the last half a minute opens, once there has been one.
    """
    client = made("Finagle")
    for number in range(1000):
        if not ask(client, number / 10, good=number % 2 == 0):
            break
    assert client.openings[0] == pytest.approx(30.1)

    client = made("Finagle")
    for number in range(1000):
        assert ask(client, number / 10, good=number % 10 != 0)


def test_finagle_needs_five_calls() -> None:
    """
    A rate of four calls in half a minute says nothing.
    """
    client = made("Finagle")
    for number in range(100):
        assert ask(client, number * 10.0, good=number % 2 == 0)


def test_late_answers_are_ignored_in_a_new_era() -> None:
    """
    gobreaker and Finagle drop what began before the last change of state.
    """
    for name in ("gobreaker", "Finagle"):
        client = made(name)
        late, excluded = client.admit(0.0), client.admit(0.0)
        failures_until_open(client)
        assert late
        assert excluded
        client.exclude(excluded, 61.0)
        assert client.state is State.HALF_OPEN
        client.settle(late, True, 61.0)
        assert client.state is State.HALF_OPEN


@pytest.mark.parametrize(
    ("denominator", "state"), [("completed", State.OPEN), ("started", State.CLOSED)]
)
def test_denominator(denominator: Literal["completed", "started"], state: State) -> None:
    """
    One failure, two calls still running: all that have completed, or a third of what started.
    """
    trip = Trip("failure_rate", 0.5, denominator=denominator)
    client = Machine(Settings(trip, Open(1), None), random=lambda: 0.0)
    running = [client.admit(0.0) for _ in range(2)]
    assert None not in running
    assert ask(client, 0.0, good=False)
    assert state == client.state


def test_excluded_probe_gives_its_place_back() -> None:
    """
    It proves nothing, and must not block the next one.
    """
    for name in ("Finagle", "gobreaker", "Polly"):
        client = made(name)
        failures_until_open(client)
        call = client.admit(61.0)
        assert call
        assert client.admit(61.0) is None
        client.exclude(call, 61.0)
        assert ask(client, 61.0, good=True)


def test_a_half_open_start_lets_a_probe_in() -> None:
    """
    A machine may begin anywhere.
    """
    settings = Settings(
        Trip("consecutive_failures", 1), Open(1), HalfOpen("total"), initial_state=State.HALF_OPEN
    )
    assert let_through(Machine(settings, random=lambda: 0.0), 0.0) == 1


@pytest.mark.parametrize("name", [name for name, peer in PEERS.items() if not peer.own_code])
def test_in_the_lab(name: str) -> None:
    """
    A run of the lab: it opens in an outage, and is closed in the end.
    """
    check_in_the_lab(name)


@pytest.mark.parametrize(
    ("name", "module"), [("interlock-cb", "interlock"), ("nopanic", "nopanic")]
)
def test_own_code_in_the_lab(name: str, module: str) -> None:
    """
    So it is through its own code.
    """
    pytest.importorskip(module, reason=f"{name} is not installed: the lab's command does that")
    check_in_the_lab(name)


def check_in_the_lab(name: str) -> None:
    clock = Clock()
    clients = [PEERS[name].make(clock, lambda: 0.5) for _ in range(2)]
    scenario = hard_outage(30.0)
    record = Simulation(scenario, clients, rate=50.0, clock=clock, seed=1).run()
    sent, calls = sum(record.sent), sum(record.calls)
    assert calls - 0.7 * 2 * 50.0 * 30.0 > sent > 0
    for client in clients:
        assert 20.0 < client.trips[0] < 40.0
        assert set(client.trips) <= set(client.openings)
        assert client.admit(clock.now + 1000.0) is not None


@pytest.mark.parametrize(
    ("name", "module", "failures", "seconds"),
    [("interlock-cb", "interlock", 10, 60.0), ("nopanic", "nopanic", 5, 30.0)],
)
def test_own_code(name: str, module: str, failures: int, seconds: float) -> None:
    """
    Its documented defaults are what it does: failures, open time, one probe at a time.
    """
    pytest.importorskip(module, reason=f"{name} is not installed: the lab's command does that")
    clock = Clock()
    client = PEERS[name].make(clock, lambda: 0.5)
    assert failures_until_open(client) == failures
    clock.now = seconds - 0.001
    assert client.admit(clock.now) is None
    clock.now = seconds
    call = client.admit(clock.now)
    assert call is not None
    assert client.admit(clock.now) is None
    client.settle(call, False, clock.now)
    if name == "interlock-cb":  # it wants ten answers
        assert all(ask(client, seconds, good=False) for _ in range(9))
    assert (client.openings, client.trips) == ([0.0, seconds], [0.0])


def test_readme_of_the_traces() -> None:
    """
    It credits every file, and says how many scenarios it holds.
    """
    text = (TRACES / "README.md").read_text()
    rows = re.findall(r"^\| (\w+)\.json \|.* (\d+) \| (\d+) \|$", text, re.MULTILINE)
    held = [sum(system == name for name, _ in ALL) for system in SYSTEMS]
    assert [(name, str(n), str(n)) for name, n in zip(SYSTEMS, held, strict=True)] == rows
