"""The fixture `watch`, and a fixture for each assertion."""

from __future__ import annotations

import pytest

from diagnose import testing
from tests.plugin.conftest import Run


def test_watch_is_running_in_the_test_and_fails_nothing(run: Run) -> None:
    result = run("""
def test_findings(watch):
    train(clear=False)
    assert [finding.code for finding in watch.findings] == ["gradients-not-cleared"]
    assert watch.history.run.steps == 60

def test_good(watch):
    assert train() and not watch.findings

@pytest.mark.diagnose
def test_with_marker(watch):
    train(clear=False)
    assert watch.findings
""")
    result.assert_outcomes(passed=2, failed=1)


def test_each_assertion_is_a_fixture_and_a_function(run: Run) -> None:
    names = ", ".join(testing.ASSERTIONS)
    result = run(f"""
from diagnose import testing

def test_all({names}):
    for function in ({names}):
        assert function is getattr(testing, function.__name__)
""")
    result.assert_outcomes(passed=1)


def test_the_list_of_assertions_is_complete() -> None:
    from diagnose.testing import agreement, assertions

    everything = {*vars(assertions), *vars(agreement)}
    assert set(testing.ASSERTIONS) == {name for name in everything if name.startswith("assert_")}
    assert set(testing.ASSERTIONS) < set(testing.__all__)
    for name in testing.__all__:
        assert getattr(testing, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'assert_nothing'"):
        testing.assert_nothing  # noqa: B018


def test_a_failure_points_at_the_line_of_the_test_and_teaches(run: Run) -> None:
    result = run("""
from diagnose.testing import assert_trains

@pytest.mark.parametrize("clear", [True, False])
def test_training(clear):
    assert_trains(lambda: train(clear=clear), steps=40)
""")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            ">       assert_trains(lambda: train(clear=clear), steps=40)",
            "E*assert_trains: gradients-not-cleared (1 error at warning or above) in 40 steps of SGD",
            "E*error gradients-not-cleared in test_it.py:17, since step 2",
            "E*more: diagnose explain gradients-not-cleared",
            "E*run this test again: pytest 'test_it.py::test_training[[]False]'",
        ]
    )
    # No frame of ours is between the test and its failure.
    result.stdout.no_fnmatch_line("*assertions.py*")
    result.stdout.no_fnmatch_line("*_verdict.py*")


def test_the_rerun_command_works_from_the_folder_in_which_pytest_was_called(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]")
    folder = pytester.mkdir("elsewhere")
    monkeypatch.chdir(folder)
    result = run("""
@pytest.mark.diagnose
def test_bad():
    train(clear=False)
""", "..")  # fmt: skip
    result.stdout.fnmatch_lines(["run this test again: pytest ../test_it.py::test_bad"])
