"""mine_mistakes: one pass of a trained model over its data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diagnose.errors import MistakesError
from diagnose.isolation import State
from diagnose.mistakes._inspector import Inspector
from diagnose.mistakes._losses import LossFn
from diagnose.mistakes._mistakes import Mistakes
from diagnose.mistakes._reading import Reader, reader_of
from diagnose.mistakes._scan import Options, scan
from diagnose.mistakes._scores import Bools, Floats, Id, Scores, Task
from diagnose.mistakes._slices import slices
from diagnose.mistakes._suspects import margins

_SUM_TOLERANCE: Final = 2e-2


def mine_mistakes(
    model: Callable[..., Any] | None,
    data: Any,
    *,
    loss_fn: LossFn | None = None,
    k: int = 64,
    ids: Sequence[Id] | str | None = None,
    describe: Callable[[Any], object] | None = None,
    task: Task | None = None,
    classes: Sequence[str] | None = None,
    metadata: Mapping[str, Sequence[Any]] | Callable[[Any], Mapping[str, Any]] | None = None,
    embeddings: Any = None,
    probabilities: Any = None,
    outputs: str | None = None,
    predict: Callable[[Any], Tensor] | None = None,
    unpack: Callable[[Any], Any] | None = None,
    ignore_index: int | None = None,
    batch_size: int = 256,
    keep_probabilities: bool | None = None,
    inspect: bool = True,
    seed: int = 0,
    progress: bool | None = None,
) -> Mistakes:
    """The worst mistakes of a trained model, and which labels and groups of examples are behind them.

    One pass in eval mode and without gradients, on the device that the model is on. Of each example a few numbers are
    kept; the model, its modes and buffers, and all random states are as before afterwards.

    What is asked (`task`), whether outputs are logits or probabilities, and how the data come in batches is found out.
    Where it is open, an error says between what, and by which argument to tell.

    Args:
        model: a module, or any function of a batch's inputs; None: `probabilities` are given in its place.
        data: a Dataset; a DataLoader, shuffled or not, whose examples are named by their position in its data set;
            (inputs, targets); or an iterable of batches, which has to keep its order for the names to last. Batches
            are (inputs, ..., targets), mappings or dataclasses with "labels", "label", "targets" or "target".
        loss_fn: of (output, targets), for the loss of each example; tells what outputs are, too. By default cross
            entropy, or squared error.
        k: how long rankings are.
        ids: names of the examples, by position; or the name under which batches have them. By default the position.
        describe: makes a short text of what the data set returns for an example, shown in tables.
        task: "classification" (with one logit too), "multilabel", "regression", "tokens", "segmentation" or
            "language-model".
        classes: names of the classes, in the order of the outputs; by default `classes` of the data set.
        metadata: columns, each with a value for each example by its position; or a function of an example that
            returns them by name. Groups whose error is not that of the rest are reported.
        embeddings: shape (N, D), by position; or the name of a submodule whose output is taken. Examples whose
            neighbours have other labels are reported.
        probabilities: shape (N, K), by position: predictions by models that were not trained on the example (out of
            fold, as `sklearn.model_selection.cross_val_predict` makes them). Suspect labels are judged by them.
        outputs: "logits", "log-probabilities" or "probabilities", if that cannot be told.
        predict: makes the tensor of outputs of what the model returns.
        unpack: makes (inputs, targets) of a batch.
        ignore_index: targets that do not count; by default that of the loss function, or -100.
        batch_size: where the data come without batches.
        keep_probabilities: for `to_cleanlab`; by default up to 100 MB of them.
        inspect: also look for problems of the data themselves (duplicates, outliers, blank images, rare classes, ...),
            in the same pass. See `Inspector`.
        seed: of what is random in the data set (augmentation) and in the model.
        progress: a bar on stderr; by default on a terminal, after two seconds.

    Raises:
        MistakesError: the data cannot be read, the model raises, or outputs and targets leave open what is asked.

    Source:
        Goodfellow, Bengio & Courville, "Deep Learning", section 11.5: "visualize the worst mistakes".
    """
    for name, value in (("k", k), ("batch_size", batch_size)):
        if not isinstance(value, int) or value < 1:
            raise MistakesError(f"{name} is {value!r}, and has to be a whole number of at least 1.")
    _check_model(model, probabilities)
    folds = None if probabilities is None else _checked(probabilities)
    if model is None and (alone := _labels_alone(data)) is not None:
        data, inspect = alone, False
    with State((), seed=seed):  # samplers that are asked what they draw from draw random numbers
        reader = reader_of(data, batch_size=batch_size, seed=seed)
    names = tuple(map(str, classes)) if classes is not None else _classes_of(data)
    layer = embeddings if isinstance(embeddings, str) else None
    options = Options(
        loss_fn=loss_fn,
        predict=predict,
        unpack=unpack,
        task=task,
        outputs=outputs,
        ignore_index=ignore_index,
        classes=names,
        classes_are_asked=classes is not None,
        ids=ids,
        keep_probabilities=keep_probabilities,
        embeddings=layer,
        k=k,
        seed=seed,
        progress=progress,
    )
    scanned = scan(model, reader, options, Inspector(classes=names) if inspect else None, folds)
    scores, positions = scanned.scores, np.asarray(scanned.positions)
    if model is None:
        scores = replace(scores, source="out-of-fold")
    elif folds is not None:
        scores = _with_folds(scores, _by_position(folds, positions, "probabilities"))
    if embeddings is not None and layer is None:
        scores = replace(scores, embeddings=_by_position(_rows_of_numbers(embeddings), positions, "embeddings"))
    again = _Again(reader, scanned.positions, seed)
    return Mistakes(
        scores=scores,
        k=k,
        problems=tuple(scanned.inspector.problems(scores)) if scanned.inspector is not None else (),
        worst_places=scanned.worst,
        slices=slices(scores, _columns(metadata, positions, again)) if metadata is not None else (),
        examples=again,
        describe=describe,
        model="" if model is None else type(model).__name__,
        notes=(*_without_target(scores), *_not_finite(scores), *([reader.note] if reader.note else []), *scanned.notes),
    )


class _Again:
    """Reads examples again, by their row in the scores."""

    def __init__(self, reader: Reader, positions: Sequence[int], seed: int) -> None:
        self._reader, self._positions, self._seed = reader, positions, seed

    def example(self, row: int) -> Any:
        with State((), seed=self._seed):  # augmentation draws random numbers
            return self._reader.example(self._positions[row])

    def file(self, row: int) -> str | None:
        return self._reader.file(self._positions[row])


def _check_model(model: Any, probabilities: Any) -> None:
    if model is None:
        if probabilities is None:
            raise MistakesError("There is neither a model nor probabilities: give one of them.")
        return
    if isinstance(model, type):
        raise MistakesError(f"The model is the class {model.__name__}: give an object of it, with trained weights.")
    if callable(model):
        return
    ways = [name for name in ("predict_proba", "decision_function", "predict") if callable(getattr(model, name, None))]
    hint = f"give its method .{ways[0]}" if ways else "give a module, or a function of a batch's inputs"
    raise MistakesError(f"The model is a {type(model).__name__}, which cannot be called: {hint}.")


def _known(scores: Scores) -> Bools:
    """Shape (N,): whether an example has a target that counts."""
    if scores.places is not None:
        return np.asarray(scores.places > 0)
    if scores.task == "regression":
        return np.asarray(~np.isnan(scores.given.astype(np.float64)))
    return np.asarray(scores.given != -1)


def _without_target(scores: Scores) -> list[str]:
    known = _known(scores)
    if not known.any():
        raise MistakesError(
            f"None of the {len(scores):,} examples has a target that counts: all are the ignore_index, or NaN."
        )
    count = int((~known).sum())
    examples = "1 example has" if count == 1 else f"{count:,} examples have"
    return [f"{examples} no target that counts: they are in no ranking and in no error."] if count else []


def _not_finite(scores: Scores) -> list[str]:
    known = _known(scores)
    count = int((known & ~np.isfinite(scores.loss)).sum())
    if not count:
        return []
    first = scores.ids[int((known & ~np.isfinite(scores.loss)).argmax())]
    if count == int(known.sum()):
        raise MistakesError(
            f"All outputs or losses ({count:,} of {count:,}) are NaN or infinite: there is nothing to tell mistakes "
            "by. Look for the weights that are not finite, and for inputs that are not as in training."
        )
    if count == 1:
        return [f"The output or the loss of example {first} is not finite: it is in no ranking."]
    return [
        f"The outputs or losses of {count:,} examples are not finite, the first is {first}: they are in no ranking."
    ]


def _with_folds(scores: Scores, folds: Floats) -> Scores:
    """Scores whose margins come from out-of-fold probabilities; mistakes and losses remain the model's."""
    if scores.task != "classification":
        raise MistakesError(f"probabilities= are of a classification, and this is {scores.task}.")
    labelled = scores.given >= 0
    if labelled.any() and int(scores.given.max()) >= folds.shape[1]:
        raise MistakesError(
            f"A target is {scores.given.max()}, and probabilities are there for {folds.shape[1]} classes."
        )
    margin = np.full(len(scores), np.nan, dtype=np.float32)
    margin[labelled] = margins(folds[labelled], scores.given[labelled])
    return replace(scores, margin=margin, probabilities=folds, source="out-of-fold")


