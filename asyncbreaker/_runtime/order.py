"""Which orders of policies make no sense, and why: the only place that knows.

Rule: only what, as far as the pipeline shows, can never do what it is there for is refused.
What is merely unusual is the user's business; the README says what each order means. A
function that is guarded by something else may reject on its own: a fallback for that takes a
predicate, of which nothing is known here, as its ``on``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from asyncbreaker._runtime.breaker import CircuitBreaker, failures_of
from asyncbreaker._runtime.bulkhead import Bulkhead
from asyncbreaker._runtime.fallback import Fallback
from asyncbreaker._runtime.hedge import Hedge
from asyncbreaker._runtime.last_good import LastGood
from asyncbreaker._runtime.matching import Selecting
from asyncbreaker._runtime.retry import Retry
from asyncbreaker._runtime.timeout import Timeout
from asyncbreaker.errors import CircuitOpenError, RejectedError

REJECTING = (CircuitBreaker, Bulkhead)
OURS = (*REJECTING, Fallback, Hedge, LastGood, Retry, Timeout)


def check_order(policies: Sequence[object]) -> None:
    """Refuse *policies*, outermost first, if one of them is in a place where it can do nothing."""
    for at, policy in enumerate(policies):
        outside, inside = policies[:at], policies[at + 1 :]
        for rule in RULES:
            for why in rule(policy, outside, inside):
                raise ValueError(f"senseless order in a pipeline: {why}")


def _twice(policy: object, outside: Sequence[object], inside: Sequence[object]) -> Iterator[str]:
    if any(policy is other for other in outside):
        yield f"{_called(policy)} stands in it twice, so each call would pass it inside of itself"


def _answered(policy: object) -> tuple[type[BaseException], ...]:
    """The types of errors that a fallback or a cache answers; none where only it knows."""
    if isinstance(policy, (Fallback, LastGood)):
        selecting: Selecting = policy.selecting
        return selecting.types or ()
    return ()


def _substituted(policy: object) -> tuple[type[BaseException], ...]:
    """The types of errors that always get an answer; a cache need not have one."""
    return () if isinstance(policy, LastGood) else _answered(policy)


def _too_late(policy: object, outside: Sequence[object], inside: Sequence[object]) -> Iterator[str]:
    """What answers rejections, or waits for a circuit, inside of what rejects."""
    types, does = _answered(policy), None
    if types and all(issubclass(kind, RejectedError) for kind in types):
        does = "acts on rejections"
    elif isinstance(policy, Retry) and policy.wait_open:
        does = "waits for an open circuit (wait_open=)"
    if does and _any(REJECTING, outside) and not _may_reject(inside):
        rejecting = _called(_first(REJECTING, outside))
        yield (
            f"{_called(policy)} {does}, but what rejects, {rejecting}, stands outside of it: "
            "put it before that"
        )


def _hides_errors(
    policy: object, outside: Sequence[object], inside: Sequence[object]
) -> Iterator[str]:
    """A fallback that answers all errors that something outside of it acts on."""
    substituted = _substituted(policy)
    for other in outside:
        wanted = _acts_on(other)
        if wanted and all(issubclass(kind, substituted) for kind in wanted):
            yield (
                f"{_called(policy)} answers every error that {_called(other)} outside of it acts "
                "on: put the fallback before it"
            )


def _acts_on(policy: object) -> tuple[type[BaseException], ...]:
    """The types of errors that a retry or a breaker is there for; none where only it knows."""
    if isinstance(policy, Retry):
        return policy.selecting.types or ()
    return failures_of(policy) if isinstance(policy, CircuitBreaker) else ()


def _hides_rejections(
    policy: object, outside: Sequence[object], inside: Sequence[object]
) -> Iterator[str]:
    """A fallback that answers rejections, inside of a retry that waits for the circuit."""
    if any(issubclass(CircuitOpenError, kind) for kind in _substituted(policy)):
        for other in outside:
            if isinstance(other, Retry) and other.wait_open:
                yield (
                    f"{_called(policy)} answers rejections, so {_called(other)} outside of it "
                    "never waits for an open circuit (wait_open=): put the fallback before it"
                )


def _feeds_cache(
    policy: object, outside: Sequence[object], inside: Sequence[object]
) -> Iterator[str]:
    """A fallback inside of a cache, which takes its substitutes for good answers."""
    caches = [other for other in outside if isinstance(other, LastGood) and other.takes_all]
    if isinstance(policy, Fallback) and caches:
        yield (
            f"{_called(caches[0])} outside of a fallback would remember its substitutes as good "
            "answers (unless good= tells them apart): put the fallback before it"
        )


def _loses_age(
    policy: object, outside: Sequence[object], inside: Sequence[object]
) -> Iterator[str]:
    """A cache inside of a hedge, whose tries run in tasks of their own."""
    if isinstance(policy, LastGood) and _any((Hedge,), outside):
        yield (
            f"{_called(policy)} tells the age of its answers in the task that calls it, and "
            f"{_called(_first((Hedge,), outside))} outside of it calls it in another: put it "
            "before that"
        )


def _never_in_time(
    policy: object, outside: Sequence[object], inside: Sequence[object]
) -> Iterator[str]:
    """What waits for longer than a timeout outside of it allows."""
    limits = [other for other in outside if isinstance(other, Timeout)]
    shortest = min(limits, key=lambda limit: limit.seconds, default=None)
    if shortest is None or not isinstance(policy, (Timeout, Hedge)):
        return
    seconds = policy.seconds if isinstance(policy, Timeout) else policy.after
    if seconds >= shortest.seconds:
        yield (
            f"{_called(policy)} acts after {seconds:g} s, but {_called(shortest)} outside of it "
            f"ends the call after {shortest.seconds:g} s"
        )


RULES: tuple[Callable[[object, Sequence[object], Sequence[object]], Iterator[str]], ...] = (
    _twice,
    _too_late,
    _hides_errors,
    _hides_rejections,
    _feeds_cache,
    _loses_age,
    _never_in_time,
)


def _any(kinds: tuple[type, ...], policies: Sequence[object]) -> bool:
    return any(isinstance(policy, kinds) for policy in policies)


def _first(kinds: tuple[type, ...], policies: Sequence[object]) -> object:
    return next(policy for policy in policies if isinstance(policy, kinds))


def _may_reject(policies: Sequence[object]) -> bool:
    """Whether one of them rejects calls, or may do so: of a user's own we know nothing."""
    return any(isinstance(policy, REJECTING) or not isinstance(policy, OURS) for policy in policies)


def _called(policy: object) -> str:
    """Name a policy in few words."""
    kind, name = type(policy).__name__, getattr(policy, "name", None)
    return kind if name is None else f"{kind} {name!r}"
