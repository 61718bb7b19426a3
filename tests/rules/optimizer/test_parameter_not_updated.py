"""parameter-not-updated: no optimizer, no gradient, or no movement."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from diagnose.findings import Severity
from diagnose.history import History
from diagnose.testing import Parameter, history_of
from tests.rules.looking import falling, loud, said, the_only

CODE = "parameter-not-updated"
TRAINED = Parameter()
LEFT_OUT = Parameter(held=False, changed=False, ratio=None)
CUT_OFF = Parameter(gradient=None, changed=False, ratio=None)
STUCK = Parameter(changed=False, ratio=0.0)
ORPHAN = Parameter(gradient=None, changed=False, ratio=0.0, module="", module_type="", order=None, forwards=0)
NEVER_RUN = replace(CUT_OFF, forwards=0, order=None)


def run(steps: int = 200, **parameters: Parameter) -> History:
    named = {name.replace("_", "."): parameter for name, parameter in parameters.items()}
    return history_of(steps=steps, loss=falling(steps), parameters=named)


# -- in no optimizer ------------------------------------------------------------------------------------


def test_a_layer_that_the_optimizer_was_not_given() -> None:
    finding = the_only(run(a_weight=TRAINED, b_weight=LEFT_OUT, b_bias=LEFT_OUT, c_weight=TRAINED), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.where.parameter == "b.bias" or finding.where.parameter == "b.weight"
    assert finding.where.module == "b"
    assert finding.evidence["parameters"] == 2
    assert "no optimizer holds them" in finding.message
    assert "a part of the parameters" in finding.cause


def test_a_head_that_was_replaced_after_the_optimizer_was_built() -> None:
    finding = the_only(run(body_weight=TRAINED, head_weight=LEFT_OUT, old=ORPHAN), CODE)
    assert finding.evidence["orphans_in_optimizers"] == 1
    assert "built before" in finding.cause


def test_an_optimizer_of_a_copy_of_the_model() -> None:
    finding = the_only(run(a_weight=LEFT_OUT, b_weight=LEFT_OUT, x=ORPHAN, y=ORPHAN), CODE)
    assert finding.evidence["parameters"] == 2


def test_only_the_inputs_are_optimised() -> None:
    """An attack, a dream, a style transfer: the model only passes gradients on."""
    delta = replace(ORPHAN, shape=(32, 784), changed=True, gradient=1.0, ratio=0.1)
    assert not said(run(a_weight=LEFT_OUT, b_weight=LEFT_OUT, delta=delta), CODE)


def test_a_decoder_that_was_forgotten() -> None:
    history = run(encoder_weight=TRAINED, decoder_weight=replace(LEFT_OUT, shape=(64, 8)))
    history.run.models = ["encoder", "decoder"]
    assert loud(said(history, CODE))


def test_a_target_network_that_gets_gradients_in_passing() -> None:
    history = run(online_weight=TRAINED, target_weight=LEFT_OUT)
    history.run.models = ["online", "target"]
    assert not said(history, CODE)


def test_a_teacher_with_gradients_left_over_from_its_own_training() -> None:
    teacher = replace(LEFT_OUT, shape=(10, 10), forwards=0)
    assert not said(run(student_weight=TRAINED, teacher_weight=teacher), CODE)


# -- no gradient ------------------------------------------------------------------------------------------


def test_detached_from_the_input_on() -> None:
    finding = the_only(run(a_weight=CUT_OFF, b_weight=CUT_OFF, c_weight=TRAINED), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.where.parameter == "a.weight"
    assert "no gradient reaches them" in finding.message
    assert "detach()" in finding.remedy


def test_an_auxiliary_head_whose_output_is_not_used() -> None:
    finding = the_only(run(a_weight=TRAINED, aux_weight=CUT_OFF, head_weight=TRAINED), CODE)
    assert finding.severity is Severity.INFO


def test_run_under_no_grad_though_the_optimizer_holds_it() -> None:
    finding = the_only(run(a_weight=replace(CUT_OFF, forwards=0), b_weight=TRAINED), CODE)
    assert finding.severity is Severity.WARNING
    assert "no_grad" in finding.cause


def test_a_module_that_never_runs() -> None:
    assert not said(run(unused_weight=NEVER_RUN, a_weight=TRAINED), CODE)


def test_models_are_cut_off_one_by_one() -> None:
    """Each model's layers are counted from its own first one; the other's trained layers prove nothing."""
    history = run(a_x_weight=TRAINED, a_y_weight=TRAINED)
    other = {"b.x.weight": replace(CUT_OFF, order=0), "b.y.weight": replace(TRAINED, order=1)}
    history_of(steps=200, parameters=other, optimizer="other", models=["a", "b"], into=history)
    assert the_only(history, CODE).where.parameter == "b.x.weight"


# -- no movement ------------------------------------------------------------------------------------------


def stuck(lr: Any = 0.01, gradient: Any = 1e-3, steps: int = 200, **more: Any) -> History:
    parameters = {"a.weight": replace(STUCK, gradient=gradient), "b.weight": TRAINED}
    return history_of(steps=steps, loss=falling(steps), lr=lr, parameters=parameters, **more)


def test_a_learning_rate_of_zero() -> None:
    assert "learning rate is 0" in the_only(stuck(lr=0.0), CODE).message


def test_updates_that_are_rounded_away() -> None:
    assert "rounds to nothing" in the_only(stuck(), CODE).cause


def test_a_warm_up_from_zero() -> None:
    assert not said(run(a_weight=TRAINED), CODE)
    assert "rounds" in the_only(stuck(lr=lambda step: 1e-4 * (step - 1)), CODE).cause


def test_updates_that_are_meant_to_be_tiny_are_told_by_another_rule() -> None:
    # rms 0.1: an intended update of 1e-6 of it is lr * gradient = 1e-7.
    assert said(stuck(lr=1.1e-4), CODE)
    assert not said(stuck(lr=0.9e-4), CODE)
    assert said(stuck(lr=0.9e-4, optimizer_type="AdamW"), CODE)


def test_below_dead_units() -> None:
    assert not said(stuck(gradient=0.0), CODE)


def test_everything_is_stuck_after_a_break() -> None:
    assert not said(stuck(gradient=math.inf), CODE)


# -- not yet, or on purpose ---------------------------------------------------------------------------------


@pytest.mark.parametrize("parameter", [LEFT_OUT, CUT_OFF, STUCK])
def test_frozen_on_purpose(parameter: Parameter) -> None:
    assert not said(run(a_weight=replace(parameter, requires_grad=False), b_weight=TRAINED), CODE)


@pytest.mark.parametrize("parameter", [LEFT_OUT, CUT_OFF, STUCK])
def test_not_yet_compared(parameter: Parameter) -> None:
    assert not said(run(a_weight=replace(parameter, changed=None), b_weight=TRAINED), CODE)


@pytest.mark.parametrize("parameter", [LEFT_OUT, CUT_OFF, STUCK])
@pytest.mark.parametrize(("steps", "fires"), [(9, False), (10, True)])
def test_it_takes_ten_steps(parameter: Parameter, steps: int, fires: bool) -> None:
    assert bool(said(run(steps, a_weight=parameter, b_weight=TRAINED), CODE)) is fires


def test_an_optimizer_whose_turn_comes_later() -> None:
    history = run(a_weight=TRAINED)
    waiting = {"b.weight": CUT_OFF}
    history_of(steps=5, parameters=waiting, optimizer="other", into=history)
    assert not said(history, CODE)


def test_a_layer_that_runs_in_few_batches() -> None:
    assert not said(run(a_weight=replace(CUT_OFF, forwards=2), b_weight=TRAINED), CODE)
    assert not said(run(a_weight=TRAINED, b_weight=replace(LEFT_OUT, gradients=2)), CODE)
