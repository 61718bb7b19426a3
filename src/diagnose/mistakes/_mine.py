"""mine_mistakes: one pass of a trained model over its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from diagnose.errors import MistakesError
from diagnose.mistakes._losses import LossFn
from diagnose.mistakes._mistakes import Mistakes
from diagnose.mistakes._reading import Reader, reader_of
from diagnose.mistakes._scan import Inspector, Options, scan
from diagnose.mistakes._scores import Id, Task


def mine_mistakes(
    model: Callable[..., Any],
    data: Any,
    *,
    loss_fn: LossFn | None = None,
    k: int = 64,
    ids: Sequence[Id] | str | None = None,
    describe: Callable[[Any], object] | None = None,
    task: Task | None = None,
    classes: Sequence[str] | None = None,
    outputs: str | None = None,
    predict: Callable[[Any], Tensor] | None = None,
    unpack: Callable[[Any], Any] | None = None,
    ignore_index: int | None = None,
    batch_size: int = 256,
    keep_probabilities: bool | None = None,
    inspector: Inspector | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> Mistakes:
    """The worst mistakes of a trained model.

    Raises:
        MistakesError: the data cannot be read, the model raises, or outputs and targets leave open what is asked.
    """
    if k < 1:
        raise MistakesError(f"k is {k}, and has to be at least 1.")
    reader = reader_of(data, batch_size=batch_size, seed=seed)
    names = tuple(map(str, classes)) if classes is not None else ()
    options = Options(
        loss_fn, predict, unpack, task, outputs, ignore_index, names, ids, keep_probabilities, k, seed, progress
    )
    scanned = scan(model, reader, options, inspector)
    notes = [reader.note] if reader.note else []
    return Mistakes(
        scores=scanned.scores,
        k=k,
        worst_places=scanned.worst,
        examples=_Again(reader, scanned.positions),
        describe=describe,
        model=type(model).__name__,
        notes=(*notes, *scanned.notes),
    )


class _Again:
    """Reads examples again, by their row in the scores."""

    def __init__(self, reader: Reader, positions: Sequence[int]) -> None:
        self._reader, self._positions = reader, positions

    def example(self, row: int) -> Any:
        return self._reader.example(self._positions[row])

    def file(self, row: int) -> str | None:
        return self._reader.file(self._positions[row])
