"""Experiments: which change moved which error, on real trainings."""

from __future__ import annotations

from typing import Any, TypeAlias

import pytest
import torch
from torch import Tensor, nn

from diagnose.errors import GapError
from diagnose.gap import GapDiagnosis, diagnose_gap
from tests.gap.conftest import Train

Pair: TypeAlias = "tuple[Tensor, Tensor]"
Data: TypeAlias = "tuple[Pair, Pair]"


def probed(train: Train, digits: Data, **fixed: Any) -> GapDiagnosis:
    values = {"lr": 3e-3, "hidden": 64, "dropout": 0.0, "weight_decay": 0.0, "epochs": 6, **fixed}
    return diagnose_gap(
        train_fn=lambda data, **changes: train(data, **{**values, **changes}),
        hyperparameters=values,
        train_data=digits[0],
        test_data=digits[1],
        target_error=0.02,
        probe=True,
        probe_seconds=30,
    )


@pytest.mark.parametrize(
    ("fixed", "code", "name"),
    [
        ({"lr": 3e-5}, "higher-lr", "lr"),
        ({"lr": 0.3}, "lower-lr", "lr"),
        ({"hidden": 2}, "more-capacity", "hidden"),
        ({"dropout": 0.95, "epochs": 12}, "less-dropout", "dropout"),
        ({"weight_decay": 0.3, "epochs": 12}, "less-weight-decay", "weight_decay"),
    ],
)
def test_the_change_that_moved_the_error_is_first(
    fixed: dict[str, float], code: str, name: str, train: Train, digits: Data
) -> None:
    found = probed(train, digits, **fixed)
    first = found.recommendations[0]
    assert (first.code, first.hyperparameter) == (code, name), str(found)
    assert first.current == fixed[name]
    gain = next(probe for probe in found.probes if probe.hyperparameter == name).gain("train")
    assert gain is not None
    assert "experiment" in first.reason
    assert any(name.startswith("probe: ") and one.interval is not None for name, one in found.evidence.items())


def test_half_of_the_data_tells_what_a_doubling_does(train: Train, digits: Data) -> None:
    inputs, targets = digits[0]
    few = (inputs[:100], targets[:100])
    found = probed(train, (few, digits[1]), epochs=30)
    assert found.verdict == "overfitting"
    assert found.recommendations[0].code == "more-data"
    assert "half of the training data" in str(found)


def test_numbers_in_place_of_a_model(digits: Data) -> None:
    def fit(data: Pair, lr: float = 1e-5) -> tuple[float, float]:
        return (0.5, 0.5) if lr < 5e-5 else (0.01, 0.04)

    found = diagnose_gap(train_fn=fit, train_data=digits[0], test_data=digits[1], target_error=0.1, probe=True)
    assert found.recommendations[0].code == "higher-lr"
    assert found.hyperparameters == {"lr": 1e-5}
    assert found.train_error is not None
    assert found.train_error.n == 400
    alone = diagnose_gap(
        train_fn=lambda data, lr=1e-5: fit(data, lr)[1],
        train_data=digits[0],
        test_data=digits[1],
        train_error=0.5,
        target_error=0.1,
        probe=True,
    )
    assert alone.recommendations[0].code == "higher-lr"


def test_what_could_not_be_probed_is_said(digits: Data) -> None:
    calls = []

    def fit(data: Pair, lr: float = 1e-3) -> tuple[float, float]:
        calls.append(lr)
        return 0.5, 0.5

    found = diagnose_gap(
        train_fn=fit,
        hyperparameters={"width": 8},
        train_data=digits[0],
        test_data=digits[1],
        target_error=0.1,
        probe=True,
    )
    assert any("train_fn takes no width" in note for note in found.notes)
    assert {1e-2, 1e-4} <= set(calls)
    found = diagnose_gap(
        train_fn=fit, train_data=digits[0], test_data=digits[1], target_error=0.1, probe=True, probe_seconds=0
    )
    assert any("for want of time" in note for note in found.notes)


def test_a_change_that_crashes_is_no_reason_to_stop(digits: Data) -> None:
    def fit(data: Pair, lr: float = 1e-3) -> tuple[float, float]:
        if lr > 5e-3:
            raise RuntimeError("loss is NaN")
        return (0.5, 0.5) if lr > 5e-4 else (0.2, 0.2)

    found = diagnose_gap(train_fn=fit, train_data=digits[0], test_data=digits[1], target_error=0.1, probe=True)
    assert found.recommendations[0].code == "lower-lr"
    assert any("loss is NaN" in note for note in found.notes)


def test_copies_of_a_model_are_trained_on(train: Train, digits: Data) -> None:
    model = train(digits[0], lr=1e-4, epochs=3)
    before = [p.clone() for p in model.parameters()]
    found = diagnose_gap(
        model=model,
        train_data=digits[0],
        test_data=digits[1],
        loss_fn=nn.functional.cross_entropy,
        hyperparameters={"lr": 1e-4},
        target_error=0.05,
        probe=True,
        probe_seconds=10,
    )
    assert found.recommendations[0].code == "higher-lr"
    assert any("needs train_fn" in note for note in found.notes)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"train_fn": lambda data: None}, "returned a NoneType"),
        ({"train_fn": lambda data: 1 / 0}, "ZeroDivisionError"),
        ({"train_fn": 3}, "train_fn"),
        ({}, "needs train_fn"),
    ],
)
def test_what_cannot_be_trained_is_named(told: dict[str, Any], words: str, digits: Data) -> None:
    with pytest.raises(GapError, match=words):
        diagnose_gap(train_data=digits[0], test_data=digits[1], probe=True, **told)


def test_random_states_are_as_before(digits: Data) -> None:
    def fit(data: Pair, lr: float = 1e-3) -> tuple[float, float]:
        return 0.5, float(torch.rand(()))

    state = torch.get_rng_state()
    diagnose_gap(train_fn=fit, train_data=digits[0], test_data=digits[1], probe=True)
    assert torch.equal(torch.get_rng_state(), state)
