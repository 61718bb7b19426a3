"""ema-stale."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import CopyFacts, History
from diagnose.rules._base import rule


@rule("ema-stale")
def ema_stale(
    history: History, *, min_evaluations: int = 3, min_share: float = 0.5, min_updates: int = 3
) -> Iterator[Finding]:
    """An averaged copy of the model is evaluated, but its parameters or its running statistics never follow.

    ## What it does
    Looks at every model of the same shapes as a trained one that no optimizer holds, when it is called in eval mode or
    without gradients. It speaks in these cases:

    - The copy's parameters follow the model, but the running means and variances of its normalisation layers do not:
      they have seen no batch, or stay what they are while the model's change.
    - Torch's `AveragedModel` is still the average of no model after `min_share` = 50 % of the run.
    - The copy is what the model was before its first step, and yet somebody keeps it up to date: after
      `min_updates` = 3 or more steps each of its parameters was multiplied by a number, or blended with another tensor,
      and the result thrown away; or its running statistics are those of the model, and new. Not where another copy of
      the same model does follow, which may be what the result went into.
    - The copy is that at each of `min_evaluations` = 3 or more evaluations, and not used in training.
    ## Why it matters
    `copy.parameters()` does not include buffers: a moving average over it leaves BatchNorm's statistics at 0 and 1,
    or at those of long ago, and the copy is evaluated with numbers that do not belong to its weights. An update that
    only rebinds a variable (`p_ema = decay * p_ema + ...`), or is never called, changes nothing at all.
    ## How to fix
    Update the buffers as well (`for b_ema, b in zip(ema.buffers(), model.buffers()): b_ema.copy_(b)`), build
    `AveragedModel(..., use_buffers=True)`, or call `torch.optim.swa_utils.update_bn(loader, swa_model)` before
    evaluating. Change parameters in place: `p_ema.lerp_(p, 1 - decay)`.
    ## Limits
    Silent about frozen teachers and target networks, which are used in training and which nothing tries to change;
    about copies evaluated once or twice that never moved, as a baseline is; and about averages that are kept in a
    dictionary. What is multiplied is seen where gradients are off, or close to a sampled step. A copy whose model keeps
    its own statistics fixed is healthy.
    ## Source
    PyTorch documentation, `torch.optim.swa_utils`: "`update_bn` ... computes the batchnorm statistics for the SWA
    model"; Izmailov et al. 2018, section 3.2. The numbers are judgement: nobody evaluates three times a model that
    cannot have changed, and averaging that has not begun after half of a run is late. Three updates, each a few steps
    after the last: a single one, or one after each epoch, may be a point between two models that somebody looks at
    (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022).
    """
    for copy in history.copies:
        if not copy.source_moved:
            continue
        if copy.follows and copy.statistics and _statistics_are_stale(copy):
            yield _finding(
                copy,
                f"the parameters of a copy of the model ({copy.model}) follow it, but its running statistics "
                + ("have seen no batch" if copy.statistics_are_new else "stay what they are"),
                "The average is taken over parameters() only; buffers are not among them.",
                "Copy the buffers, too, or call torch.optim.swa_utils.update_bn before evaluating.",
            )
        elif copy.averaged == 0 and copy.last_step >= min_share * history.run.steps:
            yield _finding(
                copy,
                f"an AveragedModel ({copy.model}) is evaluated after {copy.last_step} of {history.run.steps} steps and "
                "is the average of no model yet",
                "update_parameters() is never called, or not before its first use.",
                "Call averaged.update_parameters(model) after each step or epoch that is to count.",
            )
        elif _never_moved(copy) and copy.averaged is None and _is_kept(history, copy, min_updates):
            yield _finding(
                copy,
                f"a copy of the model ({copy.model}) is updated in vain: after {copy.last_step} steps it is used, and "
                "its parameters are what the model's were before the first step"
                + (
                    "; they were multiplied or blended again and again, and the results thrown away"
                    if copy.scaled >= min_updates
                    else ", though its running statistics are the model's"
                ),
                "The update makes new tensors instead of changing the copy's parameters (mul, add, lerp without _; "
                "p_copy = ...), or it goes over the buffers only.",
                "Change the copy in place, after each step: p_copy.lerp_(p, 1 - decay) under no_grad().",
            )
        elif (
            _never_moved(copy)
            and not copy.looks_in_training
            and copy.averaged is None
            and copy.looks_in_evaluation >= min_evaluations
        ):
            yield _finding(
                copy,
                f"a copy of the model ({copy.model}) was evaluated {copy.looks_in_evaluation} times, last after "
                f"{copy.last_step} steps, and is what the model was before the first step",
                "The update of the copy is never called, or makes new tensors instead of changing its parameters.",
                "Change the copy in place, after each step: p_copy.lerp_(p, 1 - decay) under no_grad().",
            )


def _statistics_are_stale(copy: CopyFacts) -> bool:
    stays = copy.moved > 0 and not copy.statistics_moved and copy.source_statistics_moved > 0
    return copy.statistics_are_new or stays


def _never_moved(copy: CopyFacts) -> bool:
    return copy.is_start and not copy.moved and not copy.follows


def _is_kept(history: History, copy: CopyFacts, min_updates: int) -> bool:
    """Whether somebody tries to keep the copy up to date, and has no other that he might mean."""
    others = any(other.type == copy.type and (other.follows or other.moved) for other in history.copies)
    return not others and (copy.scaled >= min_updates or copy.statistics_are_models)


def _finding(copy: CopyFacts, message: str, cause: str, remedy: str) -> Finding:
    return Finding(
        "ema-stale",
        Severity.WARNING,
        message,
        Location(module=copy.model, file=copy.file, line=copy.line),
        copy.first_step,
        copy.last_step,
        {
            "looks": copy.looks_in_training + copy.looks_in_evaluation,
            "parameters_moved": copy.moved,
            "statistics_moved": copy.statistics_moved,
            "model_statistics_moved": copy.source_statistics_moved,
            "averaged": copy.averaged,
            "updates_in_vain": copy.scaled,
        },
        cause=cause,
        remedy=remedy,
    )
