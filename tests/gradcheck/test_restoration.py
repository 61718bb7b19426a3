"""A check is a guest: everything of the caller's is bit for bit what it was."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diagnose import CheckError, check_gradients
from tests.gradcheck.functions import changed, numbers, planted


class Busy(nn.Module):
    """Moves all that a forward can move."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.ReLU())
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.eval_part = nn.Dropout(0.5).eval()
        self.calls = 0
        self.seen: list[int] = []
        self.generator = torch.Generator().manual_seed(3)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(self.calls)
        noise = torch.rand(4, generator=self.generator) + float(np.random.rand()) + random.random()
        return self.eval_part(self.frozen(self.body(x))) + noise.to(x.dtype)


def snapshot(model: nn.Module, tensors: list[Tensor]) -> dict[str, Any]:
    named = [*model.named_parameters(), *model.named_buffers(), *((f"tensor {i}", t) for i, t in enumerate(tensors))]
    return {
        **{name: (id(t), t.data_ptr(), t._version, t.detach().clone(), t.requires_grad, t.dtype) for name, t in named},
        **{f"{name}.grad": (id(t.grad), None if t.grad is None else t.grad.clone()) for name, t in named},
        "modes": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),
        "default": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "attributes": {k: v for k, v in vars(model).items() if not k.startswith("_") and k != "generator"},
        "seen": list(vars(model).get("seen", [])),
        "generator": model.generator.get_state() if isinstance(model, Busy) else None,
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def assert_unchanged(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert before.keys() == after.keys()
    assert [key for key in before if not same(before[key], after[key])] == []


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("second_order", [False, True])
def test_nothing_of_a_model_has_changed(dtype: torch.dtype, second_order: bool) -> None:
    torch.manual_seed(0)
    model = Busy().to(dtype)
    x, y = numbers(6, 3).to(dtype).requires_grad_(), torch.randn(6, 4, dtype=dtype)
    (model(x) - y).square().sum().backward()
    before = snapshot(model, [x, y])
    report = check_gradients(model, [x], loss_fn=lambda output: (output - y).square(), second_order=second_order)
    assert report.ok, str(report)
    assert_unchanged(before, snapshot(model, [x, y]))
    # The graph of the caller's is still good, and training goes on.
    model(x).sum().backward()


def test_nothing_has_changed_after_a_fault_or_an_error() -> None:
    model = Busy().double()
    x = numbers(6, 3)
    before = snapshot(model, [x])
    assert not check_gradients(model, [x], loss_fn=planted(torch.sin, changed(torch.neg))).ok

    def fails(output: Tensor) -> Tensor:
        raise KeyError("no")

    with pytest.raises(CheckError, match="Busy raised KeyError"):
        check_gradients(model, [x], loss_fn=fails)
    assert_unchanged(before, snapshot(model, [x]))


def test_a_model_that_a_function_closes_over_is_not_touched() -> None:
    model = Busy()
    x = numbers(6, 3).float()
    before = snapshot(model, [x])
    report = check_gradients(lambda x: model(x).exp(), [x])
    assert report.ok, str(report)
    assert "model.body.0.weight" in [entry.name for entry in report.entries]
    assert_unchanged(before, snapshot(model, [x]))


def test_a_module_that_cannot_be_copied_is_put_back() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)
            self.norm = nn.BatchNorm1d(2)

        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("one of its kind")

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.fc(x))  # type: ignore[no-any-return]

    model = Fixed().double()
    before = snapshot(model, [])
    report = check_gradients(model, [numbers(4, 3)])
    assert report.ok, str(report)
    assert any("cannot be copied" in note for note in report.notes)
    after = snapshot(model, [])
    for key in before:
        if key.startswith("norm."):  # a buffer that is written and written back has another version
            before[key], after[key] = ((v[:2] + v[3:]) if len(v) > 2 else v for v in (before[key], after[key]))
    assert_unchanged(before, after)


def test_in_place_functions_do_not_reach_the_caller() -> None:
    x, index = numbers(3, 4), torch.tensor([0, 1, 2])
    kept = x.clone(), index.clone()
    assert check_gradients(lambda x, index: x.mul_(2)[index.add_(-1).abs()], [x, index]).ok
    assert torch.equal(x, kept[0])
    assert torch.equal(index, kept[1])
