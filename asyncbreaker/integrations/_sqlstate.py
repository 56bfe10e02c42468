"""Which of PostgreSQL's error codes speak of the server, and not of the statement."""

from __future__ import annotations

_OUTAGES = (
    "08",  # connection exceptions
    "53",  # insufficient resources: too many connections, out of memory, disk full
    "57P0",  # shut down by an administrator, crashed, cannot connect now
)


def is_outage(sqlstate: str) -> bool:
    """Tell whether an SQLSTATE says that the server is ill, going, or out of reach."""
    return sqlstate.startswith(_OUTAGES)
