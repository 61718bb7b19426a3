"""bias-before-batchnorm: a bias without effect."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import diagnose
from diagnose.findings import Severity
from diagnose.history import History, ParameterFacts
from tests.rules.looking import said, the_only

CODE = "bias-before-batchnorm"


def trained(*layers: nn.Module) -> History:
    torch.manual_seed(0)
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
    return watch.history


def written(**facts: Any) -> ParameterFacts:
    return ParameterFacts(**{"shape": (8,), "module": "conv", "optimizers": ("SGD",), "removed_by": "norm", **facts})


def test_directly_before() -> None:
    finding = the_only(trained(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)), CODE)
    assert finding.severity is Severity.INFO
    assert finding.where.parameter == "0.bias"
    assert finding.evidence["normalisation"] == "1"
    assert finding.evidence["elements"] == 8


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.Linear(8, 2)),
        (nn.Linear(4, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 2)),
        (nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2)),
        (nn.Linear(4, 8), nn.GroupNorm(2, 8), nn.Linear(8, 2)),
    ],
)
def test_biases_of_use(layers: tuple[nn.Module, ...]) -> None:
    assert not said(trained(*layers), CODE)


@pytest.mark.parametrize(
    ("facts", "fires"),
    [({}, True), ({"removed_by": ""}, False), ({"requires_grad": False}, False), ({"optimizers": ()}, False)],
)
def test_only_biases_that_are_trained(facts: dict[str, Any], fires: bool) -> None:
    history = History()
    history.parameters["conv.bias"] = written(**facts)
    assert bool(said(history, CODE)) is fires


def test_the_number_that_is_too_many_can_be_set() -> None:
    history = History()
    history.parameters = {f"{index}.bias": written() for index in range(3)}
    assert said(history, CODE, at_least=3)
    assert not said(history, CODE, at_least=4)


@given(st.integers(1, 8), st.randoms(use_true_random=False))
def test_one_finding_whatever_the_order(number: int, rng: random.Random) -> None:
    names = [f"{index}.bias" for index in range(number)]
    rng.shuffle(names)
    history = History()
    history.parameters = {name: written() for name in names}
    finding = the_only(history, CODE)
    assert finding.where.parameter == "0.bias"
    assert finding.evidence["biases"] == number
