"""lr-zero: schedules that come to nothing long before the run ends, and schedules that are meant so."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.findings import Severity
from diagnose.history import History, SchedulerFacts
from diagnose.testing import history_of, sampled_steps
from tests.rules.looking import flat, said, the_only

CODE = "lr-zero"
STEPS = 400


def run(lr: Callable[[int], float], kind: str = "", calls: int = STEPS, **settings: float) -> History:
    history = history_of(steps=STEPS, loss=flat(STEPS), lr=lr, sampled=sorted({*sampled_steps(STEPS), STEPS}))
    if kind:
        history.schedulers[kind] = SchedulerFacts(
            type=kind, optimizer="SGD", calls=calls, steps=STEPS, base=0.1, settings=settings, file="train.py", line=5
        )
    return history


def test_decayed_within_a_tenth_of_the_run() -> None:
    finding = the_only(run(lambda step: 0.1 * 0.1 ** (step // 5), "StepLR"), CODE)
    assert finding.severity is Severity.WARNING
    assert finding.where.line == 5
    assert "400 times in 400 steps" in finding.message
    assert finding.evidence["share"] > 0.9


def test_three_drops_by_ten_are_small_enough() -> None:
    assert said(run(lambda step: 0.1 * 0.1 * 0.1 * 0.1 if step > 50 else 0.1, "MultiStepLR"), CODE)


def test_one_per_cent_for_most_of_the_run_counts_only_when_stepped_with_the_optimizer() -> None:
    def lr(step: int) -> float:
        return 0.1 if step < 20 else 0.001

    assert said(run(lr, "MultiStepLR"), CODE)
    assert not said(run(lr, "MultiStepLR", calls=10), CODE)
    assert not said(run(lr), CODE)


@pytest.mark.parametrize(("kind", "calls", "fires"), [("", 0, True), ("StepLR", 10, False), ("StepLR", STEPS, True)])
def test_by_epochs_more_is_needed(kind: str, calls: int, fires: bool) -> None:
    """The last 60 % of the run."""
    history = run(lambda step: 0.1 if step <= 0.4 * STEPS else 1e-6, kind, calls)
    assert bool(said(history, CODE)) is fires


def test_zero_throughout() -> None:
    assert "0 in all 400 steps" in the_only(run(lambda step: 0.0), CODE).message


@pytest.mark.parametrize(
    ("kind", "zeros", "fires"), [("LambdaLR", 300, True), ("LambdaLR", 100, False), ("", 300, False)]
)
def test_zero_until_a_warm_up_is_over(kind: str, zeros: int, fires: bool) -> None:
    """`step // warmup` instead of `step / warmup`; by hand, it may be a way to freeze."""
    history = run(lambda step: 0.0 if step <= zeros else 0.1, kind)
    assert bool(said(history, CODE)) is fires


def test_down_and_up_again() -> None:
    def cosine(step: int) -> float:
        return 0.05 * (1 + math.cos(math.pi * step / 10))

    finding = the_only(run(cosine, "CosineAnnealingLR", T_max=10.0, eta_min=0.0), CODE)
    assert "every 20 steps" in finding.message
    assert not said(run(cosine, "CosineAnnealingLR", calls=39, T_max=10.0, eta_min=0.0), CODE)
    assert not said(run(cosine, "CosineAnnealingLR", T_max=10.0, eta_min=0.05), CODE)
    assert not said(run(cosine, "CosineAnnealingWarmRestarts", T_0=10.0), CODE)


def test_a_warm_up_that_is_stepped_by_epochs() -> None:
    def lr(step: int) -> float:
        return 0.004 + 1e-5 * (step // 40)

    assert "OneCycleLR" in the_only(run(lr, "OneCycleLR", calls=10, total_steps=400.0), CODE).message
    assert not said(run(lr, "OneCycleLR", calls=10, total_steps=10.0), CODE)
    assert not said(run(lr, "OneCycleLR", calls=400, total_steps=4000.0), CODE), "a run that was cut short"


# -- healthy look-alikes ----------------------------------------------------------------------------

HEALTHY: dict[str, Callable[[int], float]] = {
    "constant": lambda step: 0.1,
    "warm-up from zero": lambda step: 0.1 * min((step - 1) / 200, 1.0),
    "cosine to zero": lambda step: 0.05 * (1 + math.cos(math.pi * step / STEPS)),
    "linear to zero": lambda step: 0.1 * (1 - step / STEPS),
    "three drops": lambda step: 0.1 * 0.1 ** sum(step > STEPS * part for part in (0.5, 0.75, 0.9)),
    "range test": lambda step: 1e-7 * 1.04**step,
    "restarts": lambda step: 0.05 * (1 + math.cos(math.pi * (step % 100) / 100)),
}


@pytest.mark.parametrize("lr", HEALTHY.values(), ids=HEALTHY.keys())
@pytest.mark.parametrize("kind", ["", "LambdaLR"])
def test_schedules_as_they_are_meant(lr: Callable[[int], float], kind: str) -> None:
    assert not said(run(lr, kind), CODE)


def test_another_group_still_learns() -> None:
    history = run(lambda step: 0.0)
    for step in sampled_steps(STEPS):
        history.record("lr", step + STEPS, {"SGD/1": 0.1}, clock="SGD")
    assert not said(history, CODE)


def test_a_plateau_by_epochs() -> None:
    def lr(step: int) -> float:
        return 0.1 if step < 50 else 1e-8

    assert not said(run(lr, "ReduceLROnPlateau", calls=10), CODE)
    assert said(run(lr, "ReduceLROnPlateau"), CODE)


@given(st.floats(0.5, 1.0), st.sampled_from([2.0**-20, 1.0, 1024.0]))
def test_the_unit_of_the_rate_does_not_matter(decay: float, factor: float) -> None:
    def findings(scale: float) -> list[Any]:
        return [finding.evidence["share"] for finding in said(run(lambda step: scale * decay**step), CODE)]

    assert findings(factor) == findings(1.0)
