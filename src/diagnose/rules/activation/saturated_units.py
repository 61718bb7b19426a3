"""saturated-units."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History
from diagnose.rules._base import rule
from diagnose.rules.activation._window import Lasting, lasting
from diagnose.rules.loss._course import courses, first_break


@rule(
    "saturated-units",
    needs=("saturated_share",),
    explains=("vanishing-gradient", "update-too-small", "loss-not-decreasing", "constant-output"),
)
def saturated_units(
    history: History,
    *,
    limit: float = 0.5,
    almost_all: float = 0.9,
    min_examples: int = 64,
    samples: int = 2,
    improvement: float = 0.1,
) -> Iterator[Finding]:
    """Most units of a layer sit at the flat ends of their activation and hardly pass a gradient on.

    ## What it does
    A unit is saturated if the slope of its activation, averaged over a window of examples (at least
    `min_examples` = 64) and divided by the steepest slope, is below 0.1: for tanh, |output| > 0.95
    nearly always. It speaks if at least `limit` = 50 % of the units of a hidden layer are, in the last
    `samples` = 2 windows or more, to the end of the watch: `warning`, and `error` from `almost_all` = 90
    % on. Units that were not saturated at the start, and became so while the loss went on to fall by
    `improvement` = 10 %, get an `info`.
    ## Why it matters
    The gradient through a saturated unit is a tenth of what it could be, or less, and the layers below
    share that loss. Units that are saturated from the start are random bits: the network learns on top
    of them, not through them.
    ## How to fix
    From the start: scale the inputs to mean 0 and variance 1, and use `xavier_uniform_` with its gain
    for the activation. In the course of training: lower the learning rate, add weight decay or a
    normalisation layer before the activation.
    ## Limits
    Outputs, gates (LSTM, attention, squeeze-and-excitation) and softmaxes are meant to close and are
    left alone. So are ReLU and its kin, which saturate on one side only: see `dead-units`. Codes that
    are meant to be binary look the same.
    ## Source
    Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010,
    sec. 3, watch saturation in the same way. Goodfellow, Bengio & Courville, *Deep Learning*, sec. 6.3.2
    and 11.5. 0.1 is one lost order of magnitude per layer; with half of the units, the typical unit is
    saturated. Peers use 0.85 of the *values*.
    """
    until = first_break(history)
    for name, facts in history.layers.items():
        if facts.role != "hidden" or facts.units < 2 or facts.examples < min_examples:
            continue
        found = lasting(history, "saturated_share", name, limit, before=until, samples=samples)
        if found is None:
            continue
        born = found.from_the_start
        learns = not born and _fell_since(history, found, improvement)
        severity = Severity.ERROR if found.value >= almost_all else Severity.WARNING
        yield Finding(
            "saturated-units",
            Severity.INFO if learns else severity,
            f"{100 * found.value:.0f} % of the {facts.units} units of {name} ({facts.kind}) are saturated",
            Location(module=facts.module or name, file=facts.file, line=facts.line),
            found.first_step,
            found.last_step,
            {
                "saturated_share": found.value,
                "limit": limit,
                "saturated_share_at_first": float(found.values[0]),
                "units": facts.units,
                "examples": facts.examples,
                "activation": facts.kind,
            },
            cause="They were saturated when the watch began: unscaled inputs, or too large an initialisation."
            if born
            else f"They saturated until step {found.first_step}: large updates, or weights that grow without bound.",
            remedy="Scale the inputs to mean 0 and variance 1, and initialise with xavier_uniform_."
            if born
            else "Lower the learning rate, add weight decay, or put a normalisation layer before the activation.",
        )


def _fell_since(history: History, found: Lasting, improvement: float) -> bool:
    """Whether some loss ends lower, by `improvement`, than when the units saturated, and than at its start."""
    for optimizer in history.optimizers:
        for course in courses(history, optimizer):
            around = course.values[np.abs(course.steps - found.first_step) <= max(5, found.first_step // 10)]
            if len(around):
                level = float(np.median(around))
                if level - course.late >= improvement * abs(level) and course.keeps(improvement):
                    return True
    return False
