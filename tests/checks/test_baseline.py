"""baseline: good models pass, useless ones do not, and noise is not called a loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from diagnose.checks import Status, baseline
from diagnose.errors import CheckError
from tests.checks import models

Data = tuple[Tensor, Tensor]


def blobs(count: int = 400, classes: int = 3, seed: int = 0) -> tuple[Data, Data]:
    """Classes around points, and not quite apart."""
    draw = torch.Generator().manual_seed(seed)
    centers = 1.2 * torch.randn(classes, 6, generator=draw)
    y = torch.randint(classes, (2 * count,), generator=draw)
    x = centers[y] + torch.randn(2 * count, 6, generator=draw)
    return (x[:count], y[:count]), (x[count:], y[count:])


def trained(model: nn.Module, data: Data, loss_fn: Any = F.cross_entropy, steps: int = 150) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_fn(model(data[0]), data[1]).backward()
        optimizer.step()
    return model


def test_a_trained_model_passes_and_stays_as_it_is() -> None:
    torch.manual_seed(0)
    train, test = blobs()
    model = trained(nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3)), train)
    case = models.Case(model, None, None, None)
    for parameter in model.parameters():
        parameter.grad = None
    before = models.snapshot(case)
    result = baseline(model, train, DataLoader(TensorDataset(*test), 64))
    models.assert_untouched(case, before)
    assert result.ok, str(result)
    assert not result.findings
    assert result.evidence["linear_error"] < result.evidence["constant_error"]  # type: ignore[operator]
    assert "default" in result.summary


@pytest.mark.parametrize("kind", ["untrained", "constant", "permuted"])
def test_a_model_that_has_learned_nothing_fails(kind: str) -> None:
    torch.manual_seed(0)
    train, test = blobs()
    model: nn.Module = nn.Linear(6, 3)
    if kind == "permuted":
        model = trained(model, (train[0], (train[1] + 1) % 3))
    if kind == "constant":
        nn.init.zeros_(model.weight)  # type: ignore[arg-type]
    result = baseline(model, train, test, default=False)
    assert result.status is Status.FAILED
    assert {finding.code for finding in result.findings} == {"below-baseline"}
    assert result.findings[0].severity.value == ("error" if kind == "permuted" else result.findings[0].severity.value)


def test_a_linear_model_that_is_better_is_told() -> None:
    torch.manual_seed(0)
    train, test = blobs()
    model = trained(nn.Sequential(nn.Linear(6, 1), nn.Linear(1, 3)), train)
    result = baseline(model, train, test, default=False)
    assert [finding.severity.value for finding in result.findings] == ["warning"]
    assert "a linear model is better" in result.findings[0].message


def test_the_default_baseline_that_is_better_is_told() -> None:
    torch.manual_seed(0)
    x = torch.randn(800, 2)
    y = (x[:, 0] * x[:, 1] > 0).long()
    train, test = (x[:500], y[:500]), (x[500:], y[500:])
    weak = trained(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)), train, steps=60)
    result = baseline(weak, train, test)
    assert any("default baseline is better" in finding.message for finding in result.findings), str(result)


def test_regression_in_its_own_units() -> None:
    torch.manual_seed(0)
    x = torch.randn(600, 4)
    y = 1000 + 50 * (x[:, 0] + 0.5 * torch.randn(600))
    train, test = (x[:300], y[:300]), (x[300:], y[300:])

    class Good(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 1000 + 50 * x[:, :1]

    class Bad(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 50 * x[:, :1]

    assert baseline(Good(), train, test).ok
    assert baseline(Bad(), train, test, default=False).findings[0].severity.value == "error"


@pytest.mark.parametrize("weighted", [True, False])
def test_unbalanced_classes_may_be_weighted_or_not(weighted: bool) -> None:
    torch.manual_seed(0)
    y = (torch.rand(3000) < 0.05).long()
    x = torch.randn(3000, 3) + 1.8 * y[:, None]
    train, test = (x[:1500], y[:1500]), (x[1500:], y[1500:])
    weight = torch.tensor([0.05, 0.95]) if weighted else None
    model = trained(nn.Linear(3, 2), train, lambda out, y: F.cross_entropy(out, y, weight=weight))
    assert baseline(model, train, test, default=False).ok


def test_several_labels_and_one_logit() -> None:
    torch.manual_seed(0)
    x = torch.randn(500, 5)
    y = (x[:, :3] > 0.5).float()
    model = trained(nn.Linear(5, 3), (x, y), F.binary_cross_entropy_with_logits, 1000)
    assert baseline(model, (x, y), (x, y), default=False).ok
    one = y[:, 0]
    binary = trained(nn.Linear(5, 1), (x, one), lambda o, y: F.binary_cross_entropy_with_logits(o[:, 0], y), 1000)
    assert baseline(binary, (x, one), (x, one), default=False).ok
    assert baseline(nn.Sequential(binary, nn.Sigmoid()), (x, one), (x, one), default=False).ok


def test_sequences_of_tokens_and_labels_of_their_places() -> None:
    torch.manual_seed(0)
    ids = torch.randint(20, (200, 6))
    model = trained(models.Tagger(), (ids, ids % 5), lambda out, y: F.cross_entropy(out.flatten(0, 1), y.flatten()), 40)
    assert baseline(model, (ids, ids % 5), (ids, ids % 5), default=False).ok


def test_inputs_of_several_parts_are_compared_with_a_constant() -> None:
    class Adding(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
            return {"logits": torch.stack([-(a + b), a + b], 1)}

    a, b = torch.randn(200), torch.randn(200)
    data = DataLoader(TensorDataset(a, b, (a + b > 0).long()), 50)
    result = baseline(Adding(), data, data)
    assert result.ok
    assert "linear and default" in str(result.evidence["not_compared"])


def mistaken(labels: Tensor, mistakes: int) -> Tensor:
    """Logits that are right but for the first few."""
    said = labels.clone()
    said[:mistakes] = (said[:mistakes] + 1) % 3
    return 5.0 * nn.functional.one_hot(said, 3)


def test_few_examples_are_no_proof() -> None:
    """Two mistakes in six, where a linear model makes none: that much difference is met by chance."""
    train, test = blobs()
    result = baseline(
        nn.Identity(), train, (test[0][:6], test[1][:6]), predict=lambda _: mistaken(test[1][:6], 2), default=False
    )
    assert result.ok, str(result)


@pytest.mark.parametrize("seed", range(15))
def test_noise_is_not_called_a_loss(seed: int) -> None:
    # A model as good as the linear one, fitted to other examples of the same kind.
    train, test = blobs(120, seed=seed)
    torch.manual_seed(seed)
    half = (train[0][::2], train[1][::2])
    model = trained(nn.Linear(6, 3), half, steps=60)
    result = baseline(model, half, test, default=False)
    assert result.status is not Status.FAILED, str(result)


def test_what_does_not_fit_is_told() -> None:
    train, test = blobs(40)
    with pytest.raises(CheckError, match=r"Outputs of shape \(40, 3, 1, 1\) do not fit"):
        baseline(nn.Sequential(nn.Linear(6, 3), nn.Unflatten(1, (3, 1, 1))), train, test, default=False)
    with pytest.raises(CheckError, match="has no row for each of 40 examples"):
        baseline(nn.Sequential(nn.Linear(6, 3), nn.Flatten(0)), train, test, default=False)
    alike = (test[0], torch.zeros_like(test[1]))
    same = baseline(nn.Linear(6, 3), (train[0], torch.zeros_like(train[1])), alike, default=False)
    assert same.status is Status.NOT_APPLICABLE
