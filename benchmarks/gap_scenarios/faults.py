"""Faults of data and of evaluation. Each wraps a recipe, and keeps the data as they are once the fault is mended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.gap_scenarios.datasets import Data, Recipe, Split
from benchmarks.gap_scenarios.training import Fit

Reload = Callable[[Fit, nn.Module], nn.Module]
"""(what was trained, a fresh model of the same kind) -> the model that somebody loads to test it."""


# --- labels


def flipped(
    make: Recipe, share: float, *, test_too: bool = False, to: Callable[[Tensor, int], Tensor] | None = None
) -> Recipe:
    """Wrong labels in training and validation rows; `to` gives the wrong label, by default any other class."""

    def faulty(seed: int) -> Data:
        clean = make(seed)
        generator = torch.Generator().manual_seed(seed + 1)

        def flip(rows: Split) -> Split:
            wrong = torch.rand(len(rows.y), generator=generator) < share
            other = (rows.y + torch.randint(1, clean.classes, rows.y.shape, generator=generator)) % clean.classes
            if to is not None:
                other = to(rows.y, clean.classes)
            return Split(rows.x, torch.where(wrong, other, rows.y))

        def noisy(data: Data) -> Data:
            test = flip(data.test) if test_too else data.test
            return replace(data, train=flip(data.train), val=flip(data.val), test=test)

        data = clean.map(noisy)
        return replace(data, fixed={**data.fixed, "fix-labels": replace(clean, fixed={})})

    return faulty


# --- the way to the test rows


def broken_test(make: Recipe, change: Callable[[Split], Split]) -> Recipe:
    """Test rows that come out of another preprocessing than the training rows."""

    def faulty(seed: int) -> Data:
        right = make(seed)
        data = right.map(lambda data: replace(data, test=change(data.test)))
        return replace(data, fixed={**data.fixed, "check-test-pipeline": replace(right, fixed={})})

    return faulty


def on_inputs(change: Callable[[Tensor], Tensor]) -> Callable[[Split], Split]:
    """A change of x alone."""
    return lambda rows: Split(change(rows.x), rows.y)


def rolled_labels(rows: Split) -> Split:
    """Labels of the row before: a file read with one line skipped."""
    return Split(rows.x, rows.y.roll(1))


# --- leaks


def leaked_rows(make: Recipe, share: float, *, jitter: float = 0.0) -> Recipe:
    """Training rows among which there is a share of the test rows, exactly or with a little noise."""

    def faulty(seed: int) -> Data:
        honest = make(seed)
        generator = torch.Generator().manual_seed(seed + 2)

        def leak(data: Data) -> Data:
            count = round(share * len(data.test.y))
            copies = data.test.x[:count]
            copies = copies + jitter * torch.randn(copies.shape, generator=generator)
            keep = data.train[: len(data.train.y) - count]
            mixed = Split(torch.cat([keep.x, copies]), torch.cat([keep.y, data.test.y[:count]]))
            return replace(data, train=mixed[torch.randperm(len(mixed.y), generator=generator)])

        data = honest.map(leak)
        return replace(data, fixed={**data.fixed, "check-leak": replace(honest, fixed={})})

    return faulty


def leaked_column(make: Recipe, noise: float) -> Recipe:
    """A further feature that was made from the label; once it is mended it holds noise alone."""

    def faulty(seed: int) -> Data:
        honest = make(seed)
        generator = torch.Generator().manual_seed(seed + 3)

        def add(rows: Split, strength: float) -> Split:
            told = strength * (rows.y.float() - rows.y.float().mean())
            column = told + noise * torch.randn(rows.y.shape, generator=generator)
            return Split(torch.cat([rows.x, column[:, None]], 1), rows.y)

        def leak(strength: float) -> Callable[[Data], Data]:
            return lambda data: replace(
                data, train=add(data.train, strength), val=add(data.val, strength), test=add(data.test, strength)
            )

        data = honest.map(leak(1.0))
        return replace(data, fixed={**data.fixed, "check-leak": leak(0.0)(replace(honest, fixed={}))})

    return faulty


def selected_on_all(make: Recipe, keep: int) -> Recipe:
    """Features chosen for their correlation with the label over all rows, test rows among them."""

    def faulty(seed: int) -> Data:
        honest = make(seed)

        def best(*parts: Split) -> Tensor:
            x, y = torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts]).float()
            return ((x - x.mean(0)) * (y - y.mean())[:, None]).mean(0).abs().topk(keep).indices

        def choose(data: Data, columns: Tensor) -> Data:
            train, val, test = (Split(rows.x[:, columns], rows.y) for rows in (data.train, data.val, data.test))
            return replace(data, train=train, val=val, test=test)

        data = honest.map(lambda data: choose(data, best(data.train, data.val, data.test)))
        mended = choose(replace(honest, fixed={}), best(honest.train))
        return replace(data, fixed={**data.fixed, "check-leak": mended})

    return faulty


# --- balance


def imbalanced(make: Recipe, keep: dict[int, float], *, also_in_val: bool = True) -> Recipe:
    """Training (and validation) rows with only a share of some classes; the test rows stay balanced."""

    def faulty(seed: int) -> Data:
        generator = torch.Generator().manual_seed(seed + 4)

        def thin(rows: Split) -> Split:
            shares = torch.tensor([keep.get(int(label), 1.0) for label in rows.y])
            return rows[torch.rand(len(rows.y), generator=generator) < shares]

        return make(seed).map(
            lambda data: replace(data, train=thin(data.train), val=thin(data.val) if also_in_val else data.val)
        )

    return faulty


# --- saving and loading


def first_epoch(fit: Fit, fresh: nn.Module) -> nn.Module:
    """The checkpoint of the first epoch in place of the last one."""
    fresh.load_state_dict(fit.first_epoch)
    return fresh


def without(layer: int) -> Reload:
    """The entries of a layer (counted among those with weights) were missing, and strict=False said nothing."""

    def load(fit: Fit, fresh: nn.Module) -> nn.Module:
        state = fit.model.state_dict()
        missing = _layers(state)[layer]
        fresh.load_state_dict({name: value for name, value in state.items() if _layer(name) != missing}, strict=False)
        return fresh

    return load


def parameters_only(fit: Fit, fresh: nn.Module) -> nn.Module:
    """Saved from model.parameters(): the running statistics of batch normalisation stay behind."""
    for mine, saved in zip(fresh.parameters(), fit.model.parameters(), strict=True):
        mine.data.copy_(saved.data)
    return fresh


def mixed_up(first: int, second: int) -> Reload:
    """Two layers of one shape (counted among those with weights) took each other's place."""

    def load(fit: Fit, fresh: nn.Module) -> nn.Module:
        state = fit.model.state_dict()
        one, other = _layers(state)[first], _layers(state)[second]
        swap = {one: other, other: one}
        renamed = {name.replace(_layer(name), swap.get(_layer(name), _layer(name)), 1): v for name, v in state.items()}
        fresh.load_state_dict(renamed)
        return fresh

    return load


def coarse(step: float) -> Reload:
    """Weights rounded to multiples of `step` when they were exported."""

    def load(fit: Fit, fresh: nn.Module) -> nn.Module:
        fresh.load_state_dict({name: (value / step).round() * step for name, value in fit.model.state_dict().items()})
        return fresh

    return load


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _layers(state: Mapping[str, Tensor]) -> list[str]:
    return list(dict.fromkeys(_layer(name) for name in state))
