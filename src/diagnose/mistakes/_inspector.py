"""Finds what is wrong with data while they go by once: duplicates, outliers, blank images, rare classes, ..."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import InspectionError
from diagnose.mistakes._problem import Problem, by_severity
from diagnose.mistakes._scores import Id, Scores
from diagnose.mistakes.problems import between, blanks, duplicates, near_duplicates, non_finite, outliers
from diagnose.mistakes.problems import classes as of_classes
from diagnose.mistakes.problems._reading import Read, as_array, hash_bytes, inputs_of, length_of, read
from diagnose.mistakes.problems._sketch import Component, Sketch


class Inspector:
    """Takes in data batch by batch and tells what is wrong with them.

    Memory is O(N): of each example some 8 hashes, a vector of at most 256 numbers and ten statistics per input, about
    1.2 KiB for an image and .4 KiB for a row of a table. Tensors of the caller are read and not kept.

    Args:
        classes: names of the classes, so that labels beyond them are noticed; () if they are not known.
    """

    def __init__(self, *, classes: Sequence[str] = ()) -> None:
        self._classes = tuple(classes)
        self._ids: list[Id] = []
        self._parts: dict[str, list[Read]] = {}
        self._unread: dict[str, str] = {}
        self._labels: list[NDArray[Any]] = []
        self._label_kind: Literal["class", "value", "other"] | None = None
        self._sketch: Sketch | None = None

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Sequence[Id], inputs: Any, labels: Any = None) -> None:
        """Takes in one batch.

        Args:
            ids: of its N examples, each different from all that were given before.
            inputs: a tensor or an array of shape (N, ...), a list of N texts, or a mapping or a tuple of them. Of four
                dimensions: images, (N, C, H, W) or (N, H, W, C). Integers of shape (N, T): tokens. Floating point
                numbers of shape (N, D): rows of a table. What cannot be read (graphs, say) is left out, see `unread`.
            labels: class numbers of shape (N,), values of shape (N,) or (N, 1), or anything else of N rows (masks,
                several labels each), of which only equality is looked at. None if there are none.

        Raises:
            InspectionError: ids, inputs and labels are not of the same number, or labels are given for some batches
                only. Nothing of the batch has been taken in.
        """
        found = dict(inputs_of(inputs))
        for name, batch in found.items():
            length = length_of(batch)
            if length is not None and length != len(ids):
                raise InspectionError(
                    f"{len(ids)} ids were given for an input {name!r} of {length} examples (ids {_some(ids)}). "
                    "Give one id for each row of the batch."
                )
        known = None if labels is None else _labels_of(labels, len(ids))
        if self._ids and (known is None) != (self._label_kind is None):
            raise InspectionError(
                f"the batch with ids {_some(ids)} has {'no' if known is None else ''} labels, and those before it "
                f"have{'' if known is None else ' none'}. Give labels for all batches or for none."
            )
        self._sketch = None
        self._ids.extend(ids)
        if known is not None:
            self._label_kind = known[0] if self._label_kind in (None, known[0]) else "other"
            self._labels.append(known[1])
        for name, batch in found.items():
            self._add_input(name, batch, len(ids))

    def _add_input(self, name: str, batch: Any, size: int) -> None:
        if name in self._unread or not size:
            return
        result = read(batch)
        before = self._parts.setdefault(name, [])
        if isinstance(result, Read) and before and not _fit(before[0], result):
            result = f"batches differ in kind or width ({before[0].kind}, then {result.kind})"
        elif isinstance(result, Read) and len(self._ids) != size + sum(len(part.chunks) for part in before):
            result = "missing in some batches"
        if isinstance(result, str):
            self._unread[name] = result
            del self._parts[name]
        else:
            before.append(result)

    @property
    def unread(self) -> dict[str, str]:
        """Why an input was not read, by its name ("" if there is one input only)."""
        return dict(self._unread)

    @property
    def sketch(self) -> Sketch:
        """What is known of all examples so far.

        Raises:
            InspectionError: an id was given twice.
        """
        if self._sketch is None:
            twice = [name for name, count in Counter(self._ids).items() if count > 1]
            if twice:
                raise InspectionError(
                    f"{len(twice)} ids were given more than once, {_some(twice)} among them. An id names one example: "
                    "use a new Inspector for each pass over the data."
                )
            complete = {name: parts for name, parts in self._parts.items() if _rows(parts) == len(self._ids)}
            self._sketch = Sketch(
                ids=tuple(self._ids),
                components=tuple(_component(name, parts) for name, parts in complete.items() if parts),
                labels=np.concatenate(self._labels) if self._labels else None,
                label_kind=self._label_kind,
                classes=self._classes,
                unread=dict(self._unread),
            )
        return self._sketch

    def problems(self, scores: Scores | None = None) -> list[Problem]:
        """What is wrong with the data, the most severe first; [] if nothing was found.

        Args:
            scores: what a model says about the examples, in any order: tells what rare classes do to the error.

        Raises:
            InspectionError: an id was given twice, or `scores` are of other examples.
        """
        sketch = self.sketch
        is_prose = scores is not None and scores.task == "language-model"
        blank = [*non_finite.non_finite_inputs(sketch), *blanks.blank_examples(sketch, is_prose=is_prose)]
        outside = list(outliers.outlying_examples(sketch, without=_rows_of(sketch, blank, ("blank-images",))))
        # What is blank, of another scale, or has the same code for a missing value, is alike for that reason.
        codes = ("blank-images", "differently-normalized-examples", "outlying-examples", "inverted-images")
        faulty = _rows_of(sketch, [*blank, *outside], codes)
        copies = [
            *duplicates.duplicate_examples(sketch),
            *near_duplicates.near_duplicate_examples(sketch, without=faulty),
        ]
        targets = outliers.outlying_targets(sketch)
        return by_severity([*of_classes.class_problems(sketch, scores), *blank, *outside, *targets, *copies])


def compare(train: Inspector, test: Inspector) -> list[Problem]:
    """What is wrong between a training set and a test set, the most severe first; [] if nothing was found.

    Test examples that are in the training set (train-test-duplicates: a leak), a test set of another scale or with its
    channels reversed, classes that training never shows. The ids are those of the test set.

    Raises:
        InspectionError: an id was given twice to one of them.
    """
    one, other = train.sketch, test.sketch
    found = (between.shared_examples, between.other_scale, between.other_channels, between.other_classes)
    return by_severity([problem for detect in found for problem in detect(one, other)])


def _rows_of(sketch: Sketch, problems: Sequence[Problem], codes: tuple[str, ...]) -> NDArray[np.int64]:
    """The rows of the examples that problems of these codes are about."""
    names = {name for problem in problems if problem.code in codes for name in problem.ids}
    return np.array([row for row, name in enumerate(sketch.ids) if name in names], dtype=np.int64)


def _labels_of(labels: Any, size: int) -> tuple[Literal["class", "value", "other"], NDArray[Any]]:
    parts = [_label_rows(part) for _, part in inputs_of(labels)] if _is_nest(labels, size) else [_label_rows(labels)]
    for part in parts:
        if len(part) != size:
            raise InspectionError(f"{size} ids were given with {len(part)} labels. Give one label for each example.")
    array = parts[0]
    if len(parts) == 1:
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim == 1 and array.dtype.kind in "iub":
            return "class", array.astype(np.int64)
        if array.ndim == 1 and array.dtype.kind == "f":
            return "value", array.astype(np.float64)
    rows = [
        _hash_of(row[0] if len(row) == 1 else np.array([_hash_of(item) for item in row]))
        for row in zip(*parts, strict=True)
    ]
    return "other", np.array(rows, dtype=np.uint64)


def _is_nest(labels: Any, size: int) -> bool:
    """Whether labels are several tensors, each of all examples (boxes and classes, say)."""
    if isinstance(labels, Mapping):
        return True
    return isinstance(labels, list | tuple) and bool(labels) and all(_is_batch(part, size) for part in labels)


def _is_batch(part: Any, size: int) -> bool:
    return hasattr(part, "shape") and length_of(part) == size


def _label_rows(labels: Any) -> NDArray[Any]:
    """One row for each example, whatever a label is."""
    if isinstance(labels, list | tuple):
        labels = [label.tolist() if hasattr(label, "tolist") else label for label in labels]
        try:
            labels = np.asarray(labels)
        except ValueError:  # of different lengths
            return np.array([repr(label) for label in labels])
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "USO":
        return labels
    array = as_array(labels)
    if isinstance(array, str):
        return np.array([repr(label) for label in labels]) if hasattr(labels, "__iter__") else np.zeros(0)
    return array


def _hash_of(value: Any) -> int:
    """A hash of the bytes of an array, or of what an object prints as."""
    is_plain = isinstance(value, np.ndarray) and value.dtype.kind in "iubf"
    return hash_bytes(np.ascontiguousarray(value).tobytes() if is_plain else repr(value).encode("utf-8", "replace"))


def _fit(first: Read, other: Read) -> bool:
    same_vectors = first.vectors is None or (
        other.vectors is not None and first.vectors.shape[1:] == other.vectors.shape[1:]
    )
    return first.kind == other.kind and same_vectors and set(first.stats) == set(other.stats)


def _rows(parts: list[Read]) -> int:
    return sum(len(part.chunks) for part in parts)


def _component(name: str, parts: list[Read]) -> Component:
    first = parts[0]
    return Component(
        name=name,
        kind=first.kind,
        chunks=np.concatenate([part.chunks for part in parts]),
        stats={key: np.concatenate([part.stats[key] for part in parts]) for key in first.stats},
        vectors=np.concatenate([part.vectors for part in parts if part.vectors is not None])
        if first.vectors is not None
        else None,
        thumbnail=first.thumbnail,
        shingles=np.concatenate([part.shingles for part in parts if part.shingles is not None])
        if first.shingles is not None
        else None,
    )


def _some(names: Sequence[Id], most: int = 3) -> str:
    return ", ".join(map(repr, names[:most])) + (", ..." if len(names) > most else "")
