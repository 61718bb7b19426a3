"""loss-at-init: outputs that are far too large at the start."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from diagnose.findings import Severity
from diagnose.history import History
from tests.rules.looking import loud, said, the_only
from tests.rules.objective.runs import trained, with_objective

CODE = "loss-at-init"


def run(first: float, *, name: str = "cross_entropy", level: float = 2.3, back: int = 30, steps: int = 100) -> History:
    """A loss that falls from `first` to `level` in `back` steps."""
    reached = back if back <= steps else None
    history = with_objective(
        name=name, first_value=first, uninformed=level, reached=reached, last_step=steps, classes=10
    )
    history.record("objective", 1, {f"{name} (train.py:7)": first}, clock="SGD")
    return history


def test_a_real_run() -> None:
    history = trained(lambda x, y: F.cross_entropy(40 * x, y), steps=30, lr=1e-3)
    finding = the_only(history, CODE)
    assert finding.severity is Severity.WARNING
    assert finding.evidence["loss_of_guessing"] == pytest.approx(math.log(5))
    assert finding.first_step == 1


@pytest.mark.parametrize(
    "loss",
    [
        F.cross_entropy,
        lambda x, y: F.cross_entropy(x, y, label_smoothing=0.2),
        lambda x, y: F.cross_entropy(x, y, weight=torch.tensor([1.0, 9.0, 1.0, 1.0, 1.0])),
        lambda x, y: F.cross_entropy(x, y, reduction="sum"),
        lambda x, y: F.cross_entropy(x, y, reduction="none").sum(),
        lambda x, y: 100 * F.cross_entropy(x, y),
        lambda x, y: F.binary_cross_entropy(x.sigmoid(), F.one_hot(y, 5).float(), reduction="sum"),
        lambda x, y: F.cross_entropy(x, y.masked_fill(y == 0, -100)),
        lambda x, y: F.mse_loss(x, 30 * F.one_hot(y, 5).float()),
    ],
    ids=["plain", "smoothing", "weights", "sum", "rows", "factor", "vae", "ignored", "large-targets"],
)
def test_healthy_ones(loss) -> None:
    assert not said(trained(loss), CODE)


def test_what_recovers_quickly_is_an_info() -> None:
    assert the_only(run(20.0, back=9), CODE).severity is Severity.INFO
    assert the_only(run(20.0, back=30), CODE).severity is Severity.WARNING
    assert the_only(run(20.0, back=30, steps=1000), CODE).severity is Severity.INFO
    assert the_only(run(20.0, back=1000), CODE).severity is Severity.WARNING


@given(st.floats(0.1, 1000), st.sampled_from(["cross_entropy", "mse_loss"]))
def test_the_limit_is_a_multiple_of_guessing(first: float, name: str) -> None:
    limit = 3 if name == "cross_entropy" else 100
    assert bool(loud(said(run(2.0 * first, name=name, level=2.0), CODE))) is (2.0 * first >= limit * 2.0)


def test_a_run_that_was_not_watched_from_its_start() -> None:
    assert not said(with_objective(run(20.0), first_value=None, uninformed=2.3), CODE)
