"""What cannot be measured is told, with what was wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import diagnose
from diagnose import metrics
from diagnose.errors import MetricError

GOOD = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        ([0, 1, 1], [0, 1], r"shape \(3,\) and labels of shape \(2,\)"),
        ([], [], "labels are empty"),
        ([[0.2, float("nan")], [0.5, 0.5]], [0, 1], "NaN or infinity in 1 of 2 rows, first in row 0"),
        (["cat", "dog"], [0, 1], "number the classes from 0"),
        ([0, 1], ["a", "b"], "number the classes from 0"),
        ([0.3, 2.5], [0, 1], r"0.3 to 2.5.*from_logits=True"),
        ([0.3, 0.5], [0, 2], "class 2 in row 1, and predictions are for 2 classes"),
        (GOOD, [0, 1, 3], "class 3 in row 2, and predictions are for 3 classes, 0 to 2"),
        (GOOD, [0, -100, 1], r"hold -100 in row 1: classes are numbered from 0. Leave out"),
        (GOOD, [0, 1.5, 1], "hold 1.5 in row 1"),
        (GOOD, [[1, 0, 0], [0, 1, 0], [0, 0, 2]], "hold 2 in row 2, not 0 or 1"),
        ([0, 1, 1], [[1, 0], [0, 1], [0, 1]], r"Class numbers have shape \(N,\)"),
        (GOOD[None], [0], r"have to be \(N,\) or \(N, K\)"),
        (GOOD, GOOD[None].repeat(3, 0), "one class number each"),
        (3, [0], "not of the same examples"),
        ([[1], [1, 2]], [0, 1], "cannot be made an array"),
        (object(), [0], "have to be numbers"),
    ],
)
def test_wrong_predictions_or_labels_are_told(predictions: Any, labels: Any, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        metrics.accuracy(predictions, labels)


@pytest.mark.parametrize("measure", [metrics.brier, metrics.log_loss, metrics.calibration, metrics.coverage_curve])
def test_what_are_no_probabilities_is_told(measure: Callable[..., Any]) -> None:
    with pytest.raises(MetricError, match=r"sum to 1.98 in row 0.*from_logits"):
        measure([[0.99, 0.99], [0.5, 0.5]], [0, 1])
    with pytest.raises(MetricError, match="from -3 to 2"):
        measure([-3.0, 2.0], [0, 1])
    with pytest.raises(MetricError, match="3 scores and 2 labels"):
        measure(GOOD, [0, 1])
    with pytest.raises(MetricError, match="class 5"):
        measure(GOOD, [0, 1, 5])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.precision(GOOD, [0, 1, 2], average="weighted"), "one of binary, macro, micro"),
        (lambda: metrics.precision(GOOD, [0, 1, 2], positive=3), "from 0 to 2"),
        (lambda: metrics.precision(GOOD, [0, 1, 2], average="binary"), "needs positive="),
        (lambda: metrics.f_beta(GOOD, [0, 1, 2], beta=0), "above 0"),
        (lambda: metrics.per_class(GOOD, [0, 1, 2], names=["a"]), "names are 1, and there are 3 classes"),
        (lambda: metrics.per_class(GOOD, [0, 1, 2], names=["a", "b", "a"]), "names hold 'a' twice"),
        (lambda: metrics.average_precision(GOOD, [0, 1, 2], positive=5), "0 to 2"),
        (lambda: metrics.precision_recall_curve(GOOD, [0, 1, 2]), "which one is positive"),
        (lambda: metrics.roc_auc([0.1, 0.2], [0, 3]), "class 3"),
        (lambda: metrics.coverage_curve(GOOD), "Give labels, or correct"),
        (lambda: metrics.coverage_curve(GOOD, correct=[1, 1, 0]), r"both have shape \(N,\)"),
        (lambda: metrics.coverage_curve([1.0, 2.0], correct=[1, 3]), "True or False"),
        (lambda: metrics.coverage_at_accuracy(GOOD, [0, 1, 2], accuracy=1.0), r"in \(0, 1\)"),
        (lambda: metrics.coverage_at_accuracy(GOOD, [0, 1, 2], confidence=95), "confidence is 95"),
        (lambda: metrics.coverage(GOOD, [0, 1, 2], threshold=float("nan")), "threshold is nan"),
        (lambda: metrics.calibration(GOOD, [0, 1, 2], bins=0), "at least 1"),
        (lambda: metrics.calibration(GOOD, [0, 1, 2], binning="equal"), "equal-mass, equal-width"),
        (lambda: metrics.regression_errors([[1.0, 2.0]], [1.0, 2.0]), r"shape \(1, 2\) do not fit targets"),
        (lambda: metrics.regression_errors([1.0], [1.0], quantiles=[90]), "hold 90"),
        (lambda: metrics.mean_iou(np.zeros((2, 4, 4)), np.zeros((2, 3, 3))), r"\(N, K, H, W\)"),
        (lambda: metrics.mean_iou(np.zeros((1, 2, 2)), np.full((1, 2, 2), 255), ignore=255), "all pixels"),
        (lambda: metrics.mean_iou(np.zeros((1, 2, 2)), np.full((1, 2, 2), -1)), "from -1 to -1"),
        (lambda: metrics.report(GOOD, [0, 1, 2], task="ranking"), "one of binary, multiclass"),
        (lambda: metrics.report(GOOD, [0, 1, 2], task="binary"), "are multiclass"),
    ],
)
def test_wrong_options_are_told(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        call()


@pytest.mark.parametrize(
    "make",
    [
        list,
        np.asarray,
        torch.tensor,
        lambda values: torch.tensor(values, requires_grad=True) if isinstance(values[0], list) else values,
        lambda values: torch.tensor(values, dtype=torch.bfloat16) if isinstance(values[0], list) else values,
        lambda values: [torch.tensor(value) for value in values],
    ],
    ids=["list", "array", "tensor", "with-gradient", "bfloat16", "list-of-tensors"],
)
def test_tensors_arrays_and_lists_are_the_same(make: Callable[[list[Any]], Any]) -> None:
    scores, labels = GOOD.tolist(), [0, 1, 1]
    found = metrics.accuracy(make(scores), make(labels))
    assert found.value == pytest.approx(2 / 3)
    assert metrics.brier(make(scores), make(labels)).value == pytest.approx(metrics.brier(GOOD, labels).value, abs=0.01)


def test_logits_are_what_a_softmax_or_sigmoid_is_applied_to() -> None:
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * 40
    labels = torch.arange(50) % 4
    expected = torch.nn.functional.cross_entropy(logits.double(), labels, reduction="none").clamp(max=-np.log(1e-15))
    assert metrics.log_loss(logits, labels, from_logits=True).value == pytest.approx(float(expected.mean()))
    one = logits[:, 0]
    there = metrics.precision(one, labels % 2, from_logits=True)
    assert there == metrics.precision(torch.sigmoid(one), labels % 2)
    at = metrics.precision(one, labels % 2, from_logits=True, threshold=0.9)
    assert at.n == int((torch.sigmoid(one) >= 0.9).sum())


def test_a_column_is_not_broadcast() -> None:
    column = metrics.regression_errors(torch.arange(4.0)[:, None], torch.arange(4.0))
    assert column.mae.value == 0
    assert metrics.accuracy([[0.1], [0.9]], [[0], [1]]).value == 1


def test_metrics_are_there_after_importing_the_package() -> None:
    assert diagnose.metrics is metrics
    assert "metrics" in dir(diagnose)
    with pytest.raises(AttributeError, match="no attribute 'metrix'"):
        _ = diagnose.metrix


@pytest.mark.parametrize(
    ("missing", "call"),
    [
        ("sklearn.metrics", lambda path: metrics.roc_auc([0.1, 0.9], [0, 1])),
        ("pandas", lambda path: metrics.per_class([0, 1], [0, 1]).to_pandas()),
        ("matplotlib.figure", lambda path: metrics.coverage_curve([0.1, 0.9], [0, 1]).plot(path / "x.png")),
    ],
)
def test_a_missing_package_is_told(
    missing: str, call: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    with pytest.raises(MetricError, match=r"pip install 'torch-diagnose\[analysis\]'"):
        call(tmp_path)


def test_metrics_need_neither_scikit_learn_nor_matplotlib_to_be_imported() -> None:
    import subprocess
    import sys

    code = (
        "import diagnose, sys\n"
        "diagnose.metrics.accuracy([0, 1], [0, 1]); diagnose.metrics.coverage_curve([0.2, 0.9], [0, 1])\n"
        "print([m for m in ('sklearn', 'matplotlib', 'pandas', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
