"""Findings that are known: the baseline file, and what the configuration suppresses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.acceptance import IN_BASELINE, Acceptance, Suppression, write_baseline
from diagnose.errors import ConfigError
from diagnose.findings import Evidence, Finding, Location, Severity

WARNING = Severity.WARNING


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def dead(module: str | None = "encoder.relu", *also_at: str, file: str | None = None, line: int = 3) -> Finding:
    evidence: dict[str, Evidence] = {"dead_share": 0.9}
    if also_at:
        evidence["also_at"] = list(also_at)
    where = Location(module=module, file=file, line=line if file else None)
    return Finding("dead-units", WARNING, "dead", where, 1, 9, evidence)


def accepted(finding: Finding, *known: Finding) -> bool:
    """Whether `finding` is accepted by a baseline of the `known` ones."""
    write_baseline(known, Path("baseline.json"), tool="test")
    return Acceptance.load(Path("baseline.json"))(finding)[0] is None


# -- the baseline -----------------------------------------------------------------------------------------------


def test_the_same_finding_at_another_line_and_step() -> None:
    before = dead(file="train.py", line=3)
    now = Finding("dead-units", Severity.ERROR, "other words", Location("encoder.relu", None, "train.py", 99), 50, None)
    assert accepted(now, before)
    write_baseline([before], Path("b.json"), tool="t")
    assert Acceptance.load(Path("b.json"))(now)[1] == IN_BASELINE


@pytest.mark.parametrize(
    "other",
    [
        dead("decoder.relu"),
        dead(None),
        dead("encoder.relu", "decoder.relu"),
        Finding("x", WARNING, "", Location("encoder.relu")),
    ],
)
def test_what_is_new(other: Finding) -> None:
    assert not accepted(other, dead())


def test_another_file_is_another_finding() -> None:
    assert not accepted(dead(None, file="b.py"), dead(None, file="a.py"))
    assert accepted(dead(None, file=os.path.abspath("a.py")), dead(None, file="a.py"))


def test_all_places_of_a_merged_finding_are_known() -> None:
    before = dead("a", "b (train.py:4)", "train.py:7", "c")
    assert accepted(dead("b", "a", file="train.py"), before)
    assert accepted(dead(None, file="train.py", line=70), before)


def test_of_many_places_the_new_ones_are_left() -> None:
    write_baseline([dead("a", "b")], Path("b.json"), tool="t")
    rest, reason = Acceptance.load(Path("b.json"))(dead("a", "b", "c"))
    assert rest is not None and rest.evidence["also_at"] == ["c"] and not reason


def test_symptoms_are_accepted_too() -> None:
    symptom = Finding("loss-not-decreasing", WARNING, "", Location(file="train.py", line=1))
    assert accepted(symptom, dead().with_symptoms([symptom]))


def test_it_can_be_kept_with_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written in one checkout, read in another, from another folder."""
    for name in ("one", "two"):
        (tmp_path / name / "ci").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "one")
    write_baseline([dead(file="src/train.py")], Path("ci/b.json"), tool="t")
    text = Path("ci/b.json").read_text()
    assert json.loads(text)["findings"][0]["file"] == "../src/train.py"
    monkeypatch.chdir(tmp_path / "two" / "ci")
    Path("b.json").write_text(text)
    assert Acceptance.load(Path("b.json"))(dead(file="../src/train.py"))[0] is None


def test_an_empty_baseline_accepts_nothing() -> None:
    assert not accepted(dead())


@given(st.lists(st.builds(dead, st.text(max_size=5), file=st.none() | st.just("train.py")), max_size=4))
def test_what_was_written_is_accepted(findings: list[Finding]) -> None:
    assert all(accepted(finding, *findings) for finding in findings)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "there is no such file"),
        ("", "not written by"),
        ("{", "not written by"),
        ("[]", 'no list "findings"'),
        ('{"version": 1}', 'no list "findings"'),
        ('{"findings": []}', "has version None"),
        ('{"version": 99, "findings": []}', "has version 99"),
        ('{"version": 1, "findings": [3]}', 'lacks "code"'),
        ('{"version": 1, "findings": [{"code": "x"}]}', 'lacks "code"'),
        ('{"version": 1, "findings": [{"code": "x", "where": "y", "file": 3}]}', "no texts"),
        ("[" * 100_000, "not written by"),
    ],
)
def test_a_file_that_is_no_baseline(text: str | None, complaint: str) -> None:
    if text is not None:
        Path("b.json").write_text(text)
    with pytest.raises(ConfigError, match=r"b\.json") as raised:
        Acceptance.load(Path("b.json"))
    assert complaint in str(raised.value)


def test_written_whole_or_not_at_all() -> None:
    write_baseline([dead()], Path("b.json"), tool="t")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_baseline([dead()], Path("missing/b.json"), tool="t")
    Path("folder").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        write_baseline([dead()], Path("folder"), tool="t")
    assert sorted(os.listdir()) == ["b.json", "folder"]


# -- suppressions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suppression", "covered"),
    [
        (Suppression("dead-units", "why"), True),
        (Suppression("dead-units", "why", module="encoder.*"), True),
        (Suppression("dead-units", "why", module="enc"), False),
        (Suppression("saturated-units", "why"), False),
        (Suppression("dead-units", "why", file="*/train.py"), True),
        (Suppression("dead-units", "why", file="src/*.py"), True),
        (Suppression("dead-units", "why", module="encoder.*", file="other.py"), False),
    ],
)
def test_what_a_suppression_covers(suppression: Suppression, covered: bool) -> None:
    rest, reason = Acceptance([suppression])(dead(file=os.path.abspath("src/train.py")))
    assert (rest is None, reason) == (covered, "suppressed: why" if covered else "")


def test_parameters_have_names_too() -> None:
    finding = Finding("update-too-large", WARNING, "", Location("encoder.fc", "encoder.fc.weight"))
    assert Acceptance([Suppression("update-too-large", "why", module="encoder.*.weight")])(finding)[0] is None


def test_a_new_baseline_holds_nothing_that_is_suppressed() -> None:
    acceptance = Acceptance([Suppression("dead-units", "why")], frozenset({("x", "", None)}))  # type: ignore[arg-type]
    assert acceptance.without_baseline() == Acceptance([Suppression("dead-units", "why")])
