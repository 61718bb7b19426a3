"""lr_range_test: the curve, the range that it suggests, its picture."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from diagnose.checks import LrRangeResult, Status, lr_range_test
from diagnose.errors import CheckError
from tests.support import faults
from tests.support.models import HEALTHY, Case, made, mlp


def check(case: Case, **options: Any) -> LrRangeResult:
    return lr_range_test(case.model, case.inputs, case.targets, loss_fn=case.loss_fn, **options)


@pytest.mark.parametrize("make", HEALTHY)
def test_healthy_models_get_a_range(make: Callable[[], Case], nothing_changes: Callable[..., LrRangeResult]) -> None:
    case = made(make)
    result = nothing_changes(lr_range_test, case.model, case.inputs, case.targets, loss_fn=case.loss_fn, steps=60)
    assert result.ok, str(result)
    assert result.suggested is not None
    assert result.steepest is not None
    assert result.suggested[0] <= result.steepest <= result.suggested[1]
    json.dumps(result.to_json(), allow_nan=False)


class Parabola(nn.Module):
    """Gradient descent on it converges below a rate of 2 / curvature, and diverges above."""

    def __init__(self, curvature: float) -> None:
        super().__init__()
        self.place, self.curvature = nn.Parameter(torch.tensor(3.0)), curvature

    def forward(self, x: Tensor) -> Tensor:
        return self.curvature * self.place.square() / 2 + 0 * x.sum()


@settings(max_examples=15, deadline=None)
@given(st.floats(0.3, 3000.0))
def test_the_range_ends_below_the_rate_that_diverges(curvature: float) -> None:
    result = lr_range_test(
        Parabola(curvature), torch.ones(1), optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0)
    )
    assert result.suggested is not None
    low, high = result.suggested
    assert low < high < 2 / curvature
    assert high > 0.02 / curvature


def test_an_optimizer_beyond_the_range_is_told() -> None:
    result = lr_range_test(
        Parabola(100.0), torch.ones(1), optimizer=lambda parameters: torch.optim.SGD(parameters, lr=5.0)
    )
    assert [finding.code for finding in result.findings] == ["update-too-large"]


def test_a_loss_that_falls_nowhere() -> None:
    result = lr_range_test(nn.Linear(3, 2), torch.randn(4, 3), loss_fn=lambda out: (0 * out).sum() + 1)
    assert result.suggested is None
    assert result.summary == "the loss falls at no learning rate"
    assert result.status is Status.PASSED


def test_groups_keep_their_ratios() -> None:
    seen: list[float] = []

    class Noting(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            seen.append(self.param_groups[1]["lr"] / self.param_groups[0]["lr"])

    def make(parameters: Any) -> torch.optim.Optimizer:
        first, *others = parameters
        return Noting([{"params": [first], "lr": 0.1}, {"params": others, "lr": 0.02}])

    check(made(mlp), optimizer=make, steps=10)
    assert seen == pytest.approx([0.2] * len(seen))


def test_the_text_and_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = check(made(mlp), batch_size=8)
    lines = str(result).splitlines()
    assert lines[0].startswith("lr-range-test: passed: learning rates from ")
    assert any("*" in line for line in lines)
    assert "===" in lines[-2]
    assert lines[-1].split()[0] == "1e-06"
    result.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(CheckError, match="cannot be written"):
        result.plot(tmp_path / "missing" / "curve.png")


def test_a_picture_needs_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(CheckError, match="pip install matplotlib"):
        check(made(mlp), steps=20).plot(tmp_path / "curve.png")


def test_what_does_not_apply(tmp_path: Path) -> None:
    result = check(made(faults.logarithm_of_a_negative))
    assert result.reason == "the loss is nan before any step"
    with pytest.raises(CheckError, match="nothing to plot"):
        result.plot(tmp_path / "curve.png")
    with pytest.raises(ValueError, match="lowest < highest"):
        check(made(mlp), lowest=1.0, highest=0.1)
