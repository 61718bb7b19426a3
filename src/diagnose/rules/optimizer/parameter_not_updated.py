"""parameter-not-updated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import numpy as np

from diagnose.findings import Evidence, Finding, Location, Severity
from diagnose.history import Floats, History, ParameterFacts
from diagnose.rules._base import rule
from diagnose.rules.loss._course import horizon

Parameters: TypeAlias = dict[str, ParameterFacts]

_ADAPTIVE: Final = ("Ada", "NAdam", "RAdam", "SparseAdam", "RMSprop", "Rprop", "Lion", "SignSGD")


@rule("parameter-not-updated", explains=("update-too-small", "loss-not-decreasing"))
def parameter_not_updated(
    history: History, *, min_steps: int = 10, min_seen: int = 3, min_intended: float = 1e-6
) -> Iterator[Finding]:
    """A parameter that asks for gradients takes part in training and never changes.

    ## What it does
    Looks at every registered parameter with `requires_grad` that is bit for bit what it was, after
    `min_steps` = 10 optimizer steps, although its module ran in at least `min_seen` = 3 sampled training
    steps. It tells three cases apart: the parameter gets gradients but *no optimizer* that steps holds
    it; an optimizer holds it but *no gradient* ever reaches it; it has both and *does not move*.
    ## Why it matters
    The model trains with a part of itself frozen at its random initialisation. The loss may still fall,
    because the other layers make up for it, so nothing else shows the mistake.
    ## How to fix
    No optimizer: build the optimizer after the last change to the model (a replaced head, a copy, a
    conversion), from `model.parameters()`, and pass it every part that is to be trained. No gradient:
    look for `detach()`, `no_grad()`, `.item()`, `.data` or a new `torch.tensor(...)` between the
    parameter and the loss. Does not move: look at the learning rate of its group, and at the precision
    of the parameter. What is frozen on purpose should say so: `parameter.requires_grad_(False)`.
    ## Limits
    Silent about parameters without `requires_grad`; modules that never run; models that no optimizer and
    no gradient touches, or that are copies of a trained one (teachers, target networks); the model under
    an attack or a dream, where only inputs are optimised; gradients that are exactly zero, as below dead
    units; updates meant to be smaller than `min_intended` = 1e-6 of the parameter, which float32 may
    round away (`update-too-small` and `vanishing-gradient` tell those); and everything in a run that
    becomes non-finite within `min_steps`. Layers after the first trained one whose output the loss does
    not use get an `info`: they look like unused auxiliary heads.
    ## Source
    PyTorch forum and issue threads ask for this check most often; torcheck's "this parameter must
    change" is the nearest relative. 10 steps let optimizers that take turns come to theirs, and 3
    sampled steps a layer that is used in some batches only.
    """
    unmoved = {
        name: facts
        for name, facts in history.parameters.items()
        if facts.changed is False and facts.requires_grad and facts.module_type and facts.size
    }
    held = {name: facts for name, facts in unmoved.items() if _stepped(history, facts, min_steps)}
    if max((facts.steps for facts in history.optimizers.values()), default=0) < min_steps:
        return
    yield from _in_no_optimizer(history, unmoved, min_seen)
    yield from _without_gradient(history, held, min_seen)
    yield from _without_movement(history, held, min_steps, min_seen, min_intended)


def _in_no_optimizer(history: History, unmoved: Parameters, min_seen: int) -> Iterator[Finding]:
    trained = [n for n, facts in history.parameters.items() if facts.optimizers and facts.module_type]
    orphans = [n for n, facts in history.parameters.items() if facts.optimizers and not facts.module]
    # A gradient may be left over from before; that the module runs with gradients on tells that it is meant.
    lost = {n: f for n, f in unmoved.items() if not f.optimizers and f.gradients >= min_seen and f.forwards >= min_seen}
    if not lost:
        return
    forgotten_by_copy = _shapes(history, orphans) == _shapes(history, lost)
    if trained:
        lost = {name: facts for name, facts in lost.items() if not _is_copy(history, name, trained)}
    elif not forgotten_by_copy:
        return  # Only inputs are optimised; the model merely passes gradients on.
    if not lost:
        return
    replaced = bool(orphans) and (forgotten_by_copy or bool(trained))
    cause = (
        f"The optimizer holds {len(orphans)} parameters that belong to no module: it was built before the model was "
        "changed, copied or converted."
        if replaced
        else "The optimizer was built from a part of the parameters only."
    )
    yield _finding(
        history,
        lost,
        Severity.ERROR,
        "get gradients, but no optimizer holds them",
        cause,
        "Build the optimizer after the last change to the model, from all its parameters; or set requires_grad to "
        "False on what is frozen on purpose.",
        {"orphans_in_optimizers": len(orphans)},
    )


def _without_gradient(history: History, held: Parameters, min_seen: int) -> Iterator[Finding]:
    cut_off = {n: f for n, f in held.items() if not f.gradients and f.order is not None}
    # What a detach() cuts off lies before it: everything from the input on. A layer in the middle without gradient,
    # after layers that have one, is a branch whose output the loss does not use.
    upstream = {n: f for n, f in cut_off.items() if _comes_before_all_trained(history, n, f)}
    detached = {n: f for n, f in upstream.items() if f.forwards >= min_seen}
    without_grad = {n: f for n, f in upstream.items() if not f.forwards}
    unused = {n: f for n, f in cut_off.items() if n not in upstream and f.forwards >= min_seen}
    if detached:
        yield _finding(
            history,
            detached,
            Severity.ERROR,
            "are held by an optimizer, but no gradient reaches them",
            "The graph is cut between them and the loss.",
            "Look for detach(), .item(), .data, argmax or a new torch.tensor(...) between this module and the loss.",
        )
    if without_grad:
        yield _finding(
            history,
            without_grad,
            Severity.WARNING,
            "are held by an optimizer, but only run with gradients switched off",
            "The module runs under no_grad() or inference_mode() during training.",
            "Take the module out of no_grad(); if it is frozen on purpose, set requires_grad to False and keep it out "
            "of the optimizer.",
        )
    if unused:
        yield _finding(
            history,
            unused,
            Severity.INFO,
            "run and are held by an optimizer, but the loss does not depend on them",
            "Their output is not used in the loss, as that of an auxiliary head; or this branch is detached.",
            "If the output is meant to be trained, look for detach() or no_grad() between it and the loss.",
        )


def _without_movement(
    history: History, held: Parameters, min_steps: int, min_seen: int, min_intended: float
) -> Iterator[Finding]:
    until = {name: horizon(history, name) for name in history.optimizers}
    stuck: Parameters = {}
    for name, facts in held.items():
        last = min((until[o] for o in facts.optimizers if o in until), default=0)
        gradient = history.series("grad_rms", name)
        values = gradient.values[gradient.steps < last]
        if last > min_steps and facts.gradients >= min_seen and (values[np.isfinite(values)] > 0).any():
            stuck[name] = facts
    no_rate = {n: f for n, f in stuck.items() if _rate_is_zero(history, f.optimizers)}
    rounded = {n: f for n, f in stuck.items() if n not in no_rate and _intended(history, n, f) >= min_intended}
    if no_rate:
        # One group at 0 beside others that are not is a way to freeze it.
        holders = tuple(dict.fromkeys(o for f in no_rate.values() for o in f.optimizers))
        frozen = any(rates.any() for rates in _rates(history, holders))
        yield _finding(
            history,
            no_rate,
            Severity.INFO if frozen else Severity.ERROR,
            "have gradients and an optimizer, but their learning rate is 0",
            "The learning rate of their group was 0 at every step.",
            "Set the learning rate of the group, and check in which unit (steps or epochs) its scheduler counts.",
        )
    if rounded:
        yield _finding(
            history,
            rounded,
            Severity.ERROR,
            "have gradients and an optimizer, but stay what they are",
            "The update is so small that adding it to the parameter rounds to nothing (typical of float16 and "
            "bfloat16), or the value is overwritten after each step.",
            "Keep the parameters in float32 and use autocast for speed; raise the learning rate; look for code that "
            "writes the parameter back.",
        )


def _comes_before_all_trained(history: History, name: str, facts: ParameterFacts) -> bool:
    """Whether the parameter's module runs before every module of its model or optimizer that gets gradients."""
    model = _model(history, name)
    reached = [
        f.order
        for n, f in history.parameters.items()
        if f.gradients
        and f.order is not None
        and (_model(history, n) == model or set(f.optimizers) & set(facts.optimizers))
    ]
    return bool(reached) and facts.order is not None and facts.order < min(reached)


