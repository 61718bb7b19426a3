"""log-softmax-mismatch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from diagnose.findings import Finding, Severity
from diagnose.history import History, ObjectiveFacts
from diagnose.rules._base import rule
from diagnose.rules.objective._calls import evidence, objectives, total_falls_below_zero, where

_LOGARITHMS = ("logsoftmax", "log", "logsigmoid")


class _Mismatch(NamedTuple):
    message: str
    remedy: str
    severity: Severity = Severity.ERROR


@rule(
    "log-softmax-mismatch",
    explains=("loss-not-decreasing", "loss-diverging", "nan-or-inf", "vanishing-gradient", "saturated-units"),
)
def log_softmax_mismatch(history: History, *, at_least: int = 3, share: float = 0.9) -> Iterator[Finding]:
    """The loss wants log-probabilities and is given probabilities or raw outputs, or the reverse.

    ## What it does
    Speaks if in `share` = 90 % of at least `at_least` = 3 calls

    - `nll_loss` or `kl_div` is given probabilities as its input: rows between 0 and 1 with sum 1;
    - `nll_loss` is given numbers that are no log-probabilities at all: most rows stand for probabilities
      that add up to more than 1.1; `kl_div` numbers of which a tenth or more are positive, against targets
      that are probabilities;
    - the target of `kl_div` is logarithms without `log_target=True`, or probabilities with it.
    ## Why it matters
    `nll_loss` only picks one number from each row and turns its sign. Of probabilities the loss is between
    -1 and 0, and its gradient vanishes where the model is sure, right or wrong. Of raw outputs it has no
    lower bound: the outputs grow until they overflow. `kl_div` of such inputs is no divergence, and of a
    target of logarithms it is NaN.
    ## How to fix
    Apply `log_softmax(x, dim=1)` before `nll_loss` and `kl_div`, or use `cross_entropy` on raw outputs.
    ## Limits
    Rows that add up to less than 1, as parts of a joint distribution do, are not meant; nor is
    `nll_loss` of raw outputs as one of several terms (together with a log-sum-exp it is a cross-entropy): an
    info then, as long as their sum does not fall below zero. A loss that was given log-probabilities by a graph
    that says so is never suspected.
    ## Source
    PyTorch documentation, `torch.nn.NLLLoss` ("the input is expected to contain log-probabilities"),
    `torch.nn.KLDivLoss`. 1.1 leaves room for half precision and clamped logarithms; at the start raw outputs
    of K classes add up to about K.
    """
    for _, facts in objectives(history, "nll_loss", "kl_div"):
        if facts.calls < at_least:
            continue
        needed = share * facts.calls
        if facts.name == "nll_loss":
            found = _of_nll(facts, needed, is_all=facts.alone > 0 or total_falls_below_zero(history, facts))
        else:
            found = _of_kl(facts, needed)
        if found is not None:
            yield Finding(
                "log-softmax-mismatch",
                found.severity,
                found.message,
                where(facts),
                facts.first_step,
                facts.last_step,
                evidence(
                    facts,
                    calls_with_probabilities=facts.distributions,
                    calls_with_sums_above_one=facts.above_one,
                    calls_with_positive_values=facts.positive,
                    limit=needed,
                ),
                cause="The softmax, the logarithm and the loss function do not fit together.",
                remedy=found.remedy,
            )


def _of_nll(facts: ObjectiveFacts, needed: float, *, is_all: bool) -> _Mismatch | None:
    if _is_logarithm(facts):
        return None
    if facts.distributions >= needed:
        return _Mismatch(
            "nll_loss is given probabilities where it wants log-probabilities: the loss is the mean of -p",
            "Replace softmax by log_softmax, or leave it out and use cross_entropy.",
        )
    if facts.above_one >= needed:
        return _Mismatch(
            "nll_loss is given numbers that are no log-probabilities (their exponentials add up to more than one): "
            "the loss has no lower bound",
            "Apply log_softmax before nll_loss, or use cross_entropy.",
            # A cross-entropy may be written as log-sum-exp minus the output of the right class.
            Severity.ERROR if is_all else Severity.INFO,
        )
    return None


def _of_kl(facts: ObjectiveFacts, needed: float) -> _Mismatch | None:
    log_target = "log_target" in facts.options
    if not log_target and facts.target_logs >= needed:
        return _Mismatch(
            "the target of kl_div is logarithms, and it wants probabilities unless log_target=True",
            "Give it probabilities, or pass log_target=True.",
        )
    if log_target and facts.target_distributions >= needed:
        return _Mismatch(
            "the target of kl_div is probabilities, and with log_target=True it wants their logarithms",
            "Leave out log_target=True, or give it log-probabilities.",
        )
    if _is_logarithm(facts):
        return None
    if facts.distributions >= needed:
        return _Mismatch(
            "kl_div is given probabilities as its input, where it wants log-probabilities",
            "Apply log_softmax, not softmax, to the outputs; the target stays as it is.",
        )
    if facts.positive >= needed and facts.target_distributions >= needed:
        return _Mismatch(
            "kl_div is given numbers above zero as its input: these are no log-probabilities",
            "Apply log_softmax to the outputs.",
        )
    return None


def _is_logarithm(facts: ObjectiveFacts) -> bool:
    return bool(facts.operations) and facts.operations[0] in _LOGARITHMS
