"""frozen-in-train."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History, ModeFacts
from diagnose.rules._base import rule

# A normalisation that does nothing leaves a deep network with the signals that it was built to keep in bounds.
_SYMPTOMS = (
    "loss-not-decreasing", "loss-diverging", "underfitting", "overfitting", "constant-output", "dead-units",
    "saturated-units", "vanishing-gradient", "exploding-gradient",
)  # fmt: skip


@rule("frozen-in-train", explains=_SYMPTOMS)
def frozen_in_train(
    history: History,
    *,
    at_least: int = 3,
    share: float = 0.1,
    trained: float = 0.5,
) -> Iterator[Finding]:
    """The model trains in evaluation mode: dropout does nothing, batch normalisation learns no statistics.

    ## What it does
    Looks at dropout (p > 0) and at normalisations with running statistics in the steps that were sampled: did
    they run in evaluation mode, and was the model still in it when the optimizer stepped? It speaks if that
    was so in `at_least` = 3 steps and in `share` = 10 % of those since the first one, if the optimizer trains
    at least the share `trained` = 50 % of the model, and if

    - the same optimizer had trained the model in training mode before (`model.eval()` for an evaluation, and
      no `model.train()` after it), or
    - the model never was in training mode, and has dropout, or running statistics that are still those of a
      new module (mean 0, variance 1): then the normalisation does nothing at all.

    A model with statistics from an earlier training that is trained on in evaluation mode from the first step
    on may be meant so: an info.
    ## Why it matters
    Without dropout the model is trained without the regularisation that it is built for. Batch normalisation
    with fixed statistics no longer normalises: as the weights move on, the activations drift away from the
    statistics, and training becomes slow or unstable. Nothing fails, and the loss may look fine.
    ## How to fix
    Call `model.train()` at the start of every training epoch, and after each evaluation. Models loaded with
    `from_pretrained` come in evaluation mode.
    ## Limits
    Silent where the model itself is in training mode and only some modules are not (normalisation frozen on
    purpose, dropout that ends early), for normalisations whose own parameters are not trained, for models of
    which less than half is trained (a new head, adapters), and where the model is back in training mode when
    the optimizer steps (adversarial examples made in evaluation mode).
    ## Source
    PyTorch documentation, `torch.nn.Module.eval`. Ioffe & Szegedy, "Batch Normalization", 2015, sec. 3.1: the
    batch's own statistics in training. The numbers are judgement: a forgotten `train()` spoils all steps from the
    first evaluation on, or, where it stands before the loop of an epoch, those from an evaluation to the end of
    the epoch.
    """
    for facts in history.modes.values():
        steps = facts.off + (facts.on if facts.last_on > facts.first_off else 0)
        if facts.off < at_least or facts.off < share * steps or 2 * facts.model_on > facts.off:
            continue
        if not facts.trained or facts.share < trained:
            continue
        severity, how = _judged(history, facts)
        yield Finding(
            "frozen-in-train",
            severity,
            f"{_name(facts)} ran in evaluation mode in {facts.off} of the {facts.on + facts.off} training steps that "
            f"were looked at, {how}",
            _where(history, facts),
            facts.first_off,
            facts.last_off,
            {
                "steps_in_evaluation_mode": facts.off,
                "steps_in_training_mode": facts.on,
                "limit": at_least,
                "share_of_model_trained": facts.share,
                "share_limit": trained,
                "statistics_are_new": facts.fresh,
                "dropout_p": facts.p,
                "model": facts.model,
                "optimizer": facts.optimizer,
            },
            cause="model.eval() was called for an evaluation, or when the model was loaded, and model.train() was not "
            "called after it.",
            remedy="Call model.train() before every training epoch, and again after each evaluation inside of it.",
        )


def _judged(history: History, facts: ModeFacts) -> tuple[Severity, str]:
    if facts.on and facts.first_on < facts.first_off:
        return Severity.WARNING, f"from step {facts.first_off} on; before, it had been in training mode"
    if facts.fresh:
        return Severity.WARNING, "and its running statistics are still those of a new module: it normalises nothing"
    if facts.kind == "normalization" or _has_statistics(history, facts):
        return Severity.INFO, "with the running statistics of an earlier training"
    return Severity.WARNING, "so it never drops anything"


def _has_statistics(history: History, facts: ModeFacts) -> bool:
    """Whether the model brings running statistics along: then evaluation mode may be a way to keep them."""
    return any(
        other.kind == "normalization" and other.model == facts.model and other.off and not other.fresh
        for other in history.modes.values()
    )


def _where(history: History, facts: ModeFacts) -> Location:
    """The module, and the line that runs it; else the evaluation that came before; else the one that trains."""
    if facts.file is not None:
        return Location(file=facts.file, line=facts.line)
    before = [e.detail for e in history.events("ran-without-gradients", facts.model) if e.step < facts.first_off]
    if before and facts.on:
        return Location(module=facts.module, file=before[-1]["file"], line=before[-1]["line"])
    optimizer = history.optimizers.get(facts.optimizer)
    file, line = (optimizer.file, optimizer.line) if optimizer is not None else (None, None)
    return Location(module=facts.module, file=file, line=line)


def _name(facts: ModeFacts) -> str:
    return f"{facts.module} ({facts.type})" if facts.module else f"the call of {facts.type}"
