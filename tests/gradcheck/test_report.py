"""The report as a table, as JSON and as findings."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from diagnose import DiagnoseError, WrongGradientError, check_gradients
from diagnose.findings import Finding, Severity
from tests.gradcheck.functions import Apply, changed, numbers, planted


def broken() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), Apply(planted(torch.sin, changed(lambda g: -g))), nn.Linear(4, 2)).double()


def test_the_table() -> None:
    text = str(check_gradients(broken(), [numbers(5, 3)], rerun="make check"))
    lines = text.splitlines()
    assert lines[0].startswith("gradients of Sequential: 3 wrong, 2 right (float64, ")
    assert lines[2].split() == ["tensor", "shape", "verdict", "looked", "at", "error", "would", "show"]
    assert lines[4].split()[:6] == ["0.weight", "4x3", "fault", "12", "of", "12"]
    assert "0.weight: fault: the sign is flipped: it is the numeric gradient times -1" in text
    assert "suspect: the module '1', a Apply (" in text
    assert text.endswith("again: make check")
    assert text.isascii()


def test_json_is_strict_and_complete() -> None:
    report = check_gradients(broken(), [numbers(5, 3)])
    data = json.loads(report.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert data["version"] == 1
    assert data["ok"] is False
    assert [entry["verdict"] for entry in data["entries"]] == ["fault", "fault", "fault", "ok", "ok"]
    assert data["entries"][1]["worst"]["index"] is not None
    assert data["suspect"]["module"] == "1"
    assert data["suspect"]["functions"][0]["name"] == "Planted"
    assert data["forwards"] == report.forwards


def test_findings_are_those_of_every_sink() -> None:
    report = check_gradients(broken(), [numbers(5, 3)])
    first = report.findings[1]
    assert (first.code, first.severity) == ("wrong-gradient", Severity.ERROR)
    assert (first.where.module, first.where.parameter) == ("1", "0.weight")
    assert first.message.startswith("The gradient of 0.weight is wrong: at [")
    assert "the sign is flipped" in first.message
    assert {"back_propagated", "numeric", "noise", "step", "checked", "total"} <= set(first.evidence)
    assert Finding.from_json(json.loads(json.dumps(first.to_json()))).message == first.message


def test_raising() -> None:
    report = check_gradients(broken(), [numbers(5, 3)])
    with pytest.raises(WrongGradientError, match="3 wrong") as caught:
        report.raise_if_wrong()
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, DiagnoseError)
    assert str(caught.value) == str(report)
    check_gradients(torch.sin, [numbers(3)]).raise_if_wrong()


def test_what_to_call_again() -> None:
    report = check_gradients(broken(), [numbers(5, 3)], mode="sampled", seed=4)
    assert str(report).endswith("again: check_gradients(Sequential, inputs, mode='sampled', seed=4)")
