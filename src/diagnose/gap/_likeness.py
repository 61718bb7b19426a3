"""Whether test data are like training data: rows of both, features that give the label away, inputs told apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagnose.stats.intervals import CONFIDENCE, Interval, wilson, z_of

Floats = NDArray[np.float64]

_ROWS: Final = 2_000
_COLUMNS: Final = 64
_FOLDS: Final = 5
_RIDGE: Final = 1.0


@dataclass(frozen=True)
class Overlap:
    """Test rows that are in the training data.

    Attributes:
        share: of the test rows, with its interval.
        by_chance: share of training rows that equal another training row: what is to be expected of such data.
    """

    share: Interval
    by_chance: float


def overlap(train: Tensor, test: Tensor) -> Overlap:
    """How many rows of `test`, shape (M, *), are bit for bit in `train`, shape (N, *)."""
    known: dict[bytes, int] = {}
    for key in _keys(train):
        known[key] = known.get(key, 0) + 1
    met = sum(key in known for key in _keys(test))
    twins = sum(count for count in known.values() if count > 1)
    return Overlap(wilson(met, len(test)), twins / max(len(train), 1))


def _keys(rows: Tensor) -> list[bytes]:
    flat = rows.reshape(len(rows), -1)
    if flat.dtype is torch.bfloat16:
        flat = flat.float()
    array = np.ascontiguousarray(flat.numpy())
    return [row.tobytes() for row in array]


def telling_feature(inputs: Tensor, labels: NDArray[np.int64]) -> tuple[int, float, float] | None:
    """(feature, its correlation with the label, that of the next best), for inputs of shape (N, D).

    Of several classes, each against all others. None for inputs of another shape, one feature, or one class.
    """
    if inputs.dim() != 2 or inputs.shape[1] < 2 or len(inputs) < 20:
        return None
    features = inputs.double().numpy()
    features = features - features.mean(0)
    scale = np.sqrt((features**2).sum(0))
    scale[scale == 0] = np.inf
    best = np.zeros(features.shape[1])
    values = np.unique(labels)
    if len(values) < 2:
        return None
    for value in values[:50]:
        wanted = (labels == value).astype(np.float64)
        wanted -= wanted.mean()
        norm = math.sqrt(float((wanted**2).sum()))
        best = np.maximum(best, np.abs(features.T @ wanted) / (scale * norm))
    order = np.argsort(best)
    return int(order[-1]), float(best[order[-1]]), float(best[order[-2]])


def told_apart(train: Tensor, test: Tensor, seed: int, confidence: float = CONFIDENCE) -> Interval | None:
    """Area under the curve of a classifier that tells test inputs from training inputs, out of fold.

    A ridge regression on random projections of the inputs and on statistics of each row (mean, scatter, extremes,
    share of zeros): other normalisations, channel orders, noise and blank rows are seen, the order of labels is not.

    Returns:
        None for inputs of different shapes, or fewer than 20 of either. .5 is "as good as guessing".

    Source:
        Lopez-Paz & Oquab, "Revisiting classifier two-sample tests", 2017; the interval of Hanley & McNeil, 1982.
    """
    if train.shape[1:] != test.shape[1:] or min(len(train), len(test)) < 20:
        return None
    random = np.random.default_rng(seed)
    both = [_sample(rows, random) for rows in (train, test)]
    features = _features(np.concatenate(both), random)
    is_test = np.repeat([0.0, 1.0], [len(both[0]), len(both[1])])
    folds = random.permutation(len(features)) % _FOLDS
    scores = np.zeros(len(features))
    for fold in range(_FOLDS):
        held = folds == fold
        scores[held] = _ridge(features[~held], is_test[~held], features[held])
    return _area(scores[is_test == 1], scores[is_test == 0], confidence)


def _sample(rows: Tensor, random: np.random.Generator) -> Floats:
    chosen = random.permutation(len(rows))[:_ROWS]
    return rows[torch.as_tensor(chosen)].reshape(len(chosen), -1).double().numpy()


def _features(rows: Floats, random: np.random.Generator) -> Floats:
    rows = np.nan_to_num(rows)
    statistics = np.stack(
        [
            rows.mean(1),
            rows.std(1),
            rows.min(1),
            rows.max(1),
            (rows == 0).mean(1),
            np.abs(np.diff(rows, axis=1)).mean(1),
        ]
        if rows.shape[1] > 1
        else [rows[:, 0], rows[:, 0] ** 2],
        axis=1,
    )
    columns = rows
    if rows.shape[1] > _COLUMNS:
        columns = rows @ random.normal(size=(rows.shape[1], _COLUMNS)) / math.sqrt(rows.shape[1])
    made = np.concatenate([columns, columns**2, statistics], axis=1)
    scale = made.std(0)
    scale[scale == 0] = 1.0
    return np.asarray((made - made.mean(0)) / scale)


def _ridge(features: Floats, wanted: Floats, held: Floats) -> Floats:
    penalty = _RIDGE * len(features) * 1e-2 * np.eye(features.shape[1])
    weights = np.linalg.solve(features.T @ features + penalty, features.T @ (wanted - wanted.mean()))
    return np.asarray(held @ weights)


def _area(positive: Floats, negative: Floats, confidence: float) -> Interval:
    both = np.concatenate([positive, negative])
    order = np.argsort(both, kind="stable")
    ranks = np.empty(len(both))
    values, starts, counts = np.unique(both[order], return_index=True, return_counts=True)
    del values
    ranks[order] = np.repeat(starts + (counts + 1) / 2, counts)
    n, m = len(positive), len(negative)
    area = (float(ranks[:n].sum()) - n * (n + 1) / 2) / (n * m)
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (n - 1) * (first - area**2) + (m - 1) * (second - area**2)) / (n * m)
    half = z_of(confidence) * math.sqrt(max(variance, 0.0))
    return Interval(area, max(area - half, 0.0), min(area + half, 1.0), confidence)


def reordered(given: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> tuple[str, float] | None:
    """(what was done to the labels, the error once it is undone) if that makes the error less than half of what it is.

    Labels that lie a few rows off, and classes that are numbered otherwise.
    """
    if len(given) < 50:
        return None
    error = float(np.mean(given != predicted))
    for by in (-2, -1, 1, 2):
        moved = float(np.mean(np.roll(given, by) != predicted))
        if moved < error / 2 and wilson(moved * len(given), len(given), confidence=0.999).high < error:
            return f"are {abs(by)} row{'s' if abs(by) > 1 else ''} off", moved
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (given, predicted), 1)
    answer = confusion.argmax(1)
    used = confusion.sum(1) > 0
    if len(set(answer[used])) != int(used.sum()) or bool((answer[used] == np.flatnonzero(used)).all()):
        return None
    renamed = float(np.mean(answer[given] != predicted))
    if renamed < error / 2 and wilson(renamed * len(given), len(given), confidence=0.999).high < error:
        return "are numbered in another order than in training", renamed
    return None
