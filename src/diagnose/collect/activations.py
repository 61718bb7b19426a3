"""Activations: per layer and per unit, from bounded samples; dead units confirmed by exact maxima.

On a sampled step each activation's input is sampled (at most 8,192 elements: whole rows of units, of
some examples and positions); the output is recomputed from the sample on the host, elementwise. Over
the last 8 to 16 samples a unit that was active for no sampled example is *silent*: a suspicion. Where a tenth
of a layer is silent, whole batches are read too: an exact maximum per unit over all examples and
positions. Only units that stay below it over EXACT_WINDOW whole batches are reported as dead.

Errors of the estimates, for R sampled rows: a share s has standard error sqrt(s (1 - s) / (R C)) at
best, sqrt(s (1 - s) / R) if all units move together; an RMS is good to about 1 / sqrt(2 R).
Memory: O(units) per layer: eight floats and EXACT_WINDOW bits each.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diagnose.collect._collector import Collector, Shared, Step
from diagnose.collect.forward import ActivationCall, CallKey
from diagnose.collect.parameters import foreach_norms, nonfinite_share, zero_shares
from diagnose.collect.reading import Unseen, readable, sample_rows, to_floats, to_host
from diagnose.history import LayerFacts, Quantity
from diagnose.stats.activation import ACTIVATIONS, ACTIVE_SLOPE, SATURATED_SLOPE, entropy_share

WINDOW: Final = 16
EXACT_WINDOW: Final = 8
SUSPECT_SHARE: Final = 0.1
_CALLS_PER_INTERVAL: Final = 4
_SAMPLE_ELEMENTS: Final = 8192
_OUTPUT_ELEMENTS: Final = 2048
_OUTPUTS_PER_SAMPLE: Final = 4


class UnitWindow:
    """Per-unit maxima and sums over the latest samples: over WINDOW / 2 to WINDOW of them.

    Kept as a full block and the one being filled, so that a sample costs one operation however long the
    window is. Memory: four rows of C floats.
    """

    def __init__(self) -> None:
        self._full: tuple[int, Tensor, Tensor] | None = None
        self._filling: tuple[int, Tensor, Tensor] | None = None
        self._samples = 0

    @property
    def rows(self) -> int:
        """Rows (examples and positions) in the window."""
        return sum(block[0] for block in (self._full, self._filling) if block is not None)

    def add(self, rows: int, values: Tensor) -> None:
        """Adds one sample of `rows` rows: a value for each unit, shape (C,)."""
        if self._samples == WINDOW // 2:
            self._full, self._filling, self._samples = self._filling, None, 0
        self._samples += 1
        if self._filling is None:
            self._filling = rows, values, values
        else:
            count, highest, total = self._filling
            self._filling = count + rows, torch.maximum(highest, values), total + values

    def maximum(self) -> Tensor:
        """The largest value of each unit in the window, shape (C,)."""
        assert self._filling is not None
        return self._filling[1] if self._full is None else torch.maximum(self._full[1], self._filling[1])

    def total(self) -> Tensor:
        """The sum of each unit's values in the window, shape (C,)."""
        assert self._filling is not None
        return self._filling[2] if self._full is None else self._full[2] + self._filling[2]


@dataclass
class _Layer:
    """What is kept about one activation between samples."""

    scope: str
    kind: str
    facts: LayerFacts
    active: UnitWindow = field(default_factory=UnitWindow)
    slopes: UnitWindow = field(default_factory=UnitWindow)
    exact: deque[tuple[int, Tensor]] = field(default_factory=lambda: deque(maxlen=EXACT_WINDOW))
    suspect: bool = False
    calls: int = 0

    def forget(self) -> None:
        """Starts the windows anew, as when the number of units changes."""
        self.active, self.slopes = UnitWindow(), UnitWindow()
        self.exact.clear()


