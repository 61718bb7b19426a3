"""What rules make of experiments on a loss that does not fall; the real runs are in tests/collect."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.history import ConstantInputFacts, FitFacts, History, PairingFacts
from diagnose.rules.loss._counterfactuals import (
    can_fit,
    cannot_fit,
    fit_of,
    gain,
    is_no_better,
    knows_its_targets,
    layers_of_linear_model,
    pairing_of,
    reached,
)
from diagnose.testing import Parameter, history_of
from tests.rules.looking import flat, said, the_only


def fit(after: float, **options: Any) -> FitFacts:
    facts = {"model": "Net", "optimizer": "SGD", "step": 200, "examples": 32, "steps": 100, "before": 2.3}
    return FitFacts(**{**facts, "constant": 2.2, "after": after, **options})


def pairing(loss: float, sigmas: float, **options: Any) -> PairingFacts:
    facts = {"optimizer": "SGD", "loss_function": "cross_entropy", "batches": 8, "examples": 64, "shuffled": 2.0}
    return PairingFacts(**{**facts, "loss": loss, "sigmas": sigmas, **options})


def stuck(*, classes: bool = True, fits: FitFacts | None = None, pairings: PairingFacts | None = None) -> History:
    loss = flat(300, math.log(10), 0.01, seed=1)
    name = "NllLossBackward0" if classes else "MseLossBackward0"
    history = history_of(steps=300, loss=loss, grad_fn=name, parameters={"fc.weight": Parameter((10, 64))})
    if fits is not None:
        history.fits["Net"] = fits
    if pairings is not None:
        history.pairings["cross_entropy"] = pairings
    return history


CODE = "loss-not-decreasing"


def test_without_experiments_one_is_recommended() -> None:
    finding = the_only(stuck(), CODE)
    assert "one batch" in finding.remedy
    assert "fit_to" not in finding.evidence


def test_what_cannot_be_fitted_is_no_matter_of_the_learning_rate() -> None:
    finding = the_only(stuck(fits=fit(2.15)), CODE)
    assert "do not fit 32 examples" in finding.message
    assert "learning rates" not in finding.remedy
    assert finding.evidence["fit_to"] == 2.15


def test_what_can_be_fitted_is_a_matter_of_the_learning_rate_or_the_targets() -> None:
    finding = the_only(stuck(fits=fit(0.2)), CODE)
    assert "fit 32 examples: 2.3 became 0.2 in 100 steps" in finding.message
    assert "learning rates 10 times higher and lower" in finding.remedy


def test_permuted_targets_that_fit_as_well_point_at_the_targets_first() -> None:
    finding = the_only(stuck(fits=fit(0.2), pairings=pairing(1.999, 0.3)), CODE)
    assert "on 8 batches, targets that are permuted fit as well" in finding.message
    assert finding.remedy.startswith("Compare some inputs with their targets")
    assert finding.evidence["permuted_sigmas"] == 0.3


def test_something_in_between_says_nothing() -> None:
    assert the_only(stuck(fits=fit(1.5)), CODE).message == the_only(stuck(), CODE).message


def test_a_regression_that_came_with_what_it_knows() -> None:
    assert said(stuck(classes=False), CODE)
    assert not said(stuck(classes=False, pairings=pairing(1.0, 20.0)), CODE)
    assert said(stuck(classes=False, pairings=pairing(1.9, 20.0)), CODE), "a twentieth is not much to know"
    assert said(stuck(classes=False, pairings=pairing(1.0, 20.0, batches=2)), CODE)


def test_a_classifier_that_guesses_knows_nothing_whatever_permutations_say() -> None:
    assert said(stuck(pairings=pairing(1.0, 20.0)), CODE)


@pytest.mark.parametrize(
    "options",
    [{"reason": "too slow"}, {"optimizer": "Adam"}, {"examples": 4}, {"repeated": 3, "after": 1.5}, {"constant": 0.0}],
)
def test_fits_that_do_not_count(options: dict[str, Any]) -> None:
    assert fit_of(stuck(fits=fit(**{"after": 0.1, **options})), "SGD") is None


def test_equal_inputs_do_not_matter_where_they_were_fitted() -> None:
    assert fit_of(stuck(fits=fit(0.1, repeated=3)), "SGD") is not None


def test_of_two_models_nothing_is_said() -> None:
    history = stuck(fits=fit(0.1))
    history.fits["Other"] = fit(2.3)
    assert fit_of(history, "SGD") is None


def test_of_several_losses_the_one_that_knows_most_counts() -> None:
    history = stuck(pairings=pairing(1.999, 0.0))
    history.pairings["other"] = pairing(0.5, 9.0)
    found = pairing_of(history, "SGD")
    assert found is not None
    assert found.loss == 0.5


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0, 10))
def test_it_cannot_both_fit_and_not(before: float, constant: float, after: float) -> None:
    facts = fit(after, before=before, constant=constant)
    assert reached(facts) >= 0
    assert not (can_fit(facts) and cannot_fit(facts))


@given(st.floats(0, 10), st.just(0.0) | st.floats(1e-6, 10), st.floats(-50, 50))
def test_it_cannot_both_know_its_targets_and_do_no_better(loss: float, shuffled: float, sigmas: float) -> None:
    facts = pairing(loss, sigmas, shuffled=shuffled)
    assert math.isfinite(gain(facts))
    assert not (knows_its_targets(facts) and is_no_better(facts))


@pytest.mark.parametrize(
    ("shapes", "layers"),
    [
        (((64, 2), (64, 64), (1, 64)), 3),
        (((32, 6), (2, 32)), 2),
        (((1, 6),), 0),
        (((4, 20), (20, 4)), 0),
        ((), 0),
    ],
)
def test_layers_of_a_linear_model(shapes: tuple[tuple[int, ...], ...], layers: int) -> None:
    parameters = {f"{index}.weight": Parameter(shape) for index, shape in enumerate(shapes)}
    history = history_of(steps=300, loss=flat(300, math.log(10), 0.01, seed=1), parameters=parameters)
    assert layers_of_linear_model(history, "SGD") == 0, "it was not tried"
    history.constant_inputs["Net"] = ConstantInputFacts("Net", "SGD", affine=True)
    assert layers_of_linear_model(history, "SGD") == layers
    if layers:
        finding = the_only(history, CODE)
        assert f"its {layers} layers compute what a single matrix would" in finding.message
        assert finding.cause.startswith("There is no activation")
