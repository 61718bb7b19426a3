"""The scale of what trained layers get as data, and the spread of regression targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from diagnose.collect._collector import Collector, Shared, Step
from diagnose.collect.callsite import CallSite, call_site
from diagnose.collect.forward import LayerCall, LossCall
from diagnose.collect.reading import Unseen, readable, sample_rows, to_host
from diagnose.history import Floats, InputFacts, TargetFacts

LAYERS_KEPT: Final = 8
FEATURES_READ: Final = 4096
ELEMENTS_READ: Final = 16_384
SAMPLES: Final = 24
TARGETS_READ: Final = 4096
RARE: Final = 0.1
"""A feature that is 0 in nine rows of ten tells too little about its own scale."""

_REGRESSION: Final = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
_NORMALISATIONS: Final = frozenset({"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"})


@dataclass(eq=False)
class _Sums:
    """Sums over the values read so far, by feature: shape (C,)."""

    rows: int
    nonzero: Floats
    total: Floats
    squares: Floats


class InputCollector(Collector):
    """Reads the first samples, so what a run begins with: scales of data hardly change, and if they do they grow."""

    name: ClassVar[str] = "inputs"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._sums: dict[str, _Sums] = {}
        self._pending: list[tuple[str, InputFacts, Tensor]] = []
        self._targets: dict[tuple[str, str], list[Tensor]] = {}  # by place and loss function
        self._taken: dict[str, int] = {}
        self._last: str | None = None

    def layer_called(self, call: LayerCall) -> None:
        if call.source is None:
            if self._last is not None and call.function in _NORMALISATIONS:
                self._facts_of(self._last).normalized_next = True
            self._last = None
            return
        self._last = None
        site = call_site()
        module = "" if call.module is None else self.inventory.module_name(call.module) or type(call.module).__name__
        scope = module or (f"{site.file}:{site.line}" if site else "")
        taken = self._taken.get(scope, 0)
        if not readable(call.source) or taken >= SAMPLES or (not taken and len(self._taken) >= LAYERS_KEPT):
            return
        dim = call.unit_dim if call.source.dim() > 2 else -1
        if call.source.shape[dim] > FEATURES_READ:
            dim = -1
        with Unseen():
            sample = sample_rows(call.source, dim, turn=self.shared.turn, elements=ELEMENTS_READ)
            if sample.shape[1] > FEATURES_READ:
                sample = sample[:, :FEATURES_READ]
        self._taken[scope] = taken + 1
        self._last = scope
        self._pending.append((scope, self._new_facts(call, module, site), sample))

    def loss_called(self, call: LossCall) -> None:
        # With other options, the error of a constant answer would be another one.
        plain = call.name in _REGRESSION and not call.options
        if call.training and plain and readable(call.target) and call.target.dim():
            key = f"{call.file}:{call.line}", call.name
            with Unseen():
                columns = call.target.detach().reshape(call.target.shape[0], -1)
                rows = max(1, TARGETS_READ // max(columns.shape[1], 1))
                self._targets.setdefault(key, []).append(columns[:rows, :TARGETS_READ].to(torch.float32, copy=True))

    def step_ends(self, step: Step) -> None:
        pending, self._pending = self._pending, []
        hosts = to_host([sample for _, _, sample in pending])
        for (scope, new, _), sample in zip(pending, hosts, strict=True):
            facts = self.history.inputs.setdefault(scope, new)
            facts.optimizer = step.name
            facts.first_step = facts.first_step or step.number
            facts.last_step = step.number
            with Unseen():
                self._take_in(scope, facts, sample)
        targets, self._targets = self._targets, {}
        for (place, loss), parts in targets.items():
            with Unseen():
                self._take_targets(f"{step.name}@{place}", step.name, loss, to_host(parts))

    def _facts_of(self, scope: str) -> InputFacts:
        known = self.history.inputs.get(scope)
        return known or next(facts for name, facts, _ in self._pending if name == scope)

    def _new_facts(self, call: LayerCall, module: str, site: CallSite | None) -> InputFacts:
        file, line = site or (None, None)
        return InputFacts(kind=call.function, module=module, file=file, line=line)

    def _take_in(self, scope: str, facts: InputFacts, sample: Tensor) -> None:
        values = sample.numpy().astype(np.float64)
        values[~np.isfinite(values)] = 0.0
        rows, features = values.shape
        sums = self._sums.get(scope)
        if sums is None or sums.nonzero.shape != (features,):
            sums = self._sums[scope] = _Sums(0, *(np.zeros(features) for _ in range(3)))
            facts.integers, facts.low, facts.high = True, float("inf"), float("-inf")
        sums.rows += rows
        sums.nonzero += (values != 0).sum(axis=0)
        sums.total += values.sum(axis=0)
        sums.squares += (values**2).sum(axis=0)
        facts.rows, facts.features = sums.rows, features
        count = sums.rows * features
        facts.rms = float(np.sqrt(sums.squares.sum() / count))
        facts.mean = float(sums.total.sum() / count)
        facts.low, facts.high = min(facts.low, float(values.min())), max(facts.high, float(values.max()))
        facts.integers = facts.integers and bool((values == np.round(values)).all())
        common = sums.nonzero >= max(RARE * sums.rows, 1)
        scales = np.sqrt(sums.squares[common] / sums.nonzero[common])
        facts.largest, facts.smallest = (float(scales.max()), float(scales.min())) if len(scales) else (0.0, 0.0)

    def _take_targets(self, scope: str, optimizer: str, loss: str, parts: list[Tensor]) -> None:
        if scope not in self.history.targets and len(self.history.targets) >= LAYERS_KEPT:
            return
        facts = self.history.targets.setdefault(scope, TargetFacts(optimizer, loss))
        for part in parts:
            values = part.numpy().astype(np.float64)
            if len(values) > 1 and np.isfinite(values).all():
                variance, count = float(values.var(axis=0, ddof=1).mean()), facts.count + values.size
                facts.variance += (variance - facts.variance) * values.size / count
                facts.count = count
