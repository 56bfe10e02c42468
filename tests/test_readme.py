"""The README is a manual: what it shows runs, and what it says of names and defaults is so."""

from __future__ import annotations

import ast
import inspect
import os
import random
import re
import shlex
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

import asyncbreaker
from tests.diagram import diagram

ROOT = Path(__file__).parent.parent
INTEGRATIONS = Path(asyncbreaker.__file__).parent / "integrations"  # perhaps of the wheel
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
    What is no Python is one of four commands, what one of them prints, or the diagram.
    """
    others = [(mark, language) for mark, language, _ in BLOCKS if language != "python"]
    expected = [
        ("demo command", "sh"),
        ("test command", "sh"),
        ("install command", "sh"),
        ("lab command", "sh"),
        ("lab output", "text"),
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


def test_the_commands_install_extras_that_there_are() -> None:
    """
    Pip only warns of an extra that it does not know, and the line fails much later.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = set(re.findall(r"\.\[(\w+)\]", " ".join(COMMANDS.values())))

    assert {"demo", "test"} == named
    assert named <= set(project["optional-dependencies"])


def test_every_adapter_has_its_extra_and_its_section() -> None:
    """
    The table of adapters names the module and the extra of each, with its lower bound.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = {
        name: re.sub(r"\[.*?\]", "", requirements[0]).replace(">=", " ")
        for name, requirements in project["optional-dependencies"].items()
        if name not in ("demo", "test")
    }
    rows = re.findall(r"^\| `(\w+)` \| ([\w.]+ [\d.]+) \| `integrations\.(\w+)` \|", README, re.M)

    assert bounds == {extra: bound for extra, bound, _ in rows}
    assert {file.stem for file in INTEGRATIONS.glob("[a-z]*.py")} == {module for *_, module in rows}


@pytest.mark.parametrize("option", ["--fast", "--full", "--trio"])
def test_the_demo_knows_the_options_that_are_named(option: str) -> None:
    """
    The options that the text names exist.
    """
    command = [sys.executable, "-m", "asyncbreaker", "demo", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert f"`{option}`" in README
    assert option in done.stdout


def test_the_lab_prints_what_is_shown() -> None:
    """
    The lab's command, pasted, gives the page's output to the letter.
    """
    python, *arguments = shlex.split(COMMANDS["lab command"])
    # Its coverage is taken elsewhere; here it would cost many seconds.
    unmeasured = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    shown = next(text for mark, _, text in BLOCKS if mark == "lab output")
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**unmeasured, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        check=True,
    )

    assert python == ".venv/bin/python"
    assert done.stdout.decode() == shown


def test_the_comparison_is_what_the_lab_found() -> None:
    """
    The page shows the first of the lab's tables as it is, and plots that there are.
    """
    tables = (ROOT / "benchmarks/lab/results/tables.md").read_text()

    assert between("comparison").strip() in tables
    for plot in re.findall(r"\]\((benchmarks/lab/results/.*?\.svg)\)", README):
        assert (ROOT / plot).is_file()


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
    # A default that reads "..." stands for none: None would be a value.
    return {
        parameter.name: parameter.empty if repr(parameter.default) == "..." else parameter.default
        for parameter in found
    }


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
        if name[0].islower()
        and name not in ("answer_age", "current_attempt", "live_breakers", "retryable")
    }
    made |= {"CircuitBreaker", "LastCalls", "LastSeconds", "Registry", "Wait"}
    made |= {"Bulkhead", "Fallback", "Hedge", "LastGood", "Retry", "RetryBudget", "Timeout"}

    assert made == set(parameters())


def signatures() -> dict[str, ast.arguments]:
    """Every `name(parameter, parameter=default)` of the text whose name we export, as written."""
    found: dict[str, ast.arguments] = {}
    for written in re.findall(r"`(\w+\([a-z][^`]*\))`", README):
        if written.split("(")[0] not in parameters():
            continue
        try:
            function = ast.parse(f"def {written}: ...").body[0]
        except SyntaxError:
            continue  # a call with values, such as failure_rate(0.9)
        assert isinstance(function, ast.FunctionDef)
        if len(function.args.args + function.args.kwonlyargs) > 1:
            found[written] = function.args
    return found


@pytest.mark.parametrize("written", signatures())
def test_a_signature_in_the_text_is_true(written: str) -> None:
    """
    The tables of rules and backoffs show the parameters as they are.
    """
    arguments = signatures()[written]
    real = inspect.signature(getattr(asyncbreaker, written.split("(")[0])).parameters.values()
    given = arguments.args + arguments.kwonlyargs
    values = [None] * (len(arguments.args) - len(arguments.defaults)) + arguments.defaults
    values += arguments.kw_defaults

    assert [parameter.name for parameter in real] == [argument.arg for argument in given]
    for parameter, value in zip(real, values, strict=True):
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            assert parameter.name in [argument.arg for argument in arguments.kwonlyargs]
        default = eval(ast.unparse(value), vars(asyncbreaker).copy()) if value else parameter.empty
        assert default in (parameter.default, ...)


def section(heading: str) -> str:
    """What stands under a heading."""
    return README.split(f"\n## {heading}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("What happens when it opens", asyncbreaker.CircuitOpenError),
        ("What happens when it opens", asyncbreaker.FailureSummary),
        ("Trip rules", asyncbreaker.Counts),
        ("Snapshot", asyncbreaker.Snapshot),
        ("Events and log", asyncbreaker.StateChanged),
        ("Events and log", asyncbreaker.CallRejected),
        ("Events and log", asyncbreaker.CallSettled),
        *(("Events and log", kind) for kind in get_args(asyncbreaker.PolicyEvent)),
        ("Answering while it is down", asyncbreaker.BulkheadFullError),
    ],
)
def test_every_field_is_named(heading: str, kind: type[Any]) -> None:
    """
    What can be read of an error, a snapshot, counts or an event stands in its section.
    """
    text = section(heading)

    assert [] == [name for name in inspect.get_annotations(kind) if f"`{name}`" not in text]


def test_every_link_within_the_page_has_its_heading() -> None:
    """
    No link of the contents leads nowhere.
    """
    headings = re.findall(r"^#+ (.*)$", README, re.M)
    assert len(headings) == len(set(headings)), "a link leads to the first one"

    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= slugs(README)


def slugs(page: str) -> set[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.*)$", page, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_to_a_file_has_its_file() -> None:
    """
    No link into the project leads nowhere.
    """
    links = re.findall(r"\]\(((?!http|#)[^)#]+)#?([^)]*)\)", README)

    assert [] == [path for path, _ in links if not (ROOT / path).exists()]
    assert all(slug in slugs((ROOT / path).read_text()) for path, slug in links if slug)
