"""How batches are composed of classes, and whether chance would compose them so."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]


def agreement_within(counts: Counts) -> float:
    """Chance that two examples of one batch are of the same class; NaN if no batch has two examples.

    Args:
        counts: shape (B, K): examples of each class in each batch.
    """
    sizes = counts.sum(axis=1)
    pairs = float((sizes * (sizes - 1)).sum())
    return float((counts * (counts - 1)).sum()) / pairs if pairs > 0 else math.nan


def agreement_between(counts: Counts) -> float:
    """Chance that two examples of different batches are of the same class; NaN if there are not two batches.

    Args:
        counts: as above.
    """
    sizes = counts.sum(axis=1)
    pairs = float(sizes.sum() ** 2 - (sizes**2).sum())
    same = float((counts.sum(axis=0) ** 2).sum() - (counts**2).sum())
    return same / pairs if pairs > 0 else math.nan


def segregation(counts: Counts) -> float:
    """How far the batches divide the classes among them: 0 if drawn at random, 1 if each has one class only.

    (within - between) / (1 - between), of the two chances above; both are free of bias, so the expectation is 0
    for random batches of any size and any class frequencies, and negative for balanced ones. A batch that is
    half one class and half another stays below 1/2. NaN where it is not defined, as with one class only.

    Args:
        counts: as above.

    Source: Wright, "The genetical structure of populations", 1951 (F_ST), with the pairwise estimates of
    Hudson, Slatkin & Maddison, 1992.
    """
    within, between = agreement_within(counts), agreement_between(counts)
    return (within - between) / (1 - between) if between < 1 else math.nan


def chance_of_composition(counts: Counts) -> float:
    """Chance that random batches differ from one another as much as these: p of a chi-squared test of homogeneity.

    By the approximation of Wilson & Hilferty, "The distribution of chi-square", 1931. 1 where there is nothing to
    test.

    Args:
        counts: as above.
    """
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    if min(counts.shape) < 2:
        return 1.0
    freedom = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    chi_squared = float(((counts - expected) ** 2 / expected).sum())
    spread = 2 / (9 * freedom)
    deviation = ((chi_squared / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return 0.5 * math.erfc(deviation / math.sqrt(2))


def overlap(counts: Counts, others: Counts) -> float:
    """Chance that an example of one batch and one of another are of the same class, averaged over pairs of batches.

    Args:
        counts, others: shape (P, K): the first and the second batch of each pair. No batch may be empty.
    Returns:
        NaN without pairs.
    """
    if not len(counts):
        return math.nan
    shares = counts / counts.sum(axis=1, keepdims=True)
    return float((shares * (others / others.sum(axis=1, keepdims=True))).sum(axis=1).mean())
