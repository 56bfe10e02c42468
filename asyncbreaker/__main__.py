"""What ``python -m asyncbreaker`` runs: reads the command line, and no more."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from asyncbreaker import __version__
from asyncbreaker._lab.options import add_options


class Parser(argparse.ArgumentParser):
    """Refuses in one line: the usage above it would hide the reason."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        line = " ".join(message.split())  # also when an unknown word brings lines of its own
        self.exit(2, f"{self.prog}: {line} (--help says what there is)\n")


def parser() -> Parser:
    """Describe the command line."""
    made = Parser(
        prog="python -m asyncbreaker",
        description="A circuit breaker for asyncio and trio.",
        allow_abbrev=False,
    )
    made.add_argument("--version", action="version", version=f"asyncbreaker {__version__}")
    commands = made.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    about = "an outage of a real HTTP service, with and without a breaker side by side"
    demo = commands.add_parser("demo", help=about, description=f"Show {about}.", allow_abbrev=False)
    demo.add_argument("--fast", action="store_true", help="5 seconds instead of 20")
    demo.add_argument(
        "--full",
        action="store_true",
        help="answer the callers through a pipeline: fresh, from memory or with a substitute",
    )
    demo.add_argument("--trio", action="store_true", help="run on trio instead of asyncio")
    demo.add_argument(
        "--port", type=port, default=0, metavar="N", help="the server's port (default: a free one)"
    )
    about = "your configuration on your numbers: an outage in simulated time, beside alternatives"
    add_options(
        commands.add_parser("lab", help=about, description=f"Show {about}.", allow_abbrev=False)
    )
    return made


def port(text: str) -> int:
    """Return *text* as a TCP port, 0 for a free one."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"must be a port from 0 to 65535, not {text!r}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    reader = parser()
    options = reader.parse_args(arguments)
    if options.command is None:
        reader.print_help()
        return 0
    # Late: neither is what users import.
    if options.command == "lab":
        from asyncbreaker._lab.command import lab

        return lab(options)
    from asyncbreaker._demo.command import demo

    return demo(fast=options.fast, trio=options.trio, port=options.port, full=options.full)


if __name__ == "__main__":
    sys.exit(main())
