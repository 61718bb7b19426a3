"""Average precision and ROC AUC agree with what counting says, and curves with decisions at their thresholds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnose import metrics
from diagnose.errors import MetricError

pytest.importorskip("sklearn")

scored = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.7, 0.9]), st.integers(0, 1)), min_size=1, max_size=40)


def by_counting(scores: list[float], labels: list[int]) -> float:
    """The slow twin: precision at each score that a positive has, weighted by the positives found there."""
    total = 0.0
    for score in sorted(set(scores)):
        found = [label for other, label in zip(scores, labels, strict=True) if other >= score]
        here = sum(label for other, label in zip(scores, labels, strict=True) if other == score)
        total += here * sum(found) / len(found)
    return total / sum(labels)


@settings(max_examples=50)
@given(scored)
def test_values_are_those_of_counting(rows: list[tuple[float, int]]) -> None:
    scores, labels = [row[0] for row in rows], [row[1] for row in rows]
    found = metrics.average_precision(scores, labels)
    if not sum(labels):
        assert math.isnan(found.value)
        assert found.reason == f"no example is positive (of {len(rows)})"
    else:
        assert found.value == pytest.approx(by_counting(scores, labels))
        assert 0 <= found.low <= found.value + 1e-12 <= found.high + 2e-12
    area = metrics.roc_auc(scores, labels)
    if 0 < sum(labels) < len(labels):
        wins = [
            (p > n) + 0.5 * (p == n)
            for p, good in zip(scores, labels, strict=True)
            for n, bad in zip(scores, labels, strict=True)
            if good and not bad
        ]
        assert area.value == pytest.approx(np.mean(wins))
        assert area.low <= area.value <= area.high
    else:
        assert area.reason is not None


@settings(max_examples=50)
@given(scored.filter(lambda rows: any(label for _, label in rows)))
def test_a_curve_says_what_decisions_at_its_thresholds_are(rows: list[tuple[float, int]]) -> None:
    scores, labels = np.array(rows).T
    curve = metrics.precision_recall_curve(scores, labels)
    for threshold, right, found in zip(curve.thresholds, curve.precision, curve.recall, strict=True):
        assert metrics.precision(scores, labels, threshold=threshold).value == pytest.approx(right)
        assert metrics.recall(scores, labels, threshold=threshold).value == pytest.approx(found)
    threshold, precision = curve.at_recall(0.5)
    assert metrics.recall(scores, labels, threshold=threshold).value >= 0.5
    assert metrics.precision(scores, labels, threshold=threshold).value == pytest.approx(precision)
    best = float(curve.precision.max())
    threshold, recall = curve.at_precision(best)
    assert metrics.precision(scores, labels, threshold=threshold).value == pytest.approx(best)
    assert metrics.recall(scores, labels, threshold=threshold).value == pytest.approx(recall)


def test_the_base_rate_is_beside_it(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    labels = (draw.random(2000) < 0.03).astype(int)
    curve = metrics.precision_recall_curve(draw.normal(size=2000) + labels, labels)
    assert metrics.roc_auc(draw.normal(size=2000), labels).value == pytest.approx(0.5, abs=0.1)
    assert f"a guess has {curve.base_rate:.4g}" in str(curve)
    assert curve.average_precision.value < 0.3
    curve.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"
    curve.plot(tmp_path / "curve.svg")
    assert {path.name for path in tmp_path.iterdir()} == {"curve.png", "curve.svg"}
    assert len(curve.to_json()["recall"]) == 1000
    json.dumps(curve.to_json(), allow_nan=False)


def test_a_curve_without_positives_is_empty(tmp_path: Path) -> None:
    curve = metrics.precision_recall_curve([0.1, 0.4], [0, 0])
    assert len(curve.thresholds) == 0
    assert "not defined: no example is positive" in str(curve)
    assert math.isnan(curve.at_recall(0.5)[0])
    json.dumps(curve.to_json(), allow_nan=False)
    with pytest.raises(MetricError, match="nothing to plot"):
        curve.plot(tmp_path / "x.png")


def test_a_plot_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    curve = metrics.precision_recall_curve([0.1, 0.4], [0, 1])
    for name in ("missing/x.png", "x.nonsense"):
        with pytest.raises(MetricError, match="cannot be written"):
            curve.plot(tmp_path / name)
    with pytest.raises(MetricError, match="a path or matplotlib axes, not a int"):
        curve.plot(3)
    assert list(tmp_path.iterdir()) == []
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    curve.plot(axes)
    assert axes.get_xlabel() == "recall"


def test_classes_are_averaged_and_named() -> None:
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 2
    logits = torch.randn(60, 3, generator=draw) + torch.nn.functional.one_hot(labels, 3)
    found = metrics.roc_auc(logits, labels, from_logits=True, names=["a", "b", "c"])
    assert found.note == "left out, as it is not defined: c"
    one = metrics.roc_auc(logits, labels, from_logits=True, positive=1)
    assert found.details["b"] == one.value
    assert found.value == pytest.approx((found.details["a"] + found.details["b"]) / 2)
    several = torch.stack([labels, 1 - labels], 1)
    each = metrics.average_precision(logits[:, :2], several)
    assert each.details["0"] == metrics.average_precision(logits[:, 0], labels).value
    with pytest.raises(MetricError, match="do not fit"):
        metrics.roc_auc(logits, several)
    assert metrics.roc_auc(logits[:3], [0, 0, 0], from_logits=True).reason is not None


def test_intervals_of_average_precision_hold_the_truth() -> None:
    draw = np.random.default_rng(0)

    def sample(positives: int, negatives: int) -> tuple[np.ndarray, np.ndarray]:
        scores = np.concatenate([draw.normal(1.5, 1, positives), draw.normal(0, 1, negatives)])
        return scores, np.repeat([1, 0], [positives, negatives])

    truth = metrics.average_precision(*sample(20_000, 180_000)).value
    held = sum(truth in metrics.average_precision(*sample(20, 180)).interval for _ in range(200))
    assert held >= 0.93 * 200
