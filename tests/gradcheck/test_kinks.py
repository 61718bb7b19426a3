"""Points without a derivative: a valid subgradient is no fault, anything else is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from diagnose import check_gradients
from tests.gradcheck.functions import changed, numbers, planted


def half_zero() -> Tensor:
    x = numbers(4, 5)
    x[:, ::2] = 0
    return x


TIED = torch.tensor([[1.0, 1, 1, 2, 0], [2, 2, 0, 1, 1]], dtype=torch.float64)

KINKS: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
    "relu": (F.relu, half_zero()),
    "relu sum": (lambda x: F.relu(x).sum(), half_zero()),
    "abs": (torch.abs, half_zero()),
    "hardtanh": (F.hardtanh, half_zero().sign()),
    "amax": (lambda x: x.amax(1), TIED),
    "max": (lambda x: x.max(1).values, TIED),
    "median": (lambda x: x.median(1).values, TIED),
    "sort": (lambda x: x.sort(1).values, TIED),
    "floor": (lambda x: x.floor() + x, TIED),
    "norm": (lambda x: x.norm(dim=1), torch.zeros(2, 3, dtype=torch.float64)),
}


@pytest.mark.parametrize("name", KINKS)
def test_a_subgradient_is_right(name: str) -> None:
    function, x = KINKS[name]
    report = check_gradients(function, [x])
    assert report.ok, str(report)
    assert report.entries[0].verdict in ("ok", "kink")


@pytest.mark.parametrize("name", KINKS)
def test_a_wrong_sign_there_is_a_fault(name: str) -> None:
    function, x = KINKS[name]
    if name == "norm":
        pytest.skip("0 is its gradient there, with any sign")
    assert not check_gradients(planted(function, changed(torch.neg)), [x]).ok


def test_a_value_outside_the_slopes_is_a_fault() -> None:
    def five_at_zero(gradient: Tensor) -> Tensor:
        return torch.where(half_zero() == 0, 5.0, gradient)

    (entry,) = check_gradients(planted(F.relu, changed(five_at_zero)), [half_zero()]).entries
    assert entry.verdict == "fault"
    assert {element.index for element in entry.elements} <= {(i, j) for i in range(4) for j in (0, 2, 4)}


def test_a_fault_beside_kinks_is_not_excused() -> None:
    def wrong_at_one(gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        gradient[2, 3] *= 1.05
        return gradient

    (entry,) = check_gradients(planted(F.leaky_relu, changed(wrong_at_one)), [half_zero()]).entries
    assert entry.verdict == "fault"
    assert [element.index for element in entry.elements] == [(2, 3)]


def test_many_kinks_in_a_large_tensor_take_few_forwards() -> None:
    x = numbers(100, 100)
    x[::2] = 0
    report = check_gradients(F.relu, [x])
    assert report.entries[0].verdict == "kink"
    assert report.forwards < 500


def test_a_wrong_special_case_is_no_kink() -> None:
    x = numbers(60, 60)
    x[31, 7] = 0

    def wrong_at_zero(gradient: Tensor) -> Tensor:
        return torch.where(x == 0, 2 * gradient, gradient)

    (entry,) = check_gradients(planted(torch.sin, changed(wrong_at_zero)), [x]).entries
    assert entry.verdict == "fault"
    assert [element.index for element in entry.elements] == [(31, 7)]


def test_an_infinite_derivative_is_told() -> None:
    x = torch.tensor([0.0, 1.0, 4.0], dtype=torch.float64)
    (entry,) = check_gradients(torch.sqrt, [x]).entries
    assert entry.verdict == "kink"
    assert "the derivative is infinite here" in entry.elements[0].why


def test_ties_inside_of_a_model() -> None:
    """Max pooling over blank padding: each choice among the ties is valid, and meets others further on."""
    torch.manual_seed(0)
    layers = (torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Conv2d(4, 2, 3))
    x = torch.randn(2, 1, 12, 12)
    x[..., :6] = 0
    report = check_gradients(torch.nn.Sequential(*layers), [x], loss_fn=lambda y: y.square().mean())
    assert report.ok, str(report)
    assert "kink" in {entry.verdict for entry in report.entries}


def test_a_relu_net_between_its_kinks() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(6, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU()
    ).double()
    report = check_gradients(net, [numbers(32, 6)])
    assert {entry.verdict for entry in report.entries} == {"ok"}, str(report)
