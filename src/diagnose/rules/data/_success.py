"""How much of what can be learned a training has learned, as far as the history tells."""

from __future__ import annotations

import math

import numpy as np

from diagnose.history import History
from diagnose.rules.loss._course import main_course

_CLASSES = ("NllLoss", "BinaryCrossEntropy")
# What backward is called on; the mean of absolute differences is made of operations.
_REGRESSION = {"mse_loss": "MseLoss", "smooth_l1_loss": "SmoothL1Loss", "huber_loss": "HuberLoss", "l1_loss": "Mean"}


def left_to_learn(history: History, optimizer: str) -> float:
    """The loss at the end as a share of what the best answer that ignores the inputs would give; NaN if unknown.

    That is the entropy of the classes, or for a regression what the spread of the targets says. What a loss begins
    with is no measure: inputs that are too large make it begin high. Where neither is known, it is the share of the
    start that is left all the same.
    """
    course = main_course(history, optimizer)
    if course is None or not len(course):
        return math.nan
    if course.broke_at is not None:
        return math.inf
    grad_fn = history.losses[course.streams[0]].grad_fn if len(course.streams) == 1 else ""
    constant = math.nan
    if grad_fn.startswith(_CLASSES):
        constant = class_entropy(history, optimizer)
    else:
        known = [facts for facts in history.targets.values() if facts.optimizer == optimizer and facts.count]
        if len(known) == 1 and grad_fn.startswith(_REGRESSION[known[0].loss]):
            constant = known[0].constant
    if constant > 0:
        return course.late / constant
    return course.remaining()


def class_entropy(history: History, optimizer: str) -> float:
    """Entropy in nats of the classes of the batches of the only loss of `optimizer`; NaN if it is not known."""
    known = [facts for facts in history.labels.values() if facts.optimizer == optimizer]
    if len(known) != 1:
        return math.nan
    totals: dict[int, int] = {}
    for _, classes, counts in known[0].batches:
        for label, count in zip(classes, counts, strict=True):
            totals[label] = totals.get(label, 0) + count
    if not totals:
        return math.nan
    shares = np.array(list(totals.values())) / sum(totals.values())
    return float(-(shares * np.log(shares)).sum())
