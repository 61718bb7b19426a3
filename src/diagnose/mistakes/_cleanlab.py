"""What cleanlab works with."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

from diagnose.errors import MistakesError
from diagnose.mistakes._suspects import TIERS

if TYPE_CHECKING:
    from diagnose.mistakes._mistakes import Mistakes


def to_cleanlab(mistakes: Mistakes) -> dict[str, Any]:
    """Labels, probabilities, and a table of issues named as `cleanlab.classification.CleanLearning` names them.

    Returns:
        "labels": shape (N,), "pred_probs": shape (N, K), and "issues": columns is_label_issue (the margin is in the
        tier "suspect" or worse), label_quality (0 worst, 1 best: the margin brought into [0, 1], as cleanlab's
        normalized margin is), given_label and predicted_label, in the order of the data; a DataFrame if pandas is
        installed, else a dict of arrays. Examples without a label are left out; "ids" tells which ones the rows are.

    Raises:
        MistakesError: it is no classification, or its probabilities were not kept.
    """
    scores = mistakes.scores
    if scores.task != "classification":
        raise MistakesError(f"to_cleanlab is there for classification, and this is {scores.task}.")
    if scores.probabilities is None:
        raise MistakesError("The probabilities were not kept: call mine_mistakes with keep_probabilities=True.")
    rows = np.flatnonzero(scores.given >= 0)
    margin = scores.margin[rows]
    # Out of fold if they were given: what cleanlab expects.
    predicted = scores.probabilities[rows].argmax(axis=1)
    issues: Any = {
        "is_label_issue": margin < TIERS["suspect"],
        "label_quality": (margin + 1) / 2,
        "given_label": scores.given[rows].astype(np.int64),
        "predicted_label": predicted.astype(np.int64),
    }
    if importlib.util.find_spec("pandas") is not None:
        import pandas as pd

        issues = pd.DataFrame(issues)
    return {
        "labels": scores.given[rows].astype(np.int64),
        "pred_probs": scores.probabilities[rows],
        "issues": issues,
        "ids": [scores.ids[row] for row in rows.tolist()],
    }
