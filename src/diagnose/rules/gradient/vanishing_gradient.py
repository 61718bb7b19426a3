"""vanishing-gradient."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from diagnose.findings import Evidence, Finding, Location, Severity
from diagnose.history import Floats, History, ParameterFacts
from diagnose.rules._base import rule
from diagnose.rules.loss._course import (
    Course,
    already_trained,
    horizon,
    learned,
    main_course,
    warming_up,
)
from diagnose.rules.optimizer._weights import Weights, weights
from diagnose.stats.ratios import decades_lost, path_length

MOST: Final = 0.9
"""What the last layers can learn alone: the mean of the targets can be nine tenths of a squared error."""

MOST_IN_ONE: Final = 0.6
"""Four sigmoid layers lose at most half of the whole in one step: the last layer has no sigmoid after it."""

_RECURRENT: Final = ("RNN", "LSTM", "GRU")


@rule(
    "vanishing-gradient",
    needs=("grad_rms", "param_rms"),
    explains=("update-too-small", "loss-not-decreasing", "constant-output"),
)
def vanishing_gradient(
    history: History,
    *,
    decades: float = 3.0,
    decades_if_frozen: float = 2.0,
    frozen: float = 0.01,
    weakest: float = 1e-6,
    share: float = 0.8,
    min_layers: int = 4,
    min_steps: int = 20,
) -> Iterator[Finding]:
    """The gradient fades on its way to the first layers, and the network does not learn.

    ## What it does
    Divides the rms of each weight's gradient by the rms of the weight, and fits a robust line through the
    logarithms along the order of execution, in each sampled step. It speaks if, in at least `share` = 80 %
    of the samples, the line loses `decades` = 3 powers of ten from the last layer to the first, or
    `decades_if_frozen` = 2 where all updates of the run together moved the first third of the layers by
    less than `frozen` = 1 % of their size and the last third ten times as far; and if the loss has not
    come a tenth below its start in `min_steps` = 20 steps or more. If it has, but not down to a tenth, the
    line must lose 4 powers of ten and the first third move by less than 0.1 %.

    It also speaks if the gradient is next to nothing in most layers, as after an initialisation that is
    much too small: |gradient| * |weight| / loss of the bulk of the weights is below `weakest` = 1e-6 in as
    many samples, and the first third of the layers does not move. Needs a chain of at least
    `min_layers` = 4 weights.
    ## Why it matters
    Backpropagation multiplies by one Jacobian per layer. Where each of them shrinks (a sigmoid by 4 at
    least), the first layers get next to nothing: they stay at their random initialisation, and pass on
    noise that the later layers cannot learn from.
    ## How to fix
    Replace sigmoid and tanh by ReLU or GELU, initialise for the activation (`kaiming_normal_` for ReLU,
    `xavier_uniform_` for tanh), put a normalisation layer after each linear one, or add residual
    connections. For recurrent networks: LSTM or GRU, shorter sequences.
    ## Limits
    It says nothing if the loss falls to a tenth: with Adam, small gradients may still move their layers.
    Embeddings do not count, and neither do layers whose gradient is exactly zero. It looks at the
    longest chain of layers that take in what the one before puts out, so that it cannot judge layers
    with a fused or a gated projection. A gradient that fades over time inside a recurrent layer shows only in what
    comes before that layer, as an encoder of its first state.
    ## Source
    Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010;
    He et al., "Delving deep into rectifiers", 2015; Pascanu, Mikolov & Bengio, "On the difficulty of
    training recurrent neural networks",
    2013. Three decades: at a usual update ratio of 1e-2 to 1e-3 in the last layer, the first one gets
      1e-5 to 1e-6 and needs 1,000 to 10,000 steps to move by 1 %. 1e-6: doubling the weight would change
      the loss by a millionth, which is where float32 ends.
    """
    for optimizer in history.optimizers:
        own = weights(history, optimizer, before=horizon(history, optimizer))
        course = main_course(history, optimizer)
        layers = _layers(own, history)
        if len(layers) < min_layers or course is None or len(course) < min_steps:
            continue
        if learned(history, optimizer, MOST) is not False or already_trained(history, course):
            continue
        if warming_up(history, optimizer):
            continue
        profile = _profile(history, own, layers, course)
        is_frozen = profile.first_moved < frozen and profile.last_moved >= 10 * profile.first_moved
        limit = decades_if_frozen if is_frozen else decades
        if learned(history, optimizer):
            # The last layers alone can learn a little. That the first ones do not move must be beyond doubt.
            limit = decades + 1 if profile.first_moved < frozen / 10 else math.inf
        felt = _elasticity_of_bulk(own, course.reference)
        if profile.gradual and len(profile.lost) >= 2 and (profile.lost >= limit).mean() >= share:
            yield _faded(history, own, course, profile, limit, sure=is_frozen)
        elif profile.first_moved < frozen and len(felt) >= 2 and (felt < weakest).mean() >= share:
            yield _nowhere(history, own, course, profile, float(np.median(felt)), weakest)


@dataclass(frozen=True, eq=False)
class _Profile:
    """How the gradient changes along the layers.

    Attributes:
        layers: indices of the weights, in the order of execution.
        lost: powers of ten that it loses from the last to the first, per sample in which it could be
            told.
        gradual: whether no single step from one layer to the next makes for most of that. One that does
            separates two branches with losses of different size rather than two layers of a chain, unless one of
            the two is recurrent: that stands for as many layers as it makes steps.
        first_moved, last_moved: how far all updates moved the first and the last third of the layers, as
            a share of their size: medians; NaN if unknown.
    """

    layers: list[int]
    lost: Floats
    gradual: bool
    first_moved: float
    last_moved: float


def _layers(own: Weights, history: History) -> list[int]:
    """The longest chain of weights, in the order of execution, that ever had a gradient.

    A chain goes on as long as a weight takes in what the one before puts out (per position, if a
    convolution is flattened). So branches that merely run one after the other, as an actor and a critic,
    are not strung together. Of the weights of one module, as a recurrent cell has for input and state, those that take
    in what the one before puts out count, and the others lie beside the chain.
    """
    chains: list[list[int]] = [[]]
    outputs, is_kernel = 0, False
    usable = [i for i, name in enumerate(own.names) if _is_layer(history.parameters[name], own.gradients[:, i])]
    for _, together in itertools.groupby(usable, key=lambda i: history.parameters[own.names[i]].order):
        module = list(together)
        shapes = {index: _outgoing_incoming(history.parameters[own.names[index]]) for index in module}
        follow = [i for i in module if outputs and _goes_on(outputs, shapes[i][1], is_kernel=is_kernel)]
        if not follow:
            chains.append([])
        chains[-1].extend(follow or module)
        last = (follow or module)[-1]
        outputs, is_kernel = shapes[last][0], len(history.parameters[own.names[last]].shape) > 2
    return max(chains, key=len)


def _is_layer(facts: ParameterFacts, gradients: Floats) -> bool:
    return facts.order is not None and len(facts.shape) > 1 and bool((gradients > 0).any())


def _outgoing_incoming(facts: ParameterFacts) -> tuple[int, int]:
    first, second = facts.shape[:2]
    return (second, first) if facts.module_type.startswith("ConvTranspose") else (first, second)


def _goes_on(outputs: int, incoming: int, *, is_kernel: bool) -> bool:
    return incoming % outputs == 0 if is_kernel else incoming == outputs


def _profile(history: History, own: Weights, layers: list[int], course: Course) -> _Profile:
    lost = np.array([decades_lost(row) for row in own.gradients[:, layers]])
    moved = []
    for index in layers:
        seen = ~np.isnan(own.ratios[:, index])
        moved.append(path_length(own.steps[seen], own.ratios[seen, index], int(course.steps[0]), int(course.steps[-1])))
    third = max(1, len(moved) // 3)
    with np.errstate(divide="ignore"):
        typical = np.log10(np.nanmedian(own.gradients[:, layers], axis=0))
    known = np.flatnonzero(np.isfinite(typical))
    drops = np.diff(typical[known])
    unrolled = [history.parameters[own.names[layers[place]]].module_type.startswith(_RECURRENT) for place in known]
    recurrent = [first or second for first, second in itertools.pairwise(unrolled)]
    gradual = bool(len(drops) and (drops.max() <= MOST_IN_ONE * drops.sum() or recurrent[int(drops.argmax())]))
    return _Profile(layers, lost[np.isfinite(lost)], gradual, _median(moved[:third]), _median(moved[-third:]))


def _median(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan


def _elasticity_of_bulk(own: Weights, loss: float) -> Floats:
    """What the bulk of the weights reach at most of |gradient| * |weight| / loss: shape (samples with gradients,)."""
    with np.errstate(over="ignore", invalid="ignore"):
        each = own.gradients * own.rms**2 * own.sizes / max(abs(loss), np.finfo(float).tiny)
    has_gradient = (own.gradients > 0).any(axis=1)
    bulk = own.bulk(each)[has_gradient]
    return bulk[np.isfinite(bulk)]


def _faded(history: History, own: Weights, course: Course, profile: _Profile, limit: float, *, sure: bool) -> Finding:
    first, last = profile.layers[0], profile.layers[-1]
    typical = float(np.median(profile.lost))
    return _finding(
        history,
        own,
        course,
        profile,
        Severity.ERROR if sure else Severity.WARNING,
        f"relative to the weights, the gradient shrinks 10^{typical:.1f} times from {own.names[last]} to "
        f"{own.names[first]}; the loss stays at {course.late:.3g}",
        {
            "decades_lost": typical,
            "limit": limit,
            "relative_gradient_first": float(np.nanmedian(own.gradients[:, first])),
            "relative_gradient_last": float(np.nanmedian(own.gradients[:, last])),
        },
    )


def _nowhere(history: History, own: Weights, course: Course, profile: _Profile, felt: float, limit: float) -> Finding:
    return _finding(
        history,
        own,
        course,
        profile,
        Severity.WARNING,
        f"the gradient is next to nothing in most layers: by its slope, doubling a weight would change the loss by "
        f"{100 * felt:.1g} %; the loss stays at {course.late:.3g}",
        {"elasticity": felt, "limit": limit},
    )


def _finding(
    history: History,
    own: Weights,
    course: Course,
    profile: _Profile,
    severity: Severity,
    message: str,
    evidence: dict[str, Evidence],
) -> Finding:
    name = own.names[profile.layers[0]]
    return Finding(
        "vanishing-gradient",
        severity,
        message,
        Location(module=history.parameters[name].module or None, parameter=name),
        int(own.steps[0]),
        int(own.steps[-1]),
        {
            **evidence,
            "layers": len(profile.layers),
            "first_layers_moved": profile.first_moved,
            "last_layers_moved": profile.last_moved,
            "loss_at_start": course.start,
            "loss_at_end": course.late,
            "optimizer": own.optimizer,
        },
        cause="Activations that shrink the gradient (sigmoid, tanh) or an initialisation that is too small, over many "
        "layers.",
        remedy="Use ReLU or GELU with kaiming_normal_ initialisation, normalisation layers or residual connections; "
        "with tanh at least xavier_uniform_.",
    )
