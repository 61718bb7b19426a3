"""underfitting."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnose.findings import Evidence, Finding, Location, Severity
from diagnose.history import FitFacts, History
from diagnose.rules._base import NotRun, rule
from diagnose.rules.loss._counterfactuals import can_fit, fit_evidence, fit_of, layers_of_linear_model
from diagnose.rules.loss._course import Course, already_trained, main_course, opponents, warming_up
from diagnose.rules.loss._evaluation import SAME_UNITS, Evaluation, evaluations, whole
from diagnose.stats.curves import fall


@rule("underfitting", needs=("loss",), overall=True)
def underfitting(
    history: History,
    *,
    remains: float = 0.5,
    settled: float = 0.02,
    gap: float = 0.1,
    min_steps: int = 300,
    remains_affine: float = 0.2,
) -> Iterator[Finding]:
    """Training has settled on a high loss, and the evaluation loss is just as high.

    ## What it does
    After `min_steps` = 300 steps it asks of a loss that fell, but to no less than `remains` = 50 % of what a model
    without knowledge would have (ln K for K classes; elsewhere, of where it started):

    - Has it settled: is it sure that the third and the last quarter of the run differ by less than `settled` = 2 %?
    - Is nothing learned by heart: do all evaluation losses in the same units end no more than `gap` = 10 % above it?

    It tells whether copies of the weights fit a few examples of one batch, where that was tried.

    It warns, evaluation or not, if a model of several layers is seen to be a linear one: its outputs for the mean of a
    batch, for zeros and for inputs 10 times as large are, to a thousandth, those of a matrix and a constant. Its loss
    must have come to `remains_affine` = 20 % or more, and not be sure to fall further, by `settled`.
    ## Why it matters
    If more can be learned from these inputs, this training will not learn it: it does not even fit the examples that
    it sees. More data will not help.
    ## How to fix
    Fit one batch of some ten examples with the same model. If the loss does not go to zero there, the model is too
    small, too strongly regularised (weight decay, dropout, augmentation), or lacks what it needs in its inputs.
    If it does, train a larger model for longer and with a higher learning rate: if its loss ends lower, this one
    underfitted.
    ## Limits
    But for models that turn out to be linear it is a remark, never a warning: the same curves are those of a good model
    on data that are noisy in themselves, and nothing in one run tells the two apart (the lowest loss that can be had is
    the entropy of the targets given the inputs, and that is not known). A learning rate that has been taken down to
    zero settles any loss. It needs an evaluation in the same units as the training loss, but for linear models. Of
    these, one layer alone, or one that narrows in between (a matrix of low rank, a linear autoencoder), is taken to be
    meant.
    ## Source
    Goodfellow, Bengio & Courville, *Deep Learning*, sec. 5.2 (training error against generalisation gap) and 11.3
    (whether to gather more data). Karpathy, "A Recipe for Training Neural Networks", 2019: overfit first. 50 % is
    judgement: a model that is well below it has found most of what there is. 2 % and 10 % are the noise of losses
    averaged over some hundred steps, and of evaluations on a thousand examples. 20 %: what a fifth of the spread of
    the targets is left of may well be noise.
    """
    bent = dict(_affine_ones(history, min_steps, remains_affine, settled))
    for optimizer, course in bent.items():
        yield _affine_finding(history, course, layers_of_linear_model(history, optimizer), remains_affine)
    seen = whole(list(evaluations(history)))
    if not seen and not bent:
        raise NotRun("needs evaluation losses: a loss function in eval mode without gradients, or watch.log(val_loss=)")
    for optimizer in dict.fromkeys(each.training.optimizer for each in seen):
        own = [each for each in seen if each.training.optimizer == optimizer]
        course = own[0].training
        if optimizer in bent or not _judgeable(history, course, min_steps):
            continue
        gaps = [level / course.late for each in own if (level := _level(each)) and _in_its_units(level, course)]
        if not gaps or max(gaps) > 1 + gap:
            continue
        if course.remaining() >= remains and _settled(course, settled):
            yield _finding(history, course, max(gaps), remains)


def _judgeable(history: History, course: Course, min_steps: int) -> bool:
    if len(course) < min_steps or not course.anchored or not course.gained():
        return False
    optimizer = course.optimizer
    return not (opponents(history, optimizer) or warming_up(history, optimizer) or already_trained(history, course))


def _affine_ones(history: History, min_steps: int, remains: float, settled: float) -> Iterator[tuple[str, Course]]:
    """Optimizers whose only model has several layers and is affine all the same, with what the loss did."""
    for optimizer in history.optimizers:
        course = main_course(history, optimizer)
        if course is None or not layers_of_linear_model(history, optimizer):
            continue
        if not _judgeable(history, course, min_steps):
            continue
        if course.remaining() >= remains and not _still_falls(course, settled):
            yield optimizer, course


def _affine_finding(history: History, course: Course, layers: int, remains: float) -> Finding:
    facts = history.losses[course.streams[0]]
    return Finding(
        "underfitting",
        Severity.WARNING,
        f"the training loss settled at {course.late:.3g}, {100 * course.remaining():.0f} % of that of a model that "
        f"knows nothing, and the model is a linear one: its {layers} layers compute what a single matrix would",
        Location(file=facts.file, line=facts.line),
        int(course.steps[0]),
        int(course.steps[-1]),
        {
            "loss": course.late,
            "without_knowledge": course.reference,
            "remaining_share": course.remaining(),
            "remaining_share_limit": remains,
            "layers": layers,
            "optimizer": course.optimizer,
            **fit_evidence(fit_of(history, course.optimizer), None),
        },
        cause="There is no activation between the layers: it was forgotten, or is made and not called.",
        remedy="Apply an activation after every layer but the last.",
    )


def _level(each: Evaluation) -> float:
    return float(np.median(each.series.values[-3:]))


def _in_its_units(level: float, course: Course) -> bool:
    return course.late > 0 and 1 / SAME_UNITS <= level / course.late <= SAME_UNITS


def _settled(course: Course, share: float) -> bool:
    quarter = len(course) // 4
    change = fall(course.values[2 * quarter : 3 * quarter], course.values[3 * quarter :])
    return abs(change.size) + 2 * change.error <= share * course.reference


def _still_falls(course: Course, share: float) -> bool:
    quarter = len(course) // 4
    change = fall(course.values[2 * quarter : 3 * quarter], course.values[3 * quarter :])
    return change.size - 2 * change.error > share * course.reference


def _finding(history: History, course: Course, ratio: float, remains: float) -> Finding:
    facts = history.losses[course.streams[0]]
    evidence: dict[str, Evidence] = {
        "loss": course.late,
        "without_knowledge": course.reference,
        "remaining_share": course.remaining(),
        "remaining_share_limit": remains,
        "evaluation_over_training": ratio,
        "optimizer": course.optimizer,
    }
    fit = fit_of(history, course.optimizer)
    shown, cause, remedy = _advice(fit)
    return Finding(
        "underfitting",
        Severity.INFO,
        f"the training loss settled at {course.late:.3g}, {100 * course.remaining():.0f} % of that of a model that "
        f"knows nothing, and the evaluation loss is no higher{shown}",
        Location(file=facts.file, line=facts.line),
        int(course.steps[0]),
        int(course.steps[-1]),
        evidence | fit_evidence(fit, None),
        cause=cause,
        remedy=remedy,
    )


def _advice(fit: FitFacts | None) -> tuple[str, str, str]:
    """What a fit of a few examples adds to the message, the cause and the remedy."""
    larger = "a larger model and a higher learning rate: if the loss ends where it is now, it is the data."
    if fit is None:
        return (
            "",
            "The model is too small or too strongly regularised, its learning rate is too low, or the targets cannot "
            "be told better from these inputs.",
            f"Fit one small batch to zero loss; then try {larger}",
        )
    numbers = f"{fit.examples} examples: {fit.before:.3g} became {fit.after:.3g} at best in {fit.steps} steps of Adam"
    if can_fit(fit):
        return (
            f". Copies of its weights fit {numbers}",
            "Few examples can be learned by heart: the learning rate is too low, the regularisation too strong, the "
            "model too small for all the data, or the targets cannot be told better from these inputs.",
            f"Try {larger}",
        )
    return (
        f". Copies of its weights do not fit {numbers}",
        "The model is too small, or computes less than it seems to (no activation between layers, units that died), "
        "or its inputs do not tell the examples apart.",
        f"See whether it can fit some ten examples in a few hundred steps; then try {larger}",
    )
