"""Live models and data: what is measured, what is found, and that nothing is changed."""

from __future__ import annotations

import copy
import random
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from diagnose.errors import GapError
from diagnose.gap import diagnose_gap
from diagnose.gap._likeness import _area, overlap, reordered, told_apart
from tests.gap.conftest import Train

Pair: TypeAlias = "tuple[Tensor, Tensor]"
Data: TypeAlias = "tuple[Pair, Pair]"


def test_errors_are_those_of_evaluation_mode(trained: nn.Module, digits: Data) -> None:
    train, test = digits
    trained.train()
    found = diagnose_gap(model=trained, train_data=train, test_data=test)
    trained.eval()
    with torch.no_grad():
        wrong = (trained(test[0]).argmax(1) != test[1]).float().mean().item()
    assert found.test_error is not None
    assert found.test_error.value == pytest.approx(wrong)
    assert found.test_error.n == 800


@pytest.mark.parametrize("kind", ["pair", "dataset", "loader"])
def test_data_come_as_people_hold_them(kind: str, trained: nn.Module, digits: Data) -> None:
    data = digits[1] if kind == "pair" else TensorDataset(*digits[1])
    given = DataLoader(data, batch_size=100) if kind == "loader" else data  # type: ignore[arg-type]
    found = diagnose_gap(model=trained, test_data=given)
    assert found.test_error == diagnose_gap(model=trained, test_data=digits[1]).test_error


def test_nothing_is_changed(digits: Data) -> None:
    model = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 10)).train()
    model[3].eval()
    model(digits[0][0][:8]).sum().backward()
    state, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    seeds = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # type: ignore[index]
    diagnose_gap(
        model=model,
        reloaded=model,
        train_data=DataLoader(TensorDataset(*digits[0]), shuffle=True, batch_size=64),
        test_data=digits[1],
        loss_fn=nn.functional.cross_entropy,
        hyperparameters={"lr": 1e-3},
        probe=True,
        probe_seconds=1,
    )
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())
    assert modes == [m.training for m in model.modules()]
    assert all(torch.equal(a, p.grad) for a, p in zip(gradients, model.parameters(), strict=True) if p.grad is not None)
    assert torch.equal(torch.get_rng_state(), seeds[0])
    assert random.getstate() == seeds[1]
    assert (np.random.get_state()[1] == seeds[2]).all()  # type: ignore[index]


def test_a_healthy_model_that_meets_its_target(trained: nn.Module, digits: Data) -> None:
    found = diagnose_gap(
        model=trained, reloaded=copy.deepcopy(trained), train_data=digits[0], test_data=digits[1], target_error=0.1
    )
    assert found.verdict == "target-met"
    assert not found.findings


def test_another_reloaded_model(trained: nn.Module, digits: Data) -> None:
    other = copy.deepcopy(trained)
    with torch.no_grad():
        other[0].weight.add_(0.05)  # type: ignore[index]
    found = diagnose_gap(model=trained, reloaded=other, train_data=digits[0], test_data=digits[1])
    assert found.verdict == "save-load-bug"
    assert [one.code for one in found.recommendations] == ["check-save-load"]


def test_a_model_whose_state_lacks_something(digits: Data) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.scale = nn.Linear(64, 10), torch.ones(1)

        def forward(self, inputs: Tensor) -> Tensor:
            if self.training:
                self.scale = self.scale * 1.5
            return self.layer(inputs) * self.scale  # type: ignore[no-any-return]

    found = diagnose_gap(model=Scaled(), test_data=digits[1])
    assert found.verdict == "save-load-bug", str(found)
    assert "scale" in found.sentence


@pytest.mark.parametrize(
    ("change", "verdict", "word"),
    [
        (lambda x, y: (x, y.roll(1)), "evaluation-bug", "1 row off"),
        (lambda x, y: (x, (y + 3) % 10), "evaluation-bug", "another order"),
        (lambda x, y: (1 - x, y), "distribution-mismatch", "tells test inputs"),
        (lambda x, y: (x.flip(1), y), "distribution-mismatch", "tells test inputs"),
    ],
    ids=["rolled", "renumbered", "inverted", "upside down"],
)
def test_a_broken_pipeline(change: object, verdict: str, word: str, trained: nn.Module, digits: Data) -> None:
    found = diagnose_gap(
        model=trained,
        train_data=digits[0],
        test_data=change(*digits[1]),  # type: ignore[operator]
        target_error=0.02,
    )
    assert found.verdict == verdict, str(found)
    assert word in str(found)
    assert [one.code for one in found.recommendations] == ["check-test-pipeline"]


def test_rows_of_the_training_data_in_the_test_data(trained: nn.Module, digits: Data) -> None:
    mixed = tuple(torch.cat([part[:300], other[:60]]) for part, other in zip(digits[1], digits[0], strict=True))
    found = diagnose_gap(model=trained, train_data=digits[0], test_data=mixed, target_error=0.02)
    assert found.verdict == "leak"
    interval = found.evidence["shared-rows"].interval
    assert interval is not None
    assert interval.value == pytest.approx(60 / 360)


def test_a_feature_that_was_made_of_the_label() -> None:
    torch.manual_seed(0)
    inputs, targets = torch.randn(400, 5), torch.randint(2, (400,))
    inputs[:, 3] = targets + 0.05 * torch.randn(400)
    found = diagnose_gap(
        model=nn.Linear(5, 2), train_data=(inputs[:200], targets[:200]), test_data=(inputs[200:], targets[200:])
    )
    assert found.verdict == "leak"
    assert "feature 3" in found.sentence


