"""dead-units: more units of a layer are never active than chance explains."""

from __future__ import annotations

import math
from typing import Any

import pytest

from diagnose.findings import Severity
from diagnose.history import History
from diagnose.stats.chance import dead_by_symmetry
from diagnose.testing import Layer, history_of, sampled_steps
from tests.rules.looking import falling, flat, noisy, said, the_only

CODE = "dead-units"
AT = sampled_steps(200)


def run(dead: Any, loss: Any = None, **layer: Any) -> History:
    return history_of(steps=200, loss=flat(200) if loss is None else loss, layers={"body.1": Layer(dead=dead, **layer)})


def test_a_layer_that_was_born_dead() -> None:
    finding = the_only(run(1.0), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.where.module == "body.1"
    assert finding.evidence["dead_share"] == 1.0
    assert (finding.first_step, finding.last_step) == (1, AT[-1])
    assert "when the watch began" in finding.cause


def test_a_layer_that_died() -> None:
    finding = the_only(run([0.05 if step < 30 else 0.97 for step in AT]), CODE)
    assert finding.first_step == next(step for step in AT if step >= 30)
    assert "died" in finding.cause
    assert "learning rate" in finding.remedy


@pytest.mark.parametrize(("share", "severity"), [(0.89, Severity.WARNING), (0.9, Severity.ERROR)])
def test_it_is_an_error_from_ninety_per_cent(share: float, severity: Severity) -> None:
    assert the_only(run(share), CODE).severity is severity


@pytest.mark.parametrize("units", [16, 64, 1000])
def test_the_limit_is_what_chance_explains(units: int) -> None:
    limit = dead_by_symmetry(units)
    assert said(run(limit, units=units), CODE)
    assert not said(run(limit - 1e-6, units=units), CODE)


def test_the_share_is_the_smallest_that_lasted() -> None:
    assert the_only(run([0.8, 0.99] * (len(AT) // 2) + [0.85] * (len(AT) % 2)), CODE).evidence["dead_share"] == 0.8


def test_a_few_that_died_in_a_network_that_learned_all_the_same() -> None:
    dying = [0.4 if step < 30 else 0.75 for step in AT]
    assert the_only(run(dying), CODE).severity is Severity.WARNING
    assert the_only(run(dying, loss=falling(200)), CODE).severity is Severity.INFO
    # Born so, it is the initialisation that is wrong.
    assert the_only(run(0.75, loss=falling(200)), CODE).severity is Severity.WARNING


def test_an_output_that_is_stuck_at_zero() -> None:
    assert said(run(1.0, role="output", units=3), CODE)
    assert not said(run(0.9, role="output", units=10), CODE)


# -- healthy look-alikes ----------------------------------------------------------------------------


@pytest.mark.parametrize("dead", [0.0, 0.3, 0.5, 0.6])
def test_half_of_a_deep_default_network(dead: float) -> None:
    assert not said(run(dead), CODE)


def test_a_bad_moment() -> None:
    assert not said(run([1.0 if 20 < step < 100 else 0.1 for step in AT]), CODE)
    assert not said(run([0.1] * (len(AT) - 1) + [1.0]), CODE)


def test_too_few_examples() -> None:
    assert not said(run(1.0, examples=63), CODE)
    assert said(run(1.0, examples=64), CODE)


def test_a_gate() -> None:
    assert not said(run(1.0, role="gate"), CODE)


def test_what_follows_a_break() -> None:
    loss = [2.3 if step < 100 else math.inf for step in range(1, 201)]
    assert not said(run([0.0 if step < 100 else 1.0 for step in AT], loss=loss), CODE)


def test_temporal_differences_have_no_level() -> None:
    dying = [0.4 if step < 30 else 0.75 for step in AT]
    history = run(dying, loss=noisy(0.001 * flat(200), 30.0))
    assert [finding.severity for finding in said(history, CODE)] == [Severity.INFO]
