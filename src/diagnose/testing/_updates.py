"""What moves in a training and what does not, for the assertions about it."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diagnose.checks._rehearsal import Inputs, LossFn
from diagnose.errors import CheckError
from diagnose.findings import Evidence, Finding, Location, Severity
from diagnose.history import History, ParameterFacts
from diagnose.testing._training import OptimizerFactory, Trained, no_step, trained
from diagnose.testing._verdict import Verdict
from diagnose.watching import Watch


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def unmoved_findings(unmoved: Mapping[str, ParameterFacts], run: Trained) -> Iterator[Finding]:
    """One finding for each reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, facts in unmoved.items():
        reasons.setdefault(_why_unmoved(facts), []).append(name)
    for (cause, remedy), names in reasons.items():
        facts = unmoved[names[0]]
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield Finding(
            "parameter-not-updated",
            Severity.ERROR,
            f"{names[0]}{others} did not change in {run.steps} steps",
            Location(module=facts.module or None, parameter=names[0]),
            evidence={
                "steps": run.steps,
                "gradients_seen": facts.gradients,
                "forwards_seen": facts.forwards,
                "optimizers": list(facts.optimizers),
                "also_at": list(names[1:]),
            },
            cause=cause,
            remedy=remedy,
        )


def _why_unmoved(facts: ParameterFacts) -> tuple[str, str]:
    if not facts.optimizers:
        return (
            "No optimizer holds it.",
            "Build the optimizer from all parameters, after the last change to the model; or set requires_grad to "
            "False.",
        )
    if not facts.forwards:
        return (
            "Its module never ran in a training step.",
            "Call the module in forward(), or take it out of the model.",
        )
    if not facts.gradients:
        return (
            "No gradient reaches it.",
            "Look for detach(), no_grad(), .item() or argmax between it and the loss, or an output that is not used.",
        )
    return (
        "It has gradients and an optimizer, and stays what it is: gradients that are 0, a learning rate of 0, or "
        "updates that are rounded away.",
        "Look at the learning rate of its group, at dead units above it, and at the precision of the parameter.",
    )


