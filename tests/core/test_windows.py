"""Windows against models that keep every call for ever."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbreaker._core.windows import (
    FAILURE,
    SLOW,
    SUCCESS,
    CallWindow,
    Counts,
    TimeWindow,
    Totals,
    Window,
    WindowSpec,
)
from asyncbreaker.trip import LastCalls, LastSeconds

# What is known of a call when it is entered: success, failure, slow.
KINDS = [
    (True, False, False),
    (False, True, False),
    (True, False, True),
    (False, True, True),
    (False, False, True),
]
UNJUDGED = KINDS[-1]


@dataclass
class Call:
    """One call that was entered."""

    at: float
    known: list[bool]
    name: float = 0.0


@dataclass
class Kept:
    """Every call that was entered, and the two ways to ask which of them count."""

    calls: list[Call] = field(default_factory=list)

    def enter(self, window: Window, kind: tuple[bool, bool, bool], now: float) -> None:
        success, failure, slow = kind
        call = Call(now, list(kind))
        call.name = window.count(SUCCESS * success | FAILURE * failure | SLOW * slow, now)
        self.calls.append(call)

    def amend(self, window: Window, pick: int, now: float) -> None:
        """Tell how a call ended that was entered without being judged, whichever *pick* hits."""
        unjudged = [call for call in self.calls if not (call.known[0] or call.known[1])]
        if unjudged:
            call = unjudged[pick % len(unjudged)]
            failure = pick % 2 == 1
            call.known[failure] = True
            window.amend(call.name, failure=failure, now=now)


def totals(calls: list[Call]) -> Totals:
    known = [call.known for call in calls]
    return Totals(
        len(known), sum(k[0] for k in known), sum(k[1] for k in known), sum(k[2] for k in known)
    )


kinds = st.sampled_from(KINDS)
steps = st.sampled_from([0.0, 0.125, 0.5, 1.0, 3.0, 40.0])  # binary fractions: exact in floats
operations = st.lists(
    st.one_of(
        st.tuples(st.just("add"), kinds, steps),
        st.tuples(st.just("add"), st.just(UNJUDGED), steps),
        st.tuples(st.just("amend"), st.integers(0, 99), steps),
    ),
    max_size=60,
)


# The last calls.


@given(st.integers(1, 12), operations)
def test_last_calls_counts_the_newest_ones(
    size: int, script: list[tuple[str, object, float]]
) -> None:
    """
    Whatever is added and amended, the totals are those of the newest *size* calls.
    """
    window, kept, now = LastCalls(size).start(), Kept(), 0.0
    for operation, what, step in script:
        now += step
        if operation == "add":
            kept.enter(window, what, now)  # type: ignore[arg-type]
        else:
            kept.amend(window, what, now)  # type: ignore[arg-type]

        assert totals(kept.calls[-size:]) == window.totals(now)


@given(
    st.integers(1, 12),
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), kinds),
            st.tuples(st.just("add"), st.just(UNJUDGED)),
            st.tuples(st.just("amend"), st.integers(0, 99)),
            st.tuples(st.just("resize"), st.integers(1, 12)),
        ),
        max_size=80,
    ),
)
def test_last_calls_keeps_the_newest_when_resized(
    size: int, script: list[tuple[str, object]]
) -> None:
    """
    Through any number of new sizes the newest calls stay, and can be amended.
    """
    window, kept = LastCalls(size).start(), Kept()
    inside: list[Call] = []
    for operation, what in script:
        if operation == "add":
            kept.enter(window, what, 0.0)  # type: ignore[arg-type]
            inside.append(kept.calls[-1])
        elif operation == "amend":
            kept.amend(window, what, 0.0)  # type: ignore[arg-type]
        else:
            assert isinstance(what, int)
            size = what
            assert True is LastCalls(size).refit(window, 0.0)
        inside = inside[-size:]

        assert totals(inside) == window.totals(0.0)


def test_last_calls_forgets_a_slow_call_that_ends_too_late() -> None:
    """
    A call that has left the window is not amended, nor is the one that took its place.
    """
    window = CallWindow(2)
    entry = window.count(SLOW, 0.0)
    for _ in range(2):
        window.count(SUCCESS, 0.0)
    window.amend(entry, failure=True, now=0.0)

    assert Totals(2, 2, 0, 0) == window.totals(0.0)


def test_last_calls_takes_memory_as_calls_come() -> None:
    """
    A window of a million calls costs nothing before they come, and never more than its size.
    """
    window = CallWindow(1_000_000)
    window.count(SUCCESS, 0.0)
    small = CallWindow(3)
    for _ in range(10):
        small.count(SUCCESS, 0.0)

    assert (1, 3) == (len(window._entries), len(small._entries))


# The last seconds.

sizes = st.tuples(st.sampled_from([1, 2, 4, 5, 8, 10]), st.sampled_from([0.25, 0.5, 1.0, 4.0]))


def in_buckets(calls: list[Call], width: float, buckets: int, now: float) -> list[Call]:
    oldest = floor(now / width) - buckets + 1
    return [call for call in calls if floor(call.at / width) >= oldest]


@given(sizes, operations, st.sampled_from([0.0, 1e6, -1e3]))
def test_last_seconds_counts_the_newest_buckets(
    size: tuple[int, float], script: list[tuple[str, object, float]], now: float
) -> None:
    """
    Whatever is added and amended, the totals are those of the calls in the newest buckets.
    """
    buckets, width = size
    window, kept = LastSeconds(buckets * width, buckets).start(), Kept()
    for operation, what, step in script:
        now += step
        if operation == "add":
            kept.enter(window, what, now)  # type: ignore[arg-type]
        else:
            kept.amend(window, what, now)  # type: ignore[arg-type]

        assert totals(in_buckets(kept.calls, width, buckets, now)) == window.totals(now)


@given(
    st.floats(0.01, 1e4),
    st.integers(1, 20),
    st.lists(st.floats(0.0, 1e3), max_size=40),
    st.floats(0.0, 1e6),
    st.floats(0.0, 3.0),
)
def test_last_seconds_covers_its_seconds_less_up_to_one_bucket(
    seconds: float, buckets: int, gaps: list[float], now: float, rest: float
) -> None:
    """
    A call younger than *seconds* less one bucket counts, one older than *seconds* does not.
    """
    window, ages_from = LastSeconds(seconds, buckets).start(), []
    for gap in gaps:
        now += gap * seconds / 200
        window.count(SUCCESS, now)
        ages_from.append(now)
    now += rest * seconds
    slack = 1e-9 * (now + seconds)
    surely = sum(now - at < seconds - seconds / buckets - slack for at in ages_from)
    at_most = sum(now - at <= seconds + slack for at in ages_from)

    assert surely <= window.totals(now).calls <= at_most


@given(
    sizes,
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), kinds, steps),
            st.tuples(st.just("resize"), sizes, steps),
        ),
        max_size=60,
    ),
)
def test_last_seconds_keeps_its_buckets_by_date_when_resized(
    size: tuple[int, float], script: list[tuple[str, object, float]]
) -> None:
    """
    Through any number of new sizes a call counts under the date at which its bucket began.
    """
    (buckets, width), now = size, 0.0
    window, kept = LastSeconds(buckets * width, buckets).start(), Kept()
    for operation, what, step in script:
        now += step
        if operation == "add":
            kept.enter(window, what, now)  # type: ignore[arg-type]
        else:
            kept.calls = in_buckets(kept.calls, width, buckets, now)
            for call in kept.calls:
                call.at = floor(call.at / width) * width
            buckets, width = what  # type: ignore[misc]
            assert True is LastSeconds(buckets * width, buckets).refit(window, now)
            kept.calls = in_buckets(kept.calls, width, buckets, now)

        assert totals(in_buckets(kept.calls, width, buckets, now)) == window.totals(now)


@given(
    sizes,
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.just(UNJUDGED), steps),
            st.tuples(st.just("amend"), st.integers(0, 99), steps),
            st.tuples(st.just("resize"), sizes, steps),
        ),
        max_size=60,
    ),
)
def test_amending_never_judges_more_calls_than_there_are(
    size: tuple[int, float], script: list[tuple[str, object, float]]
) -> None:
    """
    Through any number of new sizes, what is judged stays a part of the calls.
    """
    (buckets, width), now = size, 0.0
    window, kept = LastSeconds(buckets * width, buckets).start(), Kept()
    for operation, what, step in script:
        now += step
        if operation == "add":
            kept.enter(window, what, now)  # type: ignore[arg-type]
        elif operation == "amend":
            kept.amend(window, what, now)  # type: ignore[arg-type]
        else:
            buckets, width = what  # type: ignore[misc]
            LastSeconds(buckets * width, buckets).refit(window, now)
        seen = window.totals(now)

        assert seen.calls >= seen.successes + seen.failures


def test_a_slow_call_can_be_judged_after_its_bucket_was_split() -> None:
    """
    A resize files a call under an earlier date than its own; its end finds it there.
    """
    window = TimeWindow(10.0, 1)
    entry = window.count(SLOW, 9.0)
    window.resize(10.0, 10, 9.0)
    window.amend(entry, failure=True, now=9.0)

    assert Totals(1, 0, 1, 1) == window.totals(9.0)


def test_a_slow_call_that_left_a_split_window_is_not_judged() -> None:
    """
    A failure without its call would make a failure rate above 1.
    """
    window = TimeWindow(10.0, 1)
    entry = window.count(SLOW, 9.0)
    window.resize(10.0, 10, 9.0)
    window.amend(entry, failure=True, now=10.0)

    assert Totals(0, 0, 0, 0) == window.totals(10.0)


def test_a_bucket_leaves_at_its_end_and_not_before() -> None:
    """
    With 10 s in 10 buckets a call of the second 0 to 1 counts until, not including, 10.
    """
    window = TimeWindow(10.0, 10)
    window.count(FAILURE, 0.5)

    assert [1, 0] == [window.totals(now).calls for now in (9.999, 10.0)]


def test_reading_expires() -> None:
    """
    Nobody needs to add anything for the past to stop counting.
    """
    window = TimeWindow(10.0, 10)
    window.count(FAILURE, 0.5)

    assert Totals(0, 0, 0, 0) == window.totals(1e9)


def test_a_clock_that_runs_backwards_loses_nothing() -> None:
    """
    What comes with an earlier date counts as of the newest bucket.
    """
    window = TimeWindow(10.0, 10)
    window.count(SUCCESS, 100.0)
    window.count(SUCCESS, 50.0)

    assert [2, 2, 0] == [window.totals(now).calls for now in (50.0, 109.5, 110.0)]


@pytest.mark.parametrize(
    ("spec", "other"), [(LastCalls(5), LastSeconds(5)), (LastSeconds(5), LastCalls(5))]
)
def test_a_window_of_the_other_kind_does_not_fit(spec: WindowSpec, other: WindowSpec) -> None:
    """
    Seconds cannot be made of calls, nor calls of seconds: the window stays as it was.
    """
    window = other.start()
    window.count(SUCCESS, 0.0)

    assert False is spec.refit(window, 0.0)
    assert Totals(1, 1, 0, 0) == window.totals(0.0)


def test_windows_of_one_size_are_equal() -> None:
    """
    Two rules that ask for the same window share one.
    """
    assert 2 == len({LastCalls(5), LastCalls(5), LastSeconds(5), LastSeconds(5.0, 10)})


# Counts.


def test_rates_are_shares_of_the_calls() -> None:
    """
    Each rate is its number per call, those that are not judged included.
    """
    counts = Counts(calls=8, successes=3, failures=4, slow=2)

    assert (0.5, 0.25) == (counts.failure_rate, counts.slow_rate)


def test_rates_without_calls_are_0() -> None:
    """
    Nothing has failed where nothing was called.
    """
    assert (0.0, 0.0) == (Counts().failure_rate, Counts().slow_rate)
