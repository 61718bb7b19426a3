"""What a tracked training says about each of its examples: kept in the run directory, read back, made into scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import MistakesError, RunDirectoryError
from diagnose.mistakes._mistakes import Mistakes
from diagnose.mistakes._scores import Scores
from diagnose.mistakes._suspects import Tier
from diagnose.stats.suspects import Assessment, assess
from diagnose.storage import EXAMPLES, RunDirectory, read_arrays

if TYPE_CHECKING:
    from diagnose.collect.examples import TrackedRows

KIND: Final = "examples"
_ARRAYS: Final[Mapping[str, str]] = {
    "ids": "<i8",
    "times": "<i8",
    "margin": "<f4",
    "margin_all": "<f4",
    "given": "<i8",
    "predicted": "<i8",
    "loss": "<f4",
}
_NUMBERS: Final = ("size", "until", "passes", "changed", "classes")
_MIXED: Final = 0.05
"""Share of meetings at which an example had another label than before: from here on, labels are drawn, not given."""


@dataclass(frozen=True)
class TrackedExamples:
    """One row per training example that was met. Memory: 44 bytes each.

    Attributes:
        ids: shape (N,), the position in the data set; in order of first appearance where `hashes` is not None.
        hashes: shape (N,), of the rows that the model was given; None where positions are known.
        names: file names of all examples of the data set, by position; () if it has none.
        size: of the data set; 0 if unknown.
        times: shape (N,), how often each was met.
        margin: shape (N,), in [-1, 1]: the mean of the probability of the given label minus that of the best other
            class, over the first `until` passes; or with the k-th pass counting 1/k, where `window` is "logarithmic".
        margin_all: shape (N,), the plain mean over all passes.
        given, predicted, loss: shape (N,), of the last pass.
        window: "validation": up to twice the time of the best evaluation; "logarithmic": there was no evaluation.
        until, passes: over how many passes `margin` is a mean, and how many there were.
        changed: how many times an example had another label than before.
        classes: how many there are.
        reason: why something was not tracked; "".
    """

    ids: NDArray[np.int64]
    hashes: NDArray[np.int64] | None
    names: tuple[str, ...]
    size: int
    times: NDArray[np.int64]
    margin: NDArray[np.float32]
    margin_all: NDArray[np.float32]
    given: NDArray[np.int64]
    predicted: NDArray[np.int64]
    loss: NDArray[np.float32]
    window: str
    until: float
    passes: float
    changed: int
    classes: int
    reason: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, rows: TrackedRows, reason: str = "") -> TrackedExamples:
        """What a tracker has given out."""
        return cls(**{field.name: getattr(rows, field.name) for field in dataclasses.fields(rows)}, reason=reason)

    # -- what it says -----------------------------------------------------------------------------------

    @property
    def usable(self) -> str:
        """Why margins say nothing about labels; "" if they do."""
        if not len(self):
            return "no example was tracked"
        if int(self.times.max()) < 2:
            return (
                "no example was met a second time: rows change from epoch to epoch (augmentation, no DataLoader), "
                "or there was one epoch"
            )
        if self.changed > _MIXED * int(self.times.sum()):
            return "labels change from epoch to epoch"
        return ""

    @cached_property
    def assessment(self) -> Assessment:
        """How many labels are wrong, and below which margin they are to be looked for."""
        reason = self.usable
        return Assessment(len(self), reason=reason) if reason else assess(self.margin)

    @property
    def scores(self) -> Scores:
        """The rows as `Scores`, in the order of `ids`."""
        return Scores(
            task="classification",
            ids=tuple(self.ids.tolist()),
            loss=self.loss,
            given=self.given,
            predicted=self.predicted,
            confidence=np.full(len(self), np.nan, dtype=np.float32),
            margin=self.margin,
            epochs=max(round(self.until), 1),
            source="training",
            limits=self._limits(),
        )

    def _limits(self) -> dict[Tier, float]:
        found = self.assessment
        limits: dict[Tier, float | None] = {"very-likely": found.very_likely, "suspect": found.limit, "look": 0.0}
        return {tier: limit for tier, limit in limits.items() if limit is not None}

    def mistakes(self, dataset: Any = None, *, k: int = 64, classes: Sequence[str] = ()) -> Mistakes:
        """The rankings of `mine_mistakes`, by what was seen during training.

        Args:
            dataset: the data set that was trained on, to show examples; positions in it are the IDs.
            k: how long the rankings are.
            classes: names of the classes, in their order.

        Raises:
            MistakesError: k is below 1, nothing was tracked, or the data set has another size.
        """
        if k < 1:
            raise MistakesError(f"k is {k}, and has to be at least 1.")
        if not len(self):
            raise MistakesError(f"No training example was tracked: {self.reason or 'no loss was seen'}.")
        if dataset is not None and self.size and len(dataset) != self.size:
            raise MistakesError(
                f"The data set has {len(dataset):,} examples, the one that was trained on had {self.size:,}.\n"
                "Pass the data set that the DataLoader was given (the whole one, if that was a Subset)."
            )
        examples = _Examples(self, dataset) if dataset is not None or self.names else None
        scores = dataclasses.replace(self.scores, classes=tuple(map(str, classes)))
        return Mistakes(scores=scores, k=k, examples=examples, notes=tuple(self._notes()))

    def _notes(self) -> list[str]:
        notes = [verdict(self.summary())]
        if self.hashes is not None:
            notes.append("IDs are numbers in order of first appearance: there was no DataLoader to tell positions")
        return notes

    def summary(self) -> dict[str, Any]:
        """Plain data: what `report.json` holds under run.tracked."""
        found = self.assessment
        below = self.margin < (found.limit if found.limit is not None else -np.inf)
        surest = self.margin < (found.very_likely if found.very_likely is not None else -np.inf)
        summary: dict[str, Any] = {
            "examples": len(self),
            "passes": round(self.passes, 2),
            "window": self.window,
            "until": round(self.until, 2),
            "very_likely": int(surest.sum()),
            "suspect": int((below & ~surest).sum()),
            "look": int(((self.margin < 0) & ~below).sum()),
            "limit": found.limit,
            "precision": [found.precision.value, found.precision.low, found.precision.high]
            if found.precision
            else None,
            "recall": found.recall,
            "claimed": found.holds(),
            "wrong": found.wrong,
            "reason": found.reason,
            "not_tracked": self.reason,
        }
        return {**summary, "text": verdict(summary)}

    # -- on disk ----------------------------------------------------------------------------------------

    def save(self, directory: RunDirectory, *, names: bool = True) -> None:
        """Replaces examples.npz in the run directory; without the `names` while the training goes on."""
        about: dict[str, Any] = {
            "kind": KIND,
            "names": list(self.names) if names else [],
            "window": self.window,
            "reason": self.reason,
            **{name: getattr(self, name) for name in _NUMBERS},
        }
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        if self.hashes is not None:
            arrays["hashes"] = self.hashes
        directory.save_arrays(EXAMPLES, about, arrays)

    @classmethod
    def load(cls, run_dir: str | Path) -> TrackedExamples:
        """What a tracked run has stored.

        Raises:
            RunDirectoryError: nothing is stored there, or it is damaged.
        """
        path = Path(run_dir)
        file = path / EXAMPLES if path.is_dir() else path
        if not file.is_file():
            raise RunDirectoryError(
                f"{path}: no examples are stored there.\n"
                "Run with `diagnose run --track-examples train.py`, or watch(track_examples=True, run_dir=...)."
            )
        try:
            about, arrays = read_arrays(file, {**_ARRAYS, "hashes": "<i8"}, optional=("hashes",))
            return cls._checked(about, arrays)
        except RunDirectoryError:
            raise
        except Exception as error:  # whatever a damaged or hostile file provokes
            detail = f"{type(error).__name__}: {str(error)[:200]}"
            raise RunDirectoryError(f"{file}: not examples of torch-diagnose, or damaged ({detail})") from error

    @classmethod
    def _checked(cls, about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> TrackedExamples:
        names, numbers = about["names"], {name: about[name] for name in _NUMBERS}
        if about["kind"] != KIND or not all(isinstance(name, str) for name in names):
            raise ValueError("it is of another kind")
        if about["window"] not in ("validation", "logarithmic") or not isinstance(about["reason"], str):
            raise ValueError("its window is unknown")
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in numbers.values()):
            raise ValueError("a number is none")
        if len({len(array) for array in arrays.values()}) != 1:
            raise ValueError("its arrays have different lengths")
        if len(arrays["times"]) and arrays["times"].min() < 1:
            raise ValueError("an example was never met")
        fields: dict[str, Any] = {**numbers, **{name: arrays[name] for name in _ARRAYS}}
        return cls(
            names=tuple(names),
            hashes=arrays.get("hashes"),
            window=about["window"],
            reason=about["reason"],
            **fields,
        )


def scores_of(run_dir: str | Path) -> Scores:
    """The scores of a tracked run, from its directory.

    Raises:
        RunDirectoryError: nothing is stored there, or it is damaged.
    """
    return TrackedExamples.load(run_dir).scores


def verdict(summary: Mapping[str, Any]) -> str:
    """A sentence on what `TrackedExamples.summary` says about labels."""
    examples = f"{summary['examples']:,} training examples"
    if summary["limit"] is None or summary["precision"] is None:
        look = f"; {summary['look']:,} are worth a look" if summary["look"] else ""
        return f"{examples}: wrong labels cannot be told from hard examples here ({summary['reason']}){look}"
    share, low, high = summary["precision"]
    text = (
        f"{examples}: {summary['very_likely']:,} labels are very likely wrong, {summary['suspect']:,} are suspect, "
        f"{summary['look']:,} worth a look; of the first two an estimated {share:.0%} ({low:.0%} to {high:.0%}) are "
        "wrong"
    )
    if not summary["claimed"]:
        text = f"{text}, or fewer, as they are hard to tell from hard examples"
    return f"{text}. Wrong labels that it has learned by heart are not among them, and nothing tells how many those are"


class _Examples:
    """Reads training examples again, by row."""

    def __init__(self, tracked: TrackedExamples, dataset: Any) -> None:
        self._tracked, self._dataset = tracked, dataset

    def example(self, row: int) -> Any:
        if self._dataset is None or self._tracked.hashes is not None:
            return None
        return self._dataset[int(self._tracked.ids[row])]

    def file(self, row: int) -> str | None:
        position = int(self._tracked.ids[row])
        names = self._tracked.names
        return names[position] if self._tracked.hashes is None and position < len(names) else None
