"""Do inputs tell anything about labels? Whether each row has the label of the row nearest to it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagnose.stats.curves import Floats

Ints = NDArray[np.int64]


class Agreement(NamedTuple):
    """How many rows have the label of their nearest neighbour.

    Attributes:
        rows: rows that have a neighbour.
        share: those that agree with it, as a share.
        by_chance: the share that would if labels were permuted: sum over the classes of their squared frequencies.
        sigmas: (share - by_chance) in standard deviations of a binomial; 0 where all labels are the same.
    """

    rows: int
    share: float
    by_chance: float
    sigmas: float


def nearest(features: Floats) -> Ints:
    """For each row the index of the nearest other row that is not equal to it; -1 where there is none.

    Distances are Euclidean, each column first brought to unit variance, constant ones left out: a measure that needs
    no learning (Cover & Hart, "Nearest neighbor pattern classification", 1967).

    Args:
        features: shape (N, D). Rows that are not finite have no neighbours and are none.
    """
    found = np.full(len(features), -1, dtype=np.int64)
    good = np.flatnonzero(np.isfinite(features).all(axis=1))
    if len(good) < 2:
        return found
    distances = _squared_distances(_standardised(features[good]))
    best = distances.argmin(axis=1)
    has_one = np.isfinite(distances[np.arange(len(good)), best])
    found[good[has_one]] = good[best[has_one]]
    return found


def nearness(features: Floats) -> float:
    """How far nearest neighbours are apart (geometric mean), as a share of what it is in rows of independent columns.

    The latter are the rows themselves, each column permuted. About 1 for noise: what one column says of a row tells
    nothing of the others, and then near rows need not be alike in any way. Far below 1 where rows fall into groups or
    fill few dimensions, as what is recorded of things does. NaN if there are not two rows.

    Args:
        features: as above.
    """
    known = _standardised(np.unique(features[np.isfinite(features).all(axis=1)], axis=0))
    if len(known) < 2 or not known.shape[1]:
        return math.nan
    numbers = np.random.Generator(np.random.PCG64(len(known)))  # our own: not the user's random state
    independent = np.stack([numbers.permutation(column) for column in known.T], axis=1)
    own, other = (_squared_distances(rows).min(axis=1) for rows in (known, independent))
    if not np.isfinite(own).any() or not np.isfinite(other).any():
        return math.nan
    # Means of logarithms: outliers do not count for more, and steps of whole numbers do not jump, as medians would.
    own, other = (np.log(squares[np.isfinite(squares)]).mean() for squares in (own, other))
    return math.exp(float(own - other) / 2)


def fitted_agreement(features: Floats, labels: Ints, parts: int = 5) -> Agreement:
    """How often a simple fit of other rows says a row's label: by ridge regression on each column and its square.

    What a straight line, or a distance from the middle, tells of the label is found where neighbours do not show it,
    among many columns of which few matter. Cross-validated in `parts`; the penalty is that for which the columns
    together are expected to explain as much as the noise does.

    Args:
        features: shape (N, D). Rows that are not finite, and all but the first of equal rows, are left out.
        labels: shape (N,).
    """
    good = np.flatnonzero(np.isfinite(features).all(axis=1))
    good = good[np.sort(np.unique(features[good], axis=0, return_index=True)[1])]
    if len(good) < 2 * parts:
        return Agreement(0, math.nan, math.nan, 0.0)
    known = _standardised(features[good])
    known = np.concatenate([known, _standardised(known**2)], axis=1)
    classes, index = np.unique(labels[good], return_inverse=True)
    wanted = np.eye(len(classes))[index]
    part = np.arange(len(good)) % parts
    said = np.zeros(len(good), dtype=np.int64)
    for number in range(parts):
        rows, others = known[part == number], known[part != number]
        level = wanted[part != number].mean(axis=0)
        covariance = others.T @ others + known.shape[1] * np.eye(known.shape[1])
        weights = np.linalg.solve(covariance, others.T @ (wanted[part != number] - level))
        said[part == number] = (level + rows @ weights).argmax(axis=1)
    return right_beyond_chance(said, index)


def agreement(labels: Ints, neighbours: Ints) -> Agreement:
    """How often a row's label is that of its neighbour.

    Args:
        labels: shape (N,).
        neighbours: as `nearest` returns them.
    """
    has_one = neighbours >= 0
    rows = int(has_one.sum())
    if not rows:
        return Agreement(0, math.nan, math.nan, 0.0)
    _, counts = np.unique(labels, return_counts=True)
    by_chance = float(((counts / len(labels)) ** 2).sum())
    share = float((labels[has_one] == labels[neighbours[has_one]]).mean())
    return _compared(share, by_chance, rows)


def right_beyond_chance(answers: Ints, labels: Ints) -> Agreement:
    """How often answers are right; by chance, as often as if they were permuted.

    Args:
        answers, labels: shape (N,), not negative, N > 0.
    """
    most = int(max(answers.max(), labels.max())) + 1
    shares = [np.bincount(values, minlength=most) / len(labels) for values in (answers, labels)]
    return _compared(float((answers == labels).mean()), float(shares[0] @ shares[1]), len(labels))


def right_when_renamed(answers: Ints, labels: Ints, fewest: int = 5, most: int = 100, tries: int = 1000) -> float:
    """The share of ways to rename the classes of the answers, by which as many or more would be right.

    A network that has learned labels which have nothing to do with its inputs still answers alike what is alike. So
    examples are right or wrong by whole groups, and how often it is right varies from one network to the next far more
    than if each example were right by chance on its own. Renaming keeps the groups: of such a network's answers, one
    name is as good as another. It is next to nothing where several classes are known, however little, and not where it
    is one alone.

    Args:
        answers, labels: shape (N,), N > 0.
        fewest, most: classes; of fewer than 5 there are not 100 ways, and what is right may be one of them by chance.

    Returns:
        An estimate from `tries` ways drawn at random; NaN if there are fewer or more classes.
    """
    classes, index = np.unique(np.concatenate([answers, labels]), return_inverse=True)
    if not fewest <= len(classes) <= most:
        return math.nan
    said, true = np.split(index.reshape(-1), 2)
    table = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(table, (said, true), 1)
    numbers = np.random.Generator(np.random.PCG64(len(labels)))  # our own: not the user's random state
    ways = numbers.random((tries, len(classes))).argsort(axis=1)
    right = table[np.arange(len(classes)), ways].sum(axis=1)
    return float((right >= np.trace(table)).mean())


def _compared(share: float, by_chance: float, rows: int) -> Agreement:
    deviation = math.sqrt(max(by_chance * (1 - by_chance), 0.0) / rows)
    return Agreement(rows, share, by_chance, (share - by_chance) / deviation if deviation else 0.0)


def _standardised(features: Floats) -> Floats:
    """Each column with mean 0 and variance 1; constant ones are left out."""
    if not len(features):
        return features[:, :0]
    spread = features.std(axis=0)
    scaled: Floats = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return scaled[:, spread > 0]


def _squared_distances(rows: Floats) -> Floats:
    """Between all pairs; infinite between equal ones, which are one example met twice."""
    squares = (rows**2).sum(axis=1)
    distances: Floats = np.maximum(squares[:, None] + squares[None, :] - 2 * rows @ rows.T, 0.0)
    # What rounding leaves of the distance of equal rows is no distance.
    distances[distances <= 1e-9 * (1.0 + squares[:, None])] = np.inf
    return distances
