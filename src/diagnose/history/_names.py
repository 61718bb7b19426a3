"""The names of what is kept: quantities, and kinds of events."""

from __future__ import annotations

from typing import Final, Literal, get_args

Quantity = Literal[
    # Scope: a loss stream (one per line of the script that calls backward, and optimizer).
    "loss",
    # Scope: an evaluation stream, see EvaluationFacts: "eval", "eval@LINE".
    "eval_loss",
    # Scope: the name given to watch.log().
    "metric",
    # Scope: an optimizer. L2 norm over all its gradients as the step uses them / as clipping found them.
    "grad_norm",
    "grad_norm_before_clip",
    # Scope: "OPTIMIZER/GROUP". On sampled steps.
    "lr",
    # Scope: a parameter. Over the whole tensor, at the step, after clipping.
    "param_rms",
    "grad_rms",
    "grad_max",
    # Scope: a parameter. Over a window of at most 4,096 elements that rotates from sample to sample.
    "grad_zero_share",
    "grad_nonfinite_share",
    # Share of its elements that are 1 to 4 times the smallest number of half precision, if all are multiples of that.
    "grad_coarse_share",
    "update_rms",
    "update_ratio",
    # Scope: a layer (an activation or the output of a layer with parameters), over a bounded sample.
    "pre_mean",
    "pre_rms",
    "pre_min",
    "pre_max",
    "out_rms",
    "nonfinite_share",
    # Share of elements that are active; mean of |f'(pre)| / max |f'|; entropy of a softmax / ln(classes).
    "active_share",
    "slope_mean",
    "entropy_share",
    # Scope: a layer, over a window of batches: the share of its units that were active for no example
    # of the bounded samples / of whole batches (an exact maximum) / whose mean relative slope is below 0.1.
    "silent_share",
    "dead_share",
    "saturated_share",
    # Scope: a layer: the gradient of the loss with respect to its output.
    "output_grad_rms",
    "output_grad_zero_share",
    # Scope: an objective (a call of a loss function), over a bounded sample of rows: its value per example; how far
    # the outputs differ from row to row, and the targets; the class most rows are given, and the share that is.
    "objective",
    "output_spread",
    "output_scale",
    "target_spread",
    "answer",
    "answer_share",
    # Scope: "run". Wall seconds between optimizer steps, and how much of them was ours.
    "step_s",
    "own_s",
]
QUANTITIES: Final[tuple[str, ...]] = get_args(Quantity)

EventKind = Literal[
    # A loss, gradient, parameter or activation stopped being finite. detail: see collect/nonfinite.py.
    "non-finite",
    # A step used gradients that an earlier step had used already, added to new ones.
    "stale-gradients",
    # A step had no gradient that the step before it had not used.
    "no-new-gradient",
    # At least half of the backward passes since the step before were cleared away unused. detail: discarded, used,
    # same_line (whether a line that calls backward did both), file, line of backward, cleared_line.
    "gradients-discarded",
    # Gradients that another optimizer had used already were used by this one too. detail: other, parameters,
    # parameter, file, line of the step.
    "stepped-twice",
    # All parameters of another optimizer were stepped by this one too, with gradients of its own, and they are the last
    # ones before the loss: what this optimizer trains feeds them. detail: as of "stepped-twice".
    "stepped-by-both",
    # Clipping found a norm above its limit. detail: norm, limit, file, line.
    "clipped",
    # Before a step gradients were clipped that no step could use any more, or none. detail: after_step, exceeded,
    # limit, file, line.
    "clipped-too-late",
    # Gradients were clipped while GradScaler's factor was still in them. detail: scale, file, line.
    "clipped-while-scaled",
    # GradScaler found overflow and skipped the step. detail: scale, file, line.
    "step-skipped",
    # A collector raised and was switched off. detail: collector, error.
    "collector-failed",
    # A layer cannot be seen. detail: reason.
    "not-seen",
    # A model that is being trained ran without gradients, once or several times in a row. detail: see
    # collect/modes.py. Scope: the model.
    "ran-without-gradients",
    # Forward passes of a model in training mode, with gradients, that no backward went through. detail: see
    # collect/unused.py. Scope: the model.
    "forward-unused",
    # `state_dict` of a model was asked for / given back to it by `load_state_dict`. Scope: "run". detail: steps of
    # each optimizer by then.
    "state-saved",
    "state-loaded",
    # What was tracked of training examples says about their labels, at the end. detail: see
    # mistakes/_tracked.py, `summary`; or `not_tracked`, the reason why there is nothing. Scope: "run".
    "examples-tracked",
]
EVENT_KINDS: Final[tuple[str, ...]] = get_args(EventKind)
