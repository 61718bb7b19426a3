"""dead-units."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History
from diagnose.rules._base import rule
from diagnose.rules.activation._window import lasting
from diagnose.rules.loss._course import courses, first_break
from diagnose.stats.chance import dead_by_symmetry
from diagnose.stats.curves import trailing_run


@rule(
    "dead-units",
    needs=("silent_share",),
    explains=("vanishing-gradient", "update-too-small", "loss-not-decreasing", "constant-output"),
)
def dead_units(
    history: History,
    *,
    sigmas: float = 3.0,
    almost_all: float = 0.9,
    min_examples: int = 64,
    samples: int = 2,
    recovered: float = 0.1,
) -> Iterator[Finding]:
    """Most units of a layer are active for no example at all: they pass on nothing and cannot learn.

    ## What it does
    Takes the share of a hidden layer's units that were active for no example and no position of several
    whole batches (at least `min_examples` = 64 of them), and compares it with the largest share that
    chance explains: 1/2 plus `sigmas` = 3 standard deviations, which is 69 % of 64 units and 55 % of
    1,000. It speaks if the last `samples` = 2 windows or more, to the end of the watch, are above that:
    `warning`, and `error` from `almost_all` = 90 % on. Of an output layer it speaks only if all units
    are dead. Units that died in training, fewer than 90 %, get an `info` if the loss came down to
    `recovered` = 10 % of its start all the same, or is of a kind that cannot tell.
    ## Why it matters
    A ReLU that is negative for every input has the gradient 0 for every input: no step will ever bring
    it back. The layer works with the units that are left; if none are, nothing below it learns any more.
    ## How to fix
    If they died in training: lower the learning rate, or warm it up. If they were born dead: check the
    bias and the sign and scale of the initialisation (`kaiming_normal_`, bias 0), and normalise the
    inputs. LeakyReLU, GELU or a normalisation layer before the activation keep units alive.
    ## Limits
    Half of all *values* being 0 is healthy, and a unit that is silent in one batch is not dead. Up to
    half of the units may be dead in a healthy network: by symmetry, a unit that is negative for all
    inputs is as likely as one that is positive for all, and deep networks, or those with few inputs,
    come close to that. A unit that fires for 1 example in 500 counts as dead if the windows do not hold
    one.
    ## Source
    Lu, Shin, Su & Karniadakis, "Dying ReLU and initialization: theory and numerical examples", 2019; He
    et al., "Delving deep into rectifiers", 2015. The bound is `dead_by_symmetry`. 64 examples without
    activity show, with 95 % confidence, that a unit fires for fewer than 1 in 21 (0.95^64 = 4 %); a
    healthy ReLU fires for about half.
    """
    until = first_break(history)
    for name, facts in history.layers.items():
        if facts.units < 1 or facts.examples < min_examples or facts.role in ("gate", "attention"):
            continue
        limit = 1.0 if facts.role == "output" else dead_by_symmetry(facts.units, sigmas)
        found = lasting(history, "dead_share", name, limit, before=until, samples=samples)
        if found is None:
            continue
        began = _began(history, name, limit, found.first_step)
        born = began is None
        severity = Severity.ERROR if found.value >= almost_all else Severity.WARNING
        if severity is Severity.WARNING and not born and _does_without(history, recovered):
            severity = Severity.INFO
        yield Finding(
            "dead-units",
            severity,
            f"{100 * found.value:.0f} % of the {facts.units} units of {name} ({facts.kind}) are active for no example",
            Location(module=facts.module or name, file=facts.file, line=facts.line),
            1 if began is None else began,
            found.last_step,
            {
                "dead_share": found.value,
                "limit": limit,
                "dead_share_at_first": float(found.values[0]),
                "units": facts.units,
                "examples": facts.examples,
                "activation": facts.kind,
            },
            cause="They were dead when the watch began: a bias or an initialisation that is too negative, or inputs "
            "that are not normalised."
            if born
            else f"They died until step {began}: an update that was too large threw them where the slope is 0.",
            remedy="Initialise with kaiming_normal_ and bias 0, and normalise the inputs; or use LeakyReLU."
            if born
            else "Lower the learning rate or warm it up; a normalisation layer before the activation, or LeakyReLU, "
            "keeps units alive.",
        )


def _began(history: History, layer: str, limit: float, confirmed: int) -> int | None:
    """The step since which the units were silent, as the bounded samples show; None if they were from the first."""
    silent = history.series("silent_share", layer)
    since = trailing_run(silent.values >= limit)
    if since == 0:
        return None
    return int(silent.steps[since]) if since < len(silent) else confirmed


def _does_without(history: History, recovered: float) -> bool:
    """Whether a loss came down to `recovered` of its reference, or none has a level that means anything."""
    found = [course for optimizer in history.optimizers for course in courses(history, optimizer)]
    judgeable = [course for course in found if course.anchored]
    return not judgeable or any(course.remaining() <= recovered for course in judgeable)
