"""Rows of training and evaluation by their hashes, and their labels."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import diagnose
from diagnose.collect import rows as rows_module
from diagnose.history import EvaluationRows, History

LABELS = torch.tensor([0, 1, 2, 0])


def watched(
    model: nn.Module,
    train: list[Tensor],
    test: list[Tensor],
    evaluate: Callable[[nn.Module, list[Tensor]], None] | None = None,
    labels: list[Tensor] | None = None,
) -> History:
    """One training step for each batch of `train`, then one evaluation of all batches of `test`."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for index, batch in enumerate(train):
            optimizer.zero_grad()
            output = model(batch).flatten(1)
            loss = output.square().mean() if labels is None else F.cross_entropy(output, labels[index])
            loss.backward()
            optimizer.step()
        if evaluate is not None:
            evaluate(model, test)
        else:
            with torch.no_grad():
                for batch in test:
                    model(batch)
    assert watch.history.count("collector-failed") == 0
    return watch.history


def only(history: History) -> EvaluationRows:
    (facts,) = history.evaluated.values()
    return facts


DATA = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))


def test_rows_in_common() -> None:
    facts = only(watched(nn.Linear(5, 3), [DATA[:4], DATA[4:8]], [DATA[6:9], DATA[9:]]))
    assert (facts.trained, facts.distinct, facts.seen, facts.trained_met) == (8, 6, 2, 2)
    assert facts.batches == [(3, 2), (3, 0)]
    assert (facts.file, facts.phases, facts.equal_pairs, facts.discrete) == (__file__, 1, 0, False)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_layout_of_memory_does_not_matter(dtype: torch.dtype) -> None:
    images = torch.randn(6, 3, 20, 20).to(dtype)
    model = nn.Conv2d(3, 2, 3).to(dtype)
    facts = only(watched(model, [images[:4]], [images.contiguous(memory_format=torch.channels_last)[2:]]))
    assert (facts.distinct, facts.seen) == (4, 2)


def test_rows_of_ids_and_of_numbers() -> None:
    tokens = torch.arange(24).reshape(6, 4) % 9
    facts = only(watched(nn.Embedding(9, 2), [tokens[:4]], [tokens[3:]]))
    assert (facts.distinct, facts.seen, facts.discrete) == (3, 1, True)


def test_equal_rows() -> None:
    facts = only(watched(nn.Linear(5, 3), [DATA[:4]], [DATA[[4, 4, 4, 5]]]))
    assert (facts.rows, facts.distinct, facts.equal_pairs) == (4, 2, 3)


MANY = torch.randn(80, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("rows", "fine"),
    [
        (MANY, True),
        (torch.cat([MANY, MANY[:40]]), True),  # copies are no coincidence of values
        (MANY.double().reshape(80, 5, 1), True),
        (MANY[:31], False),
        (MANY.round(decimals=1), False),
        ((MANY.round() - 0.3) / 1.7, False),
        (torch.cat([MANY[:, :2], MANY[:, 2:].round()], 1), False),
        (MANY.bfloat16(), False),
    ],
)
def test_how_fine_values_are(rows: Tensor, fine: bool) -> None:
    model = nn.Conv1d(5, 3, 1) if rows.dim() == 3 else nn.Linear(5, 3)
    model.to(rows.dtype)
    assert only(watched(model, [rows[:4]], [rows])).fine is fine


def test_passes_over_data_loaders() -> None:
    def one(model: nn.Module, test: list[Tensor]) -> None:
        with torch.no_grad():
            for (batch,) in DataLoader(TensorDataset(torch.cat(test)), batch_size=4):
                model(batch)

    def two(model: nn.Module, test: list[Tensor]) -> None:
        with torch.no_grad():
            for loader in [DataLoader(TensorDataset(part), batch_size=4) for part in test]:
                for (batch,) in loader:
                    model(batch)

    for evaluate, is_one in ((one, True), (two, False), (None, False)):
        history = watched(nn.Linear(5, 3), [DATA[:4]], [DATA[:4], DATA[4:]], evaluate)
        assert only(history).one_loader is is_one
    assert not hasattr(DataLoader.__iter__, "__wrapped__")


def test_rows_that_are_trained_on_later_do_not_count() -> None:
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for step, batch in enumerate((DATA[:4], DATA[4:8])):
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()
            if step == 0:
                with torch.no_grad():
                    model(DATA[4:8])
    assert only(watch.history).seen == 0


def test_a_new_optimizer_begins_anew() -> None:
    model = nn.Linear(5, 3)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for fold in (slice(0, 6), slice(6, 12)):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            rest = DATA[[i for i in range(12) if i not in range(12)[fold]]]
            for _ in range(2):
                optimizer.zero_grad()
                model(rest + 0).square().mean().backward()
                optimizer.step()
            with torch.no_grad():
                model(DATA[fold])
    assert [facts.seen for facts in watch.history.evaluated.values()] == [0, 0]


def test_another_model_does_not_count() -> None:
    model = nn.Linear(5, 3)
    other = copy.deepcopy(model)

    def evaluate(_: nn.Module, test: list[Tensor]) -> None:
        with torch.no_grad():
            other(test[0])

    assert watched(model, [DATA[:4]], [DATA[:4]], evaluate).evaluated == {}


def test_inference_mode_and_places() -> None:
    def evaluate(model: nn.Module, test: list[Tensor]) -> None:
        model.eval()
        with torch.inference_mode():
            model(test[0] + 0)
            model(test[1])

    history = watched(nn.Linear(5, 3), [DATA[:4]], [DATA[:4] - 0, DATA[4:]], evaluate)
    assert [facts.seen for facts in history.evaluated.values()] == [4, 0]


def test_labels_of_rows_that_come_again() -> None:
    batch = [DATA[:4], DATA[[3, 2, 1, 0]], DATA[4:8]]
    (same,) = watched(nn.Linear(5, 3), batch, [], labels=[LABELS, LABELS.flip(0), LABELS]).pairs.values()
    assert (same.again, same.agreed, same.drawn, same.twins) == (4, 4, 12, 0)
    (other,) = watched(nn.Linear(5, 3), batch, [], labels=[LABELS, (LABELS + 1) % 3, LABELS]).pairs.values()
    assert (other.again, other.agreed) == (4, 1)


def test_too_many_rows_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "HASHES_KEPT", 6)
    assert watched(nn.Linear(5, 3), [DATA[:4], DATA[4:8]], [DATA[:4]]).evaluated == {}
    monkeypatch.setattr(rows_module, "ROWS_READ", 3)
    assert watched(nn.Linear(5, 3), [DATA[:4]], [DATA[:4]]).evaluated == {}


def test_round_numbers_have_different_hashes() -> None:
    grid = torch.cartesian_prod(*[torch.arange(0, 256, 16).float()] * 3)
    facts = only(watched(nn.Linear(3, 2), [grid[:4]], [grid]))
    assert facts.distinct == len(grid) == 4096


def test_models_are_not_kept_alive_but_what_was_known_of_them_is() -> None:
    with diagnose.watch(schedule="every", summary=False) as watch:
        model = nn.Linear(5, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(2):
            optimizer.zero_grad()
            model(DATA).square().mean().backward()
            optimizer.step()
        with torch.no_grad():
            model(DATA)
        seen = weakref.ref(model)
        del model, optimizer
        gc.collect()
        assert seen() is None
    assert only(watch.history).seen == 12
