"""Class counts of batches: whose labels are read, and how many."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diagnose
from diagnose.collect._collector import FULL_IN_A_ROW
from diagnose.collect.labels import BATCHES_KEPT
from diagnose.history import History

LABELS = torch.tensor([0, 0, 1, 2, 1, 0])


def watched(
    loss: Callable[[Tensor], Tensor],
    steps: int = 3,
    outputs: int = 3,
    accumulate: int = 1,
    shape: tuple[int, ...] = (6, 4),
) -> History:
    model = nn.Linear(4, outputs)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for _ in range(steps):
            optimizer.zero_grad()
            for _ in range(accumulate):
                loss(model(torch.randn(shape))).backward()
            optimizer.step()
    assert watch.history.count("collector-failed") == 0
    return watch.history


def first_counts(history: History) -> dict[int, int]:
    (facts,) = history.labels.values()
    _, classes, counts = facts.batches[0]
    return dict(zip(classes, counts, strict=True))


def test_class_indices() -> None:
    history = watched(lambda out: F.cross_entropy(out, LABELS))
    (facts,) = history.labels.values()
    assert [step for step, _, _ in facts.batches] == [1, 2, 3]
    assert first_counts(history) == {0: 3, 1: 2, 2: 1}
    assert facts.file == __file__


def test_what_one_line_gets_before_one_step_is_one_batch() -> None:
    history = watched(lambda out: sum(F.cross_entropy(out, LABELS) for _ in range(2)))
    assert first_counts(history) == {0: 6, 1: 4, 2: 2}


def test_of_accumulated_batches_the_first_is_seen() -> None:
    assert first_counts(watched(lambda out: F.cross_entropy(out, LABELS), accumulate=2)) == {0: 3, 1: 2, 2: 1}


def test_ignored_labels_do_not_count() -> None:
    history = watched(lambda out: F.cross_entropy(out, LABELS, ignore_index=0))
    assert first_counts(history) == {1: 2, 2: 1}


def test_rows_of_one_hot() -> None:
    assert first_counts(watched(lambda out: F.cross_entropy(out, F.one_hot(LABELS, 3).float()))) == {0: 3, 1: 2, 2: 1}


def test_a_binary_target() -> None:
    target = (LABELS == 1).float()[:, None]
    history = watched(lambda out: F.binary_cross_entropy_with_logits(out, target), outputs=1)
    assert first_counts(history) == {0: 4, 1: 2}


@pytest.mark.parametrize(
    "loss",
    [
        lambda out: F.mse_loss(out, torch.zeros(6, 3)),
        lambda out: F.mse_loss(out, torch.randn(6, 3)),
        lambda out: F.cross_entropy(out, torch.softmax(torch.randn(6, 3), 1)),
        lambda out: F.binary_cross_entropy_with_logits(out, torch.ones(6, 3)),
        lambda out: out.square().mean(),
    ],
)
def test_what_is_no_class(loss: Callable[[Tensor], Tensor]) -> None:
    assert watched(loss).labels == {}


def test_labels_of_tokens_are_not_those_of_examples() -> None:
    target = torch.randint(3, (30,))
    assert watched(lambda out: F.cross_entropy(out.reshape(-1, 3), target), shape=(6, 5, 4)).labels == {}


def test_bounded_however_long_the_run() -> None:
    history = watched(lambda out: F.cross_entropy(out, LABELS), steps=300)
    (facts,) = history.labels.values()
    assert BATCHES_KEPT // 2 <= len(facts.batches) <= BATCHES_KEPT
    steps = [step for step, _, _ in facts.batches]
    assert steps[:2] == [1, 2]
    # Of those that were heard one after the other, pairs stay.
    assert sum(b - a == 1 for a, b in itertools.pairwise(steps)) >= FULL_IN_A_ROW // 4


def test_evaluation_is_not_training() -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(6, 4)).square().mean().backward()
            optimizer.step()
            with torch.no_grad():
                F.cross_entropy(model(torch.randn(6, 4)), LABELS)
    assert watch.history.labels == {}


def test_a_stream_over_which_the_model_carries_its_state() -> None:
    model = nn.GRU(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        state = torch.zeros(1, 3)
        for _ in range(3):
            optimizer.zero_grad()
            output, state = model(torch.randn(6, 4), state.detach())
            F.cross_entropy(output, LABELS).backward()
            optimizer.step()
    assert watch.history.labels == {}
