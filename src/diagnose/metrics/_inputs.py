"""Predictions and labels as they are given: checked, and turned into arrays of one form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import MetricError

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Task: TypeAlias = Literal["binary", "multiclass", "multilabel"]

_SUM_SLACK: Final = 0.01
"""Probabilities may sum to 1 within this: those of half precision do, logits and independent labels do not."""


@dataclass(frozen=True)
class Answers:
    """What was predicted beside what is right.

    Attributes:
        task: binary (two classes), multiclass, or multilabel (each label is there or not).
        labels, predicted: shape (N,), class numbers; of multilabel (N, K), 0 or 1.
        names: of the K classes or labels.
    """

    task: Task
    labels: Ints
    predicted: Ints
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def array(value: Any, name: str) -> NDArray[Any]:
    """A tensor, an array or nested lists of numbers, as an array.

    Raises:
        MetricError: it is none of these, has no entries, or holds NaN or infinities.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) in ("torch.bfloat16", "torch.float16"):
            value = value.float()
    if isinstance(value, list | tuple) and value and hasattr(value[0], "detach"):
        value = [item.detach().cpu().numpy() for item in value]
    try:
        data = np.asarray(value)
    except ValueError as error:
        raise MetricError(f"{name} cannot be made an array: {error}") from error
    if data.dtype.kind not in "biuf":
        hint = " (number the classes from 0, and give their names as names=...)" if data.dtype.kind in "US" else ""
        raise MetricError(f"{name} are of type {data.dtype}, and have to be numbers{hint}.")
    if not data.size:
        raise MetricError(f"{name} are empty, of shape {data.shape}: there is nothing to measure.")
    if data.dtype.kind == "f":
        rows = data.reshape(data.shape[0] if data.ndim else 1, -1)
        bad = np.flatnonzero(~np.isfinite(rows).all(1))
        if len(bad):
            raise MetricError(
                f"{name} hold NaN or infinity in {len(bad)} of {len(rows)} rows, first in row {bad[0]}. "
                "Find out why, or leave these rows out of predictions and labels alike."
            )
    return data


def answers(
    predictions: Any,
    labels: Any,
    *,
    threshold: float = 0.5,
    from_logits: bool = False,
    names: Sequence[str] | None = None,
) -> Answers:
    """What is predicted, from class numbers or scores.

    Args:
        predictions: class numbers, shape (N,), integers or booleans; or scores, floats: of shape (N, K), the largest
            is predicted; of shape (N,), the probability of class 1. With labels of shape (N, K): shape (N, K), the
            probability of each label, or 0 and 1 as integers.
        labels: shape (N,), integers from 0; or (N, K), 0 or 1, for labels that do not exclude each other.
        threshold: from which probability on class 1, or a label, is predicted.
        from_logits: scores are no probabilities but what a sigmoid or softmax is still to be applied to.

    Raises:
        MetricError: they do not fit each other, or are not what is described above.
    """
    right, given = array(labels, "labels"), array(predictions, "predictions")
    if right.ndim == 2 and right.shape[1] == 1:
        right = right[:, 0]
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    _check_lengths(given, right)
    if right.ndim == 2:
        right = _zeros_and_ones(right)
        if given.shape != right.shape:
            raise MetricError(
                f"labels of shape {right.shape} say of each label whether it is there; predictions are of shape "
                f"{given.shape}, and have to be of the same. Class numbers have shape (N,): labels.argmax(1)."
            )
        chosen = _at_threshold(given, threshold, from_logits)
        return Answers("multilabel", right, chosen, class_names(names, right.shape[1]))
    right = class_numbers(right, "labels")
    if given.ndim == 2:
        count = given.shape[1]
        check_range(right, count)
        chosen = given.argmax(1)
    elif given.dtype.kind == "f" and not _are_whole(given, right):
        chosen, count = _at_threshold(given, threshold, from_logits), 2
        check_range(right, 2)
    else:
        chosen = class_numbers(given, "predictions")
        count = max(int(right.max()), int(chosen.max()), len(names or ()) - 1, 1) + 1
    return Answers("binary" if count == 2 else "multiclass", right, chosen, class_names(names, count))


