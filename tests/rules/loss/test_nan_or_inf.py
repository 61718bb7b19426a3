"""nan-or-inf: the first thing that was not finite, with its operation and step."""

from __future__ import annotations

import math
from typing import Any

import pytest

from diagnose.findings import Severity
from diagnose.history import History
from diagnose.testing import Parameter, history_of, sampled_steps
from tests.rules.looking import falling, said, the_only

CODE = "nan-or-inf"


def broken_loss(at: int, steps: int = 200) -> list[float]:
    return [value if step < at else math.inf for step, value in enumerate(falling(steps), start=1)]


def run(*events: tuple[int, dict[str, Any]], loss: Any = None, skipped: int = 0, steps: int = 200) -> History:
    noted = [("non-finite", step, detail) for step, detail in events]
    noted += [("step-skipped", 3, {"scale": 2.0**15})] * skipped
    return history_of(
        steps=steps,
        loss=falling(steps) if loss is None else loss,
        parameters={"fc.weight": Parameter()},
        events=sorted(noted, key=lambda event: event[1]),  # type: ignore[arg-type]
    )


def test_the_operation_and_the_step_are_named() -> None:
    detail = {
        "what": "loss",
        "value": "nan",
        "operation": "log",
        "module": "head",
        "file": "train.py",
        "line": 12,
        "input_min": -0.5,
        "loss_before": 0.7,
        "explanation": "the logarithm of a value that is 0 or negative",
    }
    finding = the_only(run((120, detail), loss=broken_loss(120)), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.message == "the loss of head became NaN in log at step 120"
    assert (finding.where.module, finding.where.file, finding.where.line) == ("head", "train.py", 12)
    assert (finding.first_step, finding.last_step) == (120, 200)
    assert finding.evidence["input_min"] == -0.5
    assert finding.cause == "the logarithm of a value that is 0 or negative"
    assert "log" in finding.remedy


def test_what_comes_first_in_a_step_is_the_origin() -> None:
    events = [(50, {"what": what}) for what in ("parameter", "gradient", "loss", "activation", "input")]
    assert the_only(run(*events, loss=broken_loss(50)), CODE).evidence["what"] == "input"


def test_the_earlier_step_is_the_origin() -> None:
    parameter, loss = {"what": "parameter", "parameter": "fc.weight"}, {"what": "loss"}
    finding = the_only(run((49, parameter), (50, loss), loss=broken_loss(50)), CODE)
    assert finding.where.parameter == "fc.weight"
    assert finding.first_step == 49


def test_without_an_event_the_loss_tells() -> None:
    finding = the_only(run(loss=broken_loss(30)), CODE)
    assert finding.first_step == 30
    assert (finding.where.file, finding.where.line) == ("train.py", 10)


def test_without_a_loss_the_parameters_tell() -> None:
    at = sampled_steps(100)
    rms = [0.1 if step < 40 else math.inf for step in at]
    history = history_of(steps=100, parameters={"fc.weight": Parameter(rms=rms)})
    finding = the_only(history, CODE)
    assert finding.where.parameter == "fc.weight"
    assert finding.first_step == next(step for step in at if step >= 40)


def test_a_divergence_is_the_cause() -> None:
    loss = [*(2.3 * 1.5**step for step in range(40)), *[math.inf] * 10]
    finding = the_only(run((41, {"what": "loss"}), loss=loss, steps=50), CODE)
    assert "diverged" in finding.cause
    assert "learning rate" in finding.remedy


def test_the_first_forward_pass() -> None:
    assert "first forward pass" in the_only(run(loss=broken_loss(1)), CODE).cause


def test_bad_rows_in_the_data() -> None:
    finding = the_only(run((7, {"what": "input"}), loss=broken_loss(7)), CODE)
    assert "rows" in finding.remedy


def test_details_that_are_not_plain_data_become_plain() -> None:
    detail = {"what": "loss", "input_max": math.inf, "operation": math.log}
    evidence = the_only(run((5, detail), loss=broken_loss(5)), CODE).evidence
    assert evidence["input_max"] == "inf"
    assert isinstance(evidence["operation"], str)


# -- healthy look-alikes ----------------------------------------------------------------------------


def test_gradscaler_searches_its_scale() -> None:
    assert not said(run((3, {"what": "gradient"}), skipped=2), CODE)
    assert not said(run((4, {"what": "gradient"}), skipped=2), CODE)


def test_gradscaler_skips_for_ever() -> None:
    assert said(run((3, {"what": "gradient"}), skipped=300), CODE)


def test_a_gradient_that_nobody_skipped() -> None:
    assert said(run((90, {"what": "gradient"}), skipped=2), CODE)


@pytest.mark.parametrize("what", ["activation", "input"])
def test_masks_of_minus_infinity(what: str) -> None:
    assert not said(run((1, {"what": what, "value": "inf"})), CODE)