def _checked(probabilities: Any) -> Floats:
    found = _rows_of_numbers(probabilities)
    if found.ndim == 1:
        found = np.stack([1 - found, found], axis=1)  # of the second of two classes
    if found.ndim != 2 or found.shape[1] < 2:
        raise MistakesError(
            f"probabilities have the shape {found.shape}, and need one row per example, one column per class."
        )
    bad = ~(
        np.isfinite(found).all(axis=1) & (found >= 0).all(axis=1) & (np.abs(found.sum(axis=1) - 1) < _SUM_TOLERANCE)
    )
    if bad.any():
        row = int(bad.argmax())
        shown = np.array2string(found[row][:6], precision=4)
        raise MistakesError(f"Row {row} of probabilities is {shown}: probabilities are not negative and sum to 1.")
    return found


def _rows_of_numbers(values: Any) -> Floats:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise MistakesError(f"An array of numbers is needed, one row per example, not {array.dtype}.")
    return array.astype(np.float32)


def _by_position(values: Floats, positions: NDArray[np.int64], name: str) -> Floats:
    """The rows of the examples that were read: of all in the data set, or of these alone."""
    if len(values) > int(positions.max()):
        return values[positions]
    if len(values) == len(positions):
        return values
    raise MistakesError(f"{name} have {len(values)} rows for {len(positions)} examples.")


