"""How well regions of images are found: intersection over union."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from diagnose.errors import MetricError
from diagnose.metrics._inputs import Floats, array, class_names
from diagnose.metrics._result import Metric
from diagnose.stats.bootstrap import bootstrap
from diagnose.stats.intervals import CONFIDENCE, wilson


def mean_iou(
    predictions: Any,
    labels: Any,
    *,
    ignore: int | None = None,
    names: Sequence[str] | None = None,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Metric:
    """Intersection over union of predicted and true regions, of all images together, averaged over classes.

    Pixels of one image go together, so images are what is counted and resampled: a hundred images of a million pixels
    are a hundred observations.

    Args:
        predictions: class numbers, shape (N, H, W), or scores, (N, K, H, W), of which the largest is predicted.
        labels: class numbers, shape (N, H, W).
        ignore: a class number in the labels whose pixels are left out, as 255 or -100.
        names: of the classes, for `details`, which has the value of each; nan for a class that is neither there nor
            predicted, which is left out of the mean.
        confidence: of the interval.
        seed: of the resampling; no random state of the program is touched.

    Returns:
        Without an interval if there is one image only.

    Raises:
        MetricError: shapes do not fit, there are no pixels, labels are out of range.

    Source:
        Everingham et al., "The Pascal visual object classes (VOC) challenge", 2010, section 4.2.
    """
    said, right = array(predictions, "predictions"), array(labels, "labels")
    scored = said.ndim == 4
    count = said.shape[1] if scored else None
    chosen = said.argmax(1) if scored else said
    if chosen.shape != right.shape or right.ndim != 3:
        raise MetricError(
            f"predictions of shape {said.shape} do not fit labels of shape {right.shape}: "
            "(N, H, W) or (N, K, H, W), and (N, H, W)."
        )
    used = right != ignore if ignore is not None else np.ones(right.shape, bool)
    if not used.any():
        raise MetricError(f"all pixels are of class {ignore}, which is ignored.")
    known = max(int(right[used].max()), int(chosen[used].max())) + 1
    count = max(count or known, len(names or ()))
    for name, part in (("labels", right), ("predictions", chosen)):
        low, high = part[used].min(), part[used].max()
        if low < 0 or high >= count or (part[used] != np.floor(part[used])).any():
            raise MetricError(f"{name} go from {low} to {high}, and classes are whole numbers from 0 to {count - 1}.")
    counts = _areas(chosen, right, used, count)
    value, low, high, method = _interval(counts, confidence, seed)
    each = _shares(counts.sum(0, keepdims=True))[0]
    return Metric(
        "mean IoU",
        value,
        low,
        high,
        confidence,
        len(right),
        unit="images",
        method=method,
        note="one image has no interval" if len(right) == 1 else "",
        details=dict(zip(class_names(names, count), each.tolist(), strict=True)),
    )


def _interval(counts: Floats, confidence: float, seed: int) -> tuple[float, float, float, str]:
    found = bootstrap(counts, _mean_share, seed=seed)
    if len(counts) == 1:
        return found.value, math.nan, math.nan, ""
    if found.is_blind:
        # All images are alike, perfect most likely: what is not seen is at most so many images that are worse.
        share = wilson(found.value * len(counts), len(counts), confidence=confidence)
        return found.value, share.low, share.high, "Wilson over images"
    return (found.value, *found.percentiles(confidence), "bootstrap over images")


def _areas(chosen: Any, right: Any, used: Any, count: int) -> Floats:
    """Shape (N, 2 K): of each image, the sizes of the intersections, then of the unions, by class."""
    rows = []
    for said, true, there in zip(chosen, right, used, strict=True):
        a, b = said[there].astype(np.int64), true[there].astype(np.int64)
        both = np.bincount(a[a == b], minlength=count)
        rows.append(np.concatenate([both, np.bincount(a, minlength=count) + np.bincount(b, minlength=count) - both]))
    return np.array(rows, dtype=np.float64)


def _shares(sums: Floats) -> Floats:
    both, union = np.split(sums, 2, axis=1)
    shares: Floats = np.divide(both, union, out=np.full(both.shape, np.nan), where=union > 0)
    return shares


def _mean_share(sums: Floats) -> Floats:
    shares = _shares(sums)
    there = np.isfinite(shares)
    mean: Floats = np.where(there, shares, 0.0).sum(1) / np.maximum(there.sum(1), 1)
    return mean
