"""The order of policies: what can never do its work is refused, what is merely unusual is not."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from asyncbreaker import (
    Bulkhead,
    BulkheadFullError,
    CircuitBreaker,
    CircuitOpenError,
    Fallback,
    Hedge,
    LastGood,
    Pipeline,
    RejectedError,
    Retry,
    Timeout,
)


class Mine:
    """A policy of a user's own, of which nothing is known."""

    async def call(self, fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any) -> Any:
        return await fn(*args, **kwargs)


def any_error(error: Exception) -> bool:
    return True


def bad(result: object) -> bool:
    return result is None


def breaker(name: str = "breaker", **settings: Any) -> CircuitBreaker:
    return CircuitBreaker(name, **settings)


def bulkhead(name: str = "bulkhead") -> Bulkhead:
    return Bulkhead(5, name=name)


def fallback(on: Any = RejectedError, name: str = "fallback") -> Fallback[None]:
    return Fallback(value=None, on=on, name=name)


def cache(on: Any = RejectedError, name: str = "cache") -> LastGood:
    return LastGood(on=on, name=name)


def retry(name: str = "retry", **settings: Any) -> Retry:
    return Retry(name=name, **settings)


def waiting(seconds: float = 5.0) -> Retry:
    return Retry(wait_open=seconds, name="waiting")


def timeout(seconds: float, name: str = "timeout") -> Timeout:
    return Timeout(seconds, name=name)


def hedge(seconds: float) -> Hedge:
    return Hedge(seconds, name="hedge")


Members = tuple[Any, ...]
Refused = tuple[Members, str]

