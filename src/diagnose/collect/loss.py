"""The training loss: of every step, from the tensor on which `backward` is called."""

from __future__ import annotations

from typing import ClassVar, Final

from torch import Tensor

from diagnose.collect._collector import Collector, Shared
from diagnose.collect.callsite import CallSite
from diagnose.collect.reading import Unseen, to_floats
from diagnose.history import LossFacts

_STEPS_WAITING: Final = 64
_JUMP: Final = 8.0
_MEMORY: Final = 0.9


class LossPlace:
    """A line that calls backward, and the recent level of the loss that it calls it on.

    Attributes:
        site: the line, None if unknown.
        grad_fn: name of the operation that made the first loss.
    """

    __slots__ = ("_mean", "_spread", "grad_fn", "site")

    def __init__(self, site: CallSite | None, grad_fn: str) -> None:
        self.site, self.grad_fn = site, grad_fn
        self._mean: float | None = None
        self._spread = 0.0

    def expects(self, value: float) -> bool:
        """Whether a loss is finite and lies within its own recent spread."""
        if value - value != 0.0:
            return False
        return self._mean is None or not self._spread or abs(value - self._mean) <= _JUMP * self._spread

    def level(self, value: float) -> None:
        """Takes a loss into the level; one that is not finite has none."""
        if value - value == 0.0:
            mean = value if self._mean is None else self._mean
            self._spread = _MEMORY * self._spread + (1 - _MEMORY) * abs(value - mean)
            self._mean = _MEMORY * mean + (1 - _MEMORY) * value


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
        self._now: list[tuple[LossPlace, float | Tensor]] = []
        self._steps: list[tuple[str, int, list[tuple[LossPlace, float | Tensor]]]] = []
        self._streams: dict[tuple[CallSite | None, str], str] = {}

    def seen(self, place: LossPlace, value: float | Tensor) -> None:
        """A backward from a loss of this value: a number, or a 0-dim copy on another device."""
        self._now.append((place, value))

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
        away = [value for *_, seen in steps for _, value in seen if isinstance(value, Tensor)]
        with Unseen():
            read = iter(to_floats(away))
        for name, number, seen in steps:
            by_stream: dict[str, list[float]] = {}
            for place, value in seen:
                stream = self._streams.get((place.site, name)) or self._new_stream(place, name)
                by_stream.setdefault(stream, []).append(next(read) if isinstance(value, Tensor) else value)
            for stream, values in by_stream.items():
                self.history.record("loss", number, {stream: sum(values) / len(values)}, clock=name)

    def _new_stream(self, place: LossPlace, optimizer: str) -> str:
        site, taken = place.site, set(self._streams.values())
        stream = optimizer if optimizer not in taken else f"{optimizer}@{site.line if site else '?'}"
        while stream in taken:
            stream += "'"
        self._streams[site, optimizer] = stream
        self.history.losses[stream] = LossFacts(
            optimizer=optimizer,
            file=site.file if site else None,
            line=site.line if site else None,
            grad_fn=place.grad_fn,
        )
        return stream
