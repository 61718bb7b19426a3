"""underfitting: training has settled on a high loss, and the evaluation loss is just as high."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import diagnose
from diagnose.findings import Severity
from diagnose.history import ConstantInputFacts, EvaluationFacts, FitFacts, History
from diagnose.rules import NotRun, all_rules
from diagnose.testing import Parameter, history_of
from tests.rules.looking import flat, noisy, said, the_only

CODE = "underfitting"


def settling(end: float, start: float = 2.3, steps: int = 600, noise: float = 0.03) -> np.ndarray:
    return noisy(end + (start - end) * np.exp(-np.arange(steps) / 40), noise)


def run(loss: Any, evaluation: float | None, **more: Any) -> History:
    loss = np.asarray(loss)
    parameters = {"fc.weight": Parameter((10, 64))}
    history = history_of(steps=len(loss), loss=loss, parameters=parameters, grad_fn="NllLossBackward0", **more)
    history.evaluations["eval"] = EvaluationFacts("SGD", "train.py", 20)
    for step in range(100, len(loss) + 1, 100):
        if evaluation is not None:
            history.record("eval_loss", step, {"eval": evaluation}, clock="SGD")
    return history


def train(model: nn.Module) -> diagnose.Watch:
    torch.manual_seed(0)
    inputs = torch.randn(5000, 10)
    labels = (inputs[:, 0] * inputs[:, 1] + 0.3 * inputs[:, 2] > 0).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with diagnose.watch(model, optimizer, summary=False, schedule="seeded") as watch:
        for _ in range(8):
            model.train()
            for rows in torch.randperm(4000).split(50):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs[rows]), labels[rows]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                F.cross_entropy(model(inputs[4000:]), labels[4000:])
    return watch


def test_a_linear_model_of_a_product() -> None:
    torch.manual_seed(0)
    (finding,) = [f for f in train(nn.Linear(10, 2)).findings if f.code == CODE]
    assert finding.severity is Severity.INFO


def test_its_healthy_twin() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 2))
    assert CODE not in [finding.code for finding in train(model).findings]


def test_what_it_says() -> None:
    finding = the_only(run(settling(1.6), 1.62), CODE)
    assert finding.evidence["without_knowledge"] == pytest.approx(math.log(10), rel=0.05)
    assert "settled at 1.6, 71 %" in finding.message
    assert finding.severity is Severity.INFO


@pytest.mark.parametrize(("end", "fires"), [(1.0, False), (1.3, True)])
def test_half_of_guessing_is_the_limit(end: float, fires: bool) -> None:
    assert bool(said(run(settling(end), end), CODE)) is fires


@pytest.mark.parametrize(("evaluation", "fires"), [(1.7, True), (1.9, False), (0.1, False)])
def test_the_evaluation_must_agree(evaluation: float, fires: bool) -> None:
    assert bool(said(run(settling(1.6), evaluation), CODE)) is fires


def test_it_is_still_falling() -> None:
    assert not said(run(noisy(np.linspace(2.3, 1.5, 600), 0.03), 1.5), CODE)


def test_nothing_was_learned() -> None:
    """That is what loss-not-decreasing says."""
    assert not said(run(flat(600, 2.3, 0.01), 2.3), CODE)


def test_too_short_or_too_noisy() -> None:
    assert not said(run(settling(1.6, steps=200), 1.6), CODE)
    assert not said(run(settling(1.6, noise=0.8), 1.6), CODE)


def test_without_evaluation() -> None:
    with pytest.raises(NotRun):
        list(all_rules()[CODE].function(run(settling(1.6), None)))


@given(st.sampled_from([1e-6, 64.0]), st.sampled_from([1.0, 1.6]))
def test_units_do_not_matter(scale: float, end: float) -> None:
    def of(factor: float) -> History:
        history = run(factor * settling(end, 2.0), factor * end)
        history.losses["SGD"].grad_fn = "MseLossBackward0"
        return history

    assert bool(said(of(scale), CODE)) is bool(said(of(1.0), CODE))


@pytest.mark.parametrize(("after", "words"), [(0.1, "fit 32 examples"), (2.0, "do not fit 32 examples")])
def test_a_fit_of_a_few_examples_is_told(after: float, words: str) -> None:
    history = run(settling(1.5), 1.5)
    history.fits["Net"] = FitFacts("Net", "SGD", "", 300, 32, 0, 100, 1.6, 2.2, after)
    finding = the_only(history, CODE)
    assert words in finding.message
    assert finding.evidence["fit_to"] == after


# -- models that turn out to be linear -----------------------------------------------------------------


def linear(*shapes: tuple[int, ...], end: float = 1.5, **options: Any) -> History:
    loss = settling(end)
    parameters = {f"{index}.weight": Parameter(shape) for index, shape in enumerate(shapes)}
    history = history_of(steps=len(loss), loss=loss, parameters=parameters, grad_fn="MseLossBackward0")
    facts = {"model": "Net", "optimizer": "SGD", "step": 300, "examples": 32, "change": 9.0, "affine": True}
    history.constant_inputs["Net"] = ConstantInputFacts(**{**facts, **options})
    return history


STACKED = ((64, 2), (64, 64), (1, 64))


def test_layers_without_an_activation_are_one_layer() -> None:
    finding = the_only(linear(*STACKED), CODE)
    assert finding.severity is Severity.WARNING
    assert "its 3 layers compute what a single matrix would" in finding.message


@pytest.mark.parametrize(
    ("shapes", "options"),
    [
        (STACKED, {"affine": False}),
        (STACKED, {"reason": "too slow"}),
        (STACKED, {"optimizer": "Adam"}),
        (STACKED, {"end": 0.4}),  # most was linear
        (((1, 64),), {}),
        (((4, 20), (20, 4)), {}),  # a linear autoencoder
    ],
)
def test_linear_models_that_are_meant_or_good_enough(shapes: tuple[tuple[int, ...], ...], options: Any) -> None:
    history = linear(*shapes, **options)
    with contextlib.suppress(NotRun):
        assert not said(history, CODE)


@pytest.mark.parametrize(("activation", "speaks"), [(nn.Identity, True), (nn.ReLU, False)])
def test_a_forgotten_activation_in_a_real_run(activation: type[nn.Module], speaks: bool) -> None:
    torch.manual_seed(0)
    inputs = torch.rand(3000, 2) * 2 - 1
    targets = 3 * inputs[:, :1] * inputs[:, 1:] + inputs.sum(1, keepdim=True)
    model = nn.Sequential(nn.Linear(2, 32), activation(), nn.Linear(32, 32), activation(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with diagnose.watch(model, optimizer, summary=False, schedule="seeded") as watch:
        for _ in range(10):
            for rows in torch.randperm(3000).split(64):
                optimizer.zero_grad()
                F.mse_loss(model(inputs[rows]), targets[rows]).backward()
                optimizer.step()
    found = [finding for finding in watch.findings if finding.code == CODE]
    assert bool(found) is speaks
    assert [facts.affine for facts in watch.history.constant_inputs.values()] in ([speaks], [])
