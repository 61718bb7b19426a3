"""Losses of evaluation phases: what loss functions return while gradients are off."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from diagnose.collect._collector import Collector, Shared
from diagnose.collect.reading import Unseen, readable, to_floats


class EvaluationCollector(Collector):
    """Records "eval_loss": the mean per example over one phase, at the step after which it was measured."""

    name: ClassVar[str] = "evaluation"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._sums: list[Tensor] = []
        self._examples = 0

    def evaluation_loss(self, value: Tensor, *, summed: bool, examples: int) -> None:
        if not readable(value) or examples < 1:
            return
        with Unseen():
            total = value.detach().to(torch.float64 if value.device.type == "cpu" else torch.float32, copy=True)
            self._sums.append(total if summed else total * examples)
        self._examples += examples
        if len(self._sums) >= 64:  # bounded however long the evaluation is
            with Unseen():
                self._sums = [torch.stack(self._sums).sum()]

    def evaluation_ends(self) -> None:
        self._close()

    def finish(self) -> None:
        self._close()

    def _close(self) -> None:
        if not self._sums:
            return
        step = max(self.shared.step_of.values(), default=0)
        with Unseen():
            mean = sum(to_floats(self._sums)) / self._examples
        self._sums, self._examples = [], 0
        self.history.record("eval_loss", step, {"eval": mean})
