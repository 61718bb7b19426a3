"""Gradients of gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from diagnose import check_gradients
from tests.gradcheck.functions import Square, numbers


def verdicts(report: Any) -> dict[tuple[str, int], str]:
    return {(entry.name, entry.order): entry.verdict for entry in report.entries}


def test_right_ones() -> None:
    report = check_gradients(
        lambda x, y: Square.apply(x) * y.exp(), [numbers(3), numbers(3, seed=1)], second_order=True
    )
    assert report.ok, str(report)
    assert set(verdicts(report)) == {("x", 1), ("y", 1), ("x", 2), ("y", 2), ("upstream[0]", 2)}


def test_a_model() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    assert check_gradients(model, [numbers(5, 3)], second_order=True).ok


def test_a_backward_that_breaks_the_graph() -> None:
    class Detaches(Square):
        @staticmethod
        def backward(ctx: Any, upstream: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * x.detach() * upstream

    found = verdicts(check_gradients(Detaches.apply, [numbers(3)], second_order=True))
    assert found == {("x", 1): "ok", ("x", 2): "fault", ("upstream[0]", 2): "ok"}


def test_a_backward_that_is_differentiable_once() -> None:
    class Once(Square):
        @staticmethod
        @once_differentiable
        def backward(ctx: Any, upstream: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * x * upstream

    report = check_gradients(Once.apply, [numbers(3)], second_order=True)
    second = [entry for entry in report.entries if entry.order == 2]
    assert {entry.verdict for entry in second} == {"not-checkable"}
    assert "once_differentiable" in second[0].reason
    assert report.ok


def test_a_linear_function_has_none() -> None:
    report = check_gradients(lambda x: 3 * x, [numbers(3)], second_order=True)
    assert report.ok
