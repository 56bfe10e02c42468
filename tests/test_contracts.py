"""What can be forgotten, a machine checks: import contracts, versions, the wheel's content."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import asyncbreaker

ROOT = Path(__file__).parent.parent


def test_arrows_point_inwards() -> None:
    """
    The import contracts of pyproject.toml hold.
    """
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stdout + done.stderr


INTEGRATIONS = Path(asyncbreaker.__file__).parent / "integrations"  # perhaps of the wheel
ADAPTERS = sorted(INTEGRATIONS.glob("[a-z]*.py"))
SHARED = sorted(INTEGRATIONS.glob("_*.py"))


def third_parties(file: Path) -> set[str]:
    """The packages that a file imports, wherever in it, besides ours and the standard library."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    found = {name.partition(".")[0] for name in names}
    return found - sys.stdlib_module_names - {"asyncbreaker"}


@pytest.mark.parametrize("file", ADAPTERS, ids=lambda file: file.stem)
def test_an_adapter_talks_to_one_library(file: Path) -> None:
    """
    Whoever uses one adapter need not have the libraries of the others.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    allowed = {file.stem, "psycopg_pool"} if file.stem == "psycopg" else {file.stem}
    allowed |= {"valkey"} if file.stem == "redis" else set()  # the same interface twice

    assert file.stem in project["optional-dependencies"]
    assert third_parties(file) - {"anyio"} <= allowed


@pytest.mark.parametrize("file", SHARED, ids=lambda file: file.stem)
def test_what_adapters_share_names_no_library(file: Path) -> None:
    """
    Code behind several adapters imports none of their libraries.
    """
    assert third_parties(file) <= {"anyio"}


def test_types_of_the_public_api() -> None:
    """
    What users see of types is exact: mypy agrees with every assert_type in tests/typing.
    """
    command = [sys.executable, "-m", "mypy", "--no-incremental", "tests/typing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr


def test_changelog_and_package_name_the_same_version() -> None:
    """
    The newest entry of the changelog is the version that the package tells.
    """
    changelog = (ROOT / "CHANGELOG.md").read_text()
    headings = [line for line in changelog.splitlines() if line.startswith("## [")]

    assert "## [Unreleased]" == headings[0]
    assert headings[1].startswith(f"## [{asyncbreaker.__version__}]")
    assert asyncbreaker.__version__ == metadata.version("asyncbreaker-resilience")


def test_anyio_is_the_only_run_time_dependency() -> None:
    """
    Whoever installs the library without extras gets anyio and nothing else.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert ["anyio"] == [name.partition(">")[0] for name in project["dependencies"]]


@pytest.mark.parametrize("kind", ["AsyncIO", "AnyIO", "Trio"])
def test_classifiers_name_the_frameworks(kind: str) -> None:
    """
    Who searches the index by framework finds it.
    """
    classifiers = metadata.metadata("asyncbreaker-resilience").get_all("Classifier") or []

    assert f"Framework :: {kind}" in classifiers
    assert "Typing :: Typed" in classifiers


def test_public_names_are_sorted_and_exist() -> None:
    """
    __all__ lists every public name of the package, sorted.
    """
    public = {name for name in vars(asyncbreaker) if name.isidentifier() and name[0] != "_"}
    folders = {"integrations"}
    modules = {"backoff", "errors", "events", "pytest_plugin", "recovery", "testing", "trip"}

    assert sorted(asyncbreaker.__all__) == asyncbreaker.__all__
    assert set(asyncbreaker.__all__) == public - modules - folders
