"""default_baseline: the right network for the data, a task that is told or asked for, and training that works."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import diagnose
from diagnose.baseline import default_baseline
from diagnose.errors import CheckError

datasets = pytest.importorskip("sklearn.datasets")


def divided(inputs: Any, targets: Any, share: float = 0.3) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training and test data, always the same ones."""
    inputs, targets = torch.as_tensor(inputs), torch.as_tensor(targets)
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))
    out = order[: int(share * len(order))]
    kept = order[len(out) :]
    return (inputs[kept], targets[kept]), (inputs[out], targets[out])


def accuracy(baseline: diagnose.Baseline, data: tuple[Tensor, Tensor]) -> float:
    return float((baseline.predict(data[0]).argmax(1) == data[1]).float().mean())


def has(model: nn.Module, kind: type[nn.Module]) -> bool:
    return any(isinstance(module, kind) for module in model.modules())


def test_digits_as_images() -> None:
    digits = datasets.load_digits()
    train, test = divided(digits.images[:, None].astype("float32"), digits.target)
    baseline = default_baseline(train)
    assert (baseline.kind, baseline.task) == ("images", "classification")
    assert has(baseline.model, nn.Conv2d)
    assert has(baseline.model, nn.BatchNorm2d)
    baseline.fit(train, epochs=8)
    assert accuracy(baseline, test) > 0.96


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_breast_cancer_in_its_own_units(optimizer: Any) -> None:
    cancer = datasets.load_breast_cancer()
    train, test = divided(cancer.data, cancer.target)
    baseline = default_baseline(train, optimizer=optimizer)
    assert (baseline.kind, baseline.task) == ("vectors", "classification")
    fit = baseline.fit(train)
    assert fit.stopped == "patience"
    assert accuracy(baseline, test) > 0.94


def test_diabetes_is_predicted_in_its_own_units() -> None:
    diabetes = datasets.load_diabetes()
    train, test = divided(diabetes.data, diabetes.target)
    baseline = default_baseline(train)
    assert baseline.task == "regression"
    fit = baseline.fit(train)
    assert len(fit.train_losses) == len(fit.validation_losses) > fit.best_epoch
    predicted = baseline.predict(test[0])
    assert predicted.shape == test[1].shape
    explained = 1 - (predicted - test[1]).pow(2).mean() / test[1].var()
    assert explained > 0.3
    assert float(baseline.loss_fn(predicted, test[1])) == pytest.approx(float((predicted - test[1]).pow(2).mean()))


def test_sequences_of_tokens() -> None:
    ids = torch.randint(1, 20, (400, 8), generator=torch.Generator().manual_seed(0))
    train, test = divided(ids, (ids == 3).any(1).long())
    baseline = default_baseline(train)
    assert (baseline.kind, baseline.task) == ("tokens", "classification")
    assert has(baseline.model, nn.Embedding)
    assert has(baseline.model, nn.GRU)
    baseline.fit(train, test, epochs=40)
    assert accuracy(baseline, test) > 0.95


def test_sequences_of_vectors_with_an_output_for_each() -> None:
    x = torch.randn(200, 6, 2, generator=torch.Generator().manual_seed(0))
    y = (x[..., 0].cumsum(1) > 0).long()
    train, test = divided(x, y)
    baseline = default_baseline(train, "token-classification")
    baseline.fit(train, epochs=30)
    assert baseline.predict(test[0]).shape == (60, 6, 2)
    assert float((baseline.predict(test[0]).argmax(2) == test[1]).float().mean()) > 0.9