def _stepped(history: History, facts: ParameterFacts, min_steps: int) -> bool:
    return any(history.optimizers[name].steps >= min_steps for name in facts.optimizers if name in history.optimizers)


def _shapes(history: History, names: Iterable[str]) -> list[tuple[int, ...]]:
    return sorted(history.parameters[name].shape for name in names)


def _model(history: History, name: str) -> str:
    """The model that a parameter belongs to; "" if there is only one."""
    owners = [m for m in history.run.models if name.startswith(f"{m}.")]
    return max(owners, key=len, default="")


def _is_copy(history: History, name: str, trained: list[str]) -> bool:
    """Whether the parameter's whole model is held by no optimizer, and looks like one that is trained."""
    own = _model(history, name)
    if not own or any(_model(history, other) == own for other in trained):
        return False
    shapes = _shapes(history, [n for n in history.parameters if _model(history, n) == own])
    others = {_model(history, other) for other in trained}
    return any(
        shapes == _shapes(history, [n for n in history.parameters if _model(history, n) == other]) for other in others
    )


def _intended(history: History, name: str, facts: ParameterFacts) -> float:
    """How large, relative to the parameter, its updates were meant to be: the median over the samples.

    An adaptive optimizer divides the gradient by its own size, so that the learning rate alone counts.
    """
    _, (gradient, size) = history.aligned("grad_rms", "param_rms", scope=name)
    seen = np.isfinite(gradient) & np.isfinite(size) & (size > 0)
    rates = _rates(history, facts.optimizers)
    if not seen.any() or not rates:
        return 0.0
    adaptive = any(
        history.optimizers[o].type.startswith(_ADAPTIVE) for o in facts.optimizers if o in history.optimizers
    )
    relative = (1.0 if adaptive else gradient[seen]) / size[seen]
    return float(np.median(relative)) * max(float(np.max(r)) for r in rates)


