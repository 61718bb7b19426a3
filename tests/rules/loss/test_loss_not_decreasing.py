"""loss-not-decreasing: the loss is where it was at the start."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from diagnose.findings import Severity
from diagnose.history import History, ObjectiveFacts
from diagnose.testing import Parameter, history_of
from tests.rules.looking import chain, falling, flat, noisy, said, the_only

CODE = "loss-not-decreasing"
CLASSES = {"fc.weight": Parameter((10, 64))}


def run(loss: Any, grad_fn: str = "MseLossBackward0", **more: Any) -> History:
    loss = np.asarray(loss)
    more.setdefault("parameters", CLASSES)
    return history_of(steps=len(loss), loss=loss, grad_fn=grad_fn, **more)


def classify(loss: Any, **more: Any) -> History:
    return run(loss, "NllLossBackward0", **more)


# -- the loss function tells what guessing costs ------------------------------------------------------


def test_labels_that_do_not_belong_to_the_inputs() -> None:
    """The first outputs are in disorder; it comes down to ln 10 and stays there."""
    loss = noisy(math.log(10) + 0.15 * np.exp(-np.arange(300) / 10), 0.01)
    finding = the_only(classify(loss), CODE)
    assert finding.severity is Severity.WARNING
    assert finding.evidence["loss_of_guessing"] == pytest.approx(math.log(10))
    assert "that of guessing (2.3)" in finding.message
    assert (finding.first_step, finding.last_step) == (1, 300)


@pytest.mark.parametrize(("level", "fires"), [(0.985, False), (0.995, True)])
def test_the_limit_is_99_per_cent_of_guessing(level: float, fires: bool) -> None:
    end = level * math.log(10)
    loss = noisy(np.concatenate([np.full(20, math.log(10)), np.full(280, end)]), 0.0005)
    assert bool(said(classify(loss), CODE)) is fires


def test_a_weak_signal_is_learned_a_little() -> None:
    loss = noisy(0.66 + 0.033 * np.exp(-np.arange(500) / 50), 0.02)
    assert not said(run(loss, "BinaryCrossEntropyWithLogitsBackward0"), CODE)


def test_a_classifier_that_was_trained_before() -> None:
    assert not said(classify(flat(300, 0.3, 0.3)), CODE)
    assert not said(classify(flat(300, 0.3, 0.001)), CODE)


def test_the_number_of_classes_is_not_known() -> None:
    """In-batch negatives: 64 of them, whatever the width of the last layer. It falls."""
    loss = noisy(math.log(64) * np.exp(-np.arange(300) / 500), 0.02)
    assert not said(classify(loss), CODE)


# -- it does not --------------------------------------------------------------------------------------------


def test_a_regression_that_is_surely_flat() -> None:
    finding = the_only(run(flat(300, 1.0, 0.02, seed=1)), CODE)
    assert finding.evidence["largest_possible_fall"] <= finding.evidence["limit"] == 0.05  # type: ignore[operator]


def test_too_noisy_to_tell() -> None:
    assert not said(run(flat(300, 1.0, 0.5)), CODE)


def test_it_takes_a_hundred_steps() -> None:
    assert not said(run(flat(99, 1.0, 0.01)), CODE)
    assert said(run(flat(100, 1.0, 0.01)), CODE)


def test_a_slow_but_sure_fall() -> None:
    assert not said(run(noisy(1 - np.arange(300) * 1e-4, 0.001)), CODE)


@pytest.mark.parametrize("fall", [0.02, 0.04])
def test_a_small_fall_that_is_beyond_noise(fall: float) -> None:
    assert not said(run(noisy(1 - fall * (np.arange(300) > 30), 0.003)), CODE)


def test_a_plateau_after_a_fall() -> None:
    assert not said(run(np.concatenate([falling(30, 2.3, 1.0), flat(270, 1.0)])), CODE)


def test_a_rise_is_told_by_another_rule() -> None:
    assert not said(run(noisy(np.linspace(1, 3, 300), 0.01)), CODE)


def test_an_evaluation_that_improves() -> None:
    history = run(flat(300, 1.0, 0.01))
    for step, value in ((100, 2.0), (200, 1.5), (300, 1.2)):
        history.record("eval_loss", step, {"eval": value})
    assert not said(history, CODE)


def test_a_warm_up() -> None:
    assert not said(run(flat(300, 1.0, 0.01), lr=lambda step: 1e-5 * step), CODE)


@pytest.mark.parametrize("loss", [0.1 * flat(300, 1.0, 5.0) - 0.1, flat(300, -1.0, 0.01), flat(300, 0.0)])
def test_a_loss_without_a_floor(loss: np.ndarray) -> None:
    assert not said(run(loss), CODE)


def test_a_gan() -> None:
    history = run(flat(300), optimizer="generator")
    other = {"critic.weight": Parameter()}
    history_of(steps=300, loss=flat(300, 1.4), parameters=other, optimizer="critic", into=history)
    assert not said(history, CODE)


def test_a_last_phase_at_the_level_that_was_reached() -> None:
    history = history_of(steps=300, loss=falling(300), parameters=chain(3), optimizer="first")
    history_of(steps=300, loss=flat(300, 0.1, 0.01), parameters=chain(3), optimizer="second", into=history)
    assert not said(history, CODE)


def test_of_two_terms_one_stays() -> None:
    losses = {"main": falling(300), "term": flat(300, 5.0, 0.001)}
    assert not said(history_of(steps=300, loss=losses, parameters=CLASSES), CODE)


# -- what the loss function gives for each example ---------------------------------------------------


@pytest.mark.parametrize(("value", "fires"), [(2.30, True), (2.25, False)])
def test_a_sum_that_is_divided_by_the_size_of_the_set(value: float, fires: bool) -> None:
    """It falls a little, surely, and far too slowly; ln K is no level of it."""
    history = run(np.linspace(0.0368, 0.0360, 300) + 1e-5 * np.random.default_rng(0).normal(size=300), "DivBackward0")
    history.objectives["cross_entropy (train.py:7)"] = ObjectiveFacts(
        "cross_entropy", optimizer="SGD", classes=10, calls=20, used=20, alone=20, uninformed=math.log(10)
    )
    for step in range(10, 300, 10):
        history.record("objective", step, {"cross_entropy (train.py:7)": value}, clock="SGD")
    assert bool(said(history, CODE)) is fires
