"""How every scenario trains: settings in canonical names, one plain loop, curves as a user would log them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.gap_scenarios.datasets import Split

State: TypeAlias = dict[str, Tensor]


@dataclass(frozen=True)
class Settings:
    """Everything that a training depends on beside model family and data.

    Attributes:
        width: hidden units, channels or state size.
        depth: hidden layers.
        kernel, padding: of every convolution.
        schedule: "cosine" to zero, or a factor per epoch.
        label_weights: weigh each class by its inverse frequency.
        augment: shift images or sequences by up to one place in either direction.
    """

    width: int = 32
    depth: int = 1
    kernel: int = 3
    padding: int = 0
    dropout: float = 0.0
    lr: float = 1e-2
    weight_decay: float = 0.0
    momentum: float = 0.0
    epochs: int = 20
    batch: int = 32
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    schedule: Literal["cosine"] | float | None = None
    label_weights: bool = False
    augment: bool = False


Build: TypeAlias = Callable[[Settings, tuple[int, ...], int], nn.Module]


@dataclass
class Fit:
    """A trained model and what was seen on the way.

    Attributes:
        curves: one number per epoch: train_loss and train_error in training mode while the weights change, val_loss
            and val_error in evaluation mode after the epoch, lr; empty unless asked for.
        first_epoch: the weights after the first epoch.
    """

    model: nn.Module
    build: Callable[[], nn.Module]
    curves: dict[str, list[float]] = field(default_factory=dict)
    first_epoch: State = field(default_factory=dict)


def train(
    build: Build, settings: Settings, train_rows: Split, seed: int, *, classes: int, val: Split | None = None
) -> Fit:
    """The model after `settings.epochs` epochs, in evaluation mode; with `val` the curves are taken."""
    torch.manual_seed(seed)
    shape = tuple(train_rows.x.shape[1:])
    model = build(settings, shape, classes)
    fit = Fit(model, lambda: build(settings, shape, classes))
    optimizer = _optimizer(model, settings)
    weights = _class_weights(train_rows.y, classes) if settings.label_weights else None
    for epoch in range(settings.epochs):
        lr = _rate(settings, epoch)
        for group in optimizer.param_groups:
            group["lr"] = lr
        losses, wrong = _epoch(model, optimizer, train_rows, settings, weights, logs=val is not None)
        if epoch == 0:
            fit.first_epoch = {name: value.clone() for name, value in model.state_dict().items()}
        if val is not None:
            val_loss, val_error = loss_and_error(model, val)
            row = {"train_loss": losses, "train_error": wrong, "val_loss": val_loss, "val_error": val_error, "lr": lr}
            for name, value in row.items():
                fit.curves.setdefault(name, []).append(value)
    model.eval()
    return fit


def loss_and_error(model: nn.Module, rows: Split, *, training: bool = False) -> tuple[float, float]:
    """Mean cross-entropy and share of wrong rows; `training` is the mistake of leaving the model in training mode."""
    model.train(training)
    with torch.no_grad():
        # A model left in training mode sees its test rows in batches, as it does its training rows.
        outputs = torch.cat([model(part) for part in rows.x.split(16 if training else 2048)])
        loss = functional.cross_entropy(outputs, rows.y).item()
        wrong = (outputs.argmax(1) != rows.y) | outputs.isnan().any(1)
    model.eval()
    return loss, wrong.double().mean().item()


def with_changes(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Settings with other values by canonical name; whole numbers stay whole."""
    whole = {"width", "depth", "kernel", "padding", "epochs", "batch"}
    return replace(settings, **{name: round(v) if name in whole else v for name, v in changes.items()})


def _epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    rows: Split,
    settings: Settings,
    weights: Tensor | None,
    *,
    logs: bool,
) -> tuple[float, float]:
    """Trains for one epoch; mean loss and share of wrong rows on the way if it `logs`, which takes time."""
    model.train()
    losses: list[float] = []
    wrong = 0
    order = torch.randperm(len(rows.y))
    for x, y in zip(rows.x[order].split(settings.batch), rows.y[order].split(settings.batch), strict=True):
        if len(y) < 2:  # batch normalisation needs two rows
            continue
        outputs = model(_shifted(x) if settings.augment else x)
        loss = functional.cross_entropy(outputs, y, weight=weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if logs:
            losses.append(loss.item())
            wrong += int((outputs.detach().argmax(1) != y).sum())
    return (sum(losses) / len(losses), wrong / len(rows.y)) if logs else (math.nan, math.nan)


def _optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    options: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay, "fused": True}
    if settings.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), momentum=settings.momentum, **options)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(model.parameters(), **options)


def _rate(settings: Settings, epoch: int) -> float:
    if settings.schedule is None:
        return settings.lr
    if settings.schedule == "cosine":
        return settings.lr * (1 + math.cos(math.pi * epoch / settings.epochs)) / 2
    return settings.lr * settings.schedule**epoch


def _class_weights(y: Tensor, classes: int) -> Tensor:
    counts = torch.bincount(y, minlength=classes).clamp(min=1).float()
    return counts.sum() / (classes * counts)


def _shifted(x: Tensor) -> Tensor:
    for dim in range(max(1, x.dim() - 2), x.dim()):
        x = torch.roll(x, int(torch.randint(-1, 2, ())), dims=dim)
    return x