@dataclass
class _Sample:
    """One sampled call of this interval: rows of shape (R, C); maxima of shape (C,) if exact."""

    layer: _Layer
    call: ActivationCall
    rows: Tensor
    maxima: Tensor | None
    examples: int


class ActivationCollector(Collector):
    """Records the layer quantities of history and LayerFacts."""

    name: ClassVar[str] = "activations"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._layers: dict[CallKey, _Layer] = {}
        self._samples: list[_Sample] = []
        self._orders: dict[CallKey, int] = {}

    def interval_begins(self, stepped: Optimizer | None, follows: bool) -> None:
        self._samples.clear()
        self._orders.clear()
        for layer in self._layers.values():
            layer.calls = 0

    def activation_begins(self, call: ActivationCall) -> None:
        layer = self._layers.get(call.key) or self._new_layer(call)
        layer.calls += 1
        self._orders[call.key] = call.order
        if layer.calls > _CALLS_PER_INTERVAL or not readable(call.pre):
            return
        pre = call.pre
        with Unseen():
            rows = sample_rows(pre, call.unit_dim, turn=self.shared.turn, elements=_SAMPLE_ELEMENTS)
            maxima = None
            if layer.suspect and pre.dim() > 1:
                others = [d for d in range(pre.dim()) if d != call.unit_dim % pre.dim()]
                maxima = pre.detach().amax(dim=others).to(torch.float32)
        examples = pre.numel() // max(1, rows.shape[1])
        self._samples.append(_Sample(layer, call, rows, maxima, examples))

    def gate_used(self, key: CallKey) -> None:
        layer = self._layers.get(key)
        if layer is not None and layer.facts.role == "hidden":
            layer.facts.role = "gate"

    def root_returned(self, module: nn.Module, last_parametric_order: int) -> None:
        self._find_outputs(last_parametric_order)

    def forwards_end(self, last_parametric_order: int) -> None:
        self._find_outputs(last_parametric_order)

    def _find_outputs(self, last_parametric_order: int) -> None:
        for key, order in self._orders.items():
            facts = self._layers[key].facts
            if order > last_parametric_order and facts.role == "hidden":
                facts.role = "output"
        self._orders.clear()

    def step_ends(self, step: Step) -> None:
        if not self._samples:
            return
        with Unseen():
            tensors = [sample.rows for sample in self._samples]
            tensors += [sample.maxima for sample in self._samples if sample.maxima is not None]
            host = iter(to_host(tensors))
            for sample in self._samples:
                sample.rows = next(host)
            for sample in self._samples:
                if sample.maxima is not None:
                    sample.maxima = next(host)
            self._summarise(step)
        self._samples.clear()

    def _summarise(self, step: Step) -> None:
        rows: dict[Quantity, dict[str, float]] = {}
        by_layer: dict[CallKey, list[_Sample]] = {}
        for sample in self._samples:
            by_layer.setdefault(sample.call.key, []).append(sample)
        for samples in by_layer.values():
            layer = samples[0].layer
            usable = [s for s in samples if s.rows.shape[1] == samples[-1].rows.shape[1]]
            pre = torch.cat([s.rows for s in usable]) if len(usable) > 1 else usable[0].rows
            for quantity, value in self._statistics(layer, usable, pre, step).items():
                rows.setdefault(quantity, {})[layer.scope] = value
        for quantity, row in rows.items():
            self.history.record(quantity, step.number, row, clock=step.name)

    def _statistics(self, layer: _Layer, samples: list[_Sample], pre: Tensor, step: Step) -> dict[Quantity, float]:
        low, high = torch.aminmax(pre)
        mean, rms, lowest, highest = to_floats([pre.mean(), _rms(pre), low, high])
        found: dict[Quantity, float] = {"pre_mean": mean, "pre_rms": rms, "pre_min": lowest, "pre_max": highest}
        finite = rms - rms == 0.0
        if self.shared.is_thorough or not finite or self.shared.histogram is not None:
            post = samples[-1].call.function(pre)
            found["out_rms"] = float(_rms(post))
            found["nonfinite_share"] = 0.0 if finite else nonfinite_share(post)
            if self.shared.histogram is not None and finite:
                self.shared.histogram(f"activations/{layer.scope} (pre)", step.number, pre)
                self.shared.histogram(f"activations/{layer.scope} (post)", step.number, post)
        if not finite:
            layer.forget()
            return found
        if layer.kind == "softmax":
            found["entropy_share"] = entropy_share(pre)
            return found
        found.update(self._units(layer, samples, pre))
        return found

    def _units(self, layer: _Layer, samples: list[_Sample], pre: Tensor) -> dict[Quantity, float]:
        shape = ACTIVATIONS[layer.kind]
        if layer.facts.units != pre.shape[1]:
            layer.forget()
            layer.facts.units = pre.shape[1]
        # A ReLU's slope is its activity; a GELU's is only asked for now and then.
        wanted = shape.bounded or shape.floor is None or (layer.kind != "relu" and self.shared.is_thorough)
        slopes = shape.slope(pre) if wanted else None
        found: dict[Quantity, float] = {}
        if shape.floor is not None:
            layer.active.add(len(pre), pre.amax(dim=0))
            found["active_share"] = int(torch.count_nonzero(pre > shape.floor)) / pre.numel()
            silent = layer.active.maximum() <= shape.floor
            found["silent_share"] = int(torch.count_nonzero(silent)) / len(silent)
            layer.suspect = found["silent_share"] >= SUSPECT_SHARE
            self._confirm(layer, samples, found)
        elif slopes is not None:
            found["active_share"] = int(torch.count_nonzero(slopes >= ACTIVE_SLOPE)) / pre.numel()
        if slopes is not None:
            found["slope_mean"] = float(slopes.mean())
        elif layer.kind == "relu":
            found["slope_mean"] = found["active_share"]
        if shape.bounded and slopes is not None:
            layer.slopes.add(len(pre), slopes.sum(dim=0))
            saturated = layer.slopes.total() < SATURATED_SLOPE * layer.slopes.rows
            found["saturated_share"] = int(torch.count_nonzero(saturated)) / len(saturated)
            layer.facts.examples = layer.slopes.rows
        return found

    def _confirm(self, layer: _Layer, samples: list[_Sample], found: dict[Quantity, float]) -> None:
        floor = ACTIVATIONS[layer.kind].floor
        for sample in samples:
            if sample.maxima is not None and floor is not None:
                layer.exact.append((sample.examples, sample.maxima > floor))
        if not layer.suspect:
            layer.exact.clear()
        if layer.exact:
            dead = ~_any_of(layer.exact)
            found["dead_share"] = int(torch.count_nonzero(dead)) / len(dead)
            layer.facts.examples = sum(n for n, _ in layer.exact)

    def _new_layer(self, call: ActivationCall) -> _Layer:
        base = call.module if call.is_module else ".".join(filter(None, (call.module, call.kind)))
        base = base or call.kind
        taken = {layer.scope for layer in self._layers.values()}
        scope, number = base, 2
        if scope in taken and call.line:
            scope = base = f"{base}@{call.line}"
        while scope in taken:
            scope, number = f"{base}#{number}", number + 1
        facts = LayerFacts(
            kind=call.kind,
            module=call.module,
            file=call.file,
            line=call.line,
            order=call.order,
            role="attention" if call.kind == "softmax" and call.pre.dim() > 2 else "hidden",
        )
        self.history.layers[scope] = facts
        self.shared.layer_scopes[call.key] = scope
        layer = self._layers[call.key] = _Layer(scope, call.kind, facts)
        return layer


