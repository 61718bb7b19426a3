"""best_checkpoint: where a training should have been stopped, and whether the right checkpoint was kept."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import GapError
from diagnose.findings import json_safe
from diagnose.gap._course import Course
from diagnose.stats.intervals import CONFIDENCE, Interval

Floats: TypeAlias = NDArray[np.float64]
CheckpointVerdict: TypeAlias = Literal["right", "too-late", "too-early", "still-falling", "cannot-tell"]

_VALIDATION_NAMES = ("validation", "val", "valid", "dev", "test")


@dataclass(frozen=True)
class CheckpointChoice:
    """What a validation curve says about the checkpoint that was kept.

    Attributes:
        verdict: "right": the chosen checkpoint cannot be told from the best one. "too-late", "too-early": it is worse
            by more than noise. "still-falling": it is the last one, and the curve still falls. "cannot-tell": too few
            values.
        chosen, best: epochs: of the checkpoint in question, and of the smallest value (what early stopping keeps).
        as_good: (first, last) of the epochs around the best one that cannot be told from it.
        worse_by: how much higher the chosen checkpoint's level is than the best level, in the units of the curve.
        onset: the epoch from which on the curve stays above its best level by more than noise; None if it ends
            otherwise.
        cause: of that rise: "overfitting" (the training error goes on falling), "divergence" (it rises as well),
            "unknown" (no training curve was given); None without a rise.
        patience: the least patience with which early stopping would have kept `best`; None if that is the first value.
        stops_at: the epoch at which it would have stopped; the last one if the curve ends before.
        patience_as_good: the least patience for a checkpoint that cannot be told from the best.
        is_still_falling: whether the end of the curve falls by more than noise, and by more than is negligible.
        noise: standard deviation of one value around the course of the curve; NaN if unknown.
        epochs, values, levels: shape (T,) each: the curve, and its running mean. Levels are NaN where a value is not
            finite.
        higher_is_better: of `values`; all differences count what is worse as positive.
    """

    verdict: CheckpointVerdict
    chosen: int
    best: int
    as_good: tuple[int, int]
    worse_by: Interval
    onset: int | None
    cause: Literal["overfitting", "divergence", "unknown"] | None
    patience: int | None
    stops_at: int
    patience_as_good: int | None
    is_still_falling: bool
    noise: float
    epochs: tuple[int, ...]
    values: tuple[float, ...]
    levels: tuple[float, ...]
    higher_is_better: bool = False

    def value_at(self, epoch: int) -> float:
        """The value of the curve at an epoch.

        Raises:
            ValueError: there is none.
        """
        return self.values[self.epochs.index(epoch)]

    def __str__(self) -> str:
        return "\n".join(_sentences(self))

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        names = ("verdict", "chosen", "best", "as_good", "onset", "cause", "patience", "stops_at", "patience_as_good")
        data = {
            name: getattr(self, name) for name in (*names, "is_still_falling", "noise", "epochs", "values", "levels")
        }
        worse = self.worse_by
        data["worse_by"] = {"value": worse.value, "low": worse.low, "high": worse.high, "confidence": worse.confidence}
        data |= {"higher_is_better": self.higher_is_better, "summary": str(self)}
        plain: dict[str, Any] = json_safe(data)
        return plain


def best_checkpoint(
    curves: Any,
    *,
    chosen: int | None = None,
    epochs: Sequence[int] | None = None,
    n_test: int | None = None,
    higher_is_better: bool = False,
    confidence: float = CONFIDENCE,
    least_fall: float = 0.01,
) -> CheckpointChoice:
    """Judges the choice of a checkpoint by the validation error (or loss) of each epoch.

    Early stopping keeps the checkpoint of the smallest validation error (algorithm 7.1). That value is too good by
    selection, so by how much the chosen checkpoint is worse is measured between levels: running means over about
    sqrt(T) epochs, whose noise comes from the second differences of the curve, and of its block means, so that noise
    that neighbours share counts as well. The best level was chosen among about T / sqrt(T) separate ones: the
    confidence is divided among them (Bonferroni). A chosen value far off its own level is a spike, and counts by
    itself.

    With `n_test`, values are shares of wrong answers among as many examples, and the interval has to hold for new
    examples
    too: the binomial noise of both checkpoints is added, as far as they make different mistakes. How far is not known
    from a curve, so what different models have in common stands in (Mania et al., "Model similarity mitigates test set
    overuse", 2019). With errors per example, the difference is paired, and nothing is assumed.

    Args:
        curves: validation errors in their order, shape (T,), or (T, N) per example; or a mapping with one of these as
            "validation", and the mean training errors as "train" if there are any. Values that are not finite count as
            worse than all others.
        chosen: the epoch whose checkpoint was kept; the last one by default.
        epochs: shape (T,), the epochs (or steps) of the values, ascending; 1, 2, ..., T by default.
        n_test: size of the validation set, if values are shares of wrong (or right) answers.
        higher_is_better: the curve shows accuracies, not errors.
        confidence: of the interval.
        least_fall: a curve that falls by less than this share of its level over its last quarter does not count as
            still falling: a smooth loss falls for ever.

    Raises:
        GapError: there is no finite value, `chosen` is none of the epochs, shapes do not fit, or `n_test` is given with
            values that are no shares.

    Source:
        Goodfellow, Bengio & Courville, "Deep Learning", 2016, section 7.8. Noise: Gasser, Sroka & Jennen-Steinmetz,
        "Residual variance and residual pattern in nonlinear regression", 1986, with a median in place of the mean.
    """
    values, train, per_example = _read(curves, higher_is_better)
    labels = _labels(epochs, len(values))
    place = len(values) - 1 if chosen is None else _place_of(chosen, labels)
    _check(values, train, n_test, higher_is_better)
    curve = Course(values, confidence, n_test)
    best = int(np.argmin(values))
    worse = _paired(per_example, place, best, curve) if per_example is not None else curve.worse_by(place)
    falling = curve.is_falling(least_fall)
    is_good = curve.as_good()
    first_good, last_good = _run_around(is_good, curve.lowest if curve.is_measured else best)
    onset = curve.onset()
    patience, patience_as_good = _patience(values, best, is_good)
    result = CheckpointChoice(
        verdict="cannot-tell",
        chosen=labels[place],
        best=labels[best],
        as_good=(labels[first_good], labels[last_good]),
        worse_by=worse,
        onset=None if onset is None else labels[onset],
        cause=None if onset is None else _cause(train, curve.lowest),
        patience=patience,
        stops_at=labels[min(best + (patience or 1), len(values) - 1)],
        patience_as_good=patience_as_good,
        is_still_falling=falling,
        noise=curve.noise,
        epochs=labels,
        values=tuple((-values if higher_is_better else values).tolist()),
        levels=tuple((-curve.levels if higher_is_better else curve.levels).tolist()),
        higher_is_better=higher_is_better,
    )
    is_known = curve.is_measured or per_example is not None
    return replace(result, verdict=_verdict(result, is_known, place, best))


def _verdict(result: CheckpointChoice, is_known: bool, place: int, best: int) -> CheckpointVerdict:
    if result.worse_by.low > 0:
        return "too-late" if place > best else "too-early"
    if not is_known:
        return "cannot-tell"
    if result.is_still_falling and result.chosen == result.epochs[-1]:
        return "still-falling"
    return "right"


# ---------------------------------------------------------------------- pairs


def _paired(per_example: Floats, place: int, best: int, curve: Course) -> Interval:
    """The chosen minus the best checkpoint's error on the same examples."""
    import torch

    from diagnose.stats.paired import paired_difference

    bounded = bool(((per_example == 0) | (per_example == 1)).all())
    if place == best:
        return Interval(0.0, 0.0, 0.0, curve.confidence)
    choices = max(len(curve.values) / max(curve.width, 1), 1.0)
    one, other = torch.from_numpy(per_example[place]), torch.from_numpy(per_example[best])
    told = paired_difference(one, other, confidence=1 - (1 - curve.confidence) / choices, bounded=bounded)
    return Interval(told.mean, told.low, told.high, curve.confidence)


# ---------------------------------------------------------------------- early stopping


def _patience(values: Floats, best: int, is_good: NDArray[np.bool_]) -> tuple[int | None, int | None]:
    """The least patience that keeps `best`, and the least that keeps one as good; None where the first value is that.

    Algorithm 7.1 stops when as many values as `patience` in a row were no improvement. So it goes from one record to
    the next if that comes at most `patience` values later.
    """
    records = [place for place in range(best + 1) if values[place] < min(values[:place], default=math.inf)]
    waits = [later - earlier for earlier, later in itertools.pairwise(records)]
    enough = None
    if not is_good[records[0]]:
        for patience in sorted(set(waits)):
            kept = next((place for place, wait in zip(records, waits, strict=False) if wait > patience), records[-1])
            if is_good[kept]:
                enough = patience
                break
        else:
            enough = max(waits, default=None)
    return max(waits, default=None), enough


def _run_around(is_good: NDArray[np.bool_], place: int) -> tuple[int, int]:
    """First and last place of the unbroken run of True around `place`."""
    first = last = place
    while first > 0 and is_good[first - 1]:
        first -= 1
    while last + 1 < len(is_good) and is_good[last + 1]:
        last += 1
    return first, last


def _cause(train: Floats | None, lowest: int) -> Literal["overfitting", "divergence", "unknown"]:
    """What the training error did after the best epoch: its end against its level there, in medians of up to three."""
    if train is None:
        return "unknown"
    then, end = train[max(lowest - 1, 0) : lowest + 2], train[-3:]
    if not np.isfinite(end).all():
        return "divergence"
    return "divergence" if float(np.median(end)) > float(np.median(then)) else "overfitting"


# ---------------------------------------------------------------------- in and out


def _read(curves: Any, higher_is_better: bool) -> tuple[Floats, Floats | None, Floats | None]:
    """(validation, train, per example): smaller is better, inf where not finite."""
    train = None
    if isinstance(curves, Mapping):
        name = next((name for name in _VALIDATION_NAMES if curves.get(name) is not None), None)
        if name is None:
            there = ", ".join(map(repr, curves)) or "none"
            raise GapError(f"curves hold {there}, and have to hold the validation errors as 'validation'.")
        train = _array(curves["train"], "the training curve") if curves.get("train") is not None else None
        curves = curves[name]
    values = _array(curves, "the validation curve")
    sign = -1.0 if higher_is_better else 1.0
    if values.ndim == 2 and values.size:
        values, per_example = values.mean(axis=1), values * sign
    elif values.ndim == 1:
        per_example = None
    else:
        raise GapError(
            f"The validation curve has shape {values.shape}, and has to have (epochs,) or (epochs, examples)."
        )
    if train is not None and train.shape != values.shape:
        raise GapError(f"The training curve has shape {train.shape} and the validation curve {values.shape}.")
    values = np.where(np.isfinite(values), values * sign, np.inf)
    if not np.isfinite(values).any():
        raise GapError(
            f"None of the {len(values)} values of the validation curve is finite: there is nothing to choose."
        )
    if per_example is not None and not np.isfinite(per_example).all():
        per_example = None
    return values, None if train is None else train * sign, per_example


def _array(values: Any, what: str) -> Floats:
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise GapError(f"{what[0].upper()}{what[1:]} is no list of numbers: {error}.") from None


def _labels(epochs: Sequence[int] | None, count: int) -> tuple[int, ...]:
    if epochs is None:
        return tuple(range(1, count + 1))
    labels = tuple(int(epoch) for epoch in epochs)
    if len(labels) != count:
        raise GapError(f"There are {len(labels)} epochs for {count} values of the validation curve.")
    if any(later <= earlier for earlier, later in itertools.pairwise(labels)):
        raise GapError("epochs have to ascend, each of them once.")
    return labels


def _place_of(chosen: int, labels: tuple[int, ...]) -> int:
    if chosen not in labels:
        raise GapError(f"chosen is epoch {chosen}, and the curve has epochs {labels[0]} to {labels[-1]}.")
    return labels.index(chosen)


def _check(values: Floats, train: Floats | None, n_test: int | None, higher_is_better: bool) -> None:
    if n_test is None:
        return
    if not isinstance(n_test, int) or n_test < 1:
        raise GapError(f"n_test is {n_test!r}, and has to be a number of examples.")
    shares = np.abs(values[np.isfinite(values)])
    signs = values[np.isfinite(values)] * (-1 if higher_is_better else 1)
    if (signs < 0).any() or (shares > 1).any():
        worst = float(shares.max())
        raise GapError(
            f"n_test is for shares of wrong answers, and the curve goes to {worst:.4g}: leave it out for losses."
        )


def _sentences(result: CheckpointChoice) -> list[str]:
    chosen, best, worse = result.value_at(result.chosen), result.value_at(result.best), result.worse_by
    amount = f"{worse.value:.3g} [{worse.low:.3g}, {worse.high:.3g}]"
    kept = f"The checkpoint of epoch {result.chosen} ({chosen:.4g})"
    told = {
        "right": f"{kept} cannot be told from the best: worse by {amount}.",
        "too-late": f"{kept} is too late: worse than the best level by {amount}.",
        "too-early": f"{kept} is too early: worse than the best level by {amount}.",
        "still-falling": f"{kept} is the last one, and the curve still falls: train longer.",
        "cannot-tell": f"{len(result.values)} values are too few to tell noise from a course, so whether "
        f"{kept[0].lower()}{kept[1:]} is right cannot be told.",
    }[result.verdict]
    lines = [told, f"Early stopping keeps epoch {result.best} ({best:.4g})" + _with_patience(result)]
    first, last = result.as_good
    if result.verdict != "cannot-tell" and first != last:
        lines.append(f"Epochs {first} to {last} cannot be told from the best.")
    if result.onset is not None:
        why = {
            "overfitting": "while the training error went on falling: overfitting",
            "divergence": "and so did the training error: the training diverges, this is no overfitting",
            "unknown": "by more than noise",
        }[result.cause or "unknown"]
        verb = "fell" if result.higher_is_better else "rose"
        lines.append(f"From epoch {result.onset} on the curve {verb} above its best level {why}.")
    if result.is_still_falling and result.verdict != "still-falling":
        lines.append("At its end the curve still falls: train longer.")
    return lines


def _with_patience(result: CheckpointChoice) -> str:
    if result.patience is None:
        return ", the first one."
    text = f"; a patience of {result.patience} finds it"
    if result.stops_at < result.epochs[-1]:
        text += f" and stops at {result.stops_at}"
    if result.patience_as_good is not None and result.patience_as_good < result.patience:
        text += f", one of {result.patience_as_good} finds one as good"
    return text + "."
