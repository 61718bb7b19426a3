"""The loss of each example, whatever the loss function returns for a batch."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diagnose.errors import MistakesError
from diagnose.mistakes._losses import hint_of, per_example

G = torch.Generator().manual_seed(0)
OUTPUTS = torch.randn(12, 4, generator=G)
TARGETS = torch.randint(4, (12,), generator=G)
ONE = torch.ones(12, 1, dtype=torch.bool)


class Scaled(nn.CrossEntropyLoss):
    """A class derived from torch's own."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return 2 * super().forward(input, target)


class Plain(nn.Module):
    """Has no reduction."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets)


@pytest.mark.parametrize(
    ("loss_fn", "factor"),
    [
        (nn.CrossEntropyLoss(), 1),
        (nn.CrossEntropyLoss(reduction="sum"), 1),
        (Scaled(), 2),
        (Plain(), 1),
        (F.cross_entropy, 1),
        (functools.partial(F.cross_entropy, reduction="sum"), 1),
        (lambda outputs, targets: 5 * F.cross_entropy(outputs, targets), 5),
        (lambda outputs, targets: F.cross_entropy(outputs, targets, reduction="none"), 1),
    ],
)
def test_one_number_for_each_example(loss_fn: Any, factor: int) -> None:
    wanted = factor * F.cross_entropy(OUTPUTS, TARGETS, reduction="none")
    torch.testing.assert_close(per_example(loss_fn, OUTPUTS, TARGETS, ONE), wanted)


def test_the_users_own_module_is_not_changed() -> None:
    loss_fn = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2, 3, 4]))
    per_example(loss_fn, OUTPUTS, TARGETS, ONE)
    assert loss_fn.reduction == "mean"


def test_places_that_do_not_count_are_left_out() -> None:
    outputs = torch.randn(3, 4, 5, generator=G)
    targets = torch.randint(4, (3, 5), generator=G)
    targets[0, 2:] = -100
    found = per_example(F.cross_entropy, outputs, targets, targets != -100)
    wanted = torch.stack([F.cross_entropy(outputs[n : n + 1], targets[n : n + 1]) for n in range(3)])
    torch.testing.assert_close(found, wanted)


def test_outputs_in_containers() -> None:
    def loss_fn(output: Any, targets: Tensor) -> Tensor:
        return F.cross_entropy(output["logits"], targets) + output["extra"][0].mean()

    output = {"logits": OUTPUTS, "extra": (OUTPUTS.sum(1),)}
    wanted = F.cross_entropy(OUTPUTS, TARGETS, reduction="none") + OUTPUTS.sum(1)
    torch.testing.assert_close(per_example(loss_fn, output, TARGETS, ONE), wanted)


@pytest.mark.parametrize(
    ("loss_fn", "message"),
    [
        (lambda outputs, targets: outputs.sum(0), r"a tensor of shape \(4,\)"),
        (lambda outputs, targets: 1.0, "a float"),
        (lambda outputs, targets: outputs @ targets, "The loss function raised RuntimeError"),
    ],
)
def test_what_is_no_loss(loss_fn: Any, message: str) -> None:
    with pytest.raises(MistakesError, match=message):
        per_example(loss_fn, OUTPUTS, TARGETS, ONE)


def test_what_loss_functions_tell() -> None:
    assert hint_of(None) is None and hint_of(Plain()) is None
    for loss_fn in (F.cross_entropy, nn.CrossEntropyLoss(), Scaled(), F.nll_loss, nn.NLLLoss()):
        assert hint_of(loss_fn) is not None and hint_of(loss_fn).family == "classes"  # type: ignore[union-attr]
    hint = hint_of(functools.partial(F.cross_entropy, ignore_index=7))
    assert hint is not None and hint.ignore_index == 7
    hint = hint_of(nn.BCELoss())
    assert hint is not None and hint.outputs == "probabilities"