class OutputCollector(Collector):
    """What layers put out and the gradient that comes back: "out_rms", "nonfinite_share", "output_grad_*".

    Of a deep model, four layers per sample, in turn.

    Gradients are seen by pre-hooks of autograd nodes, not by hooks of tensors: those would be pickled with
    the user's tensors, and full-backward hooks of modules break in-place operations.
    """

    name: ClassVar[str] = "outputs"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._places: dict[str, int] = {}
        self._outputs: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}
        self._handles: list[Any] = []

    def interval_begins(self, stepped: Optimizer | None, follows: bool) -> None:
        self._drop()

    def module_ran(self, module: nn.Module, output: Any, order: int) -> None:
        if module._modules:
            return
        tensor = output[0] if isinstance(output, tuple | list) and output else output
        name = self.inventory.module_name(module)
        scope = name or type(module).__name__.lower()
        if name is None or scope in self._outputs or not self._is_its_turn(scope) or not readable(tensor):
            return
        kind = type(module).__name__.lower()
        if scope not in self.history.layers:
            self.history.layers[scope] = LayerFacts(kind=kind, module=name, order=order)
        with Unseen():
            self._outputs[scope] = sample_rows(tensor, -1, turn=self.shared.turn, elements=_OUTPUT_ELEMENTS)
        self._watch_gradient(scope, tensor)

    def activation_ends(self, call: ActivationCall, output: Tensor) -> None:
        scope = self.shared.layer_scopes.get(call.key)
        if scope is not None and self._is_its_turn(scope) and readable(output):
            self._watch_gradient(scope, output)

    def _is_its_turn(self, scope: str) -> bool:
        """At most _OUTPUTS_PER_SAMPLE layers are looked at in one sample, after the first; they take turns."""
        place = self._places.setdefault(scope, len(self._places))
        groups = -(-len(self._places) // _OUTPUTS_PER_SAMPLE)
        return self.shared.turn == 1 or place % groups == self.shared.turn % groups

    def _watch_gradient(self, scope: str, tensor: Tensor) -> None:
        node, index = tensor.grad_fn, tensor.output_nr
        if node is None:
            return
        turn, gradients = self.shared.turn, self._gradients

        def keep(received: tuple[Tensor | None, ...]) -> None:
            gradient = received[index] if index < len(received) else None
            if scope not in gradients and readable(gradient):
                with Unseen():
                    gradients[scope] = sample_rows(gradient, -1, turn=turn, elements=_OUTPUT_ELEMENTS)

        self._handles.append(node.register_prehook(keep))

    def step_ends(self, step: Step) -> None:
        with Unseen():
            out = to_host(list(self._outputs.values()))
            back = to_host(list(self._gradients.values()))
            norms = to_floats(foreach_norms([*out, *back]))
            zeros = zero_shares(back)
            rms = [norm / math.sqrt(sample.numel()) for norm, sample in zip(norms, (*out, *back), strict=True)]
            bad = [0.0 if math.isfinite(r) else nonfinite_share(sample) for r, sample in zip(rms, out, strict=False)]
        rows: tuple[tuple[Quantity, Iterable[str], list[float]], ...] = (
            ("out_rms", self._outputs, rms[: len(out)]),
            ("nonfinite_share", self._outputs, bad),
            ("output_grad_rms", self._gradients, rms[len(out) :]),
            ("output_grad_zero_share", self._gradients, zeros),
        )
        for quantity, scopes, values in rows:
            self.history.record(quantity, step.number, dict(zip(scopes, values, strict=True)), clock=step.name)
        self._drop()

    def finish(self) -> None:
        self._drop()

    def _drop(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._outputs, self._gradients = {}, {}


def _any_of(window: Iterable[tuple[int, Tensor]]) -> Tensor:
    """For each unit, whether it was active in any sample of a window: shape (C,), bool."""
    total: Tensor | None = None
    for _, active in window:
        total = active if total is None else total | active
    assert total is not None
    return total


def _rms(values: Tensor) -> Tensor:
    """Root mean square: a 0-dim tensor; non-finite where a value is, or where squares overflow float32."""
    norm: Tensor = torch.linalg.vector_norm(values)
    return norm.div(max(1, values.numel()) ** 0.5)
