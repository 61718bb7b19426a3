"""saturated-units: most units of a layer sit at the flat ends of their activation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from diagnose.findings import Severity
from diagnose.history import History
from diagnose.testing import Layer, history_of, sampled_steps
from tests.rules.looking import falling, flat, said, the_only

CODE = "saturated-units"
AT = sampled_steps(200)


def run(saturated: Any, loss: Any = None, **layer: Any) -> History:
    layer.setdefault("kind", "tanh")
    return history_of(
        steps=200, loss=flat(200) if loss is None else loss, layers={"1": Layer(saturated=saturated, **layer)}
    )


def test_inputs_that_are_not_scaled() -> None:
    """The last layer learns on top of random bits; the loss falls."""
    finding = the_only(run(0.97, loss=falling(200)), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.evidence["saturated_share"] == 0.97
    assert finding.first_step == 1
    assert "Scale the inputs" in finding.remedy


@pytest.mark.parametrize(
    ("share", "severity"), [(0.49, None), (0.5, Severity.WARNING), (0.89, Severity.WARNING), (0.9, Severity.ERROR)]
)
def test_the_limits(share: float, severity: Severity | None) -> None:
    assert [finding.severity for finding in said(run(share), CODE)] == [severity] * (severity is not None)


def test_large_updates_drove_it_there() -> None:
    finding = the_only(run([0.0 if step < 5 else 0.99 for step in AT]), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.first_step == 5
    assert "learning rate" in finding.remedy


def test_a_loss_that_falls_back_after_the_damage_is_no_learning() -> None:
    loss = np.concatenate([flat(4), 40 * np.exp(-0.01 * np.arange(196)) + 10])
    assert the_only(run([0.0 if step < 5 else 0.99 for step in AT], loss=loss), CODE).severity is Severity.ERROR


# -- healthy look-alikes ----------------------------------------------------------------------------


def test_confident_units_of_a_trained_network() -> None:
    confident = [0.0 if step < 50 else 0.7 for step in AT]
    assert the_only(run(confident, loss=falling(200)), CODE).severity is Severity.INFO


@pytest.mark.parametrize("role", ["gate", "output", "attention"])
def test_what_is_meant_to_close(role: str) -> None:
    assert not said(run(1.0, role=role), CODE)


def test_a_single_unit() -> None:
    assert not said(run(1.0, units=1), CODE)


def test_too_few_examples() -> None:
    assert not said(run(1.0, examples=63), CODE)


def test_a_bad_moment() -> None:
    assert not said(run([1.0 if 10 < step < 50 else 0.1 for step in AT]), CODE)


def test_what_follows_a_break() -> None:
    loss = [2.3 if step < 100 else math.inf for step in range(1, 201)]
    assert not said(run([0.0 if step < 100 else 1.0 for step in AT], loss=loss), CODE)
