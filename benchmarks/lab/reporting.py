"""The whole report: what was run, every table, the rows explained."""

from __future__ import annotations

import platform
from multiprocessing import cpu_count

from benchmarks.lab.markdown import markdown
from benchmarks.lab.peers import PEERS
from benchmarks.lab.tables import tables
from benchmarks.lab.working import Results


def report(results: Results, *, calls: int, seconds: float, quick: bool, seed: int) -> str:
    """Return it as Markdown."""
    command = f"python -m benchmarks.lab{' --quick' if quick else ''}"
    run = (
        f"`{command}`: {calls / 1e6:,.0f} million "
        f"calls in {round(seconds) // 60} min {round(seconds) % 60} s on {cpu_count()} cores, "
        f"CPython {platform.python_version()}, seeds from {seed} on. The best breaker of each "
        "column is printed bold."
    )
    parts = [
        "# What the outage lab found",
        run,
        *filter(None, (markdown(table, results) for table in tables())),
        "## The peers",
        *(_peer(name) for name in PEERS),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _peer(name: str) -> str:
    peer = PEERS[name]
    how = "its own code" if peer.own_code else "a model of its documented defaults"
    pages = ", ".join(f"<{page}>" for page in dict.fromkeys(peer.pages))
    return f"**{name}**: {peer.settings}. By {how}. {peer.note} Defaults from {pages}."
