"""What a model says about each example of its data: a few numbers per example, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

Id: TypeAlias = "int | str"
Floats: TypeAlias = NDArray[np.float32]
Task: TypeAlias = Literal["classification", "multilabel", "regression", "tokens", "segmentation", "language-model"]
TASKS: Final = get_args(Task)


@dataclass(frozen=True)
class Scores:
    """One row per example, in the order in which they were read. Memory is O(N) but for what is None by default.

    Attributes:
        task: what is asked of the model.
        ids: names an example for good, however the data are shuffled: its position in the data set, or what the user
            calls it. All different.
        loss: shape (N,), of the example; where it has several places (tokens, pixels), their mean.
        given, predicted: shape (N,), class numbers (classification); else of the worst place of the example; NaN-free
            floats for a regression with one target. An object array where neither fits.
        confidence: shape (N,), the probability that the model gives to `predicted`; NaN where there is none.
        margin: shape (N,), in [-1, 1]: probability of the given label minus that of the best other class, at the end,
            or averaged over the epochs of a tracked training; NaN where there is none.
        epochs: over how many passes `margin` is a mean; 1 for a trained model.
        classes: names of the classes; () if unknown.
        probabilities: shape (N, K), None if they were not kept.
        embeddings: shape (N, D), None if the model has none that could be read.
    """

    task: Task
    ids: tuple[Id, ...]
    loss: Floats
    given: NDArray[Any]
    predicted: NDArray[Any]
    confidence: Floats
    margin: Floats
    epochs: int = 1
    classes: tuple[str, ...] = ()
    probabilities: Floats | None = None
    embeddings: Floats | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_wrong(self) -> NDArray[np.bool_]:
        """Shape (N,): whether the prediction is not what is given; all False for a regression."""
        wrong: NDArray[np.bool_] = np.asarray(self.given != self.predicted, dtype=np.bool_)
        return wrong if self.task != "regression" else np.zeros_like(wrong)
