"""class-imbalance-collapse: the majority class, and nothing but it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.findings import Severity
from diagnose.history import History, SamplerFacts
from diagnose.testing import history_of
from tests.rules.looking import flat, said, the_only
from tests.rules.objective.runs import with_objective

CODE = "class-imbalance-collapse"
ENTROPY = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))


def run(
    *, loss: float = ENTROPY, answer: float = 0, share: float = 1.0, steps: int = 400, labels=(900, 100), **facts
) -> History:
    history = history_of(steps=steps, loss=flat(steps, loss))
    stated = {"alone": 20, "loss_file": "train.py", "loss_line": 10, "classes": len(labels)}
    counts = {str(index): count for index, count in enumerate(labels)}
    with_objective(history, labels=counts, **{**stated, **facts})
    for step in range(10, steps + 1, 10):
        for quantity, value in (("answer", answer), ("answer_share", share)):
            history.record(quantity, step, {"cross_entropy (train.py:7)": value}, clock="SGD")  # type: ignore[arg-type]
    return history


def test_only_the_majority_is_predicted() -> None:
    finding = the_only(run(), CODE)
    assert finding.severity is Severity.WARNING
    assert finding.evidence["majority_share"] == pytest.approx(0.9)


@pytest.mark.parametrize(
    "healthy",
    [
        {"loss": 0.8 * ENTROPY},
        {"share": 0.97},
        {"answer": 1},
        {"labels": (550, 450), "loss": 0.69},
        {"labels": (995, 5), "loss": 0.03},
        {"options": ("weight",)},
        {"options": ("label_smoothing",)},
        {"alone": 0},
        {"steps": 150},
        {"reduction": "sum"},
    ],
    ids=str,
)
def test_healthy_ones(healthy) -> None:
    assert not said(run(**healthy), CODE)


@pytest.mark.parametrize(
    ("samplers", "speaks"),
    [
        ([SamplerFacts("train.py", 3, 1000)], True),
        ([SamplerFacts("train.py", 3, 1000, passes=1)], False),
        ([SamplerFacts("train.py", 3, 1000), SamplerFacts("train.py", 4, 1000, passes=8)], False),
        ([SamplerFacts("train.py", 3, 50)], False),
        ([], False),
    ],
)
def test_a_sampler_that_was_made_and_not_used(samplers: list[SamplerFacts], speaks: bool) -> None:
    history = run(loss=0.8 * ENTROPY)
    history.samplers.extend(samplers)
    assert bool(said(history, CODE)) is speaks
    if speaks:
        assert the_only(history, CODE).where.line == 3
    fair = run(loss=0.8 * ENTROPY, share=0.97)
    fair.samplers.extend(samplers)
    assert not said(fair, CODE)


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=6))
def test_sixty_per_cent_make_a_majority(labels: list[int]) -> None:
    total = sum(labels)
    entropy = -sum(count / total * math.log(count / total) for count in labels)
    history = run(labels=labels, answer=labels.index(max(labels)), loss=1.05 * entropy)
    assert bool(said(history, CODE)) is (max(labels) >= 0.6 * total and total - max(labels) >= 20)
