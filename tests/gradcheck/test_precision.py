"""Less than float64: against a float64 copy where there is one, else with wide tolerances, and the report says so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diagnose import check_gradients
from tests.gradcheck.functions import Square, changed, numbers, planted


def float32_only(x: Tensor) -> Tensor:
    return (x.float().sin() * x.float().cumsum(1)).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.complex64])
def test_right_in_any_precision(dtype: torch.dtype) -> None:
    report = check_gradients(
        Square.apply, [numbers(3, 4, dtype=torch.complex128 if dtype.is_complex else dtype).to(dtype)]
    )
    if dtype.is_complex:  # Square's backward lacks the conjugate
        assert report.entries[0].verdict == "fault"
        return
    assert report.ok, str(report)
    assert report.entries[0].dtype == str(dtype).removeprefix("torch.")
    assert report.precision.endswith("differences in float64")
    assert report.entries[0].error < 1e-6


def test_float32_only_passes_with_wide_tolerances_and_says_so() -> None:
    report = check_gradients(float32_only, [numbers(3, 4).float()])
    assert report.ok, str(report)
    assert report.precision == "float32 only, wide tolerances"
    assert any("no float64 copy" in note for note in report.notes)


def test_float32_only_with_a_fault() -> None:
    for change in (torch.neg, lambda g: 1.1 * g, lambda g: g * (torch.arange(4) < 3)):
        assert not check_gradients(planted(float32_only, changed(change)), [numbers(3, 4).float()]).ok


def test_constants_and_tensors_of_a_function_are_widened_too() -> None:
    weight = numbers(4, 2).float().requires_grad_()
    table = {"bias": numbers(2).float()}

    def function(x: Tensor) -> Tensor:
        return F.linear(x, weight.t(), table["bias"]) + torch.zeros(2)

    report = check_gradients(function, [numbers(3, 4).float()])
    assert report.ok, str(report)
    assert report.precision == "float32, differences in float64"


def test_plain_tensor_attributes_of_a_module_are_widened_too() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.offset = torch.ones(4)
            self.scales = [torch.ones(4), torch.ones(4)]

        def forward(self, x: Tensor) -> Tensor:
            return torch.matmul(self.fc(x) + self.offset, torch.stack(self.scales).t())

    report = check_gradients(Model(), [numbers(3, 4).float()])
    assert report.ok
    assert report.precision == "float32, differences in float64"


def test_a_backward_that_is_wrong_in_float32_only() -> None:
    class Casts(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, upstream: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * x * upstream * (1.2 if x.dtype == torch.float32 else 1.0)

    report = check_gradients(Casts.apply, [numbers(3, 4).float()])
    (entry,) = report.entries
    assert entry.verdict == "fault"
    assert "right in float64" in entry.reason
    assert entry.worst is not None
    assert entry.worst.ratio == pytest.approx(1.2, rel=1e-4)


def test_batchnorm_bias_in_float32_is_zero_to_rounding() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh())
    assert check_gradients(model, [numbers(16, 4).float()]).ok


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Tanh()).cuda()
    assert check_gradients(model, [numbers(16, 4).float().cuda()]).ok


class SinglePrecision(nn.Module):
    """Whatever it is given it computes in float32, so that no float64 copy can be had; and its ReLUs make kinks."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.first, self.second, self.factor = nn.Linear(20, 16), nn.Linear(16, 5), factor

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(nn.functional.linear(x.float(), self.first.weight.float(), self.first.bias.float()))
        if self.factor != 1:
            hidden = Scaled.apply(hidden, self.factor)
        return nn.functional.linear(hidden, self.second.weight.float(), self.second.bias.float())


class Scaled(torch.autograd.Function):
    """The identity, with a backward that is off by a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        return upstream * ctx.factor, None


@pytest.mark.parametrize(("seed", "factor"), [*((seed, 1.0) for seed in range(6)), (0, 1.1), (1, -1.0)])
def test_kinks_in_single_precision(seed: int, factor: float) -> None:
    """A step that is short enough to meet no kink is too short for the rounding of a loss."""
    torch.manual_seed(seed)
    labels = torch.randint(5, (16,))
    report = check_gradients(
        SinglePrecision(factor),
        torch.randn(16, 20),
        loss_fn=lambda output: nn.functional.cross_entropy(output, labels),
        seed=seed,
        seconds=2,
    )
    assert report.precision == "float32 only, wide tolerances"
    wrong = {entry.name for entry in report.entries if entry.verdict == "fault"}
    assert (wrong <= {"x", "first.weight", "first.bias"} and bool(wrong)) if factor != 1 else report.ok, str(report)
