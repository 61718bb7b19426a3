"""What a model says about each example of its data: a few numbers per example, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from diagnose.mistakes._suspects import TIERS, Tier

Id: TypeAlias = "int | str"
Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Task: TypeAlias = Literal["classification", "multilabel", "regression", "tokens", "segmentation", "language-model"]
TASKS: Final = get_args(Task)

Source: TypeAlias = Literal["model", "training", "out-of-fold"]
"""Where margins come from, which is what they are worth: one pass of a trained model, which may have learned wrong
labels by heart; the mean over the epochs of a training; predictions of models that were not trained on the example."""


@dataclass(frozen=True)
class Scores:
    """One row per example, in the order in which they were read. Memory is O(N) but for what is None by default.

    Attributes:
        task: what is asked of the model.
        ids: names an example for good, however the data are shuffled: its position in the data set, or what the user
            calls it. All different.
        loss: shape (N,), of the example; where it has several places (labels, tokens, pixels), their mean. NaN where no
            place counts.
        given, predicted: shape (N,), class numbers; values of a regression. Where an example has several places, those
            of the worst one; for several labels, of the worst label, 0 or 1. -1 where no place counts.
        confidence: shape (N,), the probability that the model gives to `predicted`; NaN where there is none.
        margin: shape (N,), in [-1, 1]: probability of the given label minus that of the best other class, at the end,
            or averaged over the epochs of a tracked training; NaN where there is none. Of several places the least one
            (labels, tokens), or the mean (segmentation, where borders make the least one meaningless).
        epochs: over how many passes `margin` is a mean; 1 for a trained model.
        classes: names of the classes; () if unknown.
        probabilities: shape (N, K), None if they were not kept.
        embeddings: shape (N, D), None if the model has none that could be read.
        source: where the margins come from.
        limits: of the tiers of suspect labels; those of a tracked training are told from its margins.
        place: shape (N,), which place is the worst one: the number of the label, token or output, or the flat position
            of a pixel; None where examples have one place.
        shape: of the targets of one example, if all have the same and of several dimensions: `place` is a flat position
            in it.
        places, wrong_places: shape (N,), how many places count, and how many of them are wrong; None as above.
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
    source: Source = "model"
    limits: Mapping[Tier, float] = field(default_factory=lambda: TIERS)
    place: Ints | None = None
    places: Ints | None = None
    wrong_places: Ints | None = None
    shape: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        # Not the arrays: this is shown wherever a debugger or a failed test shows variables.
        return f"Scores({self.task}, {len(self):,} examples)"

    @property
    def has_labels(self) -> bool:
        """Whether the task has labels that may be wrong: not so for amounts, and for the next token."""
        return self.task not in ("regression", "language-model")

    @property
    def is_wrong(self) -> Bools:
        """Shape (N,): whether the prediction is not what is given, at one place at least; all False without labels."""
        if not self.has_labels:
            return np.zeros(len(self), dtype=np.bool_)
        if self.wrong_places is not None:
            return np.asarray(self.wrong_places > 0, dtype=np.bool_)
        return np.asarray(self.given != self.predicted, dtype=np.bool_)
