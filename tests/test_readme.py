"""The README is a manual: what it shows runs, and what it says of names and defaults is so."""

from __future__ import annotations

import inspect
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import asyncbreaker
from tests.diagram import diagram

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^(?:<!-- ([a-z ]+) -->\n)?```(\w+)\n(.*?)^```$", README, re.M | re.S)
PYTHON = [text for _, language, text in BLOCKS if language == "python"]
COMMANDS = {mark: text.strip() for mark, language, text in BLOCKS if language == "sh"}


def between(mark: str) -> str:
    """What stands between two comments."""
    return README.split(f"<!-- {mark} -->\n")[1].split(f"\n<!-- /{mark} -->")[0]


def heading_of(number: int) -> str:
    """The heading above a Python block, to tell them apart."""
    above = README[: README.index(PYTHON[number])]
    return re.findall(r"^## (.*)$", above, re.M)[-1]


@pytest.mark.parametrize("number", range(len(PYTHON)), ids=heading_of)
def test_every_block_runs(number: int) -> None:
    """
    A reader who pastes a block sees what the text around it says.
    """
    code = compile(PYTHON[number], f"README.md, {heading_of(number)}", "exec")

    exec(code, {"__name__": "__main__"})


def test_every_block_is_typed(tmp_path: Path) -> None:
    """
    A reader whose project is checked by mypy --strict may paste every block.
    """
    for number, text in enumerate(PYTHON):
        (tmp_path / f"block_{number}.py").write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr


def test_the_first_example_is_short_and_says_slow() -> None:
    """
    The first example has fewer than 15 lines of code, and sets slow=.
    """
    lines = [line for line in PYTHON[0].splitlines() if line.strip()]

    assert len(lines) < 15
    assert "slow=" in PYTHON[0]


def test_every_other_block_is_known() -> None:
    """
    What is no Python is one of three commands or the diagram.
    """
    others = [(mark, language) for mark, language, _ in BLOCKS if language != "python"]
    expected = [
        ("demo command", "sh"),
        ("test command", "sh"),
        ("install command", "sh"),
        ("diagram", "mermaid"),
    ]

    assert expected == others


def test_the_commands_are_one_line_each() -> None:
    """
    A command can be pasted as it stands, and makes its own virtual environment.
    """
    for mark in ("demo command", "test command"):
        assert 1 == len(COMMANDS[mark].splitlines())
        assert COMMANDS[mark].startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert COMMANDS["demo command"].endswith(".venv/bin/python -m asyncbreaker demo")


@pytest.mark.parametrize("option", ["--fast", "--trio"])
def test_the_demo_knows_the_options_that_are_named(option: str) -> None:
    """
    The options that the text names exist.
    """
    command = [sys.executable, "-m", "asyncbreaker", "demo", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert f"`{option}`" in README
    assert option in done.stdout


def test_the_diagram_is_the_table() -> None:
    """
    The state diagram is drawn from the one table of transitions.
    """
    assert diagram() == between("diagram")


def parameters() -> dict[str, dict[str, str]]:
    """The table of parameters: owner -> name -> default, empty where there is none."""
    table: dict[str, dict[str, str]] = {}
    owner = ""
    for line in between("parameters").splitlines()[2:]:
        first, name, default, unit, why = (cell.strip(" `") for cell in line.split("|")[1:-1])
        owner = first or owner
        table.setdefault(owner, {})[name] = default
        assert unit
        assert why
    return table


def signature(owner: str) -> dict[str, Any]:
    """What the code says: name -> default."""
    found = inspect.signature(getattr(asyncbreaker, owner)).parameters.values()
    return {parameter.name: parameter.default for parameter in found}


@pytest.mark.parametrize("owner", parameters())
def test_the_table_of_parameters_is_true(owner: str) -> None:
    """
    Every parameter stands in the table, with its default.
    """
    names = {**vars(asyncbreaker), "time": time, "random": random}
    written = {
        name: eval(default, names) if default else inspect.Parameter.empty
        for name, default in parameters()[owner].items()
    }

    assert signature(owner) == written


def test_the_table_of_parameters_is_complete() -> None:
    """
    Nothing that a user makes is left out.
    """
    made = {
        name
        for name in asyncbreaker.__all__
        if name[0].islower() and name not in ("live_breakers",)
    } | {"CircuitBreaker", "LastCalls", "LastSeconds", "Registry", "Wait"}

    assert made == set(parameters())


def test_every_link_within_the_page_has_its_heading() -> None:
    """
    No link of the contents leads nowhere.
    """
    headings = re.findall(r"^#+ (.*)$", README, re.M)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= slugs


def test_every_link_to_a_file_has_its_file() -> None:
    """
    No link into the project leads nowhere.
    """
    links = re.findall(r"\]\(((?!http|#)[^)]+)\)", README)

    assert [] == [link for link in links if not (ROOT / link).exists()]
