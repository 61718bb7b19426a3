"""The training loss: of every step, from the tensor on which `backward` is called."""

from __future__ import annotations

from typing import ClassVar, Final

from torch import Tensor

from diagnose.collect._collector import Collector, Shared
from diagnose.collect.callsite import CallSite
from diagnose.collect.reading import Unseen, to_floats
from diagnose.history import LossFacts

_STEPS_WAITING: Final = 64


class LossCollector(Collector):
    """Records "loss" per stream: one stream for each line that calls backward, and optimizer it feeds.

    The one signal of every step. What it costs is cache misses after the heavy work of a step, so `seen` and
    `stepped` only append, and the rest is done for up to 64 steps together. On the CPU the session reads a loss
    at once; on an accelerator its value stays there until then. Memory: O(streams).
    """

    name: ClassVar[str] = "loss"
    each_step: ClassVar[bool] = True

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._now: list[tuple[CallSite | None, str, float | Tensor]] = []
        self._steps: list[tuple[str, int, list[tuple[CallSite | None, str, float | Tensor]]]] = []
        self._streams: dict[tuple[CallSite | None, str], str] = {}

    def seen(self, site: CallSite | None, grad_fn: str, value: float | Tensor) -> None:
        """A backward from a loss of this value: a number, or a 0-dim copy on another device."""
        self._now.append((site, grad_fn, value))

    def stepped(self, name: str, number: int) -> None:
        """The optimizer `name` has made its step `number` with the losses seen since the last call."""
        if self._now:
            self._steps.append((name, number, self._now))
            self._now = []
            if len(self._steps) >= _STEPS_WAITING:
                self.flush()

    def finish(self) -> None:
        self.flush()

    def flush(self) -> None:
        """Records what has been seen so far."""
        steps, self._steps = self._steps, []
        away = [value for *_, seen in steps for *_, value in seen if isinstance(value, Tensor)]
        with Unseen():
            read = iter(to_floats(away))
        for name, number, seen in steps:
            by_stream: dict[str, list[float]] = {}
            for site, grad_fn, value in seen:
                stream = self._streams.get((site, name)) or self._new_stream(site, name, grad_fn)
                by_stream.setdefault(stream, []).append(next(read) if isinstance(value, Tensor) else value)
            for stream, values in by_stream.items():
                self.history.record("loss", number, {stream: sum(values) / len(values)}, clock=name)

    def _new_stream(self, site: CallSite | None, optimizer: str, grad_fn: str) -> str:
        taken = set(self._streams.values())
        stream = optimizer if optimizer not in taken else f"{optimizer}@{site.line if site else '?'}"
        while stream in taken:
            stream += "'"
        self._streams[site, optimizer] = stream
        self.history.losses[stream] = LossFacts(
            optimizer=optimizer,
            file=site.file if site else None,
            line=site.line if site else None,
            grad_fn=grad_fn,
        )
        return stream
