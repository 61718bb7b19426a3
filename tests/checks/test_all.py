"""run_all: every check once, on one model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from diagnose import checks
from diagnose.checks import Status, run_all
from diagnose.checks._all import ALL
from diagnose.errors import CheckError
from tests.support import faults
from tests.support.models import Case, conv_with_batch_norm, made, mlp, transformer_encoder

CHEAP = ("loss-at-init", "gradient-flow")


@pytest.mark.parametrize("make", [mlp, conv_with_batch_norm, transformer_encoder])
def test_all_of_them_on_healthy_models(make: Callable[[], Case]) -> None:
    case = made(make)
    results = run_all(case.model, case.inputs, case.targets, loss_fn=case.loss_fn)
    assert [result.name for result in results] == [check.name for check in ALL]
    assert not [str(result) for result in results if result.status is Status.FAILED]


def test_every_check_is_exported_under_its_name_and_answers_a_question() -> None:
    for check in ALL:
        assert getattr(checks, check.function.__name__) is check.function
        assert check.question.endswith("?")


def test_chosen_ones_with_options_in_the_order_of_the_list() -> None:
    case = made(mlp)
    told: list[tuple[str, int, int]] = []
    results = run_all(
        case.model,
        case.inputs,
        case.targets,
        loss_fn=case.loss_fn,
        select=["gradient_flow", "loss-at-init", "fit-tiny"],
        ignore=["fit-tiny"],
        options={"loss-at-init": {"limit": 0.1}},
        told=lambda *progress: told.append(progress),
    )
    assert [result.name for result in results] == list(CHEAP)
    assert [result.ok for result in results] == [False, True]
    assert told == [("loss-at-init", 0, 2), ("gradient-flow", 1, 2), ("", 2, 2)]


def test_without_a_loss_some_apply() -> None:
    results = run_all(nn.Linear(3, 2), torch.randn(4, 3), select=[*CHEAP, "determinism", "input-sensitivity"])
    assert {result.name: result.status for result in results} == {
        "loss-at-init": Status.NOT_APPLICABLE,
        "input-sensitivity": Status.PASSED,
        "gradient-flow": Status.NOT_APPLICABLE,
        "determinism": Status.PASSED,
    }
    assert "give a loss_fn" in str(results[0].reason)


def test_what_the_user_has_to_mend_first_is_raised() -> None:
    with pytest.raises(CheckError, match="Linear raised RuntimeError"):
        run_all(nn.Linear(3, 2), torch.randn(4, 5))
    with pytest.raises(CheckError, match="The loss function raised"):
        run_all(nn.Linear(3, 2), torch.randn(4, 3), torch.tensor([0, 1]), loss_fn=F.cross_entropy)
    with pytest.raises(ValueError, match="there is no check 'fit'"):
        run_all(nn.Linear(3, 2), torch.randn(4, 3), select=["fit"])
    with pytest.raises(ValueError, match="there is no check 'fit'"):
        run_all(nn.Linear(3, 2), torch.randn(4, 3), options={"fit": {}})


@pytest.mark.parametrize(
    ("make", "failing"),
    [
        (faults.detached_first, "gradient-flow"),
        (faults.huge_head, "loss-at-init"),
        (faults.reversed_gradient, "descent"),
        (faults.own_generator, "determinism"),
        (faults.half_of_the_features, "input-sensitivity"),
        (faults.double_softmax, "fit-tiny"),
    ],
)
def test_each_fault_fails_its_check(make: Callable[[], Case], failing: str) -> None:
    case = made(make)
    (result,) = run_all(case.model, case.inputs, case.targets, loss_fn=case.loss_fn, select=[failing])
    assert result.status is Status.FAILED
