"""The plugin is in every pytest of the environment: it costs nothing until it is used. Seen in a fresh process."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import PLUGIN

SOURCE = """
import sys

HEAVY = ("torch", "numpy", "rich", "tensorboard")

def test_nothing_heavy_is_loaded({fixture}):
    assert [name for name in HEAVY if name in sys.modules] == {loaded}
"""


@pytest.mark.parametrize(
    ("fixture", "loaded"), [("", []), ("assert_trains", ["torch", "numpy"])], ids=["unused", "used"]
)
def test_nothing_heavy_is_loaded_until_a_test_asks_for_it(
    pytester: pytest.Pytester, fixture: str, loaded: list[str]
) -> None:
    pytester.makepyfile(SOURCE.format(fixture=fixture, loaded=loaded))
    result = pytester.runpytest_subprocess(*PLUGIN, "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*= diagnose =*")


def test_the_marker_and_the_options_are_described(pytester: pytest.Pytester) -> None:
    markers = pytester.runpytest_inprocess(*PLUGIN, "--markers")
    markers.stdout.fnmatch_lines(["@pytest.mark.diagnose(fail_on=*"])
    options = pytester.runpytest_inprocess(*PLUGIN, "--help")
    options.stdout.fnmatch_lines(["*--diagnose-report=DIR*", "*--diagnose-all*"])
    fixtures = pytester.runpytest_inprocess(*PLUGIN, "--fixtures")
    fixtures.stdout.fnmatch_lines(["watch -- *", "assert_trains *session scope*"])
