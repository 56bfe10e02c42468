"""The pytest plugin: fixture and marker ``reset_breakers``."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

OPTIONS = ("--strict-markers", "-p", "no:asyncio", "-p", "no:cacheprovider")

# One breaker for all tests, as at the top of an application's module.
SHARED = """
import pytest
from asyncbreaker import CircuitBreaker, State

breaker = CircuitBreaker("shared")
breaker.force_open("at import")
"""


def run(pytester: pytest.Pytester, tests: str) -> pytest.RunResult:
    pytester.makepyfile(SHARED + tests)
    return pytester.runpytest_inprocess(*OPTIONS)


def test_the_fixture_resets_before_and_after(pytester: pytest.Pytester) -> None:
    """
    A test that asks for the fixture starts with closed breakers and leaves them closed.
    """
    result = run(
        pytester,
        """
def test_before(reset_breakers):
    assert State.CLOSED is breaker.state
    assert "between tests" == breaker.snapshot().reason
    breaker.disable()

def test_after():
    assert State.CLOSED is breaker.state
""",
    )
    result.assert_outcomes(passed=2)


def test_the_marker_does_the_same(pytester: pytest.Pytester) -> None:
    """
    The marker works on a function and a class, beside other fixtures, and is known.
    """
    result = run(
        pytester,
        """
@pytest.fixture
def other():
    assert State.CLOSED is breaker.state
    return 1

@pytest.mark.reset_breakers
def test_function(other):
    breaker.force_open()

@pytest.mark.reset_breakers
class TestClass:
    def test_method(self):
        assert State.CLOSED is breaker.state
        breaker.force_open()

    def test_both(self, reset_breakers):
        assert State.CLOSED is breaker.state
""",
    )
    result.assert_outcomes(passed=3)


def test_the_marker_on_a_module(pytester: pytest.Pytester) -> None:
    """
    ``pytestmark`` isolates every test of a module.
    """
    result = run(
        pytester,
        """
pytestmark = pytest.mark.reset_breakers

@pytest.mark.parametrize("number", [1, 2])
def test_each(number):
    assert State.CLOSED is breaker.state
    breaker.force_open()
""",
    )
    result.assert_outcomes(passed=2)


def test_nothing_happens_unless_asked_for(pytester: pytest.Pytester) -> None:
    """
    Installing the library changes no test that does not ask.
    """
    result = run(
        pytester,
        """
def test_plain():
    assert State.FORCED_OPEN is breaker.state
""",
    )
    result.assert_outcomes(passed=1)


def test_items_that_have_no_fixtures_are_left_alone(pytester: pytest.Pytester) -> None:
    """
    A text file's doctest, or another plugin's item, is collected as ever.
    """
    pytester.makeconftest(
        """
import pytest

class Item(pytest.Item):
    def runtest(self):
        pass

def pytest_collect_file(file_path, parent):
    if file_path.suffix == ".thing":
        return File.from_parent(parent, path=file_path)

class File(pytest.File):
    def collect(self):
        item = Item.from_parent(self, name="thing")
        item.add_marker("reset_breakers")
        yield item
"""
    )
    pytester.makefile(".thing", test="")
    pytester.runpytest_inprocess(*OPTIONS).assert_outcomes(passed=1)


def test_the_marker_is_documented(pytester: pytest.Pytester) -> None:
    """
    ``pytest --markers`` tells what it does.
    """
    result = pytester.runpytest_inprocess("--markers", *OPTIONS)
    result.stdout.fnmatch_lines(["@pytest.mark.reset_breakers: reset every live circuit breaker*"])
