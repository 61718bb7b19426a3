"""What is kept of each example while the data go by: hashes, a small vector and a few statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diagnose.mistakes._scores import Id

Kind: TypeAlias = Literal["image", "signal", "table", "tokens", "text"]
Hashes: TypeAlias = "NDArray[np.uint64]"

CHUNKS: Final = 8
"""Into how many parts an example is cut to be hashed: equal rows of whole numbers may be so by chance, and then others
are equal but for one part."""

_ODD: Final = np.random.Generator(np.random.PCG64(8)).integers(0, 2**62, size=64).astype(np.uint64) * np.uint64(
    2
) + np.uint64(1)


@dataclass(frozen=True)
class Component:
    """One of the inputs, of all examples.

    Attributes:
        name: "" if there is one input only.
        kind: what it is taken for.
        chunks: shape (N, CHUNKS), hashes of the parts of each example.
        stats: shape (N,) each, by name: "non_finite" (how many values), "mean", "std", "low", "high" of the finite
            values, "at_low", "at_high" (which share of the values is the lowest, the highest), "mean_0" ... by channel
            for images; "length" for tokens and texts.
        vectors: shape (N, V); thumbnails, or the row itself. None for tokens and texts.
        thumbnail: height and width of the thumbnails; None for tables.
        shingles: shape (N, M), minima of hashes over the shingles of a text; None for the others.
        columns: names of the columns of a table, as far as they are known.
    """

    name: str
    kind: Kind
    chunks: Hashes
    stats: Mapping[str, NDArray[np.float32]]
    vectors: NDArray[np.floating[Any]] | None = None
    thumbnail: tuple[int, int] | None = None
    shingles: NDArray[np.uint32] | None = None

    @property
    def of(self) -> str:
        """What to say of whom: "" or " of input image"."""
        return f" of {self.name}" if self.name else ""

    @cached_property
    def is_constant(self) -> NDArray[np.bool_]:
        """Shape (N,): whether all values are one and the same, or there is none; never for a row of a table, which may
        well be that.
        """
        if self.kind == "table":
            return np.zeros(len(self.chunks), dtype=np.bool_)
        if self.kind in ("tokens", "text"):
            return np.asarray(self.stats["length"] == 0, dtype=np.bool_)
        return np.asarray((self.stats["low"] == self.stats["high"]) & (self.stats["non_finite"] == 0), dtype=np.bool_)

    @cached_property
    def varies(self) -> NDArray[np.bool_]:
        """Shape (N,): whether values are finite and not all alike, so that their scale can be told."""
        return np.asarray((self.stats["std"] > 0) & (self.stats["non_finite"] == 0), dtype=np.bool_)

    def is_main(self, components: tuple[Component, ...]) -> bool:
        """Whether this is the input of which most is known: the first image, else text, else the widest."""
        order = {"image": 0, "text": 1, "tokens": 1, "signal": 2, "table": 3}

        def rank(component: Component) -> tuple[int, int]:
            width = component.vectors.shape[1] if component.vectors is not None else 0
            return order[component.kind], -width

        return min(components, key=rank) is self


@dataclass(frozen=True)
class Sketch:
    """All examples, side by side.

    Attributes:
        ids: names of the N examples.
        components: the inputs; at least one unless N is 0.
        labels: shape (N,); class numbers (int64), values (float64), or hashes (uint64) of what is neither. None if
            there are no labels.
        label_kind: which of them.
        classes: names of the classes that were declared; () if none were.
        unread: why an input was not read, by its name.
    """

    ids: tuple[Id, ...]
    components: tuple[Component, ...]
    labels: NDArray[Any] | None = None
    label_kind: Literal["class", "value", "other"] | None = None
    classes: tuple[str, ...] = ()
    unread: Mapping[str, str] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def keys(self) -> Hashes:
        """Shape (N,): equal for examples of which all inputs are equal."""
        return joined(self.chunks)

    @cached_property
    def chunks(self) -> Hashes:
        """Shape (N, CHUNKS * inputs)."""
        if not self.components:
            return np.zeros((len(self), 0), dtype=np.uint64)
        return np.concatenate([component.chunks for component in self.components], axis=1)

    @cached_property
    def is_empty(self) -> NDArray[np.bool_]:
        """Shape (N,): whether every input is constant, so that nothing can be said of what it shows."""
        if not self.components:
            return np.ones(len(self), dtype=np.bool_)
        return np.asarray(np.all([c.is_constant for c in self.components], axis=0), dtype=np.bool_)

    def class_name(self, label: int) -> str:
        """What a class is called."""
        return self.classes[label] if 0 <= label < len(self.classes) else f"class {label}"


def joined(chunks: Hashes, *, without: int | None = None) -> Hashes:
    """Shape (N,): one hash of all parts, or of all but one.

    Args:
        chunks: shape (N, parts).
    """
    parts = chunks.shape[1]
    factors = np.resize(_ODD, parts) + np.arange(parts, dtype=np.uint64) * np.uint64(2**32 + 2)
    with np.errstate(over="ignore"):
        terms = chunks * factors
        if without is not None:
            terms[:, without] = 0
        total: Hashes = terms.sum(axis=1, dtype=np.uint64)
    return total
