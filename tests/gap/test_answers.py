"""One way of reading outputs beside targets, against obvious ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import zero_one_loss

from diagnose.gap._answers import read, read_classes

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(50, 4, generator=GENERATOR)
LABELS = torch.randint(0, 4, (50,), generator=GENERATOR)
TWO = torch.randint(0, 2, (50,), generator=GENERATOR)
SCORES = torch.randn(50, generator=GENERATOR)


@pytest.mark.parametrize(
    ("outputs", "targets", "answered"),
    [
        (LOGITS, LABELS, LOGITS.argmax(1)),
        (LOGITS.softmax(1), LABELS[:, None], LOGITS.argmax(1)),
        (LOGITS, torch.eye(4)[LABELS], LOGITS.argmax(1)),
        (LOGITS.reshape(10, 5, 4), LABELS.reshape(10, 5), LOGITS.argmax(1)),
        (LOGITS.argmax(1), LABELS, LOGITS.argmax(1)),
        (LOGITS.argmax(1).float(), LABELS, LOGITS.argmax(1)),
        (SCORES, TWO, SCORES > 0),
        (SCORES[:, None], TWO.float(), SCORES > 0),
        (SCORES.sigmoid(), TWO.float(), SCORES > 0),
    ],
    ids=["logits", "column", "one-hot", "sequence", "labels", "labels as floats", "logit", "one column", "probability"],
)
def test_classes(outputs: Any, targets: Any, answered: Any) -> None:
    found = read_classes([(outputs[:5], targets[:5]), (outputs[5:], targets[5:])], "error")
    assert found is not None
    labels = TWO if answered.dtype is torch.bool else LABELS
    assert found.measured.value == pytest.approx(zero_one_loss(labels.numpy(), answered.long().numpy()))
    assert found.measured.is_share
    assert found.measured.n == 50


def test_amounts_are_squared_residuals() -> None:
    targets = torch.randn(50, generator=GENERATOR)
    assert read_classes([(SCORES, targets)], "error") is None
    found = read([(SCORES[:20], targets[:20]), (SCORES[20:], targets[20:])], "error", None, "model")
    assert found.measured.value == pytest.approx(float(np.mean((SCORES - targets).numpy() ** 2)))
    assert not found.measured.is_share


def test_whole_numbers_are_amounts_where_answers_are_none_of_them() -> None:
    assert read_classes([(SCORES, LABELS)], "error") is None
