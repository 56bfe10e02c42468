"""Draws the state diagram of the README from the table of transitions.

``python -m tests.diagram`` prints it.
"""

from __future__ import annotations

from asyncbreaker import State
from asyncbreaker._core.states import TRANSITIONS


def diagram() -> str:
    """Return the table as a Mermaid state diagram, one arrow per pair of states."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.CLOSED.name}"]
    for state, ways in TRANSITIONS.items():
        causes: dict[State, list[str]] = {}
        for cause, target in ways.items():
            causes.setdefault(target, []).append(cause.value)
        lines += [
            f"    {state.name} --> {target.name}: {', '.join(names)}"
            for target, names in causes.items()
        ]
    return "\n".join([*lines, "```"])


if __name__ == "__main__":
    print(diagram())  # noqa: T201
