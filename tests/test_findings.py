"""Findings are values: they go to JSON and come back."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.findings import Finding, Location, Severity

NUMBERS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
EVIDENCE = st.recursive(NUMBERS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
LOCATIONS = st.builds(
    Location,
    module=st.none() | st.text(),
    parameter=st.none() | st.text(),
    file=st.none() | st.text(),
    line=st.none() | st.integers(1, 10**6),
)
FINDINGS = st.recursive(
    st.builds(
        Finding,
        code=st.text(),
        severity=st.sampled_from(Severity),
        message=st.text(),
        where=LOCATIONS,
        first_step=st.none() | st.integers(1, 10**9),
        last_step=st.none() | st.integers(1, 10**9),
        evidence=st.dictionaries(st.text(), EVIDENCE),
        cause=st.text(),
        remedy=st.text(),
        symptoms=st.just(()),
    ),
    lambda inner: st.builds(Finding.with_symptoms, inner, st.lists(inner, max_size=3)),
    max_leaves=4,
)


@given(FINDINGS)
def test_json_and_back(finding: Finding) -> None:
    text = json.dumps(finding.to_json(), allow_nan=False)
    again = Finding.from_json(json.loads(text))
    assert again.to_json() == finding.to_json()
    # Only numbers that JSON cannot hold become something else.
    assert dataclasses.replace(again, evidence={}, symptoms=()) == dataclasses.replace(
        finding, evidence={}, symptoms=()
    )


def test_the_keys_are_those_of_the_report() -> None:
    assert list(Finding("x", Severity.INFO, "").to_json()) == [
        "code",
        "severity",
        "where",
        "first_step",
        "last_step",
        "message",
        "evidence",
        "cause",
        "remedy",
        "doc",
        "symptoms",
    ]
    assert Finding("dead-units", Severity.INFO, "").doc == "docs/rules/dead-units.md"


def test_numbers_that_json_does_not_know_become_words() -> None:
    evidence = {"a": math.nan, "b": [math.inf, {"c": -math.inf}], "d": (1.0, math.nan)}
    assert Finding("x", Severity.INFO, "", evidence=evidence).to_json()["evidence"] == {  # type: ignore[arg-type]
        "a": "nan",
        "b": ["inf", {"c": "-inf"}],
        "d": [1.0, "nan"],
    }


@pytest.mark.parametrize(
    ("location", "text"),
    [
        (Location(), ""),
        (Location(module="m"), "m"),
        (Location(module="m", parameter="m.weight"), "m.weight"),
        (Location(module="m", file="a.py", line=3), "m (a.py:3)"),
        (Location(file="a.py", line=3), "a.py:3"),
        (Location(file="a.py"), "a.py"),
    ],
)
def test_a_location_as_people_read_it(location: Location, text: str) -> None:
    assert str(location) == text


def test_severities_are_ordered() -> None:
    assert sorted(Severity, key=lambda s: s.rank) == [Severity.ERROR, Severity.WARNING, Severity.INFO]
    assert Severity.ERROR.at_least(Severity.WARNING)
    assert Severity.WARNING.at_least(Severity.WARNING)
    assert not Severity.INFO.at_least(Severity.WARNING)


def test_findings_cannot_be_changed() -> None:
    finding = Finding("x", Severity.INFO, "")
    with pytest.raises(dataclasses.FrozenInstanceError):
        finding.code = "y"  # type: ignore[misc]
    assert finding.with_symptoms([finding]).symptoms == (finding,)
    assert finding.symptoms == ()


@pytest.mark.parametrize("data", [{}, {"code": "x"}, {"code": "x", "severity": "awful", "message": ""}])
def test_what_to_json_did_not_write_is_refused(data: dict[str, str]) -> None:
    with pytest.raises((KeyError, ValueError, TypeError)):
        Finding.from_json(data)
