"""What may befall a dependency: the scenarios of the lab."""

from __future__ import annotations

from dataclasses import dataclass

from asyncbreaker._lab.dependency import USUAL, Down, Latency, Phase

WARM_UP = 20.0  # seconds before the trouble begins
AFTER = 120.0  # seconds that are watched after it has ended
RAMP = 60.0  # seconds in which cold caches fill
RETRY_AFTER = 0.1  # seconds, doubling from try to try, times U(0.5, 1.5)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A trouble, with the time before and after it."""

    trouble: tuple[Phase, ...]
    after: tuple[Phase, ...] = (Phase(AFTER),)
    before: float = WARM_UP
    """Seconds in which all is well."""
    utilisation: float = 0.6
    """Load, as a share of the full capacity."""
    tries: int = 1
    """Tries per call: who is not answered tries again, unless the breaker rejects."""
    timeout: float = 1.0
    """Seconds after which a caller gives up."""
    failing: float = 0.0
    """Share of calls that fail when all is well."""
    latency: Latency = USUAL
    bin: float = 0.1
    """Seconds by which the record is divided."""

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Everything in order."""
        return (Phase(self.before), *self.trouble, *self.after)

    @property
    def ends(self) -> float:
        """When the trouble is over, in seconds from the start."""
        return self.before + sum(phase.seconds for phase in self.trouble)

    @property
    def seconds(self) -> float:
        """How long all of it takes."""
        return sum(phase.seconds for phase in self.phases)

    @property
    def overtime(self) -> float:
        """How long the last call may still take when all that is over, with all its tries."""
        waits = 1.5 * RETRY_AFTER * (2.0 ** (self.tries - 1) - 1.0)
        return self.tries * self.timeout + waits

    def phase_at(self, at: float) -> tuple[Phase, float]:
        """Return the phase at a time, and for how long it has lasted by then."""
        began = 0.0
        for phase in self.phases:
            if at < began + phase.seconds:
                return phase, at - began
            began += phase.seconds
        return self.phases[-1], self.phases[-1].seconds

    def capacity_at(self, at: float) -> float:
        """Share of the full capacity at a time."""
        phase, second = self.phase_at(at)
        return phase.capacity_at(second)


def hard_outage(seconds: float) -> Scenario:
    """Every call is refused at once; then all is well."""
    return Scenario((Phase(seconds, Down.REFUSES),))


def hanging_outage(seconds: float, *, timeout: float = 1.0) -> Scenario:
    """No call is answered until the caller gives up; then all is well."""
    return Scenario((Phase(seconds, Down.HANGS),), timeout=timeout)


def cold_caches(seconds: float) -> Scenario:
    """A hard outage, after which the capacity grows from a tenth to the whole in a minute."""
    warming = Phase(RAMP, capacity=0.1, capacity_after=1.0)
    return Scenario((Phase(seconds, Down.REFUSES),), (warming, Phase(AFTER - RAMP)))


def partial_outage(seconds: float, failing: float = 0.5) -> Scenario:
    """A share of the calls fails, each after as long as a good one takes."""
    return Scenario((Phase(seconds, failing=failing),))


def brown_out(seconds: float, slower: float = 20.0) -> Scenario:
    """Every answer takes many times as long: with a factor of 20, half of them too long."""
    return Scenario((Phase(seconds, slower=slower),))


def flapping(cycles: int, up: float = 5.0, down: float = 5.0) -> Scenario:
    """Down and up in turn."""
    return Scenario((Phase(down, Down.REFUSES), Phase(up)) * cycles, (Phase(1.0),))


def blip(seconds: float) -> Scenario:
    """An outage too short to be worth opening for."""
    return Scenario((Phase(seconds, Down.REFUSES),), (Phase(30.0),))


def overload(seconds: float = 80.0, load: float = 1.5) -> Scenario:
    """More is asked than can be served: at a utilisation of 0.8, 1.2 times the capacity."""
    return Scenario((Phase(seconds, load=load),), utilisation=0.8)


def retry_storm(seconds: float = 10.0, capacity: float = 0.2, after: float = 98.0) -> Scenario:
    """A dip in capacity, after which the callers' own retries keep the dependency down."""
    return Scenario(
        (Phase(seconds, capacity=capacity),), (Phase(after),), utilisation=0.75, tries=3
    )


def background(calls: int, rate: float, failing: float) -> Scenario:
    """Nothing but a share of calls that fail, on and on."""
    seconds = calls / rate
    return Scenario((Phase(seconds, failing=failing),), (), before=0.0, bin=seconds / 1000)


def quick_first_answers(seconds: float, *, quick: float = 1.5) -> Scenario:
    """A hard outage; then the first answers are 50 times too fast to be a yardstick."""
    return Scenario(
        (Phase(seconds, Down.REFUSES),), (Phase(quick, slower=0.02), Phase(AFTER - quick))
    )
