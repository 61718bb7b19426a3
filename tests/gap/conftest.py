"""Small real data and trainings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

Pair: TypeAlias = "tuple[Tensor, Tensor]"
Train: TypeAlias = Callable[..., nn.Module]


@pytest.fixture(scope="session")
def digits() -> tuple[Pair, Pair]:
    """(training data of 400 examples, test data of 800)."""
    data = load_digits()
    inputs = torch.tensor(data.data / 16, dtype=torch.float32)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    inputs, targets = inputs[order], torch.tensor(data.target)[order]
    return (inputs[:400], targets[:400]), (inputs[400:1200], targets[400:1200])


@pytest.fixture(scope="session")
def train() -> Train:
    """Trains a network with one hidden layer on a pair of tensors."""

    def fit(
        data: Pair,
        lr: float = 3e-3,
        hidden: int = 64,
        dropout: float = 0.0,
        weight_decay: float = 0.0,
        epochs: int = 20,
    ) -> nn.Module:
        torch.manual_seed(0)
        inputs, targets = data
        model = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay)
        for _ in range(epochs):
            for rows in torch.randperm(len(targets)).split(32):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs[rows]), targets[rows]).backward()
                optimizer.step()
        return model

    return fit


@pytest.fixture(scope="session")
def trained(digits: tuple[Pair, Pair], train: Train) -> nn.Module:
    """A model that has learned the training data."""
    return train(digits[0])
