"""What the nearest training rows of a row tell: whether it is a near copy, and which label they have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagnose.stats.intervals import CONFIDENCE, Interval, newcombe, wilson

_ROWS: Final = 2_000
_COLUMNS: Final = 64
_CHUNK: Final = 256
_NEIGHBOURS: Final = 10
_NEAR: Final = 0.05
"""Share of the training rows that have another one nearer than what is called near here; copies are twice as near."""


@dataclass(frozen=True)
class NearCopies:
    """Rows that lie nearer to a training row than rows hardly ever do.

    Attributes:
        share: of the test rows, with its interval.
        by_chance: of the training rows: what is to be expected of such data.
        excess: the difference, with its interval.
    """

    share: Interval
    by_chance: float
    excess: Interval


def near_copies(train: Tensor, test: Tensor, seed: int, confidence: float = CONFIDENCE) -> NearCopies | None:
    """How many rows of `test`, shape (M, *), lie so near to one of `train`, shape (N, *), as rows hardly ever do.

    If test rows are drawn as training rows are, the distance from one to the nearest training row is distributed like
    that from a training row to the nearest other one. What is nearer than half of the distance that 5 % of these
    stay below is a near copy: a crop, an augmentation, the next frame. The share of training rows with such a twin says
    what is to be expected.

    Distances are Euclidean, of rows of more than 64 numbers in a random projection, which keeps them (Johnson &
    Lindenstrauss, 1984).

    Returns:
        None for fewer than 100 rows of either, or where 5 % of the training rows have an equal.
    """
    if train.shape[1:] != test.shape[1:] or min(len(train), len(test)) < 100:
        return None
    generator = torch.Generator().manual_seed(seed)
    flat = _Flat(math.prod(train.shape[1:]), generator)
    known = flat(train)
    own = torch.randperm(len(train), generator=generator)[:_ROWS]
    chosen = torch.randperm(len(test), generator=generator)[:_ROWS]
    within = _distances(known[own], known, own)
    limit = float(np.quantile(within, _NEAR)) / 2
    if limit <= 0:
        return None
    met = int((_distances(flat(test[chosen]), known, None) < limit).sum())
    twins = int((within < limit).sum())
    excess = newcombe(met, len(chosen), twins, len(own), confidence=confidence)
    return NearCopies(wilson(met, len(chosen)), twins / len(own), excess)


class _Flat:
    """Rows as vectors of at most 64 numbers."""

    def __init__(self, columns: int, generator: torch.Generator) -> None:
        self._matrix = None
        if columns > _COLUMNS:
            self._matrix = torch.randn(columns, _COLUMNS, generator=generator, dtype=torch.float64)

    def __call__(self, rows: Tensor) -> Tensor:
        flat = rows.reshape(len(rows), -1).double().nan_to_num()
        return flat if self._matrix is None else flat @ self._matrix


def _distances(rows: Tensor, known: Tensor, own: Tensor | None) -> NDArray[np.float64]:
    """From each row to the nearest known one, which is not itself; shape (rows,)."""
    found = []
    for begin in range(0, len(rows), _CHUNK):
        part = torch.cdist(rows[begin : begin + _CHUNK], known, compute_mode="donot_use_mm_for_euclid_dist")
        if own is not None:
            part[torch.arange(len(part)), own[begin : begin + _CHUNK]] = math.inf
        found.append(part.min(1).values)
    return np.asarray(torch.cat(found).numpy())


def backed_by_neighbours(
    inputs: Tensor, labels: NDArray[np.int64], predicted: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Shape (len(rows),): whether the neighbours of each of the rows have its label, more than the predicted one.

    A model that is too small is sure, and wrong, in whole regions. There the neighbours have the label of the row;
    those of a row with a wrong label have the one that the model predicts. The 10 nearest rows are an estimator without
    such a limit. Where they tell nothing, as distances of photographs do, they back few labels, and nothing is lost.

    Args:
        inputs: shape (N, *); of shape (N, D), each column is scaled to its standard deviation.
        labels, predicted: shape (N,).
        rows: numbers of the rows in question; at most 2,000 are looked at, and the others not backed.

    Source:
        Wilson, "Asymptotic properties of nearest neighbor rules using edited data", 1972; Brodley & Friedl,
        "Identifying mislabeled training data", 1999.
    """
    backed = np.zeros(len(rows), dtype=bool)
    if len(inputs) <= _NEIGHBOURS or inputs.is_complex():
        return backed
    known = inputs.reshape(len(inputs), -1).float().nan_to_num()
    if inputs.dim() == 2:
        scale = known.std(0)
        known = known / torch.where(scale > 0, scale, torch.ones(()))
    for begin in range(0, min(len(rows), _ROWS), _CHUNK):
        part = rows[begin : begin + _CHUNK]
        asked = torch.as_tensor(part)
        distances = torch.cdist(known[asked], known)
        distances[torch.arange(len(part)), asked] = math.inf
        near = labels[distances.topk(_NEIGHBOURS, largest=False).indices.numpy()]
        for_given = (near == labels[part][:, None]).sum(1)
        for_predicted = (near == predicted[part][:, None]).sum(1)
        backed[begin : begin + len(part)] = for_given > for_predicted
    return backed
