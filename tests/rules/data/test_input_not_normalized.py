"""input-not-normalized: what the first layer gets is far from 1, or its features far apart."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import diagnose
from diagnose.findings import Severity
from diagnose.history import History, InputFacts, LabelFacts, TargetFacts
from diagnose.testing import history_of
from tests.rules.looking import falling, flat, loud, said, the_only

CODE = "input-not-normalized"
PLAIN = InputFacts(
    "SGD", "linear", "fc1", "train.py", 5, 1, 40, rows=640, features=10, rms=1.0, low=-3.0, high=3.0, largest=1.1,
    smallest=0.9,
)  # fmt: skip
PIXELS = replace(PLAIN, rms=130.0, low=0.0, high=255.0, largest=140.0, smallest=120.0, integers=True)


def run(facts: InputFacts, steps: int = 200, learns: bool = False, grad_fn: str = "MseLossBackward0") -> History:
    loss = falling(steps, 1.0, 0.02) if learns else flat(steps, 1.0)
    history = history_of(steps=steps, loss=loss, grad_fn=grad_fn)
    history.inputs["fc1"] = facts
    history.targets["SGD@train.py:9"] = TargetFacts("SGD", variance=1.0, count=1000)
    return history


# -- the fault ------------------------------------------------------------------------------------


def test_raw_pixels() -> None:
    finding = the_only(run(PIXELS), CODE)
    assert finding.severity is Severity.WARNING
    assert (finding.where.module, finding.where.line) == ("fc1", 5)
    assert "from 0 to 255" in finding.message


def test_features_far_apart() -> None:
    finding = the_only(run(replace(PLAIN, rms=40.0, largest=90.0, smallest=0.05)), CODE)
    assert "differ in scale" in finding.message


def test_inputs_that_are_next_to_nothing() -> None:
    assert said(run(replace(PLAIN, rms=1e-5, largest=1e-5, smallest=9e-6)), CODE)


@pytest.mark.parametrize(("largest", "fires"), [(99.9, False), (100.0, True)])
def test_the_limit(largest: float, fires: bool) -> None:
    assert bool(said(run(replace(PLAIN, largest=largest, smallest=largest)), CODE)) is fires


@pytest.mark.parametrize(("largest", "fires"), [(29.9, False), (30.0, True)])
def test_the_limit_for_whole_numbers(largest: float, fires: bool) -> None:
    assert bool(said(run(replace(PIXELS, largest=largest, smallest=largest)), CODE)) is fires


# -- healthy look-alikes ----------------------------------------------------------------------------


def test_standardised() -> None:
    assert not said(run(PLAIN), CODE)


def test_it_went_well_all_the_same() -> None:
    assert the_only(run(PIXELS, learns=True), CODE).severity is Severity.INFO


def test_well_is_measured_by_the_constant_answer_not_by_the_start() -> None:
    """The loss falls from 300 to 1, which is what the mean of the targets would have given."""
    history = history_of(steps=200, loss=falling(200, 300.0, 1.0), grad_fn="MseLossBackward0")
    history.inputs["fc1"], history.targets["a"] = PIXELS, TargetFacts("SGD", variance=1.0, count=1000)
    assert loud(said(history, CODE))


def test_well_of_a_classifier() -> None:
    history = history_of(steps=200, loss=falling(200, 50.0, 0.5), grad_fn="NllLossBackward0")
    history.inputs["fc1"] = PIXELS
    history.labels["a"] = LabelFacts("SGD", batches=[(1, [0, 1, 2, 3], [8, 8, 8, 8])])
    finding = the_only(history, CODE)
    assert finding.severity is Severity.WARNING
    late = float(np.median(falling(200, 50.0, 0.5)[-20:]))
    assert finding.evidence["loss_left_of_constant_answer"] == pytest.approx(late / math.log(4), rel=0.1)


def test_a_loss_without_a_level_says_nothing() -> None:
    history = history_of(steps=200, loss=-1.0)
    history.inputs["fc1"] = PIXELS
    assert not loud(said(history, CODE))


def test_a_normalisation_right_behind() -> None:
    assert not said(run(replace(PIXELS, normalized_next=True)), CODE)


def test_decibels() -> None:
    assert not said(run(replace(PLAIN, rms=50.0, low=-80.0, high=0.0, largest=70.0, smallest=30.0)), CODE)


def test_few_rows_and_zeros() -> None:
    assert not said(run(replace(PIXELS, rows=31)), CODE)
    assert not said(run(replace(PLAIN, rms=0.0, largest=0.0, smallest=0.0)), CODE)


@given(
    st.floats(0, 1e6), st.floats(0, 1), st.integers(0, 100), st.booleans(), st.booleans(),
)  # fmt: skip
def test_a_round_trip_changes_nothing(
    largest: float, share: float, rows: int, integers: bool, normalized: bool
) -> None:
    history = run(
        replace(
            PLAIN, largest=largest, smallest=largest * share, rows=rows, integers=integers, normalized_next=normalized
        )
    )
    found = said(history, CODE)
    data, arrays = history.to_arrays()
    restored = History.from_arrays(json.loads(json.dumps(data)), arrays)
    assert said(restored, CODE) == found == said(history, CODE)


# -- real runs ------------------------------------------------------------------------------------------


class Divides(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x / 255 - 0.5)


def trained(build: Callable[[], nn.Module]) -> History:
    torch.manual_seed(0)
    inputs, labels = torch.randint(256, (256, 12)).float(), torch.randint(3, (256,))
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for batch in (torch.randperm(256).split(32)) * 2:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    assert watch.history.count("collector-failed") == 0
    return watch.history


def test_a_real_run() -> None:
    finding = the_only(trained(lambda: nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))), CODE)
    assert finding.severity is Severity.WARNING
    assert finding.where.module == "0"
    assert finding.where.line is not None


@pytest.mark.parametrize(
    "build",
    [
        Divides,
        lambda: nn.Sequential(nn.BatchNorm1d(12), nn.Linear(12, 3)),
        lambda: nn.Sequential(nn.BatchNorm1d(12, affine=False), nn.Linear(12, 3)),
        lambda: nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 3)),
        lambda: nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3)),
        lambda: nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Linear(16, 3)),
    ],
)
def test_models_that_normalise_by_themselves(build: Callable[[], nn.Module]) -> None:
    assert not said(trained(build), CODE)
