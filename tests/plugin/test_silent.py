"""The plugin is in every pytest of the environment: it costs nothing until it is used. Seen in a fresh process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.plugin.conftest import PLUGIN
from tests.support.tree import pyproject

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


def test_an_installed_package_brings_the_plugin(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    entry_points = pyproject()["project"]["entry-points"]["pytest11"]
    assert entry_points == {"diagnose": "diagnose.pytest_plugin"}
    # What an installer leaves behind; the package itself is found as it is for this test.
    info = pytester.mkdir("site") / "torch_diagnose_test-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch-diagnose-test\nVersion: 0.1\n")
    lines = [f"{name} = {value}" for name, value in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines, ""]))
    source = Path(__file__).parents[2] / "src"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(pytester.path / "site"), str(source))))
    pytester.makepyfile(
        "def test_it(assert_trains, pytestconfig):\n    assert pytestconfig.pluginmanager.hasplugin('diagnose')\n"
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
    off = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:diagnose")
    off.stdout.fnmatch_lines(["*fixture 'assert_trains' not found"])