def test_classes_that_are_far_apart_are_no_leak() -> None:
    torch.manual_seed(0)
    targets = torch.randint(2, (400,))
    inputs = torch.randn(400, 4) + 8 * targets[:, None]
    found = diagnose_gap(
        model=nn.Linear(4, 2), train_data=(inputs[:200], targets[:200]), test_data=(inputs[200:], targets[200:])
    )
    assert found.verdict != "leak"


def test_wrong_labels_are_seen_while_they_are_not_learned(train: Train, digits: Data) -> None:
    inputs, labels = digits[0]
    noisy = labels.clone()
    noisy[:60] = (noisy[:60] + 3) % 10
    model = train((inputs, noisy), epochs=6, dropout=0.2)
    found = diagnose_gap(model=model, train_data=(inputs, noisy), test_data=digits[1], target_error=0.02)
    assert found.verdict == "data-quality", str(found)
    assert found.recommendations[0].code == "fix-labels"


def test_a_told_error_that_is_not_the_models(trained: nn.Module, digits: Data) -> None:
    found = diagnose_gap(model=trained, train_data=digits[0], test_data=digits[1], test_error=0.5, target_error=0.02)
    assert found.verdict == "evaluation-bug"


def test_a_narrow_model_is_named_by_its_layer(train: Train, digits: Data) -> None:
    found = diagnose_gap(model=train(digits[0], hidden=2), train_data=digits[0], test_data=digits[1], target_error=0.05)
    assert found.verdict == "underfitting"
    assert found.recommendations[0].hyperparameter == "0.out_features"
    assert found.recommendations[0].current == 2


def test_a_regression_and_a_binary_output() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(200, 3)
    amounts = inputs.sum(1, keepdim=True)
    found = diagnose_gap(model=nn.Linear(3, 1), train_data=(inputs[:100], amounts[:100]), test_data=(inputs, amounts))
    assert found.test_error is not None
    assert not found.test_error.is_share
    labels = (inputs[:, 0] > 0).long()
    found = diagnose_gap(model=lambda x: x[:, 0], test_data=(inputs, labels))
    assert found.test_error is not None
    assert found.test_error.value == 0


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"model": nn.Linear(64, 10)}, "train_data and test_data"),
        ({"reloaded": nn.Linear(64, 10), "test_data": "x"}, "test_data"),
        ({"model": nn.Linear(5, 10)}, "shapes"),
        ({"model": 3}, "int"),
        ({"model": nn.Linear(64, 5)}, "5 classes"),
        ({"probe": True, "model": nn.Linear(64, 10)}, "train_data"),
    ],
)
def test_what_cannot_be_measured_is_named(told: dict[str, object], words: str, digits: Data) -> None:
    if "model" in told and words != "train_data and test_data":
        told = {**told, "test_data": digits[1]}
    with pytest.raises(GapError, match=words):
        diagnose_gap(**told)  # type: ignore[arg-type]


# ---------------------------------------------------------------------- statistics and their slow twins


def test_area_under_the_curve_is_that_of_scikit_learn() -> None:
    random_ = np.random.default_rng(0)
    positive, negative = (random_.integers(low, low + 9, 70).astype(np.float64) for low in (1, 0))
    wanted = roc_auc_score([1] * 70 + [0] * 70, [*positive, *negative])
    assert _area(positive, negative, 0.95).value == pytest.approx(wanted)


def test_inputs_of_one_distribution_are_not_told_apart() -> None:
    areas = []
    for seed in range(20):
        torch.manual_seed(seed)
        found = told_apart(torch.randn(300, 1, 6, 6), torch.randn(300, 1, 6, 6), seed)
        assert found is not None
        areas.append(0.5 in found)
    assert sum(areas) >= 16


def test_overlap_counts_twins() -> None:
    train, test = torch.arange(20.0).reshape(10, 2), torch.arange(8.0, 28.0).reshape(10, 2)
    twins = torch.cat([train, train[:1]])
    assert overlap(twins, test).share.value == 0.6
    assert overlap(twins, test).by_chance == pytest.approx(2 / 11)


def test_labels_at_random_are_not_called_reordered() -> None:
    random_ = np.random.default_rng(0)
    for _ in range(20):
        assert reordered(random_.integers(0, 10, 200), random_.integers(0, 10, 200), 10) is None


def test_a_model_that_jumps_is_no_witness_against_labels() -> None:
    """Its training loss jumps: the labels that it contradicts come after that, those that others name do not."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(600, 8, generator=generator)
    targets = torch.randint(0, 2, (600,), generator=generator)  # labels that no rows near by confirm
    model = nn.Linear(8, 2)
    with torch.no_grad():
        model.weight.mul_(20)
    jumping = [2.3, 0.9, 0.7, 1.1, 0.6, 0.9, 0.7, 1.2, 0.6, 1.0, 0.7, 1.1]
    given: dict[str, Any] = {
        "model": model,
        "train_data": (inputs, targets),
        "target_error": 0.05,
        "hyperparameters": {"lr": 0.3},
    }
    assert diagnose_gap(**given).recommendations[0].code == "fix-labels"
    found = diagnose_gap(**given, curves={"train_loss": jumping})
    assert [one.code for one in found.recommendations][:2] == ["lower-lr", "fix-labels"]
    named = diagnose_gap(**given, curves={"train_loss": jumping}, suspects=0.3)
    assert named.recommendations[0].code == "fix-labels"
