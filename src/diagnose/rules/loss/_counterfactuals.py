"""What experiments on a loss that does not fall have shown, as rules ask for it; see collect/counterfactuals.py."""

from __future__ import annotations

from typing import Final

from diagnose.findings import Evidence
from diagnose.history import FitFacts, History, PairingFacts
from diagnose.rules.optimizer._weights import stepped_by

BATCHES: Final = 5
"""Batches that tell whether a loss knows its targets: one alone may do so by chance."""

EXAMPLES: Final = 8
CAN_FIT: Final = 0.5
"""Share of the loss of the best constant answer. Half of it is gone only where examples are told apart."""

CANNOT_FIT: Final = 0.9

KNOWS: Final = 0.1
KNOWS_SIGMAS: Final = 6.0
NO_BETTER: Final = 0.01
"""Share of the shuffled loss. It must be so little, and no more than chance may bring about: a network that begins to
learn, if only a few labels by heart, is beyond chance soon."""


def pairing_of(history: History, optimizer: str) -> PairingFacts | None:
    """Of the losses of `optimizer`, the one that knows its targets best; None if it is not known."""
    known = [
        facts
        for facts in history.pairings.values()
        if facts.optimizer == optimizer and not facts.reason and facts.batches >= BATCHES
    ]
    return max(known, key=gain, default=None)


def gain(facts: PairingFacts) -> float:
    """How far the loss lies below that with permuted targets, as a share of the latter."""
    return (facts.shuffled - facts.loss) / facts.shuffled if facts.shuffled > 0 else 0.0


def knows_its_targets(facts: PairingFacts) -> bool:
    return gain(facts) >= KNOWS and facts.sigmas >= KNOWS_SIGMAS


def is_no_better(facts: PairingFacts) -> bool:
    """Whether the targets of the examples fit no better than those of others."""
    return facts.sigmas < 2 and gain(facts) < NO_BETTER


def fit_of(history: History, optimizer: str) -> FitFacts | None:
    """The latest fit of a few examples for `optimizer`; None if there was none, or if it may be about several models.

    Nor if a constant answer fits them all, or equal inputs stood in its way: those may have different targets, which
    nothing can fit.
    """
    known = [
        facts
        for facts in history.fits.values()
        if facts.optimizer == optimizer and not facts.reason and facts.examples >= EXAMPLES and _tells(facts)
    ]
    return known[-1] if len(known) == 1 else None


def _tells(facts: FitFacts) -> bool:
    """Whether there was something to fit, and nothing that cannot be fitted."""
    return min(facts.before, facts.constant) > 0 and (can_fit(facts) or not facts.repeated)


def reached(facts: FitFacts) -> float:
    """The lowest loss of a fit, as a share of what it began with or of the best constant answer, if that is lower."""
    level = min(facts.before, facts.constant)
    return facts.after / level if level > 0 else 0.0


def can_fit(facts: FitFacts) -> bool:
    return reached(facts) <= CAN_FIT


def cannot_fit(facts: FitFacts) -> bool:
    return reached(facts) >= CANNOT_FIT


def layers_of_linear_model(history: History, optimizer: str) -> int:
    """How many layers the only model of `optimizer` has, if it has several and is affine in its inputs; else 0.

    Also 0 where a layer in between is narrower than what comes in and goes out: a matrix of low rank, made on purpose.
    """
    tried = [each for each in history.constant_inputs.values() if each.optimizer == optimizer and not each.reason]
    if len(tried) != 1 or not tried[0].affine:
        return 0
    trained = stepped_by(history, optimizer)
    known = [facts for name, facts in history.parameters.items() if name in trained and len(facts.shape) > 1]
    shapes = [facts.shape for facts in sorted(known, key=lambda facts: facts.order or 0)]
    if len(shapes) < 2 or min(shape[0] for shape in shapes[:-1]) < min(shapes[0][1], shapes[-1][0]):
        return 0
    return len(shapes)


def fit_evidence(fit: FitFacts | None, pairing: PairingFacts | None) -> dict[str, Evidence]:
    """The numbers of both."""
    found: dict[str, Evidence] = {}
    if fit is not None:
        found |= {"fit_examples": fit.examples, "fit_steps": fit.steps, "fit_from": fit.before, "fit_to": fit.after}
    if pairing is not None:
        found |= {
            "loss_of_permuted_targets": pairing.shuffled,
            "loss_of_own_targets": pairing.loss,
            "permuted_sigmas": pairing.sigmas,
            "permuted_batches": pairing.batches,
        }
    return found
