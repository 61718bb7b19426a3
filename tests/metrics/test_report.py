"""One call says what fits the task."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from diagnose import metrics
from diagnose.errors import MetricError

pytest.importorskip("sklearn")
draw = torch.Generator().manual_seed(0)
LABELS = torch.arange(120) % 3
LOGITS = torch.randn(120, 3, generator=draw) + 3 * torch.nn.functional.one_hot(LABELS, 3)
RARE = (torch.rand(120, generator=draw) < 0.2).int()


def test_several_classes() -> None:
    found = metrics.report(LOGITS, LABELS, from_logits=True, names=["a", "b", "c"], accuracy=0.9)
    assert found.task == "multiclass"
    assert found["accuracy"] == metrics.accuracy(LOGITS, LABELS)
    assert found["coverage"] == metrics.coverage_at_accuracy(LOGITS, LABELS, from_logits=True, accuracy=0.9)
    text = str(found)
    for part in ("accuracy of always saying a", "macro F1", "most often taken for", "calibration error", "error by"):
        assert part in text
    json.dumps(found.to_json(), allow_nan=False)
    with pytest.raises(MetricError, match="no 'f2'; it has accuracy, "):
        found["f2"]


def test_two_classes() -> None:
    found = metrics.report(torch.rand(120, generator=draw), RARE)
    assert found.task == "binary"
    assert {"precision_recall", "roc_auc", "calibration", "coverage"} <= set(found.parts)
    assert metrics.report(RARE, RARE).parts.keys() == {"accuracy", "constant", "precision", "recall", "f1", "classes"}


def test_labels_that_exclude_none() -> None:
    labels = torch.stack([RARE, 1 - RARE], 1)
    found = metrics.report(torch.rand(120, 2, generator=draw), labels)
    assert found.task == "multilabel"
    assert {"micro_f1", "f1", "roc_auc"} <= set(found.parts)
    assert "most often" not in str(found)


@pytest.mark.parametrize("targets", [torch.randn(50, generator=draw), torch.randint(100, (50,), generator=draw)])
def test_numbers(targets: torch.Tensor) -> None:
    found = metrics.report(targets + 0.5, targets)
    assert found.task == "regression"
    assert metrics.report(targets.int(), targets.int(), task="regression").task == "regression"
    assert "R2" in str(found)


def test_class_numbers_as_floats_are_classes() -> None:
    assert metrics.report(np.array([0.0, 1.0, 2.0]), np.array([0, 1, 2])).task == "multiclass"
