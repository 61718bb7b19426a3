"""What the user hands over from elsewhere: suspect labels, a table of classes, a learning curve."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from diagnose.errors import GapError
from diagnose.gap._error import ASSUMED, Measured
from diagnose.gap._situation import Limits, RareClass
from diagnose.mistakes._suspects import TIERS
from diagnose.stats.intervals import Interval, wilson

_RECALL: Final = ("recall", "accuracy", "sensitivity", "tpr")
_COUNT: Final = ("n", "support", "count", "examples", "n_test", "size", "given")
_TRAINED: Final = ("n_train", "train_count", "train_n", "train")
_AVERAGES: Final = ("accuracy", "micro avg", "macro avg", "weighted avg", "samples avg")
_NAME: Final = ("class", "name", "label")


def suspects_of(given: Any, n_train: float | None) -> Measured | None:
    """The share of labels that are very likely wrong.

    Args:
        given: a share below 1; a number of labels; margins, shape (N,); or an object with `margin` or `scores.margin`.
        n_train: training examples, for a number of labels.

    Raises:
        GapError: it is none of these.
    """
    if given is None:
        return None
    margin = getattr(getattr(given, "scores", given), "margin", None)
    if margin is not None:
        given = margin
    if isinstance(given, bool | str | Mapping):
        raise GapError(f"suspects is a {type(given).__name__}: give a share, a number, margins, or mined mistakes.")
    values = np.asarray(given, dtype=np.float64)
    if values.ndim == 1 and len(values):
        known = values[np.isfinite(values)]
        return _suspects(float(np.mean(known < TIERS["very-likely"])), float(len(known))) if len(known) else None
    if values.ndim or not math.isfinite(float(values)) or float(values) < 0:
        raise GapError(f"suspects={given!r}: give a share, a number, margins of shape (N,), or mined mistakes.")
    value = float(values)
    if value > 1 or (value == 1 and isinstance(given, int)):
        if n_train is None:
            raise GapError(f"suspects={given!r} is a number of labels: give n_train, or their share.")
        if value > n_train:
            raise GapError(f"suspects={given!r} are more than the n_train={n_train:g} labels.")
        return _suspects(value / n_train, n_train)
    return _suspects(value, ASSUMED if n_train is None else n_train)


def _suspects(share: float, n: float) -> Measured:
    return Measured("suspect labels", share, n)


def doubling_of(given: Any) -> float | None:
    """By what share the last doubling of the data cut the error; None if the curve is too short to say.

    Args:
        given: a mapping of sizes to errors, pairs of them, or a `LearningCurve` (an object with `last_doubling`, or
            with `sizes` and `errors`). Several errors of one size are repeats.

    Raises:
        GapError: it is none of these.
    """
    if given is None:
        return None
    measured = getattr(given, "last_doubling", None)
    if isinstance(measured, Interval):
        # Within its noise nothing is known of a doubling, unless even the upper end is little.
        return measured.value if measured.low > 0 or measured.high <= Limits().doubling else None
    points = _points(given)
    if len(points) < 2:
        return None
    sizes = np.array([size for size, _ in points])
    errors = np.array([error for _, error in points])
    half = sizes[-1] / 2
    if half < sizes[0] or errors[-1] < 0:
        # Less than a doubling was measured: the slope over what there is, on logarithmic scales.
        half = sizes[0]
    before = float(np.interp(math.log(half), np.log(sizes), errors))
    if before <= 0 or half >= sizes[-1]:
        return None
    cut = float(errors[-1]) / before
    return 1 - float(cut ** (math.log(2) / math.log(sizes[-1] / half))) if cut > 0 else 1.0


def _points(given: Any) -> list[tuple[float, float]]:
    """Sorted sizes with their mean errors."""
    sizes = getattr(given, "sizes", None)
    errors = next((getattr(given, n) for n in ("test_errors", "test_error", "errors") if hasattr(given, n)), None)
    if sizes is not None and errors is not None:
        pairs: Iterable[Any] = zip(sizes, errors, strict=True)
    elif isinstance(given, Mapping):
        pairs = given.items()
    else:
        pairs = given
    found: dict[float, list[float]] = {}
    try:
        for size, error in pairs:
            found.setdefault(float(size), []).append(float(np.mean(getattr(error, "value", error))))
    except (TypeError, ValueError) as error:
        raise GapError(
            f"learning_curve is a {type(given).__name__}: give a mapping of sizes to test errors, or pairs of them."
        ) from error
    if any(size <= 0 for size in found):
        raise GapError("learning_curve has a size of 0 or below: sizes are numbers of training examples.")
    return sorted((size, sum(values) / len(values)) for size, values in found.items())


def rare_class_of(given: Any, limit: float) -> tuple[RareClass | None, int | None]:
    """The rare class whose recall is lowest, and the number of classes.

    Args:
        given: a mapping of classes to rows, a list of rows, or a data frame with one row per class; a row is a
            mapping or an object with "recall" and "n" (or "support"), and "n_train" where it is known.
        limit: how far below the average of the other classes the upper end of its interval has to lie.

    Returns:
        None if no class is both rare (less than half of an even share) and answered that badly.

    Raises:
        GapError: a row has no recall or no number of examples.
    """
    if given is None:
        return None, None
    rows = _rows(given)
    if len(rows) < 2:
        return None, len(rows) or None
    counts = [row["n_train"] if row["n_train"] is not None else row["n"] for row in rows]
    even, total = 1 / len(rows), sum(counts)
    worst = None
    for row, count in zip(rows, counts, strict=True):
        others = [other["recall"] for other in rows if other is not row]
        average = sum(others) / len(others)
        recall = wilson(min(row["recall"], 1.0) * row["n"], row["n"])
        rare = total > 0 and count / total < even / 2
        if rare and recall.high < average - limit:
            found = RareClass(row["name"], recall, average, count / total, even)
            if worst is None or recall.value < worst.recall.value:
                worst = found
    return worst, len(rows)


def _rows(given: Any) -> list[dict[str, Any]]:
    given = getattr(given, "classes_table", given)
    if hasattr(given, "to_dict") and hasattr(given, "columns"):  # a data frame
        named = list(zip(map(str, given.index), given.to_dict("records"), strict=True))
    elif isinstance(given, Mapping):
        named = [(str(name), row) for name, row in given.items()]
    elif isinstance(given, list | tuple):
        named = [(str(number), row) for number, row in enumerate(given)]
    elif hasattr(given, "rows"):
        return _rows(list(given.rows))
    else:
        raise GapError(f"class_table is a {type(given).__name__}: give a mapping of classes to rows, or a data frame.")
    rows = [_row(name, row) for name, row in named if name not in _AVERAGES]
    return [row for row in rows if row is not None]


def _row(name: str, row: Any) -> dict[str, Any] | None:
    """None for a class without examples: it has no recall."""

    def value(names: tuple[str, ...]) -> Any:
        for one in names:
            found = row.get(one) if isinstance(row, Mapping) else getattr(row, one, None)
            if found is not None:
                return getattr(found, "value", found)
        return None

    recall, count, trained = value(_RECALL), value(_COUNT), value(_TRAINED)
    if count == 0:
        return None
    if recall is None or count is None:
        raise GapError(f"class_table[{name!r}] has no {'recall' if recall is None else 'number of examples (n)'}.")
    if not 0 <= float(recall) <= 1 or not float(count) > 0:
        raise GapError(f"class_table[{name!r}] has recall {recall!r} of {count!r} examples.")
    return {
        "name": str(value(_NAME) if value(_NAME) is not None else name),
        "recall": float(recall),
        "n": float(count),
        "n_train": None if trained is None else float(trained),
    }
