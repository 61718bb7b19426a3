"""Histories written down by hand: what a run would have left behind, without running it.

    history = history_of(
        steps=300, loss=lambda step: 2.3 * 0.99**step, parameters={"fc1.weight": Parameter((64, 64),
        ratio=1e-3), "fc2.weight": Parameter((10, 64), ratio=1e-3)}, layers={"relu": Layer("relu",
        units=64, dead=0.95)},
    ) assert diagnose_history(history, all_rules()).findings

Every curve may be given as a number (constant), as one value per step at which it is recorded, or as a
function of the step. NaN means "not observed". All randomness is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diagnose.history import (
    EventKind,
    History,
    LayerFacts,
    LossFacts,
    OptimizerFacts,
    ParameterFacts,
    Quantity,
)

Curve: TypeAlias = float | Sequence[float] | NDArray[np.float64] | Callable[[int], float]


@dataclass(frozen=True)
class Parameter:
    """A parameter: its facts, and the curves that are recorded on sampled steps.

    Attributes:
        rms: size of the parameter.
        gradient: rms of its gradient; None for a parameter that never gets one.
        ratio: rms(update) / rms(parameter); None if it is not recorded.
        changed, forwards, gradients: as in ParameterFacts; by default what the curves suggest.
        order: by default the place among the parameters.
        held: whether the optimizer holds it; if not, none of the curves is recorded.
    """

    shape: tuple[int, ...] = (64, 64)
    rms: Curve = 0.1
    gradient: Curve | None = 1e-3
    ratio: Curve | None = 1e-3
    changed: bool | None = True
    requires_grad: bool = True
    forwards: int | None = None
    gradients: int | None = None
    order: int | None = -1
    held: bool = True
    module: str | None = None
    module_type: str = "Linear"
    first_step: int = 0


@dataclass(frozen=True)
class Layer:
    """An activation: its facts, and what is recorded of it on sampled steps."""

    kind: str = "relu"
    units: int = 64
    dead: Curve | None = None
    saturated: Curve | None = None
    output_gradient: Curve | None = None
    examples: int = 512
    role: Literal["hidden", "gate", "output", "attention"] = "hidden"
    order: int = 0


def sampled_steps(steps: int) -> list[int]:
    """The steps that a watch typically samples: all of the first ten, then one in eight of the way so far."""
    sampled: list[int] = []
    step = 1
    while step <= steps:
        sampled.append(step)
        step += 1 if step < 10 else max(1, step // 8)
    return sampled


def history_of(
    *,
    steps: int = 300,
    loss: Curve | Mapping[str, Curve] | None = None,
    parameters: Mapping[str, Parameter] | None = None,
    layers: Mapping[str, Layer] | None = None,
    grad_norm: Curve | None = None,
    grad_norm_before_clip: Curve | None = None,
    lr: Curve | None = 0.01,
    events: Sequence[tuple[EventKind, int, Mapping[str, Any]]] = (),
    optimizer: str = "SGD",
    optimizer_type: str = "SGD",
    closures: int = 0,
    backwards: int | None = None,
    grad_fn: str = "",
    sampled: Sequence[int] | None = None,
    models: Sequence[str] = (),
    into: History | None = None,
) -> History:
    """The history of a run with one optimizer.

    Args:
        steps: how many steps the optimizer made.
        loss: recorded on every step; several by stream name.
        grad_norm: recorded on sampled steps.
        grad_norm_before_clip: recorded on every step.
        lr: recorded on sampled steps, for the optimizer's only group.
        events: kind, step and detail; their scope is the optimizer.
        backwards: by default one for each step.
        grad_fn: name of the autograd function of the losses.
        sampled: sampled steps, by default `sampled_steps(steps)`.
        models: names of the models; each parameter belongs to the one that its name begins with.
        into: the history to add a further optimizer to, instead of a new one.

    Raises:
        ValueError: a curve has another length than the steps at which it is recorded.
    """
    history = into if into is not None else History()
    every = range(1, steps + 1)
    at = [step for step in (sampled_steps(steps) if sampled is None else sampled) if step <= steps]
    history.optimizers[optimizer] = OptimizerFacts(
        type=optimizer_type,
        steps=steps,
        followed=steps,
        closures=closures,
        backwards=steps if backwards is None else backwards,
        clipped=steps if grad_norm_before_clip is not None else 0,
    )
    history.run.models = [*history.run.models, *models]
    history.run.steps += steps
    history.run.sampled += len(at)
    recorded: dict[Quantity, dict[str, list[float]]] = {}

    def keep(quantity: Quantity, scope: str, curve: Curve | None) -> None:
        if curve is not None:
            recorded.setdefault(quantity, {})[scope] = _values(curve, at)

    for place, (name, parameter) in enumerate((parameters or {}).items()):
        history.parameters[name] = _facts(name, parameter, place, optimizer, len(at))
        if not parameter.held:
            continue  # only what the optimizer holds is read when it steps
        keep("param_rms", name, parameter.rms)
        keep("grad_rms", name, parameter.gradient)
        keep("update_ratio", name, parameter.ratio)
        if parameter.ratio is not None:
            sizes, ratios = _values(parameter.rms, at), _values(parameter.ratio, at)
            keep("update_rms", name, [size * ratio for size, ratio in zip(sizes, ratios, strict=True)])
    for name, layer in (layers or {}).items():
        history.layers[name] = LayerFacts(
            kind=layer.kind,
            module=name,
            units=layer.units,
            order=layer.order,
            role=layer.role,
            examples=layer.examples,
        )
        keep("silent_share", name, layer.dead)
        keep("dead_share", name, layer.dead)
        keep("saturated_share", name, layer.saturated)
        keep("output_grad_rms", name, layer.output_gradient)
    keep("grad_norm", optimizer, grad_norm)
    keep("lr", f"{optimizer}/0", lr)
    _write(history, recorded, at, optimizer)

    streams = loss if isinstance(loss, Mapping) else {} if loss is None else {optimizer: loss}
    for stream in streams:
        history.losses[stream] = LossFacts(optimizer=optimizer, file="train.py", line=10, grad_fn=grad_fn)
    always: dict[Quantity, dict[str, list[float]]] = {
        "loss": {stream: _values(curve, every) for stream, curve in streams.items()}
    }
    if grad_norm_before_clip is not None:
        always["grad_norm_before_clip"] = {optimizer: _values(grad_norm_before_clip, every)}
    _write(history, always, every, optimizer)
    for kind, step, detail in events:
        history.note(kind, step, optimizer, **detail)
    return history


def _facts(name: str, parameter: Parameter, place: int, optimizer: str, samples: int) -> ParameterFacts:
    has_gradient = parameter.gradient is not None
    return ParameterFacts(
        shape=parameter.shape,
        module=name.rpartition(".")[0] if parameter.module is None else parameter.module,
        module_type=parameter.module_type,
        order=place if parameter.order == -1 else parameter.order,
        requires_grad=parameter.requires_grad,
        optimizers=(optimizer,) if parameter.held else (),
        forwards=samples if parameter.forwards is None else parameter.forwards,
        gradients=samples * has_gradient if parameter.gradients is None else parameter.gradients,
        changed=parameter.changed,
        first_step=parameter.first_step,
    )


def _values(curve: Curve, steps: Sequence[int]) -> list[float]:
    if callable(curve):
        return [float(curve(step)) for step in steps]
    if isinstance(curve, int | float):
        return [float(curve)] * len(steps)
    if len(curve) != len(steps):
        raise ValueError(f"a curve of {len(curve)} values for {len(steps)} steps")
    return [float(value) for value in curve]


def _write(
    history: History,
    recorded: Mapping[Quantity, Mapping[str, Sequence[float]]],
    steps: Sequence[int],
    clock: str,
) -> None:
    for quantity, columns in recorded.items():
        for index, step in enumerate(steps):
            row = {scope: values[index] for scope, values in columns.items()}
            # A collector leaves out what it did not see; NaN would be stored as a non-finite statistic.
            seen = {scope: value for scope, value in row.items() if value == value}
            history.record(quantity, step, seen, clock=clock)
