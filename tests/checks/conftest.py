"""What every check promises: the caller's model, gradients, buffers, modes and random states are as before."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from diagnose.checks import CheckResult


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def nothing_changes() -> Callable[..., CheckResult]:
    """Runs a check on a model that has gradients, and compares everything before and after."""

    def run(check: Callable[..., CheckResult], model: nn.Module, *arguments: Any, **options: Any) -> CheckResult:
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
        before = {name: value.clone() for name, value in model.state_dict().items()}
        modes = [module.training for module in model.modules()]
        hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
        states = torch.get_rng_state(), random.getstate()
        result = check(model, *arguments, **options)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert [module.training for module in model.modules()] == modes
        assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()] == hooks
        assert all(p.grad is None or bool((p.grad == 1).all()) for p in model.parameters())
        assert torch.equal(torch.get_rng_state(), states[0])
        assert random.getstate() == states[1]
        return result

    return run
