"""``python -m benchmarks.lab``: run every system through every scenario, print the tables."""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks.lab.installing import HERE, continue_inside, inside, install

RESULTS = HERE / "results"


def main(arguments: list[str]) -> None:
    """Make the tables and plots."""
    reader = argparse.ArgumentParser(prog="python -m benchmarks.lab", description=__doc__)
    reader.add_argument("--quick", action="store_true", help="fewer cells and calls, 2 minutes")
    reader.add_argument("--seed", type=int, default=1, help="the first seed (default 1)")
    options = reader.parse_args(arguments)
    if not inside():
        install()
        continue_inside(arguments)
    _run(quick=options.quick, seed=options.seed)


def _run(*, quick: bool, seed: int) -> None:
    # Late: outside of the lab's own environment these are not installed.
    from benchmarks.lab.plots import draw
    from benchmarks.lab.reporting import report
    from benchmarks.lab.working import silence, work

    silence()
    began = time.monotonic()
    results, calls = work(quick=quick, seed=seed)
    text = report(results, calls=calls, seconds=time.monotonic() - began, quick=quick, seed=seed)
    print(text)
    if not quick:  # the quick run has too few cells for the plots that the README shows
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "tables.md").write_text(text)
        draw(results, RESULTS)


if __name__ == "__main__":
    main(sys.argv[1:])
