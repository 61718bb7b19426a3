"""frozen-in-train: steps in evaluation mode, by mistake or on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import diagnose
from diagnose.findings import Severity
from diagnose.history import History, ModeFacts, OptimizerFacts
from tests.rules.looking import loud, said, the_only

CODE = "frozen-in-train"


def trained(
    use: Callable[[nn.Module, int], Any], *, p: float = 0.3, parameters: Any = None, norm: bool = True
) -> History:
    """A real run: 30 steps, `use` being called with the model before each."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8) if norm else nn.Identity(), nn.ReLU(), nn.Dropout(p), nn.Linear(8, 2)
    )
    optimizer = torch.optim.SGD(model.parameters() if parameters is None else parameters(model), lr=0.05)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for step in range(30):
            use(model, step)
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(16, 4)), torch.randint(2, (16,))).backward()
            optimizer.step()
    return watch.history


def written(**facts: Any) -> History:
    history = History()
    usual = {
        "kind": "dropout",
        "type": "Dropout",
        "module": "drop",
        "model": "model",
        "optimizer": "SGD",
        "p": 0.3,
        "trained": True,
        "share": 1.0,
        "on": 10,
        "off": 20,
        "first_on": 1,
        "last_on": 10,
        "first_off": 11,
        "last_off": 30,
    }
    history.modes["drop (SGD)"] = ModeFacts(**{**usual, **facts})
    history.optimizers["SGD"] = OptimizerFacts("SGD", steps=30, file="train.py", line=12)
    return history


# -- real runs ----------------------------------------------------------------------------------------


def evaluate(model: nn.Module) -> None:
    model.eval()
    with torch.no_grad():
        model(torch.randn(8, 4))


def test_left_in_evaluation_mode() -> None:
    findings = said(trained(lambda model, step: evaluate(model) if step == 10 else None), CODE)
    assert [finding.where.module for finding in findings] == ["1", "3"]
    assert {finding.severity for finding in findings} == {Severity.WARNING}
    assert findings[0].first_step == 11
    assert findings[0].where.file == __file__


def test_put_back_into_training_mode() -> None:
    def use(model: nn.Module, step: int) -> None:
        if step == 10:
            evaluate(model)
            model.train()

    assert not said(trained(use), CODE)


def test_training_mode_once_an_epoch_evaluation_in_the_middle_of_it() -> None:
    def use(model: nn.Module, step: int) -> None:
        if step % 10 == 0:
            model.train()
        if step % 10 == 5:
            evaluate(model)

    assert said(trained(use), CODE)[0].evidence["steps_in_evaluation_mode"] == 15


def test_never_in_training_mode() -> None:
    assert the_only(trained(lambda model, step: model.eval(), p=0.0), CODE).evidence["statistics_are_new"] is True
    assert the_only(trained(lambda model, step: model.eval(), norm=False), CODE).where.module == "3"


def test_nothing_with_two_modes() -> None:
    assert not said(trained(lambda model, step: model.eval(), p=0.0, norm=False), CODE)


def test_a_new_head_on_a_frozen_body() -> None:
    def head(model: nn.Module) -> Any:
        model[0].requires_grad_(False)
        model[1].requires_grad_(False)
        return model[4].parameters()

    assert not said(trained(lambda model, step: model.eval(), parameters=head), CODE)


def test_normalisation_frozen_on_purpose() -> None:
    assert not said(trained(lambda model, step: model.train()[1].eval()), CODE)


def test_statistics_of_an_earlier_training() -> None:
    def use(model: nn.Module, step: int) -> None:
        if step == 0:
            model(torch.randn(16, 4))
        model.eval()

    assert {finding.severity for finding in said(trained(use), CODE)} == {Severity.INFO}


# -- hand-made histories ------------------------------------------------------------------------------


def test_the_message_names_steps_and_place() -> None:
    finding = the_only(written(), CODE)
    assert "20 of the 30" in finding.message
    assert (finding.first_step, finding.last_step) == (11, 30)
    assert (finding.where.module, finding.where.file, finding.where.line) == ("drop", "train.py", 12)


@pytest.mark.parametrize(("off", "fires"), [(2, False), (3, True)])
def test_three_steps_are_enough(off: int, fires: bool) -> None:
    assert bool(said(written(off=off, on=5, first_off=6, last_on=5), CODE)) is fires


@pytest.mark.parametrize(("off", "fires"), [(9, False), (10, True)])
def test_a_tenth_of_the_steps(off: int, fires: bool) -> None:
    assert bool(said(written(off=off, on=90, last_on=100, first_off=11), CODE)) is fires


@pytest.mark.parametrize(("share", "fires"), [(0.49, False), (0.5, True)])
def test_half_of_the_model_is_trained(share: float, fires: bool) -> None:
    assert bool(said(written(share=share), CODE)) is fires


@pytest.mark.parametrize(("model_on", "fires"), [(10, True), (11, False)])
def test_the_model_itself_decides(model_on: int, fires: bool) -> None:
    assert bool(said(written(model_on=model_on), CODE)) is fires


def test_what_is_not_trained() -> None:
    assert not said(written(trained=False), CODE)


def test_another_optimizer_began_in_evaluation_mode() -> None:
    history = written(on=0, first_on=0, last_on=0, first_off=1, kind="normalization", fresh=False, p=0.0)
    assert the_only(history, CODE).severity is Severity.INFO


@given(st.builds(ModeFacts, kind=st.sampled_from(["dropout", "normalization"]), type=st.just("T")), st.booleans())
def test_steps_in_training_mode_alone_say_nothing(facts: ModeFacts, many: bool) -> None:
    facts.off, facts.on = 0, 1000 if many else 1
    history = History()
    history.modes["x (SGD)"] = facts
    assert not loud(said(history, CODE))