def _labels_alone(data: Any) -> Any:
    """Labels without inputs, as data (there is no model that needs inputs); None if it is something else."""
    if isinstance(data, list | tuple) and data and isinstance(data[0], int):
        data = np.asarray(data)
    if hasattr(data, "shape") and len(data.shape) == 1:
        return (data, data)
    return None


def _classes_of(data: Any) -> tuple[str, ...]:
    """Names of the classes, where the data set has a list of them, as torchvision's have."""
    for _ in range(4):
        found = getattr(data, "classes", None)
        if isinstance(found, list | tuple) and found and all(isinstance(name, str) for name in found):
            return tuple(found)
        data = getattr(data, "dataset", None)
    return ()


def _metadata_of(metadata: Callable[[Any], Any], example: Any, position: int) -> Any:
    try:
        return metadata(example)
    except Exception as error:
        raise MistakesError(
            f"metadata= raised {type(error).__name__} for the example at position {position}: {error}. It is given "
            "what the data set returns for an example."
        ) from error


def _columns(metadata: Any, positions: NDArray[np.int64], again: _Again) -> dict[str, list[Any]]:
    """A value for each row of the scores, by the name of the column."""
    if callable(metadata):
        rows = [_metadata_of(metadata, again.example(row), positions[row]) for row in range(len(positions))]
        if not all(isinstance(row, Mapping) for row in rows):
            raise MistakesError("metadata is a function, and has to return a mapping: name of the column -> value.")
        return {name: [row.get(name) for row in rows] for name in dict.fromkeys(key for row in rows for key in row)}
    if not hasattr(metadata, "keys"):
        raise MistakesError(f"metadata is a {type(metadata).__name__}, and has to be a mapping: name -> values.")
    found = {}
    for name in list(metadata.keys()):
        values = metadata[name]
        values = values.tolist() if hasattr(values, "tolist") else list(values)
        if len(values) > int(positions.max()):
            values = [values[position] for position in positions.tolist()]
        elif len(values) != len(positions):
            raise MistakesError(f"metadata {name!r} has {len(values)} values for {len(positions)} examples.")
        found[str(name)] = values
    return found