def probabilities(scores: Any, name: str = "scores", *, from_logits: bool = False, rows_sum: bool = True) -> Floats:
    """Probabilities, shape (N,) of class 1 or of each of K classes.

    Args:
        scores: shape (N,), (N, 1) or (N, K).
        from_logits: apply a sigmoid to (N,), a softmax to (N, K); the sigmoid to both if not `rows_sum`.
        rows_sum: the K classes exclude each other.

    Raises:
        MetricError: they are of another shape, not in [0, 1], or rows do not sum to 1.
    """
    data = array(scores, name).astype(np.float64)
    if data.ndim == 2 and data.shape[1] == 1:
        data = data[:, 0]
    if data.ndim not in (1, 2):
        raise MetricError(f"{name} are of shape {data.shape}, and have to be (N,) or (N, K).")
    if from_logits:
        return _softmax(data) if data.ndim == 2 and rows_sum else _sigmoid(data)
    low, high = float(data.min()), float(data.max())
    if low < -1e-6 or high > 1 + 1e-3:
        raise MetricError(
            f"{name} go from {low:.4g} to {high:.4g}, and have to be probabilities in [0, 1]. "
            "Pass from_logits=True if they are logits."
        )
    if data.ndim == 2 and rows_sum:
        sums = data.sum(1)
        worst = int(np.abs(sums - 1).argmax())
        if abs(sums[worst] - 1) > _SUM_SLACK:
            raise MetricError(
                f"{name} sum to {sums[worst]:.4g} in row {worst}, and probabilities of classes sum to 1. "
                "Pass from_logits=True if they are logits; labels that do not exclude each other have shape (N, K)."
            )
    return np.clip(data, 0.0, 1.0)


def class_numbers(data: NDArray[Any], name: str) -> Ints:
    """Shape (N,), from 0.

    Raises:
        MetricError: of another shape, not whole, or negative.
    """
    if data.ndim != 1:
        raise MetricError(f"{name} are of shape {data.shape}, and have to be one class number each: (N,).")
    numbers = data.astype(np.int64)
    wrong = np.flatnonzero((numbers != data) | (numbers < 0))
    if len(wrong):
        hint = " Leave out what is to be ignored first." if data[wrong[0]] < 0 else ""
        raise MetricError(f"{name} hold {data[wrong[0]]} in row {wrong[0]}: classes are numbered from 0.{hint}")
    return numbers


def check_range(labels: Ints, count: int) -> None:
    """Raises MetricError if a class number is not below `count`."""
    if int(labels.max()) >= count:
        raise MetricError(
            f"labels hold class {labels.max()} in row {labels.argmax()}, and predictions are for {count} classes, "
            f"0 to {count - 1}."
        )


def binary_pair(scores: Any, labels: Any, *, positive: int | None = None) -> tuple[Floats, Ints]:
    """Scores of any scale, shape (N,), and whether each example is positive, 0 or 1.

    Args:
        positive: the class that counts as positive; None for 1, when there must be no others than 0 and 1.
    """
    ranks, right = array(scores, "scores").astype(np.float64), array(labels, "labels")
    ranks = ranks[:, 0] if ranks.ndim == 2 and ranks.shape[1] == 1 else ranks
    right = right[:, 0] if right.ndim == 2 and right.shape[1] == 1 else right
    _check_lengths(ranks, right)
    if ranks.ndim != 1:
        raise MetricError(f"scores are of shape {ranks.shape}, and have to be one number each: (N,).")
    numbers = class_numbers(right, "labels")
    if positive is None:
        check_range(numbers, 2)
    return ranks, (numbers == (1 if positive is None else positive)).astype(np.int64)


def class_names(names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """Of `count` classes; their numbers if none are given."""
    if names is None:
        return tuple(str(number) for number in range(count))
    if len(names) != count:
        raise MetricError(f"names are {len(names)}, and there are {count} classes.")
    found = tuple(str(name) for name in names)
    if len(set(found)) < count:
        twice = next(name for name in found if found.count(name) > 1)
        raise MetricError(f"names hold {twice!r} twice, and tables and details are by name.")
    return found


def _check_lengths(given: NDArray[Any], right: NDArray[Any]) -> None:
    if not given.ndim or not right.ndim or len(given) != len(right):
        raise MetricError(
            f"predictions of shape {given.shape} and labels of shape {right.shape} are not of the same examples."
        )


def _zeros_and_ones(labels: NDArray[Any]) -> Ints:
    numbers = labels.astype(np.int64)
    wrong = np.argwhere((numbers != labels) | (numbers < 0) | (numbers > 1))
    if len(wrong):
        row, column = wrong[0]
        raise MetricError(f"labels of shape {labels.shape} hold {labels[row, column]} in row {row}, not 0 or 1.")
    return numbers


def _at_threshold(scores: NDArray[Any], threshold: float, from_logits: bool) -> Ints:
    if scores.dtype.kind != "f":
        return _zeros_and_ones(scores.reshape(len(scores), -1)).reshape(scores.shape)
    chances = probabilities(scores, "predictions", from_logits=from_logits, rows_sum=False)
    return (chances >= threshold).astype(np.int64)


def _are_whole(given: NDArray[Any], right: Ints) -> bool:
    """Whether floats are class numbers: whole, and not just 0 and 1, which are probabilities too and mean the same."""
    return bool((given == np.floor(given)).all()) and bool(given.min() >= 0) and int(right.max()) > 1


def _sigmoid(logits: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -logits))


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    chances: Floats = powers / powers.sum(1, keepdims=True)
    return chances
