"""Rows that are kept to judge their labels: which losses, how many, what is left of them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diagnose
from diagnose.collect.dissent import ROWS_KEPT, DissentCollector
from diagnose.history import DissentFacts, History

CENTRES = torch.tensor([[8.0, 0, 0, 0], [0, 8, 0, 0], [0, 0, 8, 0]])
Loss = Callable[[Tensor, Tensor], Tensor]


def watched(loss: Loss, *, outputs: int = 3, size: int = 40, steps: int = 60, classes: int = 3) -> History:
    torch.manual_seed(0)
    model = nn.Linear(4, outputs)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for _ in range(steps):
            labels = torch.randint(0, classes, (size,))
            wrong = torch.rand(size) < 0.2
            rows = CENTRES[labels] + torch.randn(size, 4)
            optimizer.zero_grad()
            loss(model(rows), torch.where(wrong, (labels + 1) % classes, labels)).backward()
            optimizer.step()
    assert not watch.history.count("collector-failed"), list(watch.history.events("collector-failed"))
    return watch.history


def one_hot(labels: Tensor) -> Tensor:
    return F.one_hot(labels, 3).float()


@pytest.mark.parametrize(
    "loss",
    [
        lambda out, labels: F.cross_entropy(out, labels),
        lambda out, labels: F.nll_loss(out.log_softmax(1), labels),
        lambda out, labels: F.cross_entropy(out, one_hot(labels)),
        lambda out, labels: F.mse_loss(out, one_hot(labels)),
        lambda out, labels: F.binary_cross_entropy(out.sigmoid(), one_hot(labels)),
        lambda out, labels: F.multi_margin_loss(out, labels),
    ],
)
def test_a_fifth_of_the_labels_is_found_under_any_loss(loss: Loss) -> None:
    (facts,) = watched(loss).dissents.values()
    assert facts.file == __file__
    assert facts.classes == 3
    assert facts.agreement > 0.8
    assert facts.dissent / facts.rows == pytest.approx(0.2, abs=0.06)
    assert sum(region[1] for region in facts.regions) == facts.rows
    assert all(other == (region + 1) % 3 for region, _, _, other, _ in facts.regions)


@pytest.mark.parametrize(
    "loss",
    [
        lambda out, labels: F.binary_cross_entropy_with_logits(out[:, 0], labels.float()),
        lambda out, labels: F.binary_cross_entropy(out.sigmoid(), labels.float()[:, None]),
    ],
)
def test_one_output_for_two_classes(loss: Loss) -> None:
    (facts,) = watched(loss, outputs=1, classes=2).dissents.values()
    assert facts.agreement > 0.8
    assert facts.dissent / facts.rows == pytest.approx(0.2, abs=0.06)


def test_mixtures_and_targets_that_are_no_classes_are_left_alone() -> None:
    def mixed(out: Tensor, labels: Tensor) -> Tensor:
        return 0.7 * F.cross_entropy(out, labels) + 0.3 * F.cross_entropy(out, labels.flip(0))

    criterion = nn.CrossEntropyLoss()

    def mixed_by_a_module(out: Tensor, labels: Tensor) -> Tensor:
        return 0.7 * criterion(out, labels) + 0.3 * criterion(out, labels.flip(0))

    assert watched(mixed, steps=20).dissents == {}
    assert watched(mixed_by_a_module, steps=20).dissents == {}
    assert watched(lambda out, labels: F.cross_entropy(out, one_hot(labels) * 0.8 + 0.1), steps=20).dissents == {}
    assert watched(lambda out, labels: F.mse_loss(out, torch.randn_like(out)), steps=20).dissents == {}


def test_the_same_labels_for_two_heads_are_no_mixture() -> None:
    def two_heads(out: Tensor, labels: Tensor) -> Tensor:
        first = F.cross_entropy(out, labels)
        return first + 0.1 * F.multi_margin_loss(out, labels)

    assert len(watched(two_heads).dissents) == 2


def test_memory_is_bounded_and_large_batches_are_walked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0
    keep = DissentCollector._keep

    def counted(self: DissentCollector, kept: list, *rest: object) -> None:  # type: ignore[type-arg]
        nonlocal most
        keep(self, kept, *rest)  # type: ignore[arg-type]
        most = max(most, sum(len(rows.labels) for rows in kept))

    monkeypatch.setattr(DissentCollector, "_keep", counted)
    (facts,) = watched(F.cross_entropy, size=700).dissents.values()
    assert ROWS_KEPT / 2 < most <= ROWS_KEPT
    assert facts.rows > 150


def test_nothing_of_the_users_is_kept_alive() -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(model, optimizer, schedule="every", summary=False):
        rows = torch.randn(8, 4)
        output = model(rows)
        F.cross_entropy(output, torch.zeros(8, dtype=torch.int64)).backward()
        optimizer.step()
        seen = [weakref.ref(rows), weakref.ref(output)]
        del rows, output
        gc.collect()
        assert [ref() for ref in seen] == [None, None]


def test_facts_survive_the_way_to_arrays_and_back() -> None:
    history = History()
    history.dissents["loss"] = DissentFacts("SGD", "train.py", 3, rows=9, regions=[(0, 9, 1, 2, 1)])
    assert History.from_arrays(*history.to_arrays()).dissents == history.dissents
