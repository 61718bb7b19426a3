"""Accuracy, precision, recall and F agree with scikit-learn, and their intervals hold the truth."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnose import metrics

sklearn_metrics = pytest.importorskip("sklearn.metrics")

pairs = st.integers(2, 5).flatmap(
    lambda classes: st.lists(st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)), min_size=1)
)


@settings(max_examples=40)
@given(pairs)
def test_values_are_those_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(rows).T
    assert metrics.accuracy(predicted, labels).value == sklearn_metrics.accuracy_score(labels, predicted)
    assert metrics.error_rate(predicted, labels).value == pytest.approx(1 - metrics.accuracy(predicted, labels).value)
    # Classes that have no examples are left out here, and 0 there.
    there = np.unique(labels)
    options: dict[str, Any] = {"zero_division": 0, "labels": there, "average": "macro"}
    recall = metrics.recall(predicted, labels, average="macro")
    assert recall.value == pytest.approx(sklearn_metrics.recall_score(labels, predicted, **options))
    options["labels"] = np.union1d(labels, predicted)
    precision = metrics.precision(predicted, labels, average="macro")
    assert precision.value == pytest.approx(sklearn_metrics.precision_score(labels, predicted, **options))
    for beta in (0.5, 1.0, 2.0):
        f = metrics.f_beta(predicted, labels, beta=beta, average="macro")
        assert f.value == pytest.approx(sklearn_metrics.fbeta_score(labels, predicted, beta=beta, **options))
    for found in (recall, precision, f):
        assert 0 <= found.low <= found.value + 1e-12
        assert found.value <= found.high + 1e-12 <= 1 + 2e-12


@settings(max_examples=40)
@given(pairs, st.integers(0, 4), st.sampled_from([0.5, 1.0, 3.0]))
def test_one_class_is_that_of_scikit_learn(rows: list[tuple[int, int]], positive: int, beta: float) -> None:
    labels, predicted = np.array(rows).T
    positive = min(positive, max(1, int(labels.max()), int(predicted.max())))
    options: dict[str, Any] = {"zero_division": np.nan}
    one = (labels == positive, predicted == positive)
    for found, twin in (
        (metrics.precision(predicted, labels, positive=positive), sklearn_metrics.precision_score(*one, **options)),
        (metrics.recall(predicted, labels, positive=positive), sklearn_metrics.recall_score(*one, **options)),
        (metrics.f_beta(predicted, labels, positive=positive, beta=beta), None),
    ):
        if found.reason is not None:
            assert math.isnan(found.value)
            assert found.n == 0
            continue
        value = sklearn_metrics.fbeta_score(*one, beta=beta, **options) if twin is None else twin
        assert found.value == pytest.approx(value)
        assert found.low <= found.value <= found.high


@settings(max_examples=40)
@given(st.lists(st.tuples(*[st.booleans()] * 6), min_size=1, max_size=30))
def test_labels_that_exclude_none_are_those_of_scikit_learn(rows: list[tuple[bool, ...]]) -> None:
    both = np.array(rows)
    labels, predicted = both[:, :3].astype(int), both[:, 3:].astype(int)
    assert metrics.accuracy(predicted, labels).value == sklearn_metrics.accuracy_score(labels, predicted)
    for measure, twin in ((metrics.precision, "precision_score"), (metrics.recall, "recall_score")):
        found = measure(predicted, labels, average="micro")
        if found.reason is None:
            expected = getattr(sklearn_metrics, twin)(labels, predicted, average="micro", zero_division=0)
            assert found.value == pytest.approx(expected)
            assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    f = metrics.f_beta(predicted, labels, average="macro")
    used = (labels + predicted).any(0)
    if f.reason is None:
        each = sklearn_metrics.f1_score(labels, predicted, average=None, zero_division=0)
        assert f.value == pytest.approx(each[used].mean())


def test_nothing_positive_is_not_zero() -> None:
    found = metrics.recall([0, 1, 0], [0, 0, 0])
    assert math.isnan(found.value)
    assert found.reason == "no example is positive (of 3)"
    assert str(found) == "recall: not defined: no example is positive (of 3)"
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["value"] == "nan"
    assert metrics.precision([0, 0, 0], [0, 1, 0]).reason == "no example is predicted positive (of 3)"
    assert metrics.f_beta([0, 0], [0, 0]).reason is not None
    assert metrics.f_beta([0, 0], [0, 1]).value == 0
    assert metrics.precision([[0, 0]], [[0, 1]], average="micro").reason is not None


def test_what_is_left_out_of_a_mean_is_said() -> None:
    found = metrics.recall([0, 1, 2], [0, 1, 1])
    assert found.note == "left out, as they have no examples: 2"
    found = metrics.precision([0, 0, 0], [0, 1, 1], average="macro")
    assert found.note == "never predicted, counted as 0: 1"
    assert found.value == pytest.approx(1 / 6)


def test_a_metric_reads_well() -> None:
    found = metrics.precision([1, 1, 1, 0], [1, 1, 0, 0])
    assert str(found) == "precision 0.6667 [0.2077, 0.9385] (95 %, Wilson; n = 3 predicted positive)"
    assert float(found) == found.value == found.interval.value
    assert metrics.precision(np.eye(3), [0, 1, 2], average="micro").note.startswith("every mistake")


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_f_holds_the_truth(beta: float) -> None:
    draw = np.random.default_rng(0)
    found, alarm = 0.2 * 0.9, 0.8 * 0.05
    truth = (1 + beta**2) * found / ((1 + beta**2) * found + beta**2 * (0.2 - found) + alarm)
    held = 0
    for _ in range(600):
        labels = draw.random(100) < 0.2
        predicted = np.where(labels, draw.random(100) < 0.9, draw.random(100) < 0.05)
        interval = metrics.f_beta(predicted.astype(int), labels.astype(int), beta=beta).interval
        held += truth in interval
    assert 0.93 <= held / 600 <= 0.985


@pytest.mark.parametrize(("classes", "right", "count"), [(5, 0.95, 100), (4, 0.995, 400)])
def test_macro_means_hold_the_truth(classes: int, right: float, count: int) -> None:
    draw = np.random.default_rng(0)
    held = {"recall": 0, "f": 0}
    for _ in range(300):
        labels = draw.integers(classes, size=count)
        wrong = (labels + draw.integers(1, classes, size=count)) % classes
        predicted = np.where(draw.random(count) < right, labels, wrong)
        # Classes are alike, so the recall and the F1 of each are `right`.
        held["recall"] += right in metrics.recall(predicted, labels, average="macro").interval
        held["f"] += right in metrics.f_beta(predicted, labels, average="macro").interval
    assert min(held.values()) >= 0.91 * 300


def test_labels_of_one_example_are_no_independent_observations() -> None:
    # All ten labels of an example are right or wrong together: so the interval is that of 50 examples, not of 500.
    draw = np.random.default_rng(0)
    held = 0
    for _ in range(150):
        labels = np.ones((50, 10), dtype=int)
        predicted = np.repeat(draw.random((50, 1)) < 0.8, 10, axis=1).astype(int)
        held += 0.8 in metrics.recall(predicted, labels, average="micro").interval
    assert held >= 0.9 * 150
    perfect = metrics.recall(np.ones((50, 10), dtype=int), np.ones((50, 10), dtype=int), average="micro")
    assert perfect.low == pytest.approx(metrics.accuracy([1] * 50, [1] * 50).low)


def test_the_table_of_classes() -> None:
    names = ["ant", "bee\n\x1b[31m", "cat"]
    table = metrics.per_class([0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 2], names=names)
    assert [row.support for row in table.rows] == [3, 2, 1]
    assert table.rows[0].taken_for == ((names[1], 2),)
    first = table.confusions[0]
    assert (first.name, first.taken_for, first.count, first.share) == ("ant", names[1], 2, pytest.approx(2 / 3))
    np.testing.assert_array_equal(
        table.matrix, sklearn_metrics.confusion_matrix([0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 1, 1])
    )
    assert "\x1b" not in str(table)
    assert len(str(table).splitlines()) == 4
    assert math.isnan(table.rows[2].precision.value)
    json.dumps(table.to_json(), allow_nan=False)
    frame = pytest.importorskip("pandas") and table.to_pandas()
    assert list(frame["support"]) == [3, 2, 1]


def test_a_long_table_is_cut() -> None:
    labels = np.arange(100)
    assert str(metrics.per_class(labels, labels)).endswith("... and 60 more classes")
    assert metrics.per_class([[1, 0], [1, 1]], [[1, 0], [0, 1]]).matrix is None


def test_a_vocabulary_of_classes_needs_no_matrix() -> None:
    labels = np.array([0, 49_999, 7, 7])
    table = metrics.per_class([0, 7, 8, 8], labels)
    assert table.matrix is None
    assert (table.confusions[0].name, table.confusions[0].taken_for, table.confusions[0].count) == ("7", "8", 2)
    assert metrics.recall([0, 7, 8, 8], labels).value == pytest.approx(1 / 3)
