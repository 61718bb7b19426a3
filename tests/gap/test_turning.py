"""What the curves show of a model that learns by heart, and of a learning rate of which nothing is left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diagnose.gap import diagnose_gap

EPOCHS = np.arange(15)
FALLING = (2.1 - 0.07 * EPOCHS).tolist()
SETTLED = (0.6 + 1.7 * np.exp(-EPOCHS)).tolist()
TURNING = (1.8 + 0.02 * np.abs(EPOCHS - 3)).tolist()
WORSE = (0.48 + 0.004 * np.maximum(EPOCHS - 3, 0)).tolist()
BETTER = (0.48 - 0.015 * EPOCHS).tolist()
UNDER: dict[str, Any] = {"train_error": 0.33, "n_train": 800, "n_test": 1_000, "target_error": 0.15}


def told(**more: Any) -> Any:
    curves = {"train_loss": FALLING, "val_loss": TURNING, "val_error": WORSE, **more.pop("curves", {})}
    given = {**UNDER, "hyperparameters": {"units": 64, "lr": 3e-3}, **more, "curves": curves}
    return diagnose_gap(**{name: value for name, value in given.items() if value is not None})


def codes(found: Any) -> list[str]:
    return [one.code for one in found.recommendations]


def test_a_train_error_that_is_lowered_by_heart_alone_speaks_of_labels() -> None:
    found = told(test_error=0.29)
    assert found.verdict == "data-quality", str(found)
    assert codes(found) == ["fix-labels"]
    assert "by-heart" in found.evidence


def test_with_a_gap_it_is_the_gap_that_matters() -> None:
    found = told(test_error=0.55)
    assert found.verdict == "overfitting", str(found)
    assert not {"more-capacity", "higher-lr", "better-optimization"} & set(codes(found))
    assert {"more-data", "more-regularization"} <= set(codes(found))


@pytest.mark.parametrize("curves", [{"val_error": BETTER}, {"val_loss": FALLING}, {"train_loss": SETTLED[::-1]}])
def test_it_takes_all_three_curves(curves: dict[str, Any]) -> None:
    assert "by-heart" not in told(test_error=0.34, curves=curves).evidence


def test_a_loss_alone_may_be_overconfidence() -> None:
    curves = {"train_loss": FALLING, "val_loss": TURNING}
    found = diagnose_gap(**UNDER, test_error=0.34, curves=curves)
    assert "by-heart" not in found.evidence


@pytest.mark.parametrize(
    ("rates", "is_gone"),
    [
        (0.001 * 0.4**EPOCHS, True),
        (0.05 * (1 + np.cos(np.pi * EPOCHS / 14)), False),
        (np.repeat([0.1, 0.01, 0.001], 5), False),
        (np.full(15, 0.001), False),
        (np.zeros(15), False),
    ],
    ids=["exponential", "cosine", "steps", "constant", "zero"],
)
def test_a_loss_that_stands_still_because_the_rate_has_gone(rates: Any, is_gone: bool) -> None:
    found = diagnose_gap(
        **UNDER,
        test_error=0.35,
        curves={"train_loss": SETTLED, "lr": rates.tolist()},
        hyperparameters={"hidden": 64, "learning_rate": float(rates[0]) or 1e-3},
    )
    assert (found.recommendations[0].code == "better-optimization") == is_gone, str(found)
    assert ("steps are tiny" in found.recommendations[0].reason) == is_gone


def test_an_experiment_that_fits_worse_and_generalises_better_wins() -> None:
    def fit(data: Any, eta: float = 0.005) -> tuple[float, float]:
        return {0.05: (0.35, 0.31), 0.005: (0.2, 0.3), 0.0005: (0.3, 0.1)}[round(eta, 6)]

    found = diagnose_gap(
        **{**UNDER, "train_error": 0.2, "target_error": 0.05},
        test_error=0.3,
        train_fn=fit,
        train_data=(np.zeros((800, 1)), np.zeros(800)),
        probe=True,
    )
    assert found.verdict == "overfitting", str(found)
    assert found.recommendations[0].code == "lower-lr"
    assert found.recommendations[0].hyperparameter == "eta"
    assert found.recommendations[0].suggested == pytest.approx(0.0005)


def test_an_experiment_that_did_not_help_takes_back_what_the_curve_says() -> None:
    def fit(data: Any, lr: float = 3e-3) -> tuple[float, float]:
        return (0.33, 0.35) if lr == 3e-3 else (0.6, 0.6)

    given = {**UNDER, "test_error": 0.35, "curves": {"train_loss": FALLING}, "hyperparameters": {"lr": 3e-3}}
    assert "higher-lr" in codes(diagnose_gap(**given))
    probed = diagnose_gap(**given, train_fn=fit, train_data=(np.zeros((800, 1)), np.zeros(800)), probe=True)
    assert not {"higher-lr", "lower-lr"} & set(codes(probed)), str(probed)
