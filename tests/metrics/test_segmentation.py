"""Intersection over union agrees with scikit-learn; images, not pixels, are counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnose import metrics


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 5), st.integers(1, 4))
def test_values_are_those_of_scikit_learn(seed: int, images: int, classes: int) -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(seed)
    right, said = draw.integers(classes, size=(2, images, 4, 5))
    found = metrics.mean_iou(said, right)
    twin = sklearn_metrics.jaccard_score(right.ravel(), said.ravel(), average="macro")
    assert found.value == pytest.approx(twin)
    assert found.n == images


def test_scores_and_ignored_pixels() -> None:
    scores = torch.randn(3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    labels = scores.argmax(1)
    labels[:, 0] = 255
    found = metrics.mean_iou(scores, labels, ignore=255, names=["a", "b", "c", "d"])
    assert found.value == 1
    assert found.low < 0.5
    assert set(found.details) == {"a", "b", "c", "d"}
    one = metrics.mean_iou(scores[:1], labels[:1], ignore=255)
    assert math.isnan(one.low)
    assert "one image has no interval" in str(one)
    assert math.isnan(metrics.mean_iou(np.zeros((2, 2, 2)), np.zeros((2, 2, 2)), names=["a", "b"]).details["b"])


def test_pixels_of_an_image_are_no_independent_observations() -> None:
    draw = np.random.default_rng(0)
    labels = np.ones((20, 30, 30), dtype=int)
    labels[:, :15] = 0
    said = np.where(draw.random((20, 1, 1)) < 0.3, 1 - labels, labels)  # whole images are wrong
    found = metrics.mean_iou(said, labels)
    assert found.high - found.low > 0.2
