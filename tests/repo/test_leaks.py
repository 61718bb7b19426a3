"""The check that conftest.py makes around every test finds each kind of trace, and removes it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.overrides import TorchFunctionMode

from tests.support import leaks


class _Mode(TorchFunctionMode):
    pass


class _ImportHook:
    def find_spec(self, *_: object) -> None:
        return None


_ImportHook.__module__ = "diagnose.launch"


def _patch_backward() -> None:
    torch.autograd.graph._engine_run_backward = lambda *args, **kwargs: None


def _patch_zero_grad() -> None:
    torch.optim.Optimizer.zero_grad = lambda self, set_to_none=True: None


@pytest.mark.parametrize(
    ("leave", "told"),
    [
        (lambda: register_module_forward_hook(lambda *_: None), "_global_forward_hooks"),
        (
            lambda: register_optimizer_step_post_hook(lambda *_: None),
            "_global_optimizer_post_hooks",
        ),
        (_patch_backward, "torch.autograd.graph._engine_run_backward is now"),
        (_patch_zero_grad, "Optimizer.zero_grad is now"),
        (lambda: _Mode().__enter__(), "+1 function modes"),
        (lambda: sys.meta_path.insert(0, _ImportHook()), "callback: "),
        (lambda: signal.signal(signal.SIGTERM, lambda *_: None), "SIGTERM"),
    ],
)
def test_a_trace_is_told_and_removed(leave: Callable[[], object], told: str) -> None:
    before = leaks.take()
    leave()
    left = leaks.left_behind(before)
    leaks.put_back(before)

    assert len(left) == 1
    assert told in left[0]
    assert leaks.left_behind(before) == []


def test_ordinary_work_leaves_nothing() -> None:
    before = leaks.take()
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.compile(model, backend="eager")(torch.ones(3, 2)).sum().backward()
    optimizer.step()

    assert leaks.left_behind(before) == []
