"""The JSON report: its keys are a contract."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from diagnose.findings import Finding, Severity
from diagnose.history import History, LayerFacts, OptimizerFacts
from diagnose.report import Report, build_report
from diagnose.rules import Diagnosis
from diagnose.sinks.json import json_text, write_json
from tests.sinks.reports import HEALTHY, NOTHING_SEEN, UNHEALTHY, reports


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_contract() -> None:
    data = strict(json_text(UNHEALTHY))
    assert data["version"] == 1
    assert data["tool"].startswith("torch-diagnose ")
    assert data["verdict"] == "broken"
    assert data["not_run"] == {"exploding-gradient": "not run: needs grad_norm"}
    assert data["findings"][0] == {
        "code": "update-too-large",
        "severity": "error",
        "where": {"module": None, "parameter": "head.weight", "file": None, "line": None},
        "first_step": 3,
        "last_step": 412,
        "message": "SGD moves head.weight by 43 % of its size, 40 samples in a row.",
        "evidence": {
            "update_ratio": 0.4312,
            "limit": 0.1,
            "learning_rate": 4.0,
            "also_at": ["body.0.weight", "body.2.weight"],
        },
        "cause": "The learning rate is too high for this model.",
        "remedy": "Divide the learning rate by 10 (now 4).",
        "doc": "docs/rules/update-too-large.md",
        "symptoms": data["findings"][0]["symptoms"],
    }
    assert [symptom["code"] for symptom in data["findings"][0]["symptoms"]] == [
        "dead-units",
        "loss-not-decreasing",
    ]
    assert data["run"] == {
        "command": "train.py --epochs 3",
        "started": "2026-01-02T03:04:05",
        "ending": "finished",
        "models": ["CNN"],
        "optimizers": [{"name": "SGD", "type": "SGD", "steps": 412}],
        "steps": 412,
        "sampled": 38,
        "wall_s": 12.31,
        "own_s": 0.4,
        "startup_s": 0.2,
        "overhead": 0.0123,
        "not_seen": {},
        "failed": {},
        "versions": {"torch": "2.13"},
        "tracked": None,
        "directory": "/runs/train-20260102-030405",
    }


@given(report=reports())
def test_any_report_is_strict_json_whose_findings_come_back(report: Report) -> None:
    data = strict(json_text(report))
    for written, finding in zip(data["findings"], report.findings, strict=True):
        assert Finding.from_json(written).to_json() == finding.to_json()


def test_numbers_that_json_lacks() -> None:
    evidence: Any = {
        "a": float("nan"),
        "b": [np.float32("inf"), np.int64(3)],
        "c": np.float64("-inf"),
        "d": {1: 2},
    }
    report = Report((Finding("x", Severity.INFO, "", evidence=evidence),))
    assert strict(json_text(report))["findings"][0]["evidence"] == {
        "a": "nan",
        "b": ["inf", 3],
        "c": "-inf",
        "d": {"1": 2},
    }


def test_what_is_taken_from_a_history() -> None:
    history = History()
    history.run.models, history.run.steps, history.run.sampled = ["Net"], 9, 4
    history.run.wall_s, history.run.own_s, history.run.startup_s = 11.0, 1.5, 0.5
    history.optimizers["G"] = OptimizerFacts("Adam", steps=6)
    history.optimizers["D"] = OptimizerFacts("Adam", steps=3)
    history.layers["a"] = LayerFacts("relu")
    history.note("not-seen", 1, "compiled", reason="a forward issues collectives")
    history.note("collector-failed", 1, "x", collector="updates", error="KeyError: 'a'")
    history.note("examples-tracked", 9, "", text="66 labels")
    history.note("examples-tracked", 9, "", text="67 labels")
    report = build_report(history, Diagnosis((), {"a": "b"}), directory=Path("runs/a"))
    assert report.to_json()["run"] == {
        "command": "",
        "started": "",
        "ending": "",
        "models": ["Net"],
        "optimizers": [
            {"name": "G", "type": "Adam", "steps": 6},
            {"name": "D", "type": "Adam", "steps": 3},
        ],
        "steps": 9,
        "sampled": 4,
        "wall_s": 11.0,
        "own_s": 1.5,
        "startup_s": 0.5,
        "overhead": pytest.approx(1 / 9.5),
        "not_seen": {"compiled": "a forward issues collectives"},
        "failed": {"updates": "KeyError: 'a'"},
        "versions": {},
        "tracked": {"text": "67 labels"},
        "directory": os.path.join("runs", "a"),
    }
    assert report.not_run == {"a": "b"}


@pytest.mark.parametrize(
    ("severities", "verdict", "failing"),
    [
        ([], "healthy", []),
        (["info"], "healthy", []),
        (["warning", "info"], "at-risk", ["warning"]),
        (["warning", "error"], "broken", ["error", "warning"]),
    ],
)
def test_verdict_and_fail_on(severities: list[str], verdict: str, failing: list[str]) -> None:
    findings = tuple(Finding("x", Severity(severity), "") for severity in severities)
    report = Report(findings, {}, HEALTHY.run)
    assert report.verdict == verdict
    assert [limit for limit in ("error", "warning", "never") if report.fails(limit)] == failing  # type: ignore[arg-type]


def test_nothing_seen_is_not_healthy() -> None:
    assert NOTHING_SEEN.verdict == "nothing-seen"
    assert Report((Finding("x", Severity.ERROR, ""),)).verdict == "broken"


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    write_json(UNHEALTHY, file)
    assert strict(file.read_text("ascii")) == UNHEALTHY.to_json()
    write_json(HEALTHY, file)
    assert strict(file.read_text("ascii"))["verdict"] == "healthy"
    assert os.listdir(tmp_path) == ["report.json"]
    with pytest.raises(OSError, match="missing"):
        write_json(HEALTHY, tmp_path / "missing" / "report.json")
