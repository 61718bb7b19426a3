"""assert_output_shape_and_finite and assert_gradients_correct."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diagnose.errors import CheckError, CheckFailedError
from diagnose.testing import assert_gradients_correct, assert_output_shape_and_finite

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


def test_a_right_output_comes_back_and_the_model_is_as_before() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(), nn.Sigmoid())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    output = assert_output_shape_and_finite(model, X, ("batch", 5), low=0, high=1, dtype=torch.float32)
    assert output.shape == (4, 5) and not output.requires_grad
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert_output_shape_and_finite(lambda a, b: a @ b.T, (X, X), ("n", "n"))


def test_outputs_with_names_share_the_names_of_their_sizes() -> None:
    def model(x: Tensor) -> dict[str, Tensor]:
        return {"logits": x.repeat(1, 2), "hidden": x}

    assert_output_shape_and_finite(model, X, {"logits": ("batch", 6), "hidden": ("batch", None)})
    with pytest.raises(CheckFailedError, match=r"hidden has shape \(4, 3\), expected \(batch, batch\)"):
        assert_output_shape_and_finite(model, X, {"logits": ("batch", 6), "hidden": ("batch", "batch")})
    with pytest.raises(CheckError, match="'loss' is nothing, not a tensor"):
        assert_output_shape_and_finite(model, X, {"loss": ()})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shape": (4, 4)}, r"output has shape \(4, 3\), expected \(4, 4\)"),
        ({"shape": (None,)}, r"expected \(\*\)"),
        ({"dtype": torch.float16}, "output is torch.float32, expected torch.float16"),
        ({"low": 0.0}, "expected from 0 to inf"),
        ({"high": 0.0}, "expected from -inf to 0"),
    ],
)
def test_a_wrong_output_is_told(options: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckFailedError, match=says):
        assert_output_shape_and_finite(nn.Identity(), X, **options)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_counted_and_placed(value: float) -> None:
    bad = X.clone()
    bad[2, 1] = value
    with pytest.raises(CheckFailedError) as failure:
        assert_output_shape_and_finite(nn.Identity(), bad)
    assert "1 of 12 values of output are not finite" in str(failure.value)
    assert failure.value.findings[0].evidence["first_at"] == [2, 1]


def test_integers_and_complex_numbers_are_looked_at_as_far_as_it_makes_sense() -> None:
    assert_output_shape_and_finite(lambda x: x.argmax(1), X, ("batch",), low=0, high=2)
    assert_output_shape_and_finite(lambda x: torch.fft.fft(x), X, ("batch", 3))
    assert_output_shape_and_finite(lambda x: x[:0], X, (0, 3))
    with pytest.raises(CheckError, match="there is no tensor in it"):
        assert_output_shape_and_finite(lambda x: "text", X)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:  # type: ignore[override]
        return upstream


def test_right_gradients_pass_and_wrong_ones_show_the_table() -> None:
    report = assert_gradients_correct(nn.Linear(3, 2), X)
    assert report.ok
    with pytest.raises(CheckFailedError) as failure:
        assert_gradients_correct(Doubled.apply, X, seed=3)
    assert [finding.code for finding in failure.value.findings] == ["wrong-gradient"]
    for part in ("back-propagated", "suspect: autograd.Function Doubled", "more: diagnose explain wrong-gradient"):
        assert part in str(failure.value)
