"""`@pytest.mark.diagnose`."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Run


def test_it_fails_a_test_that_trains_with_a_fault_and_no_other(run: Run) -> None:
    result = run(
        """
@pytest.mark.diagnose
def test_bad():
    train(clear=False)

@pytest.mark.diagnose
def test_good():
    train()

@pytest.mark.diagnose
def test_that_trains_nothing():
    pass

def test_unmarked():
    train(clear=False)
""",
        "--strict-markers",
    )
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "diagnose: gradients-not-cleared (1 error at warning or above) in 60 watched steps",
            "error gradients-not-cleared in test_it.py:17, since step 2",
            "*evidence: stale steps *",
            "*try: Call opt*zero_grad()*",
            "*more: diagnose explain gradients-not-cleared",
            "run this test again: pytest test_it.py::test_bad",
        ]
    )


def test_levels_and_codes_choose_what_fails(run: Run) -> None:
    result = run("""
@pytest.mark.diagnose(ignore=["gradients-not-cleared"])
def test_ignored():
    train(clear=False)

@pytest.mark.diagnose(select=["dead-units"])
def test_not_selected():
    train(clear=False)

@pytest.mark.diagnose(fail_on="never", schedule="every")
def test_never():
    train(clear=False)

@pytest.mark.diagnose(fail_on="error")
def test_error():
    train(clear=False)

@pytest.mark.diagnose(ignore=["gradients-not-cleared"])
class TestClass:
    @pytest.mark.diagnose(fail_on="error", ignore=["dead-units"])
    def test_of_both(self):
        train(clear=False)
""")
    result.assert_outcomes(passed=4, failed=1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("fial_on='error'", "*fial_on='error'*no such argument. Did you mean \"fail_on\"?*"),
        ("fail_on='eror'", "*fail_on='eror'*has to be one of 'error', 'warning', 'info', 'never'.*"),
        ("'error'", "*takes keyword arguments only, got 'error'*"),
        ("ignore='dead-units'", "*ignore='dead-units'*has to be a list of codes*"),
        ("ignore=['dead-unit']", '*there is no rule "dead-unit". Did you mean "dead-units"?*'),
        ("schedule='all'", "*schedule='all'*has to be one of 'budget', 'every', 'seeded'*"),
    ],
)
def test_wrong_arguments_are_told_before_the_test_runs(run: Run, arguments: str, says: str) -> None:
    result = run(f"""
@pytest.mark.diagnose({arguments})
def test_wrong():
    raise SystemExit("it ran")

def test_other():
    pass
""")
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines([says])


def test_a_test_that_fails_by_itself_shows_what_was_found(run: Run) -> None:
    result = run("""
@pytest.mark.diagnose
def test_accuracy():
    train(clear=False)
    assert False, "too low"
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*too low*", "*- diagnose -*", "error gradients-not-cleared in test_it.py:17*"])


def test_an_expected_failure_is_one(run: Run) -> None:
    result = run("""
@pytest.mark.xfail(strict=True)
@pytest.mark.diagnose
def test_known():
    train(clear=False)
""")
    result.assert_outcomes(xfailed=1)


def test_the_whole_suite_can_be_watched(run: Run) -> None:
    source = """
import unittest

def test_bad():
    train(clear=False)

class Case(unittest.TestCase):
    def test_bad(self):
        train(clear=False)
"""
    run(source).assert_outcomes(passed=2)
    run(source, "--diagnose-all").assert_outcomes(failed=2)


def test_the_project_file_counts(run: Run, pytester: pytest.Pytester) -> None:
    source = """
@pytest.mark.diagnose
def test_bad():
    train(clear=False)

def test_assert(assert_trains):
    assert_trains(lambda: train(clear=False))
"""
    pytester.makepyprojecttoml('[tool.diagnose]\nignore = ["gradients-not-cleared"]\n')
    run(source).assert_outcomes(passed=2)
    pytester.makepyprojecttoml("[tool.diagnose.rules.gradients-not-cleared]\nshare = 0.1\nbudgt = 1\n")
    result = run(source)
    result.assert_outcomes(errors=1, failed=1)
    result.stdout.fnmatch_lines(['*the rule has no threshold "*'])


def test_the_environment_switches_it_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIAGNOSE", "0")
    result = run("""
@pytest.mark.diagnose
def test_bad(assert_trains, assert_no_dead_units):
    train(clear=False)
    assert_trains(lambda: train(clear=False))
    assert_no_dead_units(train)
""")
    result.assert_outcomes(passed=1)
