"""The main promise, end to end."""

import pytest

from asyncbreaker import CircuitBreaker, CircuitOpenError, State, consecutive_failures, probing
from asyncbreaker.testing import ManualClock

pytestmark = pytest.mark.anyio


async def test_opens_waits_probes_and_closes(clock: ManualClock) -> None:
    """
    Failures open it, it rejects, and a good probe after the wait closes it.
    """
    breaker = CircuitBreaker(
        trip=consecutive_failures(2), backoff=10.0, recovery=probing(), clock=clock
    )

    async def fail() -> None:
        raise ConnectionError

    async def answer() -> int:
        return 42

    for _ in range(2):
        with pytest.raises(ConnectionError):
            await breaker.call(fail)
    with pytest.raises(CircuitOpenError):
        await breaker.call(answer)
    clock.advance(10.0)

    assert 42 == await breaker.call(answer)
    assert State.CLOSED is breaker.state
