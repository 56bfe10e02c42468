"""The lab's own virtual environment: made on the first run, and when the requirements change."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PLACE = HERE / ".venv"
REQUIREMENTS = HERE / "requirements.txt"
INSTALLED = PLACE / "installed.txt"  # the requirements that it was made for


def inside() -> bool:
    """Tell whether this is the lab's own interpreter."""
    return Path(sys.prefix).resolve() == PLACE.resolve()


def install() -> None:
    """Make the environment, unless it is there."""
    if INSTALLED.exists() and INSTALLED.read_text() == REQUIREMENTS.read_text():
        return
    print(f"installing the peers into {PLACE.relative_to(ROOT)} ...", file=sys.stderr)
    venv.create(PLACE, clear=True, with_pip=True)
    pip = [str(python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-e", str(ROOT), "-r", str(REQUIREMENTS)], check=True)
    INSTALLED.write_text(REQUIREMENTS.read_text())


def python() -> Path:
    """Return the interpreter of the environment."""
    return PLACE / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def continue_inside(arguments: list[str]) -> NoReturn:
    """Run the same command again, with the lab's own interpreter."""
    command = [str(python()), "-m", "benchmarks.lab", *arguments]
    raise SystemExit(subprocess.run(command, cwd=ROOT, check=False).returncode)
