"""To cleanlab and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from diagnose import MistakesError, mine_mistakes


def out_of_fold(seed: int = 0) -> tuple[np.ndarray, np.ndarray, set[int]]:
    draw = np.random.default_rng(seed)
    true = draw.integers(0, 4, 500)
    shares = draw.dirichlet(np.ones(4), 500) * 0.3
    shares[np.arange(500), true] += 0.7
    given = true.copy()
    rows = draw.choice(500, 25, replace=False)
    given[rows] = (given[rows] + 1) % 4
    return given, shares.astype(np.float32), set(rows.tolist())


def test_a_round_trip() -> None:
    given, shares, rows = out_of_fold()
    made = mine_mistakes(None, given, probabilities=shares).to_cleanlab()
    assert made["ids"] == list(range(500))
    again = mine_mistakes(None, made["labels"], probabilities=made["pred_probs"])
    assert {entry.id for entry in again.suspects[:25]} == rows
    flags = np.asarray(made["issues"]["is_label_issue"])
    assert set(np.flatnonzero(flags).tolist()) == rows


def test_cleanlab_takes_it_and_agrees() -> None:
    rank = pytest.importorskip("cleanlab.rank")
    from cleanlab.filter import find_label_issues

    given, shares, rows = out_of_fold()
    made = mine_mistakes(None, given, probabilities=shares).to_cleanlab()
    issues = find_label_issues(made["labels"], made["pred_probs"], return_indices_ranked_by="normalized_margin")
    # It estimates how many there are, and is cautious.
    assert set(issues.tolist()) <= rows and len(issues) > 0.8 * len(rows)
    quality = rank.get_normalized_margin_for_each_label(made["labels"], made["pred_probs"])
    np.testing.assert_allclose(made["issues"]["label_quality"], quality, atol=1e-5)
    assert made["issues"]["predicted_label"].tolist() == made["pred_probs"].argmax(1).tolist()


def test_where_there_are_no_probabilities() -> None:
    inputs = torch.randn(20, 3)
    with pytest.raises(MistakesError, match="is there for classification, and this is regression"):
        mine_mistakes(nn.Linear(3, 1), (inputs, inputs[:, 0])).to_cleanlab()
    mistakes = mine_mistakes(nn.Linear(3, 2), (inputs, torch.arange(20) % 2), keep_probabilities=False)
    with pytest.raises(MistakesError, match="keep_probabilities=True"):
        mistakes.to_cleanlab()