def _rates(history: History, optimizers: tuple[str, ...]) -> list[Floats]:
    """The learning rates of all groups of these optimizers."""
    found = [
        history.series("lr", scope).values for scope in history.scopes("lr") if scope.rpartition("/")[0] in optimizers
    ]
    return [rates for rates in found if len(rates)]


def _rate_is_zero(history: History, optimizers: tuple[str, ...]) -> bool:
    """Whether a group of these optimizers had the learning rate 0 throughout. (Which group it is, is not recorded.)"""
    return any(not rates.any() for rates in _rates(history, optimizers))


def _finding(
    history: History,
    parameters: Parameters,
    severity: Severity,
    what: str,
    cause: str,
    remedy: str,
    evidence: dict[str, Evidence] | None = None,
) -> Finding:
    names = sorted(parameters, key=lambda n: (parameters[n].order is None, parameters[n].order or 0, n))
    first = names[0]
    steps = max(facts.steps for facts in history.optimizers.values())
    elements = sum(facts.size for facts in parameters.values())
    everything = sum(facts.size for facts in history.parameters.values() if facts.module_type)
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return Finding(
        "parameter-not-updated",
        severity,
        f"{first}{others} {what}: unchanged after {steps} steps",
        Location(module=parameters[first].module or None, parameter=first),
        max(parameters[first].first_step, 1),
        None,
        {
            "parameters": len(names),
            "share_of_elements": elements / everything,
            "steps": steps,
            "gradients_seen": parameters[first].gradients,
            "forwards_seen": parameters[first].forwards,
            "also_at": list(names[1:]),
            **(evidence or {}),
        },
        cause=cause,
        remedy=remedy,
    )
