"""The weights that an optimizer moves, and how far it moves them.

Rules judge the weights: parameters with two or more dimensions, which hold nearly all of a model's elements. A bias
or a scale of 0 that grows says nothing about the learning rate, nor does a row of an embedding that the batch did
not contain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from diagnose.history import Floats, History, Ints, ParameterFacts, Quantity
from diagnose.stats import ratios

FULL_SIZE: Final = 0.1
"""A weight counts from the size 0.1 / sqrt(fan-in) on. Usual initialisations are 3 to 14 times as large (PyTorch's
default is 0.58 / sqrt(fan-in), He's 1.4 / sqrt(fan-in)); what is smaller grows from nothing, as the zero-initialised
half of a LoRA pair does, and its ratio 1, 1/2, 1/3 ... says nothing but that it began at 0."""


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of one optimizer at the sampled steps; NaN where something was not observed.

    Attributes:
        names: of the P weights, in the order of execution where it is known.
        sizes: shape (P,), their elements.
        steps: shape (T,).
        ratios: shape (T, P), rms(update) / rms(parameter).
        gradients: shape (T, P), rms(gradient) / rms(parameter), before the update.
        rms: shape (T, P), after the update.
    """

    optimizer: str
    names: tuple[str, ...]
    sizes: Floats
    steps: Ints
    ratios: Floats
    gradients: Floats
    rms: Floats

    def __len__(self) -> int:
        return len(self.names)

    def bulk(self, values: Floats) -> Floats:
        """What at least half of all elements reach in each row: shape (T,); NaN if too few are observed."""
        return ratios.bulk(values, self.sizes)


def is_weight(facts: ParameterFacts) -> bool:
    """Whether a parameter is a weight matrix or a kernel of a layer that every example goes through."""
    return len(facts.shape) >= 2 and facts.size >= 2 and "Embedding" not in facts.module_type


def weights(history: History, optimizer: str, *, before: float) -> Weights:
    """The weights of `optimizer` at the sampled steps below `before`; other parameters if it has no weights."""
    updated = set(history.scopes("update_rms"))
    own = {
        name: facts
        for name, facts in history.parameters.items()
        if optimizer in facts.optimizers and name in updated
    }
    chosen = {name: facts for name, facts in own.items() if is_weight(facts)} or own
    names = sorted(chosen, key=lambda name: (_rank(chosen[name]), name))
    steps = _steps(history, names)
    steps = steps[steps < before]
    update = _values(history, "update_rms", names, steps)
    ratio = _values(history, "update_ratio", names, steps)
    after = _values(history, "param_rms", names, steps)
    gradient = _values(history, "grad_rms", names, steps)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        size_before = np.where(ratio > 0, update / ratio, after)
        full_size = np.array([FULL_SIZE / np.sqrt(_fan_in(chosen[name])) for name in names])
        # What is not finite for once (a step that GradScaler skipped) was not observed.
        usable = (size_before >= full_size) & np.isfinite(after)
        relative_gradient = gradient / size_before
    return Weights(
        optimizer,
        tuple(names),
        np.array([chosen[name].size for name in names], dtype=np.float64),
        steps,
        np.where(usable & np.isfinite(ratio), ratio, np.nan),
        np.where(np.isfinite(relative_gradient), relative_gradient, np.nan),
        np.where(np.isfinite(after), after, np.nan),
    )


def _rank(facts: ParameterFacts) -> tuple[bool, int]:
    return facts.order is None, facts.order or 0


def _fan_in(facts: ParameterFacts) -> int:
    return int(np.prod(facts.shape[1:], dtype=np.int64)) or 1


def _steps(history: History, names: list[str]) -> Ints:
    table = history.table("update_rms")
    if table is None or not names:
        return np.zeros(0, dtype=np.int64)
    observed = ~np.isnan(table.values[:, [table.scopes.index(name) for name in names]]).all(axis=1)
    return table.steps[observed]


def _values(history: History, quantity: Quantity, names: list[str], steps: Ints) -> Floats:
    """Shape (len(steps), len(names)); NaN where nothing was recorded."""
    values = np.full((len(steps), len(names)), np.nan)
    table = history.table(quantity)
    if table is None or not len(steps) or not len(table.steps):
        return values
    scopes = {name: column for column, name in enumerate(table.scopes)}
    rows = np.minimum(np.searchsorted(table.steps, steps), len(table.steps) - 1)
    same = table.steps[rows] == steps
    for column, name in enumerate(names):
        if name in scopes:
            values[same, column] = table.values[rows[same], scopes[name]]
    return values
