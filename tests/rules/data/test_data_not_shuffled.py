"""data-not-shuffled: batches that hold one class at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import diagnose
from diagnose.findings import Severity
from diagnose.history import History, LabelFacts
from tests.rules.looking import said, the_only

CODE = "data-not-shuffled"


def history_of_batches(batches: Sequence[Sequence[int]], steps: Sequence[int] | None = None) -> History:
    """A run whose batches had these labels, at consecutive steps if not said otherwise."""
    history = History()
    facts = history.labels["SGD@train.py:7"] = LabelFacts("SGD", "train.py", 7)
    for step, labels in zip(steps or range(1, len(batches) + 1), batches, strict=True):
        classes, counts = np.unique(np.asarray(labels, dtype=np.int64), return_counts=True)
        facts.batches.append((step, classes.tolist(), counts.tolist()))
    return history


def in_order(labels: Sequence[int], size: int = 16) -> list[list[int]]:
    return [list(labels[i : i + size]) for i in range(0, len(labels), size)]


def sorted_labels(classes: int, each: int) -> list[int]:
    return [label for label in range(classes) for _ in range(each)]


def shuffled(labels: Sequence[int], seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).permutation(labels).tolist()


# -- the fault ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "each"), [(2, 400), (3, 50), (6, 200), (10, 60), (10, 37)])
def test_sorted_by_class(classes: int, each: int) -> None:
    finding = the_only(history_of_batches(in_order(sorted_labels(classes, each))), CODE)
    assert finding.severity is Severity.WARNING
    assert (finding.where.file, finding.where.line) == ("train.py", 7)
    assert "one class at a time" in finding.message


def test_whole_batches_are_shuffled() -> None:
    batches = in_order(sorted_labels(4, 320))
    order = np.random.default_rng(0).permutation(len(batches))
    assert said(history_of_batches([batches[i] for i in order]), CODE)


def test_a_shuffle_buffer_that_is_too_small() -> None:
    rng, labels = np.random.default_rng(0), sorted_labels(8, 200)
    order = np.argsort(np.arange(len(labels)) + rng.uniform(0, 50, len(labels)))
    assert said(history_of_batches(in_order([labels[i] for i in order])), CODE)


# -- healthy look-alikes ----------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "each"), [(2, 400), (6, 200), (100, 10)])
def test_shuffled(classes: int, each: int) -> None:
    assert not said(history_of_batches(in_order(shuffled(sorted_labels(classes, each)))), CODE)


def test_few_of_one_class() -> None:
    assert not said(history_of_batches(in_order(shuffled([1] * 20 + [0] * 980))), CODE)


def test_the_whole_data_set_sorted_in_every_batch() -> None:
    assert not said(history_of_batches([sorted_labels(4, 25)] * 50), CODE)


@pytest.mark.parametrize("per_batch", [2, 5])
def test_equally_many_of_some_classes(per_batch: int) -> None:
    rng = np.random.default_rng(0)
    batches = [np.repeat(rng.choice(100, per_batch, replace=False), 16).tolist() for _ in range(60)]
    assert not said(history_of_batches(batches), CODE)


def test_two_new_classes_at_a_time() -> None:
    batches = [b for task in range(5) for b in in_order(shuffled([2 * task, 2 * task + 1] * 100))]
    assert not said(history_of_batches(batches), CODE)


def test_real_and_fake_in_turn() -> None:
    """A discriminator that makes a step for the real examples and one for its own."""
    assert not said(history_of_batches([[step % 2] * 32 for step in range(60)]), CODE)


def test_always_the_same_label() -> None:
    assert not said(history_of_batches([[0] * 32] * 60), CODE)


# -- edges --------------------------------------------------------------------------------------------


def test_too_few_batches() -> None:
    batches = in_order(sorted_labels(4, 32))
    assert len(batches) == 8
    assert said(history_of_batches(batches), CODE)
    assert not said(history_of_batches(batches[1:]), CODE)


def test_batches_of_single_examples_say_nothing() -> None:
    assert not said(history_of_batches([[label] for label in sorted_labels(3, 20)]), CODE)
    assert not said(history_of_batches([[] for _ in range(20)]), CODE)


@given(
    st.lists(st.lists(st.integers(0, 5), max_size=20), max_size=30),
    st.permutations(range(6)),
    st.randoms(use_true_random=False),
)
def test_names_of_classes_and_order_within_batches_do_not_matter(
    batches: list[list[int]], names: list[int], random: object
) -> None:
    history = history_of_batches(batches)
    before = json.dumps(history.to_arrays()[0])
    renamed = history_of_batches([[names[label] for label in reversed(batch)] for batch in batches])
    assert [f.evidence["batches"] for f in said(history, CODE)] == [f.evidence["batches"] for f in said(renamed, CODE)]
    assert json.dumps(history.to_arrays()[0]) == before
    restored = History.from_arrays(json.loads(before), history.to_arrays()[1])
    assert said(restored, CODE) == said(history, CODE)


# -- real runs ------------------------------------------------------------------------------------------


def trained(order: Tensor) -> History:
    torch.manual_seed(0)
    labels = torch.arange(4).repeat_interleave(60)
    inputs = torch.randn(4, 8)[labels] + torch.randn(240, 8)
    model = nn.Linear(8, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for batch in order.split(16):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    return watch.history


def test_a_real_run_and_its_twin() -> None:
    finding = the_only(trained(torch.arange(240)), CODE)
    assert finding.where.line is not None
    assert not said(trained(torch.randperm(240, generator=torch.Generator().manual_seed(0))), CODE)
