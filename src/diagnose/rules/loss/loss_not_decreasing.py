"""loss-not-decreasing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnose.findings import Evidence, Finding, Location, Severity
from diagnose.history import FitFacts, History, PairingFacts
from diagnose.rules._base import rule
from diagnose.rules.loss._counterfactuals import (
    can_fit,
    cannot_fit,
    fit_evidence,
    fit_of,
    is_no_better,
    knows_its_targets,
    layers_of_linear_model,
    pairing_of,
)
from diagnose.rules.loss._course import (
    GUESSING,
    SOME,
    Course,
    already_trained,
    courses,
    guesses_by_call,
    opponents,
    warming_up,
)
from diagnose.stats.curves import fall, trend


@rule("loss-not-decreasing", needs=("loss",), overall=True)
def loss_not_decreasing(
    history: History,
    *,
    limit: float = 0.05,
    min_steps: int = 100,
    guessing: float = GUESSING,
    rise: float = 1.5,
) -> Iterator[Finding]:
    """The loss is where it was at the start: nothing is being learned.

    ## What it does
    Asks, after `min_steps` = 100 steps, two questions of a loss that never was a tenth below its start:

    - Where the loss function tells what a model without knowledge would get (ln K for K classes): is the
      loss at the end still at least `guessing` = 99 % of that, within its noise?
    - Otherwise: is it sure that the loss fell by less than `limit` = 5 % from the first fifth of the run
      to the last one (with an error that allows for correlated noise, at 97.5 %), is it not sure that it
      fell at all, is there no falling trend in between, and has it not risen to `rise` = 1.5 times its
      start?

    Then it says what two experiments have shown, where they could be made: whether copies of the weights fit a few
    examples of one batch within 100 steps of Adam, and whether the loss is lower with the targets of the examples
    than with targets that are permuted among them.
    ## Why it matters
    It is the symptom that all broken trainings share. This rule speaks on its own where no other rule
    knows the cause.
    ## How to fix
    Fit a single batch: if the loss does not go to its minimum there, it is a software defect (a loss of the wrong
    tensors, outputs that do not depend on the input, gradients that do not arrive), or a model that is too small. If
    it does, look at the learning rate, and whether labels belong to their inputs: a batch is learned by heart
    whatever its labels.
    ## Limits
    Silent where two optimizers may play against each other, for a loss without a floor (policy
    gradients, critics, densities), during warm-up, if an evaluation loss falls, if it is too noisy to
    tell, and where an earlier training of the same run had already brought it down. So it is where the loss is a tenth
    lower or more, by six standard deviations, than with permuted targets: then the model came with what it knows, as
    one does that is resumed from a file at its optimum. Without probes (`--no-probes`) the two look the same, except in
    classification.
    ## Source
    Karpathy, "A Recipe for Training Neural Networks", 2019 (loss at initialisation, overfit one batch).
    Goodfellow, Bengio & Courville, *Deep Learning*, sec. 11.5 (fit a tiny data set). Trend: Mann, 1945.
    Error of means under correlated noise: batch means, Conway, 1963. 5 % is half of what
    `update-too-large` and others count as learning.
    """
    for optimizer in history.optimizers:
        found = courses(history, optimizer)
        if opponents(history, optimizer) or warming_up(history, optimizer):
            continue
        if any(course.fell(SOME) for course in found) or _evaluation_falls(history):
            continue
        for course in found[:1]:
            if len(course) < min_steps or not course.anchored:
                continue
            guesses = course.guesses(guessing)
            if guesses is False or already_trained(history, course):
                continue
            # Of a sum, or a mean over something else, ln K is no level; of what the loss function is given, it is.
            guesses = guesses or guesses_by_call(history, course, guessing)
            pairing = pairing_of(history, optimizer)
            if not guesses and pairing is not None and knows_its_targets(pairing):
                continue
            if guesses or _flat(course, limit, rise):
                yield _finding(history, course, limit, guessing, guesses=bool(guesses), pairing=pairing)


def _flat(course: Course, limit: float, rise: float) -> bool:
    change = fall(course.first(0.2), course.last(0.2))
    scale = abs(change.before)
    return bool(
        change.at_most() <= limit * scale
        and change.size <= 2 * change.error
        and change.after < rise * course.start
        and trend(course.levels) > -2
    )


def _evaluation_falls(history: History) -> bool:
    for scope in history.scopes("eval_loss"):
        values = history.series("eval_loss", scope).values
        values = values[np.isfinite(values)]
        if len(values) > 1 and values[0] > 0 and values.min() < (1 - SOME) * values[0]:
            return True
    return False


def _finding(
    history: History, course: Course, limit: float, guessing: float, *, guesses: bool, pairing: PairingFacts | None
) -> Finding:
    facts = history.losses[course.streams[0]]
    change = fall(course.first(0.2), course.last(0.2))
    first, last = int(course.steps[0]), int(course.steps[-1])
    evidence: dict[str, Evidence] = {
        "loss_at_start": change.before,
        "loss_at_end": change.after,
        "error_of_the_difference": change.error,
        "steps": last - first + 1,
        "optimizer": course.optimizer,
    }
    if guesses and course.uninformed is not None:
        evidence |= {"loss_of_guessing": course.uninformed, "limit": guessing * course.uninformed}
        level = f", that of guessing ({course.uninformed:.3g})"
    elif guesses:
        evidence |= {"share_of_guessing_at_least": guessing}
        level = " (for each example, that of guessing)"
    else:
        evidence |= {"largest_possible_fall": change.at_most() / abs(change.before), "limit": limit}
        level = ""
    fit = fit_of(history, course.optimizer)
    shown, cause, remedy = _advice(fit, pairing)
    if layers := layers_of_linear_model(history, course.optimizer):
        shown += f". The model is a linear one: its {layers} layers compute what a single matrix would"
        cause = f"There is no activation between the layers. {cause}"
        remedy = f"Apply an activation after every layer but the last. {remedy}"
    return Finding(
        "loss-not-decreasing",
        Severity.WARNING,
        f"after {last - first + 1} steps the loss is still {change.after:.4g}{level}; it began at {change.before:.4g}"
        + shown,
        Location(file=facts.file, line=facts.line),
        first,
        last,
        evidence | fit_evidence(fit, pairing),
        cause=cause,
        remedy=remedy,
    )


def _advice(fit: FitFacts | None, pairing: PairingFacts | None) -> tuple[str, str, str]:
    """What the experiments add to the message, the cause and the remedy."""
    by_eye = "compare some inputs with their targets by eye, right where the loss is called"
    rates = "try learning rates 10 times higher and lower"
    if fit is not None and cannot_fit(fit):
        return (
            f". Copies of its weights do not fit {fit.examples} examples either: {fit.before:.3g} became "
            f"{fit.after:.3g} at best in {fit.steps} steps of Adam",
            "Not the learning rate alone: outputs that do not depend on the inputs, gradients that do not arrive, a "
            "loss of the wrong tensors, units that died, or a model that is too small.",
            "Look for the defect between inputs, outputs and loss: from the outputs backwards, which layer no longer "
            "tells two examples apart, or gets no gradient?",
        )
    if fit is not None and can_fit(fit):
        shown = (
            f". Copies of its weights fit {fit.examples} examples: {fit.before:.3g} became {fit.after:.3g} in "
            f"{fit.steps} steps of Adam"
        )
        if pairing is not None and is_no_better(pairing):
            return (
                f"{shown}. But on {pairing.batches} batches, targets that are permuted fit as well as their own",
                "Model, loss and gradients work. Targets that do not belong to their inputs, or a learning rate that "
                "is far off.",
                f"{by_eye[0].upper()}{by_eye[1:]}; if they belong together, {rates}.",
            )
        return (
            shown,
            "Model, loss and gradients work: the learning rate or the optimizer, or targets that do not belong to "
            "their inputs.",
            f"{rates[0].upper()}{rates[1:]}; {by_eye}.",
        )
    return (
        "",
        "Labels that do not belong to the inputs, outputs that do not depend on them, or a learning rate that is far "
        "off.",
        "Train on one batch only: if the loss does not go to its minimum there, look for the defect between "
        "inputs, outputs and loss; if it does, try learning rates 10 times higher and lower.",
    )
