"""labels-misaligned, second question: labels that do not follow inputs, on real digits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import diagnose
from diagnose.findings import Finding, Severity
from diagnose.history import (
    AccuracyFacts,
    EvaluationFacts,
    FitFacts,
    History,
    LabelFacts,
    LossFacts,
    NeighbourFacts,
    PairingFacts,
)
from diagnose.rules.data.labels_misaligned import labels_misaligned

Pair = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def train(*, once: Pair = lambda x, y: (x, y), each: Pair = lambda x, y: (x, y), epochs: int = 6) -> list[Finding]:
    torch.manual_seed(0)
    data = load_digits()
    order = torch.randperm(len(data.target))
    x, y = torch.tensor(data.data, dtype=torch.float32)[order] / 16, torch.tensor(data.target)[order]
    x, y = once(x, y)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for _ in range(epochs):
            for rows in torch.randperm(1400).split(64):
                inputs, labels = each(x[rows], y[rows])
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), labels).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                F.cross_entropy(model(x[1400:]), y[1400:])
            model.train()
    assert not watch.history.count("collector-failed"), list(watch.history.events("collector-failed"))
    return [finding for finding in watch.findings if finding.code == "labels-misaligned"]


def test_digits_with_their_own_labels() -> None:
    assert train() == []


def test_permuted_once() -> None:
    (finding,) = train(once=lambda x, y: (x, y[torch.randperm(len(y))]))
    assert finding.severity is Severity.WARNING
    assert finding.where.file == __file__


@pytest.mark.parametrize(
    ("each", "moved"),
    [
        (lambda x, y: (x, y.roll(1)), "moved by -1"),
        (lambda x, y: (x.flip(0), y), "in reverse"),
    ],
)
def test_moved_within_each_batch(each: Pair, moved: str) -> None:
    (finding,) = train(each=each, epochs=2)
    assert finding.severity is Severity.ERROR
    assert moved in finding.message


def history_of(facts: NeighbourFacts, *, evaluated: float | None) -> History:
    history = History()
    history.neighbours["loss"] = facts
    history.labels["loss"] = LabelFacts("SGD", batches=[(1, [0, 1], [50, 50])])
    history.losses["SGD"] = LossFacts("SGD", grad_fn="NllLossBackward0")
    for step in range(1, 200):
        history.record("loss", step, {"SGD": 0.69}, clock="SGD")
    if evaluated is not None:
        history.evaluations["test"] = EvaluationFacts("SGD")
        history.record("eval_loss", 199, {"test": evaluated})
    return history


def facts(**changes: float) -> NeighbourFacts:
    found = NeighbourFacts("SGD", "train.py", 3, rows=300, classes=2, agree=0.5, by_chance=0.5, nearness=0.9)
    for name, value in changes.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    ("changes", "evaluated", "speaks"),
    [
        ({}, None, True),
        ({"rows": 299}, None, False),
        ({"sigmas": 2.0}, None, False),
        ({"classes": 1}, None, False),
        ({"nearness": 0.91}, None, False),  # noise: what depends on it may be hard, or random
        ({"fitted_sigmas": 2.0}, None, False),
        ({}, 0.70, True),
        ({}, 0.60, False),  # the network has found what neighbours do not show: the task is hard
    ],
)
def test_edges(changes: dict[str, float], evaluated: float | None, speaks: bool) -> None:
    assert bool(list(labels_misaligned(history_of(facts(**changes), evaluated=evaluated)))) is speaks


@pytest.mark.parametrize(("own", "sigmas", "speaks"), [(0.69, 0.5, True), (0.6, 7.0, False), (0.6, 5.0, True)])
def test_permuted_labels(own: float, sigmas: float, speaks: bool) -> None:
    """If its own labels fit a tenth better than permuted ones, the network has found something."""
    history = history_of(facts(), evaluated=None)
    history.pairings["loss"] = PairingFacts("SGD", batches=8, examples=32, loss=own, shuffled=0.69, sigmas=sigmas)
    history.fits["Net"] = FitFacts("Net", "SGD", examples=32, steps=50, before=0.7, constant=0.69, after=0.05)
    found = list(labels_misaligned(history))
    assert bool(found) is speaks
    if own == 0.69:
        assert "learn 32 examples by heart" in found[0].message
        assert found[0].evidence["loss_of_permuted_targets"] == 0.69


@pytest.mark.parametrize(
    ("examples", "sigmas", "by_chance", "speaks"),
    [(100, 2.9, 0.5, True), (100, 3.0, 0.5, False), (99, 2.9, 0.5, False), (100, 0.0, 0.95, False)],
)
def test_the_loss_has_fallen_and_answers_are_compared_with_labels(
    examples: int, sigmas: float, by_chance: float, speaks: bool
) -> None:
    history = History()
    history.neighbours["loss"] = facts()
    history.labels["loss"] = LabelFacts("SGD", batches=[(1, [0, 1], [50, 50])])
    history.losses["SGD"] = LossFacts("SGD", grad_fn="NllLossBackward0")
    for step in range(1, 200):
        history.record("loss", step, {"SGD": 0.69 / step}, clock="SGD")
    history.accuracies["train.py:9"] = AccuracyFacts(3, examples, 0.5, by_chance, sigmas)
    assert bool(list(labels_misaligned(history))) is speaks


@pytest.mark.parametrize(
    ("course", "renamed", "speaks"),
    [
        ([0.0, 5.0, 1.0, 2.0], 0.02, True),
        ([0.0, 5.0, 1.0, 2.0], 0.01, False),  # no other names would be as right: several classes are known
        ([0.0, 5.0, 1.0, 2.0], 0.0, False),  # too few classes to tell
        ([0.0, 5.0, 1.0, 3.0], 0.5, False),  # it stays
        ([5.0, 5.0, 1.0, 2.0], 0.5, False),  # it stayed for half of the time
        ([0.0, 5.0, 1.0], 0.5, False),
    ],
)
def test_right_in_passing(course: list[float], renamed: float, speaks: bool) -> None:
    history = history_of(facts(), evaluated=None)
    history.accuracies["train.py:9"] = AccuracyFacts(len(course), 400, 0.2, 0.1, max(course), renamed, course)
    assert bool(list(labels_misaligned(history))) is speaks


def test_learned_by_heart_and_right_by_chance_in_the_test() -> None:
    def run(permuted: bool) -> list[Finding]:
        torch.manual_seed(0)
        data = load_digits()
        order = torch.randperm(len(data.target))
        x, y = torch.tensor(data.data, dtype=torch.float32)[order] / 16, torch.tensor(data.target)[order]
        y = y[torch.randperm(len(y))] if permuted else y
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
            for _ in range(8):
                for rows in torch.randperm(1400).split(50):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x[rows]), y[rows]).backward()
                    optimizer.step()
                with torch.no_grad():
                    (model(x[1400:]).argmax(1) == y[1400:]).sum().item()
        return [finding for finding in watch.findings if finding.code == "labels-misaligned"]

    (finding,) = run(True)
    assert finding.severity is Severity.WARNING
    assert run(False) == []


def test_empty() -> None:
    assert list(labels_misaligned(History())) == []
