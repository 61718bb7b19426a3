"""Two predictors on the same examples: by how much one is better, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diagnose.stats.intervals import student


@dataclass(frozen=True)
class Difference:
    """A mean difference with its confidence interval.

    Attributes:
        mean, low, high: of errors of the one minus errors of the other.
    """

    mean: float
    low: float
    high: float


def paired_difference(one: Tensor, other: Tensor, *, confidence: float = 0.95, bounded: bool = False) -> Difference:
    """The mean of `one - other`, errors on the same examples, with an interval of Student's t.

    Args:
        one, other: shape (N,), any float dtype, finite.
        confidence: that the interval holds the true mean.
        bounded: errors are 0 or 1. Half an example is added to each way of disagreeing (Agresti & Min, "Effects and
            non-effects of paired identical observations in comparing proportions with binary matched-pairs data",
            2004), so that a few examples that all agree are no certainty.

    Raises:
        ValueError: shapes differ, or there are no examples.
    """
    if one.shape != other.shape or one.dim() != 1 or not len(one):
        raise ValueError(f"errors of shapes {tuple(one.shape)} and {tuple(other.shape)} are no pairs")
    difference = (one - other).double()
    count = len(difference) + (2 if bounded else 0)
    mean = float(difference.sum()) / count
    squares = float((difference**2).sum()) + (1.0 if bounded else 0.0)
    variance = max(squares / count - mean**2, 0.0) * count / max(count - 1, 1)
    half = student(confidence, max(count - 1, 1)) * (variance / count) ** 0.5
    return Difference(mean, mean - half, mean + half) if count > 1 else Difference(mean, -float("inf"), float("inf"))