@pytest.mark.parametrize(
    ("targets", "task"),
    [
        (torch.tensor([0, 1, 2, 1] * 8), "classification"),
        (torch.tensor([0.0, 1.0] * 16), "classification"),
        (torch.tensor([[0.0], [1.0]] * 16), "classification"),
        (torch.tensor([True, False] * 16), "classification"),
        (torch.eye(4).repeat(8, 1), "classification"),
        (torch.randn(32), "regression"),
        (torch.randn(32, 1), "regression"),
        (torch.randn(32, 3), "regression"),
        (torch.tensor([[1, 0, 1], [0, 0, 0]] * 16), "multilabel"),
        (torch.tensor([[1.0, 1.0], [0.0, 1.0]] * 16), "multilabel"),
    ],
)
def test_the_task_is_told_from_the_targets_and_can_be_trained(targets: Tensor, task: str) -> None:
    baseline = default_baseline((torch.randn(32, 5), targets), width=8)
    assert baseline.task == task
    fit = baseline.fit((torch.randn(32, 5), targets), epochs=2)
    assert all(map(torch.isfinite, map(torch.tensor, fit.train_losses)))


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        (torch.arange(32), "32 distinct whole numbers among 32 targets may be classes or amounts: give task"),
        (torch.eye(4), "4 rows with a single 1 each may be classes or labels"),
        (torch.randint(9, (32, 3)) + 2, r"Integer targets of shape \(32, 3\) may be amounts or labels of the places"),
        (torch.randint(9, (32, 3, 3)), "do not tell what is asked"),
        (torch.tensor([0, -1] * 16), "Class -1 is negative"),
    ],
)
def test_what_cannot_be_told_is_asked_for(targets: Tensor, told: str) -> None:
    with pytest.raises(CheckError, match=told):
        default_baseline((torch.randn(len(targets), 5), targets))


def test_other_mistakes_are_told() -> None:
    x, y = torch.randn(8, 5), torch.tensor([0, 1] * 4)
    with pytest.raises(CheckError, match="no default baseline"):
        default_baseline((torch.randn(8, 1, 2, 3, 4), y))
    with pytest.raises(CheckError, match="8 inputs and 4 targets"):
        default_baseline((x, y[:4]))
    with pytest.raises(ValueError, match="task is 'guess'"):
        default_baseline((x, y), "guess")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dropout is 1"):
        default_baseline((x, y), dropout=1)
    with pytest.raises(CheckError, match="4 classes, and the baseline was made for 2"):
        default_baseline((x, y)).fit((x, torch.tensor([0, 1, 2, 3] * 2)))
    with pytest.raises(CheckError, match="is no data"):
        default_baseline(3)


def test_images_of_other_layouts_and_types() -> None:
    y = torch.tensor([0, 1] * 4)
    last = default_baseline((torch.randint(255, (8, 12, 10, 3), dtype=torch.uint8), y), width=4)
    assert last.kind == "images"
    last.fit((torch.randint(255, (8, 12, 10, 3), dtype=torch.uint8), y), epochs=1)
    assert last.predict(torch.randint(255, (3, 12, 10, 3), dtype=torch.uint8)).shape == (3, 2)
    tiny = default_baseline((torch.randn(8, 1, 2, 2), y), width=4)
    tiny.fit((torch.randn(8, 1, 2, 2), y), epochs=1)


def test_loaders_data_sets_and_mappings_are_data_too() -> None:
    x, y = torch.randn(40, 5), torch.randint(3, (40,))
    for data in (TensorDataset(x, y), DataLoader(TensorDataset(x, y), 8), {"x": x, "label": y}):
        if isinstance(data, dict):
            with pytest.raises(CheckError, match="single tensors only"):
                default_baseline(data)
        else:
            default_baseline(data, classes=3, width=8).fit(data, epochs=1)


def test_hyperparameters_are_the_keyword_arguments_and_are_what_the_space_names() -> None:
    x, y = torch.randn(16, 5), torch.randint(2, (16,))
    baseline = default_baseline((x, y), "classification")
    assert set(baseline.search_space) == set(baseline.hyperparameters)
    again = default_baseline((x, y), "classification", **baseline.hyperparameters)
    assert again.hyperparameters == baseline.hyperparameters
    assert all("values" in entry or "distribution" in entry for entry in baseline.search_space.values())
    optimizer = baseline.optimizer(baseline.model.parameters())
    assert optimizer.param_groups[0]["lr"] == baseline.hyperparameters["lr"]


@settings(max_examples=8)
@given(st.integers(0, 99), st.sampled_from(["adam", "sgd"]))
def test_same_seed_same_weights_and_nobody_elses_random_numbers(seed: int, optimizer: Any) -> None:
    x, y = torch.randn(24, 5), torch.randint(2, (24,))
    states = torch.get_rng_state(), random.getstate()
    found = []
    for _ in range(2):
        baseline = default_baseline((x, y), "classification", optimizer=optimizer, seed=seed, width=8)
        baseline.fit((x, y), epochs=3)
        found.append(baseline.model.state_dict())
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
