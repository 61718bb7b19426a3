"""A small sample of torch's own operator database; benchmarks/gradcheck.py takes all of it."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from diagnose import check_gradients
from tests.gradcheck.functions import changed, planted

NAMES = ("acos", "addmm", "cumsum", "diagonal", "linalg.inv", "logsumexp", "nn.functional.conv1d", "prod", "var")


@pytest.fixture(scope="module")
def operators() -> dict[str, Any]:
    # What the database's own imports need, and torch itself does not.
    pytest.importorskip("expecttest")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return {op.name: op for op in op_db if not op.variant_test_name}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_right_and_with_a_flipped_sign(name: str, operators: dict[str, Any]) -> None:
    op = operators[name]
    sample = next(iter(op.sample_inputs("cpu", torch.float64, requires_grad=True)))

    def function(x: Tensor) -> Any:
        return op.gradcheck_wrapper(op.get_op(), x, *sample.args, **sample.kwargs)

    x = sample.input.detach().clone()
    assert check_gradients(function, [x]).ok
    assert not check_gradients(planted(function, changed(torch.neg)), [x]).ok
