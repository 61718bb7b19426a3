"""What experiments on a loss that does not fall have shown, as rules ask for it; see collect/counterfactuals.py."""

from __future__ import annotations

from typing import Final

from diagnose.findings import Evidence
from diagnose.history import FitFacts, History, PairingFacts

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

    Nor if equal inputs stood in its way: those may have different targets, which nothing can fit.
    """
    known = [
        facts
        for facts in history.fits.values()
        if facts.optimizer == optimizer
        and not facts.reason
        and facts.examples >= EXAMPLES
        and (can_fit(facts) or not facts.repeated)
    ]
    return known[-1] if len(known) == 1 else None


def reached(facts: FitFacts) -> float:
    """The lowest loss of a fit, as a share of what it began with or of the best constant answer, if that is lower."""
    level = min(facts.before, facts.constant)
    return facts.after / level if level > 0 else 0.0


def can_fit(facts: FitFacts) -> bool:
    return reached(facts) <= CAN_FIT


def cannot_fit(facts: FitFacts) -> bool:
    return reached(facts) >= CANNOT_FIT


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
