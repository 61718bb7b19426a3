"""The weights that an optimizer moves, and how far it moves them.

Rules judge the weights: parameters with two or more dimensions, which hold nearly all of a model's
elements. A bias or a scale of 0 that grows says nothing about the learning rate, nor does a row of an
embedding that the batch did not contain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from diagnose.history import Floats, History, Ints, ParameterFacts, Quantity, Series
from diagnose.stats import ratios

FULL_SIZE: Final = 0.1
"""A weight counts from the size 0.1 / sqrt(fan-in) on. Usual initialisations are 3 to 14 times as large
(PyTorch's default is 0.58 / sqrt(fan-in), He's 1.4 / sqrt(fan-in)); what is smaller grows from nothing,
as the zero-initialised half of a LoRA pair does, and its ratio 1, 1/2, 1/3 ... says nothing but that it
began at 0."""


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of one optimizer at the sampled steps; NaN where something was not observed.

    Attributes:
        names: of the P weights, in the order of execution where it is known.
        sizes: shape (P,), their elements.
        steps: shape (T,).
        ratios: shape (T, P), rms(update) / rms(parameter).
        grown: shape (T, P), the same, but NaN while a weight is still smaller than FULL_SIZE / sqrt(fan-in).
        gradients: shape (T, P), rms(gradient) / rms(parameter), both before the update.
        rms: shape (T, P), before the update.
    """

    optimizer: str
    names: tuple[str, ...]
    sizes: Floats
    steps: Ints
    ratios: Floats
    grown: Floats
    gradients: Floats
    rms: Floats

    def __len__(self) -> int:
        return len(self.names)

    def bulk(self, values: Floats) -> Floats:
        """What at least half of all elements reach in each row: shape (T,); NaN if too few are observed.

        Weights of which `values`, shape (T, P), holds nothing at all are left out.
        """
        seen = ~np.isnan(values).all(axis=0)
        return ratios.bulk(values[:, seen], self.sizes[seen])


def is_weight(facts: ParameterFacts) -> bool:
    """Whether a parameter is a weight matrix or a kernel of a layer that every example goes through."""
    return len(facts.shape) >= 2 and facts.size >= 2 and "Embedding" not in facts.module_type


def stepped_by(history: History, optimizer: str) -> list[str]:
    """The parameters that `optimizer` was seen to step, or is known to hold."""
    seen = [
        name
        for quantity in ("param_rms", "update_rms")
        for clock, table in history.tables(quantity)
        if clock == optimizer
        for name in table.scopes
    ]
    held = [name for name, facts in history.parameters.items() if optimizer in facts.optimizers]
    return [name for name in dict.fromkeys((*seen, *held)) if name in history.parameters]


def weights(history: History, optimizer: str, *, before: float) -> Weights:
    """The weights of `optimizer` at the sampled steps below `before`; other parameters if it has no weights."""
    rows: dict[Quantity, dict[str, Series]] = {
        quantity: _own_series(history, quantity, optimizer)
        for quantity in ("update_rms", "update_ratio", "param_rms", "grad_rms")
    }
    own = {name: history.parameters[name] for name in stepped_by(history, optimizer) if name in rows["update_rms"]}
    chosen = {name: facts for name, facts in own.items() if is_weight(facts)} or own
    names = sorted(chosen, key=lambda name: (*_rank(chosen[name]), name))
    steps = _steps([rows["update_rms"][name] for name in names])
    steps = steps[steps < before]
    update, ratio, size, gradient = (_values([series.get(name) for name in names], steps) for series in rows.values())
    ratio = np.where(np.isfinite(ratio), ratio, np.nan)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # Where there is an update, the size that it was measured against is the one to compare with.
        size = np.where(ratio > 0, update / ratio, size)
        full_size = np.array([FULL_SIZE / np.sqrt(_fan_in(chosen[name])) for name in names])
        relative_gradient = gradient / size
    size = np.where(np.isfinite(size), size, np.nan)
    return Weights(
        optimizer,
        tuple(names),
        np.array([chosen[name].size for name in names], dtype=np.float64),
        steps,
        ratio,
        np.where(size >= full_size, ratio, np.nan),
        np.where(np.isfinite(relative_gradient), relative_gradient, np.nan),
        size,
    )


def _own_series(history: History, quantity: Quantity, optimizer: str) -> dict[str, Series]:
    """By parameter, what was recorded at the steps of this optimizer."""
    found = {}
    for clock, table in history.tables(quantity):
        if clock == optimizer:
            found.update({name: table.series(name) for name in table.scopes})
    return found


def _rank(facts: ParameterFacts) -> tuple[bool, int]:
    return facts.order is None, facts.order or 0


def _fan_in(facts: ParameterFacts) -> int:
    return int(np.prod(facts.shape[1:], dtype=np.int64)) or 1


def _steps(series: list[Series]) -> Ints:
    every = [s.steps for s in series]
    return np.unique(np.concatenate(every)) if every else np.zeros(0, dtype=np.int64)


def _values(series: list[Series | None], steps: Ints) -> Floats:
    """Shape (len(steps), len(series)); NaN where nothing was recorded."""
    values = np.full((len(steps), len(series)), np.nan)
    for column, one in enumerate(series):
        if one is not None and len(one):
            rows = np.searchsorted(steps, one.steps)
            inside = rows < len(steps)
            inside[inside] = steps[rows[inside]] == one.steps[inside]
            values[rows[inside], column] = one.values[inside]
    return values
