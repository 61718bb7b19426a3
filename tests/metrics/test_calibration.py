"""A calibrated model is not accused, one that is not is, and scores agree with scikit-learn."""

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


def draws(count: int, seed: int, truth: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and labels that come true with their power `truth`."""
    draw = np.random.default_rng(seed)
    chances = draw.beta(0.6, 0.6, count)
    return chances, (draw.random(count) < chances**truth).astype(int)


@pytest.mark.parametrize("count", [100, 400])
def test_a_calibrated_model_is_not_accused(count: int) -> None:
    found = [metrics.calibration(*draws(count, seed), seed=seed) for seed in range(80)]
    assert sum(one.is_off for one in found) <= 9  # 5 % of 80 are 4; more than 9 once in a hundred
    assert all((one.ece.low > 0) == one.is_off for one in found)
    # What is computed usually is not 0 for it; what is expected says by how much.
    assert np.mean([one.ece.value for one in found]) == pytest.approx(
        np.mean([o.if_calibrated for o in found]), rel=0.1
    )


def test_one_that_is_too_sure_is_found_and_its_error_is_in_the_interval() -> None:
    big = np.random.default_rng(0).beta(0.6, 0.6, 200_000)
    truth = float((big - big**1.5).mean())
    found = [metrics.calibration(*draws(1000, seed, 1.5), seed=seed) for seed in range(40)]
    assert all(one.is_off and one.overconfidence > 0 for one in found)
    assert sum(truth in one.ece.interval for one in found) >= 36
    assert "too high" in str(found[0])
    # Less its bias it is nearer to the truth.
    assert abs(np.mean([one.unbiased for one in found]) - truth) < abs(np.mean([o.ece.value for o in found]) - truth)


def test_many_examples_are_as_few() -> None:
    chances, labels = draws(60_000, 0)
    normal = metrics.calibration(chances, labels)
    exact = metrics.calibration(chances[:40_000], labels[:40_000])
    assert normal.if_calibrated == pytest.approx(exact.if_calibrated * math.sqrt(40 / 60), rel=0.1)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=60), st.integers(1, 20))
def test_bins_hold_every_example_once(rows: list[tuple[float, int]], bins: int) -> None:
    chances, labels = np.array(rows).T
    for binning in ("equal-mass", "equal-width"):
        found = metrics.calibration(chances, labels, bins=bins, binning=binning)
        assert sum(part.n for part in found.bins) == len(rows)
        assert len(found.bins) <= bins
        highs = [part.high for part in found.bins]
        assert all(part.low > high for part, high in zip(found.bins[1:], highs, strict=False))
        twin = sum(part.n * abs(part.predicted - part.observed.value) for part in found.bins) / len(rows)
        assert found.ece.value == pytest.approx(twin, abs=1e-9)
        assert 0 <= found.ece.low <= found.ece.value <= found.ece.high
        json.dumps(found.to_json(), allow_nan=False)


def test_scores_are_those_of_scikit_learn() -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    chances, labels = draws(300, 0)
    found = metrics.brier(chances, labels)
    assert found.value == pytest.approx(sklearn_metrics.brier_score_loss(labels, chances))
    assert found.details["skill"] == pytest.approx(1 - found.value / labels.var())
    assert metrics.log_loss(chances, labels).value == pytest.approx(sklearn_metrics.log_loss(labels, chances))
    several = torch.softmax(torch.randn(90, 3, generator=torch.Generator().manual_seed(0)).double(), 1)
    classes = torch.arange(90) % 3
    twin = float(((several - torch.eye(3)[classes]) ** 2).sum(1).mean())
    assert metrics.brier(several, classes).value == pytest.approx(twin)
    assert metrics.log_loss(several, classes).value == pytest.approx(
        sklearn_metrics.log_loss(classes.numpy(), several.numpy(), labels=[0, 1, 2])
    )


def test_what_was_impossible_and_happened_is_counted() -> None:
    found = metrics.log_loss([0.0, 1.0, 0.5], [1, 1, 0])
    assert found.value == pytest.approx((-math.log(1e-15) - math.log(0.5)) / 3)
    assert found.note == "1 examples had a probability below 1e-15, and count as that"
    assert metrics.log_loss([1.0], [1]).high == math.inf
    assert "skill" not in metrics.brier([0.9, 0.8], [1, 1]).details


def test_the_confidence_of_several_classes_is_looked_at(tmp_path: Path) -> None:
    logits = torch.randn(400, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.distributions.Categorical(logits=logits).sample()
    found = metrics.calibration(4 * logits, labels, from_logits=True)
    assert found.of == "the predicted class"
    assert found.is_off
    assert found.overconfidence > 0.2
    assert "  *" in str(found)
    found.plot(tmp_path / "reliability.png")
    assert (tmp_path / "reliability.png").stat().st_size > 1000