TOO_LATE: list[Refused] = [
    (
        (breaker(), fallback()),
        (
            "Fallback 'fallback' acts on rejections, but what rejects, "
            "CircuitBreaker 'breaker', stands outside of it: put it before that"
        ),
    ),
    (
        (bulkhead(), fallback()),
        (
            "Fallback 'fallback' acts on rejections, but what rejects, "
            "Bulkhead 'bulkhead', stands outside"
        ),
    ),
    (
        (breaker(), cache()),
        (
            "LastGood 'cache' acts on rejections, but what rejects, "
            "CircuitBreaker 'breaker', stands outside"
        ),
    ),
    ((breaker(), retry(), cache(CircuitOpenError), timeout(1.0)), "LastGood 'cache' acts on"),
    ((breaker(), fallback((CircuitOpenError, BulkheadFullError))), "Fallback 'fallback' acts on"),
    ((breaker(), bulkhead(), fallback()), "what rejects, CircuitBreaker 'breaker', stands"),
    ((Mine(), breaker(), Mine(), fallback()), "what rejects, CircuitBreaker 'breaker', stands"),
    (
        (breaker(), waiting()),
        (
            "Retry 'waiting' waits for an open circuit (wait_open=), but what "
            "rejects, CircuitBreaker 'breaker', stands outside of it: put it before that"
        ),
    ),
    ((breaker(), waiting(math.inf), timeout(1.0)), "Retry 'waiting' waits for an open circuit"),
    ((breaker(), fallback(), retry(), hedge(1.0), timeout(2.0)), "Fallback 'fallback' acts on"),
]
HIDES_ERRORS: list[Refused] = [
    (
        (retry(), fallback(Exception)),
        (
            "Fallback 'fallback' answers every error that Retry 'retry' outside of it acts on: "
            "put the fallback before it"
        ),
    ),
    (
        (breaker(), fallback(Exception)),
        (
            "Fallback 'fallback' answers every error that CircuitBreaker 'breaker' outside of it "
            "acts on: put the fallback before it"
        ),
    ),
    ((retry(), fallback(BaseException)), "answers every error that Retry 'retry' outside of it"),
    ((retry(), fallback((OSError, Exception))), "answers every error that Retry 'retry'"),
    ((retry(), breaker(), fallback(Exception), bulkhead()), "every error that Retry 'retry'"),
    ((timeout(1.0), retry(), Mine(), fallback(Exception)), "every error that Retry 'retry'"),
    (
        (breaker("slow", slow=1.0), breaker("plain"), fallback(Exception)),
        "answers every error that CircuitBreaker 'plain' outside of it acts on",
    ),
    ((Retry(on=OSError, name="r"), fallback(OSError)), "every error that Retry 'r' outside"),
    ((Retry(on=TimeoutError, name="r"), fallback(OSError)), "every error that Retry 'r' outside"),
    (
        (breaker(fail_on=(TimeoutError, OSError)), fallback(OSError)),
        "answers every error that CircuitBreaker 'breaker' outside of it acts on",
    ),
]
HIDES_REJECTIONS: list[Refused] = [
    (
        (waiting(), fallback(), breaker()),
        (
            "Fallback 'fallback' answers rejections, so Retry 'waiting' outside of it never "
            "waits for an open circuit (wait_open=): put the fallback before it"
        ),
    ),
    ((waiting(), fallback()), "Fallback 'fallback' answers rejections, so Retry 'waiting'"),
    ((waiting(), fallback(CircuitOpenError), breaker()), "Fallback 'fallback' answers rejections"),
    ((waiting(), fallback((OSError, RejectedError)), breaker()), "Fallback 'fallback' answers"),
    ((retry(), waiting(), Mine(), fallback(), breaker()), "so Retry 'waiting' outside of it"),
]
FEEDS_CACHE: list[Refused] = [
    (
        (cache(), fallback(), breaker()),
        (
            "LastGood 'cache' outside of a fallback would remember its substitutes as good answers "
            "(unless good= tells them apart): put the fallback before it"
        ),
    ),
    ((cache(), fallback()), "LastGood 'cache' outside of a fallback"),
    ((cache(), fallback(Exception)), "LastGood 'cache' outside of a fallback"),
    ((cache(Exception), fallback(), breaker()), "LastGood 'cache' outside of a fallback"),
    ((cache(OSError), fallback(), breaker()), "LastGood 'cache' outside of a fallback"),
    ((cache(OSError), fallback(TimeoutError)), "LastGood 'cache' outside of a fallback"),
    ((cache(any_error), fallback(), breaker()), "LastGood 'cache' outside of a fallback"),
    ((cache(), fallback(any_error), breaker()), "LastGood 'cache' outside of a fallback"),
    ((cache(CircuitOpenError), retry(), fallback(), breaker()), "LastGood 'cache' outside"),
    ((LastGood(good=bad), cache(), fallback()), "LastGood 'cache' outside of a fallback"),
]
LOSES_AGE: list[Refused] = [
    (
        (hedge(1.0), cache()),
        (
            "LastGood 'cache' tells the age of its answers in the task that calls it, and "
            "Hedge 'hedge' outside of it calls it in another: put it before that"
        ),
    ),
    ((hedge(1.0), retry(), cache(OSError), breaker()), "and Hedge 'hedge' outside of it calls it"),
]
NEVER_IN_TIME: list[Refused] = [
    (
        (timeout(1.0, "outer"), timeout(2.0, "inner")),
        (
            "Timeout 'inner' acts after 2 s, but Timeout "
            "'outer' outside of it ends the call after 1 s"
        ),
    ),
    ((timeout(1.0, "outer"), timeout(1.0, "inner")), "Timeout 'inner' acts after 1 s"),
    (
        (timeout(1.0), hedge(1.0)),
        (
            "Hedge 'hedge' acts after 1 s, but Timeout 'timeout' outside of "
            "it ends the call after 1 s"
        ),
    ),
    ((timeout(0.5), Mine(), retry(), hedge(0.75)), "Hedge 'hedge' acts after 0.75 s, but Timeout"),
    (
        (timeout(9.0, "long"), timeout(1.0, "short"), retry(), hedge(2.0)),
        ("but Timeout 'short' outside of it ends the call after 1 s"),
    ),
    ((timeout(2.0), retry(), breaker(), timeout(2.0, "inner")), "Timeout 'inner' acts after 2 s"),
]
SAME, OWN, SHARED = breaker("same"), Mine(), Pipeline(retry("in pipeline"))
TWICE: list[Refused] = [
    (
        (SAME, SAME),
        ("CircuitBreaker 'same' stands in it twice, so each call would pass it inside of itself"),
    ),
    ((SAME, retry(), bulkhead(), SAME), "CircuitBreaker 'same' stands in it twice"),
    ((OWN, retry(), OWN), "Mine stands in it twice"),
    ((SHARED, SHARED), "Retry 'in pipeline' stands in it twice"),
]
NESTED: list[Refused] = [
    ((breaker(), Pipeline(fallback())), "Fallback 'fallback' acts on rejections, but what rejects"),
    ((Pipeline(Pipeline(breaker())), fallback()), "but what rejects, CircuitBreaker 'breaker'"),
    ((Pipeline(retry(), bulkhead()), Pipeline(Mine(), fallback(Exception))), "that Retry 'retry'"),
    ((SAME, Pipeline(retry(), Pipeline(SAME))), "CircuitBreaker 'same' stands in it twice"),
    ((timeout(1.0), Pipeline(retry(), timeout(2.0, "inner"))), "Timeout 'inner' acts after 2 s"),
]

