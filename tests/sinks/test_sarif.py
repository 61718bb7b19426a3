"""SARIF 2.1.0, as code scanning services require it."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from diagnose.findings import Finding, Location, Severity
from diagnose.report import Report
from diagnose.rules import all_rules, pages_of
from diagnose.sinks.sarif import sarif_text, write_sarif
from tests.sinks.reports import HEALTHY, NOTHING_SEEN, RUN, UNHEALTHY, reports

PAGES = pages_of(all_rules())
LEVELS = {"error", "warning", "note"}


def log(report: Report, **options: Any) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    data: dict[str, Any] = json.loads(sarif_text(report, PAGES, **options), parse_constant=refuse)
    check(data)
    return data


def check(data: dict[str, Any]) -> None:
    """The parts of the standard that GitHub's code scanning requires, and what it reads of the rest."""
    assert data["version"] == "2.1.0"
    assert data["$schema"].endswith("sarif-2.1.0.json")
    (run,) = data["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] and re.match(r"\d", driver["semanticVersion"])
    assert driver["informationUri"].startswith("https://")
    rules = driver["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert len(rule["name"]) <= 255
        for key in ("shortDescription", "fullDescription"):
            assert 0 < len(rule[key]["text"]) <= 1024
        assert rule["help"]["text"] and rule["help"]["markdown"]
        assert rule["helpUri"].startswith("https://")
    for name, base in run["originalUriBaseIds"].items():
        assert name and base["uri"].startswith("file:///") and base["uri"].endswith("/")
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in LEVELS
        assert result["message"]["text"]
        assert len(result["locations"]) == 1
        for value in result["partialFingerprints"].values():
            assert re.fullmatch(r"[0-9a-f]{32}(:1)?", value)
        check_location(result["locations"][0], run)
        for suppression in result.get("suppressions", []):
            assert suppression["kind"] in ("inSource", "external") and suppression["status"] == "accepted"


def check_location(location: dict[str, Any], run: dict[str, Any]) -> None:
    if physical := location.get("physicalLocation"):
        artifact = physical["artifactLocation"]
        assert re.fullmatch(r"[!-~]*", artifact["uri"]), "a URI is ASCII without blanks"
        if "uriBaseId" in artifact:
            assert artifact["uriBaseId"] in run["originalUriBaseIds"]
            assert not artifact["uri"].startswith(("/", "../", "file:"))
        assert physical.get("region", {"startLine": 1})["startLine"] >= 1
    for logical in location.get("logicalLocations", []):
        assert logical["name"] and logical["fullyQualifiedName"] and logical["kind"] in ("module", "variable")


def results(report: Report, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = log(report, **options)["runs"][0]["results"]
    return found


def test_what_a_result_says() -> None:
    large, cleared, remark = results(UNHEALTHY)
    assert [r["level"] for r in (large, cleared, remark)] == ["error", "warning", "note"]
    assert large["ruleId"] == "update-too-large"
    assert large["message"]["text"].startswith("SGD moves head.weight by 43 %")
    assert "It explains dead-units" in large["message"]["text"]
    names = [logical["fullyQualifiedName"] for logical in large["locations"][0]["logicalLocations"]]
    assert names == ["head.weight", "body.0.weight", "body.2.weight"]
    assert cleared["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "train.py", "uriBaseId": "SRCROOT"},
                "region": {"startLine": 31},
            }
        }
    ]


def test_all_rules_are_listed_with_their_pages() -> None:
    rules = log(HEALTHY)["runs"][0]["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == sorted(PAGES)
    assert "## How to fix" in rules[0]["help"]["markdown"]
    assert "##" not in rules[0]["help"]["text"]


def test_a_run_that_found_nothing_has_an_empty_list() -> None:
    assert results(HEALTHY) == results(NOTHING_SEEN) == []


def test_files_are_relative_to_the_folder(tmp_path: Path) -> None:
    def artifact(file: str) -> Any:
        report = replace(HEALTHY, findings=(Finding("x", Severity.INFO, "m", Location(file=file, line=1)),))
        (result,) = results(report, folder=tmp_path)
        return result["locations"][0]["physicalLocation"]["artifactLocation"]

    inside = {"uri": "a%20b/train.py", "uriBaseId": "SRCROOT"}
    assert artifact("a b/train.py") == artifact(str(tmp_path / "a b" / "train.py")) == inside
    assert artifact(os.path.abspath(os.sep + "lib.py")) == {"uri": "file:///lib.py"}


def test_what_has_no_file_is_shown_at_the_script(tmp_path: Path) -> None:
    finding = Finding("x", Severity.WARNING, "m", Location(parameter="fc.weight"))
    (tmp_path / "train.py").touch()
    (result,) = results(Report((finding,), {}, RUN), folder=tmp_path)
    physical = result["locations"][0]["physicalLocation"]
    assert physical == {"artifactLocation": {"uri": "train.py", "uriBaseId": "SRCROOT"}}


def test_other_places_are_names_without_lines() -> None:
    others: Any = {"also_at": ["fc2 (train.py:3)", "train.py:7", "fc3"]}
    finding = Finding("x", Severity.WARNING, "m", Location("fc1"), evidence=others)
    (result,) = results(replace(HEALTHY, findings=(finding,)))
    names = [logical["fullyQualifiedName"] for logical in result["locations"][0]["logicalLocations"]]
    assert names == ["fc1", "fc2", "fc3"]


def test_fingerprints_are_stable() -> None:
    def fingerprint(**changed: Any) -> str:
        finding = Finding("x", Severity.WARNING, "m", Location("fc", None, "train.py", 3), 1, 2)
        finding = replace(finding, **changed)
        (result,) = results(replace(HEALTHY, findings=(finding,)))
        value: str = result["partialFingerprints"]["diagnose/v1"]
        return value

    same = fingerprint()
    assert same == fingerprint(message="other", first_step=7, severity=Severity.ERROR, evidence={"a": 1.0})
    assert same == fingerprint(where=Location("fc", None, os.path.abspath("train.py"), 99))
    assert same != fingerprint(code="y")
    assert same != fingerprint(where=Location("fc2", None, "train.py", 3))
    assert same != fingerprint(where=Location("fc", None, "other.py", 3))


def test_accepted_findings_are_suppressed_results() -> None:
    report = replace(HEALTHY, accepted=((UNHEALTHY.findings[1], "in the baseline"),))
    (result,) = results(report)
    assert result["suppressions"] == [{"kind": "external", "status": "accepted", "justification": "in the baseline"}]


@given(report=reports())
def test_any_report_is_well_formed(report: Report) -> None:
    log(report)


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "out.sarif"
    write_sarif(UNHEALTHY, file, PAGES)
    check(json.loads(file.read_text("ascii")))
    assert os.listdir(tmp_path) == ["out.sarif"]
    with pytest.raises(OSError, match="missing"):
        write_sarif(UNHEALTHY, tmp_path / "missing" / "out.sarif", PAGES)
