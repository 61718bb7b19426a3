"""input_sensitivity: outputs that differ, inputs that matter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from diagnose.checks import CheckResult, Status, input_sensitivity
from tests.support import faults
from tests.support.models import HEALTHY, Case, made


@pytest.mark.parametrize("make", HEALTHY)
def test_healthy_models_pass(make: Callable[[], Case], nothing_changes: Callable[..., CheckResult]) -> None:
    case = made(make)
    result = nothing_changes(input_sensitivity, case.model, case.inputs, case.targets)
    assert result.ok, str(result)
    assert result.findings == ()


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (faults.ignores_its_input, "constant-output"),
        (faults.looks_at_the_first_example, "constant-output"),
        (faults.dead_units, "constant-output"),
        (faults.half_of_the_features, "input-ignored"),
    ],
)
def test_a_fault_is_found(make: Callable[[], Case], code: str) -> None:
    case = made(make)
    result = input_sensitivity(case.model, case.inputs)
    assert [finding.code for finding in result.findings] == [code]


class Two(nn.Module):
    def __init__(self, use_second: bool) -> None:
        super().__init__()
        self.layer, self.use_second = nn.Linear(4, 3), use_second

    def forward(self, a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
        out = self.layer(a) * mask[:, None]
        return out + b if self.use_second else out + 0 * b


@pytest.mark.parametrize("use_second", [True, False])
def test_each_input_alone(use_second: bool) -> None:
    inputs = {"a": torch.randn(6, 4), "b": torch.randn(6, 3), "mask": torch.ones(6)}
    result = input_sensitivity(Two(use_second), inputs)
    assert result.ok is use_second
    if not use_second:
        assert result.findings[0].where.module == "b"
    # A mask that is the same for all examples says nothing.
    assert result.evidence["inputs"] == {"a": True, "b": use_second, "mask": None}


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(0, 7), min_size=1, max_size=7))
def test_the_unused_features_are_named(unused: set[int]) -> None:
    class Columns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kept = [index for index in range(8) if index not in unused]
            self.layer = nn.Linear(len(self.kept), 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x[:, self.kept])

    result = input_sensitivity(Columns(), torch.randn(5, 8))
    assert result.evidence["unused_features"] == {"input 0": sorted(unused)}


def test_a_threshold_has_no_gradient_and_matters() -> None:
    class Threshold(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x > 0).float().sum(1, keepdim=True) + x[:, :1]

    assert input_sensitivity(Threshold(), torch.randn(8, 4)).ok


def test_channels_of_images() -> None:
    class Gray(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x[:, :1]).mean((2, 3))

    result = input_sensitivity(Gray(), torch.randn(4, 3, 8, 8))
    assert "2 of 3 channels of input 0 do not matter: 1, 2" in result.findings[0].message


def test_one_example_and_equal_examples() -> None:
    assert input_sensitivity(nn.Linear(3, 2), torch.randn(1, 3)).ok
    assert input_sensitivity(nn.Linear(3, 2), torch.ones(4, 3)).status is Status.NOT_APPLICABLE
    assert input_sensitivity(nn.Identity(), torch.arange(3)).status is Status.NOT_APPLICABLE