ALLOWED: dict[str, Members] = {
    "the recommended order": (
        fallback(),
        cache(),
        retry(),
        breaker(),
        bulkhead(),
        timeout(1.0),
    ),
    "a fallback before what rejects": (fallback(), breaker(), bulkhead()),
    "a fallback with nothing that rejects": (retry(), fallback(), timeout(1.0)),
    "a fallback alone": (fallback(),),
    "a fallback that answers more than rejections": (breaker(), fallback((RejectedError, OSError))),
    "a fallback that answers errors only": (breaker(), fallback(OSError)),
    "a predicate that nobody can read": (breaker(), fallback(any_error)),
    "a fallback that answers nothing": (breaker(), fallback(())),
    "a cache for errors inside of a breaker": (breaker(), cache(OSError)),
    "another breaker inside": (breaker(), fallback(), breaker("other")),
    "a bulkhead inside": (breaker(), fallback(), bulkhead()),
    "a breaker inside a bulkhead": (bulkhead(), waiting(), breaker()),
    "something unknown inside": (breaker(), fallback(), Mine()),
    "something unknown inside a waiting retry": (breaker(), waiting(), retry(), Mine()),
    "a retry that does not wait, in a breaker": (breaker(), retry()),
    "no wait at all": (breaker(), waiting(0.0)),
    "a fallback for some errors in a retry": (retry(), fallback(OSError)),
    "a fallback for fewer errors": (Retry(on=OSError), fallback(TimeoutError)),
    "a breaker whose failures only it knows": (breaker(fail_on=any_error), fallback(Exception)),
    "a predicate in a retry": (retry(), fallback(any_error)),
    "a cache for all errors in a retry": (retry(), cache(Exception)),
    "a cache for all errors in a breaker": (breaker(), cache(Exception)),
    "a fallback for all errors before both": (fallback(Exception), retry(), breaker()),
    "all errors, but the breaker sees slow calls": (breaker(slow=1.0), fallback(Exception)),
    "all errors, but it judges results": (breaker(fail_on_result=bad), fallback(Exception)),
    "all errors in a timeout": (timeout(1.0), fallback(Exception)),
    "rejections in a retry that does not wait": (retry(), fallback(), breaker()),
    "a full bulkhead in a waiting retry": (waiting(), fallback(BulkheadFullError), bulkhead()),
    "a cache in a waiting retry": (waiting(), cache(), breaker()),
    "a waiting retry in a fallback": (fallback(), waiting(), breaker()),
    "the cache inside of the fallback": (fallback(), cache(), breaker()),
    "a cache that tells substitutes apart": (LastGood(good=bad), fallback(), breaker()),
    "a cache before a hedge": (cache(), hedge(1.0), breaker()),
    "two caches": (cache(), cache(), breaker()),
    "two fallbacks": (fallback(), fallback(), breaker()),
    "a shorter timeout inside": (timeout(1.0), retry(), timeout(0.99)),
    "a hedge in time": (timeout(1.0), hedge(0.99)),
    "a longer hedge outside of a timeout": (hedge(5.0), retry(), timeout(1.0)),
    "a longer timeout outside": (timeout(5.0), timeout(1.0)),
    "the same settings twice": (breaker("same"), breaker("same"), Mine(), Mine()),
    "two retries": (retry(), retry()),
    "members of pipelines": (Pipeline(fallback(), retry()), Pipeline(breaker(), Pipeline(Mine()))),
    "unknown inside, in a pipeline": (Pipeline(breaker(), fallback(), Mine()),),
}


