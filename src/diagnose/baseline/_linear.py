"""The simplest models: a constant, and a linear model, fitted exactly."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from diagnose.baseline._data import Kind, Task, count_of, labels

_PENALTIES = (1e-4, 1e-2, 1.0)
_WIDEST = 4096
"""Inputs with more numbers than this are projected at random onto as many."""


def linear_predictions(
    train: tuple[Tensor, Tensor], test: Tensor, task: Task, kind: Kind, *, seed: int = 0
) -> Tensor | None:
    """What a linear model with an L2 penalty, fitted to `train`, puts out for `test`: logits, or values.

    Vectors, images and sequences are flattened and standardised; tokens are counted. The penalty is the one of three
    that does best on a fifth of the training data. None where there is no such model: labels for each place, or a
    vocabulary too large.
    """
    if task == "token-classification" or len(train[1]) < 10:
        return None
    features, others = _features(train[0], test, kind, seed)
    if features is None or others is None:
        return None
    wanted, count = labels(train[1], task).double(), count_of(train[1], task)
    if task == "classification":
        wanted = F.one_hot(wanted.long(), count).double()
    wanted = wanted.reshape(len(wanted), -1)
    order = torch.randperm(len(wanted), generator=torch.Generator().manual_seed(seed))
    held, kept = order[: len(order) // 5], order[len(order) // 5 :]
    best = min(
        _PENALTIES,
        key=lambda penalty: _loss(
            features[held] @ _fit(features[kept], wanted[kept], task, penalty), wanted[held], task
        ),
    )
    return (others @ _fit(features, wanted, task, best)).float()


def _features(train: Tensor, test: Tensor, kind: Kind, seed: int) -> tuple[Tensor | None, Tensor | None]:
    """Both as (N, D + 1) in float64, standardised by the first, with a constant."""
    if kind == "tokens":
        size = int(train.max()) + 2
        if size > _WIDEST:
            return None, None
        pair = [F.one_hot(ids.long().clamp(0, size - 1), size).sum(1).double() for ids in (train, test)]
    else:
        pair = [inputs.reshape(len(inputs), -1).double() for inputs in (train, test)]
        if pair[0].shape[1] > _WIDEST:
            draw = torch.Generator().manual_seed(seed)
            projection = torch.randn(pair[0].shape[1], _WIDEST, generator=draw, dtype=torch.double)
            pair = [inputs @ projection for inputs in pair]
    mean, deviation = pair[0].mean(0), pair[0].std(0, correction=0)
    scale = torch.where(deviation > 1e-8 * (1 + mean.abs()), deviation, torch.ones_like(deviation))
    made = [torch.cat([(inputs - mean) / scale, inputs.new_ones(len(inputs), 1)], 1) for inputs in pair]
    return made[0], made[1]


def _fit(features: Tensor, wanted: Tensor, task: Task, penalty: float) -> Tensor:
    """Weights (D + 1, K) that minimise mean loss + penalty / 2 * |weights|^2 without the constant's."""
    count, size = features.shape
    weights = features.new_zeros(size, wanted.shape[1])
    if task == "regression":
        # With fewer examples than features, in the space of the examples.
        penalties = torch.full((size,), penalty, dtype=torch.double)
        penalties[-1] = 1e-9
        if size <= count:
            moments, target = features.T @ features / count, features.T @ wanted / count
            solved: Tensor = torch.linalg.solve(moments + penalties.diag(), target)
            return solved
        scaled = features / penalties
        gram = features @ scaled.T / count + torch.eye(count, dtype=torch.double)
        found: Tensor = scaled.T @ torch.linalg.solve(gram, wanted) / count
        return found
    weights.requires_grad_(True)
    solver = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> float:
        solver.zero_grad()
        with torch.enable_grad():
            loss = _loss_tensor(features @ weights, wanted, task) + penalty / 2 * weights[:-1].pow(2).sum()
            loss.backward()
        return float(loss.detach())

    solver.step(closure)
    return weights.detach()


def _loss_tensor(outputs: Tensor, wanted: Tensor, task: Task) -> Tensor:
    if task == "classification":
        return F.cross_entropy(outputs, wanted)
    return F.mse_loss(outputs, wanted) if task == "regression" else F.binary_cross_entropy_with_logits(outputs, wanted)


def _loss(outputs: Tensor, wanted: Tensor, task: Task) -> float:
    return float(_loss_tensor(outputs, wanted, task))
