"""The training loss: of every step, from the tensor on which `backward` is called."""

from __future__ import annotations

import math
from typing import ClassVar, Final

import torch
from torch import Tensor

from diagnose.collect._collector import Collector, Loss, Shared, Step
from diagnose.collect.callsite import CallSite
from diagnose.collect.reading import Unseen, to_floats
from diagnose.history import LossFacts

_PENDING_MAX: Final = 64
_JUMP: Final = 8.0
_MEMORY: Final = 0.9


class LossCollector(Collector):
    """Records "loss" per stream: one stream for each line that calls backward, and optimizer it feeds.

    On the CPU a loss is read at once. On an accelerator its value stays there, and up to 64 of them are read
    together, so that no step waits for the device. Memory: O(streams).
    """

    name: ClassVar[str] = "loss"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._now: list[Loss] = []
        self._pending: list[tuple[str, str, int, Tensor]] = []
        self._streams: dict[tuple[CallSite | None, str], str] = {}
        self._level: dict[str, tuple[float, float]] = {}

    def backward_begins(self, loss: Loss | None) -> None:
        if loss is not None and (loss.value is not None or loss.unscaled is not None):
            self._now.append(loss)

    def step_ends(self, step: Step) -> None:
        for site in dict.fromkeys(loss.site for loss in self._now):
            losses = [loss for loss in self._now if loss.site == site]
            stream = self._streams.get((site, step.name)) or self._new_stream(losses[0], step.name)
            values = [loss.value for loss in losses if loss.value is not None]
            if values:
                self._record(stream, step.name, step.number, sum(values) / len(values))
                continue
            with Unseen():
                mean = torch.stack([loss.unscaled for loss in losses if loss.unscaled is not None]).mean()
            self._pending.append((stream, step.name, step.number, mean))
        self._now.clear()
        if self._pending and (step.sampled or len(self._pending) >= _PENDING_MAX):
            self._flush()

    def finish(self) -> None:
        self._flush()

    def _flush(self) -> None:
        with Unseen():
            values = to_floats([mean for *_, mean in self._pending])
        for (stream, clock, number, _), value in zip(self._pending, values, strict=True):
            self._record(stream, clock, number, value)
        self._pending.clear()

    def _record(self, stream: str, clock: str, number: int, value: float) -> None:
        self.history.record("loss", number, {stream: value}, clock=clock)
        if not math.isfinite(value):
            return
        # A jump is far outside of the loss's own recent spread, whatever its scale.
        mean, spread = self._level.get(stream, (value, 0.0))
        if spread and abs(value - mean) > _JUMP * spread:
            self.shared.alarm()
        self._level[stream] = (
            _MEMORY * mean + (1 - _MEMORY) * value,
            _MEMORY * spread + (1 - _MEMORY) * abs(value - mean),
        )

    def _new_stream(self, loss: Loss, optimizer: str) -> str:
        taken = set(self._streams.values())
        stream = optimizer if optimizer not in taken else f"{optimizer}@{loss.site.line if loss.site else '?'}"
        while stream in taken:
            stream += "'"
        self._streams[loss.site, optimizer] = stream
        self.history.losses[stream] = LossFacts(
            optimizer=optimizer,
            file=loss.site.file if loss.site else None,
            line=loss.site.line if loss.site else None,
            grad_fn=loss.tensor.grad_fn.name() if loss.tensor.grad_fn is not None else "",
        )
        return stream