def refusals(rule: list[Refused]) -> Any:
    """One test for each row, named by the members."""
    ids = ["-".join(type(member).__name__ for member in members) for members, _ in rule]
    return pytest.mark.parametrize(("members", "why"), rule, ids=ids)


def check_refused(members: Members, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as refused:
        Pipeline(*members)
    assert str(refused.value).startswith("senseless order in a pipeline: ")


@refusals(TOO_LATE)
def test_what_acts_on_rejections_stands_outside_of_what_rejects(members: Members, why: str) -> None:
    """
    Inside it would never see one; the message names both.
    """
    check_refused(members, why)


@refusals(HIDES_ERRORS)
def test_what_acts_on_errors_needs_to_see_some(members: Members, why: str) -> None:
    """
    A fallback that answers all that a retry or a breaker outside of it acts on would blind it.
    """
    check_refused(members, why)


@refusals(HIDES_REJECTIONS)
def test_a_retry_that_waits_needs_to_see_rejections(members: Members, why: str) -> None:
    """
    A fallback inside of it would answer before it waits.
    """
    check_refused(members, why)


@refusals(FEEDS_CACHE)
def test_a_cache_is_not_fed_with_substitutes(members: Members, why: str) -> None:
    """
    It would take those of a fallback inside for good answers.
    """
    check_refused(members, why)


@refusals(LOSES_AGE)
def test_a_cache_is_not_asked_from_another_task(members: Members, why: str) -> None:
    """
    Whoever calls a hedge would take a remembered answer for a fresh one.
    """
    check_refused(members, why)


@refusals(NEVER_IN_TIME)
def test_what_acts_after_some_time_needs_that_time(members: Members, why: str) -> None:
    """
    A timeout or hedge that takes as long as a timeout outside of it would never act.
    """
    check_refused(members, why)


@refusals(TWICE)
def test_nothing_stands_inside_of_itself(members: Members, why: str) -> None:
    """
    The same object twice would count, wait or limit a call twice.
    """
    check_refused(members, why)


@refusals(NESTED)
def test_pipelines_among_the_members_are_seen_through(members: Members, why: str) -> None:
    """
    What stands in a nested pipeline is judged as if it stood there itself.
    """
    check_refused(members, why)


@pytest.mark.parametrize("order", ALLOWED)
def test_what_is_merely_unusual_is_allowed(order: str) -> None:
    """
    Where a policy may act, however seldom, or nobody can know, the user decides.
    """
    assert ALLOWED[order] == Pipeline(*ALLOWED[order]).policies


class Silent:
    """A policy with an odd idea of equality."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]

    async def call(self, fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any) -> Any:
        return await fn(*args, **kwargs)


def test_policies_are_told_apart_by_identity() -> None:
    """
    Two of them that are equal, or cannot be hashed, may stand in one pipeline.
    """
    assert 2 == len(Pipeline(Silent(), Silent()).policies)


def test_a_stricter_setting_afterwards_changes_nothing() -> None:
    """
    The order is judged once, when the pipeline is made; later changes are the user's business.
    """
    noticing = breaker(slow=1.0)
    pipeline = Pipeline(noticing, fallback(Exception))
    noticing.configure(slow=None)

    assert 2 == len(pipeline.policies)
