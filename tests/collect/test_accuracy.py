"""Answers that a program compares with labels in evaluation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diagnose
from diagnose.history import AccuracyFacts

ROWS = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
Compare = Callable[[nn.Module, Tensor], object]


def watched(compare: Compare, outputs: int = 3) -> dict[str, AccuracyFacts]:
    """One training step, in which the first column is the label; then `compare` without gradients, in two batches."""
    torch.manual_seed(0)
    model = nn.Linear(4, outputs)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    labels = (ROWS[:, 0] > 0).long()
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        output = model(ROWS)
        (output.squeeze(1).argmax(-1) == labels).sum()
        F.mse_loss(output.flatten(1)[:, 0], labels.float()).backward()
        optimizer.step()
        for batch in (slice(0, 25), slice(25, 40)):
            compare(model, ROWS[batch])
    assert watch.history.count("collector-failed") == 0
    return watch.history.accuracies


def labels_of(rows: Tensor) -> Tensor:
    return (rows[:, 0] > 0).long()


def by_operator(model: nn.Module, rows: Tensor) -> object:
    with torch.no_grad():
        return (model(rows).argmax(1) == labels_of(rows)).float().mean()


def by_method(model: nn.Module, rows: Tensor) -> object:
    model.eval()
    with torch.inference_mode():
        return labels_of(rows).eq(torch.max(model(rows).softmax(1), dim=1).indices).sum()


def afterwards(model: nn.Module, rows: Tensor) -> object:
    with torch.no_grad():
        output = model(rows)
    return torch.eq(output.argmax(1), labels_of(rows)).sum()


@pytest.mark.parametrize("compare", [by_operator, by_method, afterwards])
def test_classes(compare: Compare) -> None:
    (facts,) = watched(compare).values()
    torch.manual_seed(0)
    assert (facts.phases, facts.examples) == (1, 40)
    assert 0 < facts.by_chance < 1
    assert abs(facts.right * 40 - round(facts.right * 40)) < 1e-9


@pytest.mark.parametrize("limit", [0.0, 0.5])
def test_yes_and_no(limit: float) -> None:
    def compare(model: nn.Module, rows: Tensor) -> object:
        with torch.no_grad():
            said = (model(rows) > limit).float()
            return (said == labels_of(rows)[:, None].float()).sum()

    (facts,) = watched(compare, outputs=1).values()
    assert facts.examples == 40


def test_what_is_no_answer_does_not_count() -> None:
    def compare(model: nn.Module, rows: Tensor) -> object:
        with torch.no_grad():
            model(rows)
            return (labels_of(rows) == labels_of(-rows)).sum()

    assert watched(compare) == {}


def test_answers_within_training_do_not_count() -> None:
    assert watched(lambda model, rows: (model(rows).argmax(1) == labels_of(rows)).sum()) == {}


def test_the_course_keeps_the_first_phases_and_the_last() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    labels = torch.arange(40) % 6
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for epoch in range(70):
            model.train()
            F.cross_entropy(model(ROWS), labels).backward()
            optimizer.step()
            with torch.no_grad():
                answers = model(ROWS).argmax(1)
                (answers == (answers if epoch == 69 else labels)).sum()
            model.eval()
    (first, *_) = watch.history.accuracies.values()
    assert len(first.course) == min(first.phases, 64)
    assert first.sigmas == max(first.course)
    assert first.renamed <= 1
