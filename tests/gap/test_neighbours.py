"""Near copies of training rows among test rows, and labels that their neighbours confirm."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pytest
import torch
from sklearn.datasets import make_moons
from torch import Tensor, nn

from diagnose.gap import diagnose_gap
from diagnose.gap._neighbours import backed_by_neighbours, near_copies

Pair: TypeAlias = "tuple[Tensor, Tensor]"
Data: TypeAlias = "tuple[Pair, Pair]"


def noisy(rows: Tensor, by: float) -> Tensor:
    return rows + by * torch.randn(rows.shape, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_jittered_training_rows_are_near_copies(share: float, digits: Data) -> None:
    (train, _), (test, _) = digits
    copies = int(share * 400)
    mixed = torch.cat([noisy(train[:copies], 0.03), test[: 400 - copies]])
    found = near_copies(train, mixed, 0, 0.9973)
    assert found is not None
    assert found.excess.low > 0.02
    assert found.share.value == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("columns", [1, 2, 5, 64, 300])
@pytest.mark.parametrize("kind", ["normal", "counts", "clustered"])
def test_rows_of_one_distribution_are_none(columns: int, kind: str) -> None:
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(1_000, columns, generator=generator)
        if kind == "counts":
            rows = rows.round()
        if kind == "clustered":
            rows = 0.05 * rows + torch.randint(0, 3, (1_000, 1), generator=generator)
        found = near_copies(rows[:500], rows[500:], seed, 0.9973)
        assert found is None or found.excess.low <= 0.02, found


def test_training_data_with_twins_of_their_own_expect_them(digits: Data) -> None:
    (train, _), (test, _) = digits
    both = torch.cat([train, test])
    twins = torch.cat([noisy(both, 0.02), noisy(both, -0.02)])[
        torch.randperm(2_400, generator=torch.Generator().manual_seed(0))
    ]
    found = near_copies(twins[:1_200], twins[1_200:], 0, 0.9973)
    assert found is None or found.excess.low <= 0.02


def test_distances_are_those_of_an_obvious_loop() -> None:
    generator = torch.Generator().manual_seed(1)
    train, test = torch.randn(120, 3, generator=generator), torch.randn(110, 3, generator=generator)
    test[:30] = train[:30] + 1e-3
    within = [min(float((a - b).norm()) for j, b in enumerate(train) if i != j) for i, a in enumerate(train)]
    limit = np.quantile(within, 0.05) / 2
    met = sum(min(float((a - b).norm()) for b in train) < limit for a in test)
    found = near_copies(train, test, 0)
    assert found is not None
    assert found.share.value == pytest.approx(met / 110)
    assert found.by_chance == pytest.approx(float(np.mean(np.array(within) < limit)))


def test_near_copies_are_no_target_that_is_met(digits: Data, trained: nn.Module) -> None:
    (inputs, targets), _ = digits
    test = noisy(inputs[:300], 0.03), targets[:300]
    found = diagnose_gap(model=trained, train_data=digits[0], test_data=test, target_error=0.1)
    assert found.verdict == "leak", str(found)
    assert "near copies" in found.recommendations[0].reason


def moons(seed: int = 0) -> tuple[Tensor, Tensor]:
    inputs, targets = make_moons(400, noise=0.1, random_state=seed)
    return torch.tensor(inputs, dtype=torch.float32), torch.tensor(targets)


def straight(inputs: Tensor, targets: Tensor) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return model


def test_what_a_model_that_is_too_small_contradicts_is_backed() -> None:
    inputs, targets = moons()
    model = straight(inputs, targets)
    found = diagnose_gap(
        model=model, train_data=(inputs, targets), test_data=moons(1), target_error=0.02, hyperparameters={"layers": 0}
    )
    assert found.verdict == "underfitting", str(found)
    assert "confirmed-labels" in found.evidence
    assert "fix-labels" not in [one.code for one in found.recommendations], str(found)


def test_wrong_labels_are_not_backed() -> None:
    inputs, targets = moons()
    wrong = torch.randperm(400, generator=torch.Generator().manual_seed(0))[:40].numpy()
    given = targets.numpy().copy()
    given[wrong] = 1 - given[wrong]
    backed = backed_by_neighbours(inputs, given, targets.numpy(), wrong)
    assert backed.mean() < 0.1
    right = np.setdiff1d(np.arange(400), wrong)
    assert backed_by_neighbours(inputs, given, 1 - given, right).mean() > 0.9


def test_few_rows_back_nothing() -> None:
    inputs = torch.randn(8, 2)
    assert not backed_by_neighbours(inputs, np.zeros(8, int), np.ones(8, int), np.arange(8)).any()
