"""train-mode-in-eval: evaluations with dropout active, and what only looks like them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import diagnose
from diagnose.findings import Severity
from diagnose.history import History
from tests.rules.looking import loud, said, the_only

CODE = "train-mode-in-eval"
Use = Callable[[nn.Module], Any]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.norm, self.drop, self.fc2 = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.drop(F.relu(self.norm(self.fc1(x)))))


class Functional(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.dropout(F.relu(self.fc1(x)), 0.3))


def trained(use: Use, *, every: int = 10, model: nn.Module | None = None) -> History:
    """A real run: 40 steps, `use` being called with the model after some."""
    torch.manual_seed(0)
    model = Net() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for step in range(1, 41):
            model.train()
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(16, 4)), torch.randint(2, (16,))).backward()
            optimizer.step()
            if step % every == 0:
                use(model)
    return watch.history


def batches(number: int = 4) -> list[tuple[Tensor, Tensor]]:
    return [(torch.randn(16, 4), torch.randint(2, (16,))) for _ in range(number)]


def noted(*, step: int = 10, model: str = "model", into: History | None = None, **detail: Any) -> History:
    history = History() if into is None else into
    usual = {
        "runs": 4,
        "repeated": 0,
        "dropped": 0,
        "trained_on": 0,
        "known_input": False,
        "shape_of_training": True,
        "losses": 4,
        "in_training_mode": 4,
        "on": ["drop"],
        "unreached": [],
        "off": 0,
        "feeds_loss": True,
        "comes_last": True,
        "share": 1.0,
        "file": "train.py",
        "line": 7,
    }
    history.note("ran-without-gradients", step, model, **{**usual, **detail})
    return history


# -- real runs ----------------------------------------------------------------------------------------


@torch.no_grad()
def losses(model: nn.Module) -> None:
    for x, y in batches():
        F.cross_entropy(model(x), y)


@torch.no_grad()
def accuracy(model: nn.Module) -> None:
    for x, y in batches():
        assert (model(x).argmax(1) == y).sum() >= 0


@torch.inference_mode()
def one_large_batch(model: nn.Module) -> None:
    F.cross_entropy(model(torch.randn(50, 4)), torch.randint(2, (50,)))


def in_evaluation_mode(use: Use) -> Use:
    def evaluate(model: nn.Module) -> None:
        model.eval()
        use(model)
        model.train()

    return evaluate


@pytest.mark.parametrize("use", [losses, accuracy, one_large_batch])
def test_evaluations(use: Use) -> None:
    finding = the_only(trained(use), CODE)
    assert finding.severity is Severity.WARNING
    assert finding.evidence["active"] == ["norm", "drop"]
    assert (finding.where.file, finding.first_step) == (__file__, 10)
    assert not said(trained(in_evaluation_mode(use)), CODE)


def test_dropout_that_eval_does_not_reach() -> None:
    finding = the_only(trained(in_evaluation_mode(accuracy), model=Functional()), CODE)
    assert finding.severity is Severity.WARNING
    assert "does not reach" in finding.message


# -- healthy look-alikes ------------------------------------------------------------------------------


def monte_carlo(model: nn.Module) -> None:
    with torch.no_grad():
        for x, _ in batches():
            assert torch.stack([model(x) for _ in range(5)]).std(0).mean() >= 0


def monte_carlo_dropout_only(model: nn.Module) -> None:
    model.eval()
    model.drop.train()
    accuracy(model)
    model.train()


@torch.no_grad()
def statistics_anew(model: nn.Module) -> None:
    for x, _ in batches():
        model(x)


@torch.no_grad()
def pseudo_labels(model: nn.Module) -> None:
    assert model(torch.randn(64, 4)).argmax(1) is not None


@pytest.mark.parametrize("use", [monte_carlo, monte_carlo_dropout_only, statistics_anew])
def test_what_is_meant(use: Use) -> None:
    assert not said(trained(use), CODE)


def test_a_target_in_every_step() -> None:
    assert not said(trained(pseudo_labels, every=1), CODE)


def test_a_model_of_one_mode() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.Dropout(0.0), nn.Linear(8, 2))
    assert not said(trained(losses, model=model), CODE)


# -- hand-made histories ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("detail", "fires"),
    [
        ({}, True),
        ({"runs": 3}, True),
        ({"runs": 2}, False),
        ({"runs": 1, "shape_of_training": False}, True),
        ({"runs": 1, "known_input": True}, True),
        ({"losses": 0}, True),
        ({"losses": 0, "feeds_loss": False}, False),
        ({"losses": 0, "feeds_loss": False, "known_input": True}, True),
        ({"losses": 0, "feeds_loss": False, "known_input": True, "comes_last": False}, False),
        ({"losses": 0, "runs": 1}, False),
        ({"trained_on": 1}, False),
        ({"dropped": 4}, False),
        ({"runs": 12, "repeated": 9}, False),
        ({"on": []}, False),
        ({"in_training_mode": 0}, False),
        ({"in_training_mode": 0, "on": [], "unreached": ["train.py:3"]}, True),
    ],
)
def test_what_is_an_evaluation(detail: dict[str, Any], fires: bool) -> None:
    assert bool(said(noted(**detail), CODE)) is fires


@pytest.mark.parametrize(("gap", "fires"), [(1, False), (2, True)])
def test_what_happens_in_every_step(gap: int, fires: bool) -> None:
    history = History()
    for step in range(10, 10 + 5 * gap, gap):
        noted(step=step, losses=0, into=history)
    assert bool(said(history, CODE)) is fires


def test_the_same_place_looks_at_the_training_batch() -> None:
    history = noted(step=5, runs=1, trained_on=1)
    assert not said(noted(step=50, into=history), CODE)
    assert said(noted(step=50, line=99, into=history), CODE)


@pytest.mark.parametrize(("proper", "severity"), [(2, Severity.WARNING), (3, Severity.INFO)])
def test_some_evaluations_are_in_evaluation_mode(proper: int, severity: Severity) -> None:
    history = History()
    for step in (10, 20, 30):
        noted(step=step, into=history)
    for step in range(40, 40 + proper):
        noted(step=step, in_training_mode=0, on=[], off=4, into=history)
    assert the_only(history, CODE).severity is severity


@given(st.integers(1, 100), st.integers(0, 100), st.booleans(), st.booleans())
def test_evaluation_mode_is_silent(runs: int, losses: int, known: bool, feeds: bool) -> None:
    history = noted(runs=runs, losses=losses, known_input=known, feeds_loss=feeds, in_training_mode=0, on=[], off=runs)
    assert not loud(said(history, CODE))