def update_ratios(history: History) -> dict[str, float]:
    """The median update ratio of each parameter over the second half of the sampled steps."""
    ratios: dict[str, float] = {}
    for name in history.scopes("update_ratio"):
        values = history.series("update_ratio", name).values
        values = values[len(values) // 2 :]
        values = values[~np.isnan(values)]
        if len(values) and name in history.parameters:
            ratios[name] = float(np.median(values))
    return ratios


def moves_wrongly(history: History, name: str, ratio: float, low: float, high: float) -> Finding:
    facts, too_small = history.parameters[name], ratio < low
    bound, word = (low, "below") if too_small else (high, "above")
    return Finding(
        "update-too-small" if too_small else "update-too-large",
        Severity.ERROR,
        f"{name} moves by {ratio:.2g} of its size per step, {word} {bound:g}",
        Location(module=facts.module or None, parameter=name),
        evidence={"update_ratio": ratio, "low": low, "high": high, "shape": list(facts.shape)},
        cause="The learning rate is too small for it, or its gradient vanishes."
        if too_small
        else "The learning rate is too large for it, or its gradient explodes.",
        remedy=f"{'Raise' if too_small else 'Lower'} the learning rate if all weights are concerned; look at the "
        "gradients of this layer if it is alone.",
    )


# ---------------------------------------------------------------------- what is frozen


def frozen_copy(
    module: nn.Module,
    inputs: Inputs | None,
    targets: Any,
    frozen: nn.Module | str | Sequence[str] | None,
    buffers: bool,
    steps: int,
    loss_fn: LossFn | None,
    optimizer: OptimizerFactory | None,
    seed: int,
) -> Verdict[Watch]:
    held = held_tensors(module, frozen, buffers)
    before, moved = copied(held), {}

    def looking(copy: nn.Module) -> Callable[[], None]:
        return lambda: moved.update(changes(before, dict(_all_tensors(copy))))

    run = trained(
        module, inputs, targets, steps=steps, loss_fn=loss_fn, optimizer=optimizer, seed=seed, looking=looking
    )
    return frozen_verdict(run, before, moved, held)


def held_tensors(model: nn.Module, frozen: nn.Module | str | Sequence[str] | None, buffers: bool) -> dict[str, Tensor]:
    """The tensors that must not change, by their names in `model`."""
    everything = {name: t for name, t in _all_tensors(model) if buffers or isinstance(t, nn.Parameter)}
    if isinstance(frozen, nn.Module):
        inside = {id(tensor) for _, tensor in _all_tensors(frozen)}
        held = {name: tensor for name, tensor in everything.items() if id(tensor) in inside}
    elif frozen is not None:
        patterns = [frozen] if isinstance(frozen, str) else list(frozen)
        for pattern in patterns:
            if not any(matches(name, [pattern]) for name in everything):
                known = ", ".join(list(everything)[:8])
                raise CheckError(f"frozen={pattern!r} matches no parameter and no buffer. There are: {known}, ...")
        held = {name: tensor for name, tensor in everything.items() if matches(name, patterns)}
    else:
        held = {name: tensor for name, tensor in everything.items() if _is_frozen(model, name, tensor)}
    if not held:
        raise CheckError(
            "Nothing is frozen: no parameter has requires_grad=False. Name what is to be: frozen='encoder.*'."
        )
    return held


def _all_tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _is_frozen(model: nn.Module, name: str, tensor: Tensor) -> bool:
    if isinstance(tensor, nn.Parameter):
        return not tensor.requires_grad
    owner = model.get_submodule(name.rpartition(".")[0])
    own = list(owner.parameters(recurse=False))
    return bool(own) and not any(parameter.requires_grad for parameter in own)


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def changes(before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> dict[str, float]:
    """By how much each tensor that is not bit for bit what it was has changed at most."""
    moved: dict[str, float] = {}
    for name, value in before.items():
        tensor = now.get(name)
        if tensor is None or tensor.shape != value.shape:
            moved[name] = math.inf
        elif not torch.equal(tensor.detach(), value):
            moved[name] = float((tensor.detach().double() - value.double()).abs().max())
    return moved


def frozen_verdict(
    run: Trained, before: Mapping[str, Tensor], moved: Mapping[str, float], held: Mapping[str, Tensor]
) -> Verdict[Watch]:
    summary = f"{len(moved)} of {len(before)} frozen tensors changed in {run.what}"
    findings = []
    for is_parameter in (True, False):
        names = [name for name in moved if isinstance(held[name], nn.Parameter) is is_parameter]
        if names:
            findings.append(_thawed(names, moved, held, run, is_parameter))
    if run.watched and not run.steps:
        findings.append(no_step())
    return Verdict(run.watch, summary, tuple(findings), bool(findings), run.report)


def _thawed(
    names: Sequence[str], moved: Mapping[str, float], was: Mapping[str, Tensor], run: Trained, is_parameter: bool
) -> Finding:
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    evidence: dict[str, Evidence] = {"largest_change": max(moved[name] for name in names), "steps": run.steps}
    if is_parameter:
        evidence["requires_grad"] = sum(was[name].requires_grad for name in names)
    return Finding(
        "frozen-tensor-changed",
        Severity.ERROR,
        f"{names[0]}{others} {'are' if others else 'is'} to be frozen, and changed by up to "
        f"{evidence['largest_change']:.3g} in {run.steps} steps",
        Location(module=names[0].rpartition(".")[0] or None, parameter=names[0]),
        evidence={**evidence, "also_at": list(names[1:])},
        cause="An optimizer holds it, and a gradient, weight decay or momentum moves it."
        if is_parameter
        else "Its module runs in training mode, and running statistics are updated in the forward, whatever requires "
        "a gradient.",
        remedy="Set requires_grad to False before the optimizer is built, and leave it out of the optimizer."
        if is_parameter
        else "Call eval() on the frozen part after each model.train(), or override its train().",
    )
