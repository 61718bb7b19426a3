"""Recorded runs: what a watch has seen is what is diagnosed."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diagnose
from diagnose.errors import RunDirectoryError
from diagnose.gap import diagnose_gap
from diagnose.watching import Watch

Pair: TypeAlias = "tuple[Tensor, Tensor]"
Data: TypeAlias = "tuple[Pair, Pair]"


def run(data: Data, folder: Path | None, *, epochs: int = 30, log: bool = False, **settings: float) -> Watch:
    (inputs, targets), (others, answers) = data
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(settings.get("dropout", 0.1)), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.get("lr", 3e-3))
    with diagnose.watch(model, optimizer, run_dir=folder, schedule="every", summary=False, probe_seconds=0) as watch:
        for _ in range(epochs):
            model.train()
            for rows in torch.randperm(len(targets)).split(32):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs[rows]), targets[rows]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                output = model(others)
                loss = F.cross_entropy(output, answers)
                if log:
                    train = (model(inputs).argmax(1) != targets).float().mean()
                    test = (output.argmax(1) != answers).float().mean()
                    watch.log(val_loss=loss, train_error=train, val_error=test)
    return watch


@pytest.fixture(scope="module")
def few(digits: Data) -> Data:
    (inputs, targets), test = digits
    return (inputs[:120], targets[:120]), test


def test_losses_alone_show_a_gap(few: Data, tmp_path: Path) -> None:
    run(few, tmp_path / "run", epochs=60)
    found = diagnose_gap(tmp_path / "run")
    assert found.verdict == "overfitting", str(found)
    assert found.test_error is not None
    assert not found.test_error.is_share
    assert any("Only losses are known" in note for note in found.notes)
    assert {one.hyperparameter for one in found.recommendations} & {"2.p", "0.out_features"}
    assert found.checkpoint is not None


def test_logged_error_rates(few: Data) -> None:
    watch = run(few, None, log=True)
    for source in (watch, watch.history):
        found = diagnose_gap(source, n_train=120, n_test=800, target_error=0.03)
        assert found.verdict == "overfitting", str(found)
        assert found.train_error is not None
        assert found.train_error.is_share
        assert found.train_error.n == 120


def test_a_learning_rate_that_is_too_low(digits: Data) -> None:
    watch = run(digits, None, log=True, lr=1e-6, epochs=8)
    found = diagnose_gap(watch, n_train=400, n_test=800, target_error=0.03)
    assert found.verdict == "optimization-failure", str(found)
    first = found.recommendations[0]
    assert (first.code, first.hyperparameter) == ("higher-lr", "lr")
    assert first.current == pytest.approx(1e-6)


def test_losses_alone_do_not_show_an_underfit(digits: Data) -> None:
    watch = run(digits, None, dropout=0.9, epochs=40)
    found = diagnose_gap(watch)
    assert found.verdict in ("cannot-tell", "optimization-failure"), str(found)
    assert (
        not {"more-data", "more-regularization", "more-capacity"} & {found.recommendations[0].code}
        if (found.recommendations)
        else True
    )


def test_numbers_beside_a_run_win(few: Data) -> None:
    found = diagnose_gap(run(few, None, epochs=5), train_error=0.0, test_error=0.01, n_test=3_000, target_error=0.05)
    assert found.verdict == "target-met"


def test_an_empty_history_and_no_run(tmp_path: Path) -> None:
    assert diagnose_gap(diagnose.History()).verdict == "cannot-tell"
    with pytest.raises(RunDirectoryError):
        diagnose_gap(tmp_path / "nothing")
