"""train-mode-in-eval."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History
from diagnose.rules._base import rule
from diagnose.rules.mode._evaluations import Evaluation, evaluations, with_gradients


@rule("train-mode-in-eval")
def train_mode_in_eval(history: History, *, runs: int = 3, share: float = 0.5) -> Iterator[Finding]:
    """The model is evaluated in training mode: dropout is active, or the test data enter running statistics.

    ## What it does
    Looks at the forward passes without gradients (`torch.no_grad`, `torch.inference_mode`) of a model that is
    being trained, between one backward and the next. They are taken for an evaluation if

    - a loss function is called, and the model runs on `runs` = 3 or more different inputs, or on inputs of
      another shape than the training batches, or on inputs that it was given at the last such occasion, or
    - no loss is called, but training gives the model's output to a loss function, this does not happen between
      any two steps, and the inputs are as above, or
    - the inputs are those of the last occasion, and training puts no further model behind this one.

    Passes in training mode with gradients enabled are judged likewise if no backward ever goes through them, they are
    not made between any two steps, no losses of single examples are taken of them, and training has other inputs.

    It speaks if dropout (p > 0) was active or batch normalisation used and updated its running statistics in
    such evaluations, unless the share `share` = 50 % or more of the model's evaluations were in evaluation
    mode: then some may be meant, and it is an info. It also speaks if the model is in evaluation mode, and
    yet a dropout is active that `eval()` does not reach: `F.dropout(x, p)` without `training=self.training`, or
    a module in a plain list.
    ## Why it matters
    With dropout active, the measured error is that of a damaged network, and another one each time. With
    batch normalisation in training mode, each prediction depends on the other examples of its batch, and the
    test data change the model that is evaluated. Early stopping and model selection follow the wrong number.
    ## How to fix
    Call `model.eval()` before every evaluation and `model.train()` after it. In functions, write
    `F.dropout(x, p, training=self.training)`. Keep modules in an `nn.ModuleList`.
    ## Limits
    Silent about Monte-Carlo dropout (the same input several times, or only dropout modules in training mode),
    statistics that are estimated anew (outputs that nobody uses; momentum None), teachers and targets (one
    pass within each step), generators whose samples go on to another model, models without dropout or running
    statistics, the accuracy of the batch just trained on, and play (rollouts) of a policy. An evaluation with
    gradients enabled is recognised where a DataLoader begins or a sampled step does: elsewhere it may be missed.
    ## Source
    PyTorch documentation, `torch.nn.Module.eval` and "Autograd mechanics", section "Evaluation mode": disabling
    gradients does not set evaluation mode. Gal & Ghahramani, "Dropout as a Bayesian Approximation", 2016, on
    when it is meant. The numbers are judgement: a teacher or a target takes one pass, or one for each of two views.
    """
    for model in dict.fromkeys(event.scope for event in history.events("ran-without-gradients")):
        found = list(evaluations(history, model, runs=runs))
        if unreached := [e for e in found if e.unreached and not e.in_training_mode and not e.on]:
            yield _out_of_reach(unreached)
        active = [e for e in found if e.in_training_mode and (e.on or e.unreached)]
        proper = [e for e in found if not e.in_training_mode]
        if active:
            yield _in_training_mode(active, proper, share)
    for model in dict.fromkeys(event.scope for event in history.events("forward-unused")):
        graded = list(with_gradients(history, model, runs=runs))
        proper = [e for e in evaluations(history, model, runs=runs) if not e.in_training_mode]
        if graded:
            yield _in_training_mode(graded, proper, share, gradients="with gradients that no backward uses")


def _in_training_mode(
    active: list[Evaluation], proper: list[Evaluation], share: float, gradients: str = "without gradients"
) -> Finding:
    number = len(active) + len(proper)
    is_meant = len(proper) >= share * number
    first = active[0]
    return Finding(
        "train-mode-in-eval",
        Severity.INFO if is_meant else Severity.WARNING,
        f"{first.model} ran {gradients} in training mode in {len(active)} of {number} evaluations that were "
        f"looked at, with {_listed(first.on or first.unreached)} active",
        Location(file=first.file, line=first.line),
        min(e.step for e in active),
        max(e.step for e in active),
        {
            "evaluations_in_training_mode": len(active),
            "evaluations_in_evaluation_mode": len(proper),
            "limit": share,
            "inputs_in_a_row": first.runs,
            "with_a_loss": first.has_loss,
            "model": first.model,
            "active": list(first.on or first.unreached),
        },
        cause="model.eval() is missing before the evaluation. torch.no_grad() does not change the mode.",
        remedy="Call model.eval() before the evaluation, and model.train() after it.",
    )


def _out_of_reach(found: list[Evaluation]) -> Finding:
    first = found[0]
    return Finding(
        "train-mode-in-eval",
        Severity.WARNING,
        f"{first.model} is evaluated in evaluation mode, but {_listed(first.unreached)} is active all the same: eval() "
        "does not reach it",
        Location(file=first.file, line=first.line),
        min(e.step for e in found),
        max(e.step for e in found),
        {
            "evaluations": len(found),
            "inputs_in_a_row": first.runs,
            "model": first.model,
            "active": list(first.unreached),
        },
        cause="F.dropout(x, p) drops unless it is told training=False; a module in a plain list or dictionary is not "
        "part of the model.",
        remedy="Write F.dropout(x, p, training=self.training); keep modules in an nn.ModuleList or as attributes.",
    )


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
