"""What the curves of a training show: whether it diverged, never began, is unsteady, still falls, or has turned."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import GapError
from diagnose.stats.curves import finite_prefix, noise

Floats = NDArray[np.float64]

NAMES: Final = ("train_loss", "test_loss", "train_error", "test_error", "lr")
_SIDES: Final = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation", "holdout"), "test"),
}
_WHATS: Final = {
    **dict.fromkeys(("loss", "losses", "nll", "mse", "ce", "xent", "cost"), "loss"),
    **dict.fromkeys(("error", "err", "errors"), "error"),
    **dict.fromkeys(("accuracy", "acc", "accuracies"), "accuracy"),
}
_FEWEST: Final = 4
"""Epochs below which a curve says nothing about its course."""


@dataclass(frozen=True)
class Curves:
    """Values per epoch, by the names of `NAMES`.

    Attributes:
        values: shape (epochs,) each; NaN and infinity are kept: that a loss became NaN is evidence.
        given: what the user called each.
    """

    values: Mapping[str, Floats] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str) -> Floats:
        """Empty if it was not given."""
        return self.values.get(name, np.zeros(0))

    def last(self, name: str) -> float | None:
        """The latest finite value; None if there is none."""
        finite = self.get(name)[np.isfinite(self.get(name))]
        return float(finite[-1]) if len(finite) else None

    def with_errors_as_shares(self) -> Curves:
        """The same with curves of errors in percent, so with values above 1.5, divided by 100."""
        errors = {name: _as_share(values) for name, values in self.values.items() if name.endswith("error")}
        return Curves({**self.values, **errors}, self.given)


def curves_of(given: Any) -> Curves:
    """The user's curves by our names: "val_acc" becomes "test_error", 1 minus its values.

    Raises:
        GapError: it is no mapping of names to sequences of numbers, or a name is unknown.
    """
    if given is None:
        return Curves()
    if isinstance(given, Curves):
        return given
    if not isinstance(given, Mapping):
        raise GapError(f"curves is a {type(given).__name__}: give a mapping of names to one number per epoch.")
    values: dict[str, Floats] = {}
    names: dict[str, str] = {}
    for name, numbers in given.items():
        ours, flipped = _name_of(str(name))
        made = _numbers(str(name), numbers)
        if ours in values:
            raise GapError(f"curves has {names[ours]!r} and {name!r}: both are the {ours.replace('_', ' ')}.")
        values[ours] = 1 - _as_share(made) if flipped else made
        names[ours] = str(name)
    return Curves(values, names)


def _name_of(name: str) -> tuple[str, bool]:
    """Our name of a curve, and whether it is 1 minus what was given."""
    tokens = [token for token in re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()) if token]
    sides = [_SIDES[token] for token in tokens if token in _SIDES]
    whats = [_WHATS[token] for token in tokens if token in _WHATS]
    if tokens == ["lr"] or tokens == ["learning", "rate"]:
        return "lr", False
    if len(set(sides)) <= 1 and len(set(whats)) == 1 and len(tokens) <= 4:
        side = sides[0] if sides else "train"
        return f"{side}_{'error' if whats[0] == 'accuracy' else whats[0]}", whats[0] == "accuracy"
    known = [*NAMES, "val_loss", "val_error", "train_accuracy", "val_accuracy"]
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {found[0]!r}?" if found else ""
    raise GapError(f"curves has the unknown name {name!r}.{hint} Known are {', '.join(known)}.")


def _numbers(name: str, numbers: Any) -> Floats:
    try:
        made = np.asarray(numbers, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise GapError(f"curves[{name!r}] is no sequence of numbers: {error}.") from error
    if made.ndim != 1:
        raise GapError(f"curves[{name!r}] has shape {made.shape}: give one number per epoch.")
    return made


def _as_share(values: Floats) -> Floats:
    finite = values[np.isfinite(values)]
    in_percent = len(finite) > 0 and float(finite.max()) > 1.5
    return np.asarray(values / 100 if in_percent else values, dtype=np.float64)


@dataclass(frozen=True)
class Course:
    """How a training went, by its loss on the training data (its error, if there is no loss).

    Attributes:
        epochs: values of the curve.
        broke_at: the first epoch with NaN or infinity, from 1; None if all are finite.
        first, last: levels at the start and the end; both smoothed over three.
        best: the lowest level (a running median of three).
        unsteady: standard deviation of an epoch around the course, over the second half, as a share of its level.
        second_half: how much of the whole fall happened in the second half of the epochs: 0 for a curve that has
            settled, a half for a straight line.
        doubling: by what share the level fell over the second half of the epochs, so what it would fall by, about,
            if the training were as long again.
        fell: whether it fell at all, by more than its noise.
        falls_still: whether the fall of the last third is beyond its noise.
    """

    epochs: int = 0
    broke_at: int | None = None
    first: float = math.nan
    last: float = math.nan
    best: float = math.nan
    unsteady: float = 0.0
    second_half: float = 0.0
    doubling: float = 0.0
    fell: bool = False
    falls_still: bool = False

    @property
    def known(self) -> bool:
        """Whether there are enough epochs to see a course."""
        return self.epochs >= _FEWEST or self.broke_at is not None

    @property
    def rose_again(self) -> float:
        """The last level over the best one."""
        return self.last / self.best if self.best > 0 else 1.0


def course_of(curves: Curves) -> Course:
    """The course of the training loss; of the training error where there is no loss."""
    values = curves.get("train_loss")
    values = values if len(values) else curves.get("train_error")
    if not len(values):
        return Course()
    size = finite_prefix(values)
    broke = None if size == len(values) else size + 1
    values = values[:size]
    if size < _FEWEST:
        return Course(epochs=size, broke_at=broke)
    smooth = _median3(values)
    half, third = size // 2, max(size // 3, 2)
    spread = noise(values[half:]) if size - half >= 4 else noise(values)
    spread = 0.0 if math.isnan(spread) else spread
    first, last, middle = float(values[0]), float(smooth[-1]), float(smooth[half - 1 + size % 2])
    whole, late = first - last, middle - last
    level = abs(float(np.median(values[half:])))
    return Course(
        epochs=size,
        broke_at=broke,
        first=first,
        last=last,
        best=float(smooth.min()),
        unsteady=_roughness(values[half:]) / level if level > 0 else 0.0,
        second_half=late / whole if whole > 0 else 0.0,
        doubling=late / middle if middle > 0 else 0.0,
        fell=whole > 2 * spread and whole > 0,
        falls_still=float(smooth[-third - 1] - last) > 2 * spread,
    )


def _median3(values: Floats) -> Floats:
    """Each value replaced by the median of itself and its neighbours; shape (T,), T at least 4.

    The ends keep the trend: median of the value, its smooth neighbour, and where the line through the two smooth
    neighbours would be (Tukey, "Exploratory Data Analysis", 1977, the end-value rule).
    """
    smooth = values.copy()
    smooth[1:-1] = np.median(np.stack([values[:-2], values[1:-1], values[2:]]), axis=0)
    smooth[0] = np.median([values[0], smooth[1], 3 * smooth[1] - 2 * smooth[2]])
    smooth[-1] = np.median([values[-1], smooth[-2], 3 * smooth[-2] - 2 * smooth[-3]])
    return np.asarray(smooth)


def _roughness(values: Floats) -> float:
    """Standard deviation of one value around its neighbours' line: second differences know no trend."""
    if len(values) < 4:
        return 0.0
    return float(np.sqrt(np.mean(np.diff(values, 2) ** 2) / 6))


def as_plain(curves: Curves) -> dict[str, Sequence[float]]:
    """For JSON."""
    return {name: values.tolist() for name, values in curves.values.items()}
