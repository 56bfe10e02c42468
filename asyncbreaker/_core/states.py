"""The states of a circuit and every way out of them.

Rule 1: a transition that is not in TRANSITIONS does not exist, and no table of
the kind stands anywhere else.
Rule 2: this file knows nothing of time, counts or calls; *when* a cause arises
is decided in ``circuit``.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What a circuit does with the next call."""

    CLOSED = "closed"  # every call is admitted and counted
    OPEN = "open"  # every call is rejected until the wait is over
    HALF_OPEN = "half_open"  # a few calls are admitted: is the dependency well again?
    FORCED_OPEN = "forced_open"  # rejected, by an operator's order
    DISABLED = "disabled"  # admitted and not recorded, by an operator's order


class Cause(StrEnum):
    """Why a circuit moved."""

    TRIPPED = "tripped"  # the trip rule said yes
    RETRY_AFTER = "retry_after"  # the dependency asked for a pause
    WAIT_OVER = "wait_over"  # a call came after the open time
    RECOVERED = "recovered"  # the recovery has seen enough good calls
    PROBE_FAILED = "probe_failed"  # the recovery has seen enough bad ones
    FORCED = "forced"  # force_open()
    DISABLED = "disabled"  # disable()
    RESET = "reset"  # reset()


class Outcome(StrEnum):
    """What a call that ended says about the dependency."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"  # nothing learned


class Reason(StrEnum):
    """Why a call was rejected."""

    OPEN = "open"  # the circuit is open
    HALF_OPEN = "half_open"  # no place is free for another probe
    FORCED = "forced"  # an operator holds the circuit open


TRANSITIONS: dict[State, dict[Cause, State]] = {
    State.CLOSED: {
        Cause.TRIPPED: State.OPEN,
        Cause.RETRY_AFTER: State.OPEN,
        Cause.FORCED: State.FORCED_OPEN,
        Cause.DISABLED: State.DISABLED,
        Cause.RESET: State.CLOSED,
    },
    State.OPEN: {
        Cause.WAIT_OVER: State.HALF_OPEN,
        Cause.FORCED: State.FORCED_OPEN,
        Cause.DISABLED: State.DISABLED,
        Cause.RESET: State.CLOSED,
    },
    State.HALF_OPEN: {
        Cause.RECOVERED: State.CLOSED,
        Cause.PROBE_FAILED: State.OPEN,
        Cause.RETRY_AFTER: State.OPEN,
        Cause.FORCED: State.FORCED_OPEN,
        Cause.DISABLED: State.DISABLED,
        Cause.RESET: State.CLOSED,
    },
    State.FORCED_OPEN: {
        Cause.DISABLED: State.DISABLED,
        Cause.RESET: State.CLOSED,
    },
    State.DISABLED: {
        Cause.FORCED: State.FORCED_OPEN,
        Cause.RESET: State.CLOSED,
    },
}
