"""symmetric-init."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History, SymmetryFacts
from diagnose.rules._base import rule


@rule(
    "symmetric-init",
    explains=("loss-not-decreasing", "update-too-small", "vanishing-gradient", "dead-units"),
)
def symmetric_init(history: History, *, min_looks: int = 4, min_steps: int = 10) -> Iterator[Finding]:
    """All units of a layer are copies of one another, and training keeps them so.

    ## What it does
    Compares the units of each layer (the rows of its weight) and their gradients. It speaks of a layer that an
    optimizer holds if its units were the same, and got the same gradient, at every one of `min_looks` = 4 or more
    looks, and still were after `min_steps` = 10 steps, while something in the model was trained.
    ## Why it matters
    Units that begin equal, with equal weights behind them, get equal gradients and stay equal: a layer of 512 units
    can do no more than a layer of one. Where all weights are 0, the gradients are 0, too, and only the last bias
    is trained.
    ## How to fix
    Initialise weights at random: leave PyTorch's default, or use `nn.init.kaiming_normal_` or
    `nn.init.xavier_uniform_`. Constants are for biases and for the scale of a normalisation. A branch that is to
    begin as nothing has 0 in its *last* layer only; of LoRA's two matrices, only one is 0.
    ## Limits
    Silent where the symmetry is broken within a few steps: a head or a last layer of a branch that begins at 0, a
    constant layer below random ones, constant units under dropout. Of wide layers the first 4,096 units and 64
    inputs are compared. Tables (`nn.Embedding`), layers of one unit and vectors are left out.
    ## Source
    Goodfellow, Bengio & Courville, *Deep Learning*, section 8.4: the initial parameters need to "break symmetry"
    between units. Units count as the same within 1e-3 of the largest value: rounding makes 1e-6, random
    initialisation 1. What is broken at all is broken by the first or second step, seldom by the third.
    """
    trained = any(facts.changed and facts.optimizers for facts in history.parameters.values())
    alike = {
        name: facts
        for name, facts in history.symmetric.items()
        if facts.looks >= min_looks and facts.last_step - facts.first_step >= min_steps
    }
    if not alike or not trained:
        return
    order = {name: facts.order for name, facts in history.parameters.items()}
    names = sorted(alike, key=lambda n: (order.get(n) is None, order.get(n) or 0, n))
    yield _finding(history, names, alike[names[0]], min_looks, min_steps)


def _finding(history: History, names: list[str], facts: SymmetryFacts, min_looks: int, min_steps: int) -> Finding:
    first = names[0]
    others = f", and so it is in {len(names) - 1} more" if len(names) > 1 else ""
    state = "all of them 0, with a gradient of 0" if facts.zero and facts.without_gradient else "with equal gradients"
    known = history.parameters.get(first)
    return Finding(
        "symmetric-init",
        Severity.ERROR,
        f"the {facts.units} units of {first} are the same, {state}, and still were at step {facts.last_step}{others}",
        Location(module=(known.module if known else "") or None, parameter=first),
        facts.first_step,
        facts.last_step,
        {
            "units": facts.units,
            "looks": facts.looks,
            "min_looks": min_looks,
            "steps": facts.last_step - facts.first_step,
            "min_steps": min_steps,
            "also_at": list(names[1:]),
        },
        cause="The weights were set to a constant, so that all units compute, and learn, the same.",
        remedy="Initialise the weights at random (nn.init.kaiming_normal_, nn.init.xavier_uniform_, or the default).",
    )
