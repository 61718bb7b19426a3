"""`--diagnose-report` and the summary in the terminal, with pytest-xdist and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from diagnose.findings import Finding
from diagnose.testing._results import Results
from tests.plugin.conftest import Run

TESTS = """
@pytest.mark.diagnose
def test_bad():
    train(clear=False)

@pytest.mark.diagnose
def test_good():
    train()

@pytest.mark.parametrize("name", ["a/b", "a b", "a::b"])
def test_named(name, assert_trains):
    assert_trains(train, steps=20)

@pytest.mark.diagnose
def test_known():
    train(clear=False)
    pytest.xfail("known")

def test_other():
    pass
"""


def loaded(folder: Path) -> dict[str, Any]:
    """The tests by name, with the row of the index under "row"."""
    index = json.loads((folder / "index.json").read_text())
    assert index["version"] == 1
    tests = {}
    for row in index["tests"]:
        data = json.loads((folder / row["file"]).read_text())
        assert data["test"] == row["test"] and data["outcome"] == row["outcome"]
        tests[row["test"].removeprefix("test_it.py::")] = {**data, "row": row}
    return tests


@pytest.mark.parametrize("options", [(), pytest.param(("-n", "2"), marks=pytest.mark.slow)], ids=["alone", "xdist"])
def test_each_test_that_was_looked_at_has_a_file(
    run: Run, pytester: pytest.Pytester, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    result = run(TESTS, "--diagnose-report=out/report", "--junitxml=junit.xml", *options)
    result.assert_outcomes(passed=5, failed=1, xfailed=1)
    tests = loaded(pytester.path / "out" / "report")
    assert set(tests) == {
        "test_bad",
        "test_good",
        "test_known",
        "test_named[a/b]",
        "test_named[a b]",
        "test_named[a::b]",
    }
    bad = tests["test_bad"]
    assert bad["outcome"] == "failed" and bad["rerun"] == "pytest test_it.py::test_bad"
    assert bad["watched"]["verdict"] == "broken" and bad["row"]["errors"] == 1
    assert Finding.from_json(bad["watched"]["findings"][0]).code == "gradients-not-cleared"
    assert tests["test_known"]["outcome"] == "xfailed"
    named = tests["test_named[a/b]"]["assertions"]
    assert [(a["name"], a["passed"]) for a in named] == [("assert_trains", True)]
    assert tests["test_good"]["row"]["codes"] == []
    assert (
        "| `test_it.py::test_bad` | failed | error: gradients-not-cleared |"
        in (pytester.path / "out" / "report" / "index.md").read_text()
    )
    assert not list((pytester.path / "out").rglob("*.tmp"))
    result.stdout.fnmatch_lines(
        [
            "*= diagnose =*",
            "test_it.py::test_bad  (failed)",
            "*ERROR   gradients-not-cleared (test_it.py:17, since step 2)",
            "6 tests looked at training (3 watched, 3 assertions), 2 with findings",
            "slowest: *",
            "explained by: diagnose explain gradients-not-cleared",
            "report: out/report/index.json",
        ]
    )
    properties = ElementTree.parse(pytester.path / "junit.xml").iter("property")
    assert {element.get("name") for element in properties} == {"diagnose"}


def test_the_next_session_leaves_none_of_the_last_one(run: Run, pytester: pytest.Pytester) -> None:
    folder = pytester.path / "report"
    run("@pytest.mark.diagnose\ndef test_a():\n    train()\n", "--diagnose-report=report")
    assert set(loaded(folder)) == {"test_a"}
    (folder / "tests" / "mine.json").write_text("{}")
    run("@pytest.mark.diagnose\ndef test_b():\n    train()\n", "--diagnose-report=report")
    assert set(loaded(folder)) == {"test_b"}
    assert len(list((folder / "tests").iterdir())) == 2, "what is not ours stays, what is goes"


def test_an_index_is_written_even_if_no_test_was_looked_at(run: Run, pytester: pytest.Pytester) -> None:
    result = run("def test_a():\n    pass\n", "--diagnose-report=report")
    assert loaded(pytester.path / "report") == {}
    result.stdout.no_fnmatch_line("*= diagnose =*")


def test_a_folder_that_cannot_be_written_is_told_at_the_start(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makefile(".txt", taken="")
    result = run("def test_a():\n    pass\n", "--diagnose-report=taken.txt")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--diagnose-report: *taken.txt*cannot be written*"])


def test_nothing_is_said_where_nothing_is_used(run: Run) -> None:
    result = run("def test_a():\n    train(clear=False)\n")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*= diagnose =*")


def test_a_test_that_is_run_again_has_its_last_outcome() -> None:
    results = Results(None)
    text = json.dumps({"watched": None, "assertions": [], "wall_s": 0.1, "rerun": ""})
    for when, outcome in (("call", "failed"), ("teardown", "passed")):
        results.add("t", when, outcome, text)
    assert results.tests["t"]["outcome"] == "failed"
    for when, outcome in (("call", "passed"), ("teardown", "passed")):
        results.add("t", when, outcome, text)
    assert results.tests["t"]["outcome"] == "passed"
