"""overfitting."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from diagnose.findings import Evidence, Finding, Severity
from diagnose.history import Event, History
from diagnose.rules._base import NotRun, rule
from diagnose.rules.loss._course import MEDIAN_ERROR, opponents
from diagnose.rules.loss._evaluation import SAME_UNITS, Evaluation, evaluations, whole
from diagnose.stats.curves import fall, noise, running_median, trend

SOON: Final = 0.25
"""How much of the time after the best evaluation may have passed at the last save."""


@rule("overfitting", needs=("loss",), overall=True)
def overfitting(
    history: History,
    *,
    lost: float = 0.2,
    lost_note: float = 0.1,
    of_level: float = 0.05,
    sigmas: float = 3.0,
    still_falling: float = 0.1,
    min_evaluations: int = 5,
    min_after: int = 3,
) -> Iterator[Finding]:
    """The evaluation loss has risen from its minimum while the training loss went on falling.

    ## What it does
    Takes each stream of evaluation losses (one place of the program, one data set) of `min_evaluations` = 5
    values or more, with `min_after` = 3 or more after the best, and compares its level at the end with its level at
    the best, both as medians. It speaks if

    - the rise is `sigmas` = 3 standard errors or more, and the values after the best have a rising trend;
    - it takes back `lost` = 20 % or more of what training had gained, from the start of training to the best
      (`lost_note` = 10 %: a remark, no warning), and is `of_level` = 5 % of the loss itself or more;
    - and the training loss fell by `still_falling` = 10 % or more in the meantime, beyond its noise.

    If the state of the model was saved at the best evaluation and no more in the last three quarters of what came after
    it, or loaded after training, the best model was kept, and it is a remark only.
    ## Why it matters
    The model learns its training examples by heart, at the price of what it gets right elsewhere. All training
    after the minimum was wasted or did harm.
    ## How to fix
    Stop at the minimum (keep the best state), or get more data: augmentation first. Then regularise: weight decay,
    dropout, a smaller model.
    ## Limits
    It needs evaluations that are seen: a loss function of torch called in eval mode without gradients, or
    `watch.log(val_loss=...)`. The accuracy may still rise where the cross-entropy does, because the model becomes too
    sure of its mistakes; that costs calibration only. A rise that a second descent would take back later (grokking)
    is reported until it is. Silent where two optimizers may play against each other.
    ## Source
    Goodfellow, Bengio & Courville, *Deep Learning*, sec. 5.2 and 7.8 (early stopping). Prechelt, "Early stopping - but
    when?", 1998: the generalisation loss, the rise over the minimum, wobbles by some per cent in healthy runs, so it is
    measured here against the whole gain and against its own noise. Guo et al., "On calibration of modern neural
    networks", 2017: in classifiers that train well the loss on held-out data rises again by some per cent of the gain;
    20 % is beyond that. Trend: Mann, 1945.
    """
    seen = whole(list(evaluations(history)))
    if not seen:
        raise NotRun("needs evaluation losses: a loss function in eval mode without gradients, or watch.log(val_loss=)")
    if max(len(each.series) for each in seen) < min_evaluations:
        raise NotRun(f"needs {min_evaluations} evaluations or more at one place")
    for each in seen:
        if len(each.series) < min_evaluations or opponents(history, each.training.optimizer):
            continue
        turn = _turn(each)
        if turn is None or turn.after < min_after or turn.share < lost_note:
            continue
        if turn.rise < of_level * abs(turn.best):
            continue
        if turn.rise < sigmas * turn.error or not turn.rises or not _went_on(each, turn, still_falling):
            continue
        yield _finding(each, turn, lost, lost_note, kept=_kept(history, each, turn))


@dataclass(frozen=True)
class _Turn:
    """How an evaluation loss turned: best and last level and step, gain up to the best, error of the rise."""

    best: float
    best_step: int
    next_step: int
    last: float
    last_step: int
    after: int
    gain: float
    error: float
    rises: bool

    @property
    def rise(self) -> float:
        return self.last - self.best

    @property
    def share(self) -> float:
        return self.rise / self.gain if self.gain > 0 else math.inf


def _turn(each: Evaluation) -> _Turn | None:
    """The turn at the lowest level; None if the loss had not been brought down before."""
    steps, values = each.series
    width = max(3, len(values) // 10) | 1
    levels = running_median(values, width)
    at = int(np.argmin(levels))
    # Levels of neighbours are equal more often than not; of these the best value is the best.
    near = np.flatnonzero(levels <= levels[at])
    at = int(near[np.argmin(values[near])])
    after = values[at:]
    spread = max(noise(after) if len(after) > 3 else 0.0, 0.0)
    start = _start(each)
    gain = start - float(levels[at])
    if gain <= 0:
        return None
    return _Turn(
        best=float(levels[at]),
        best_step=int(steps[at]),
        next_step=int(steps[min(at + 1, len(steps) - 1)]),
        last=float(np.median(values[-width:])),
        last_step=int(steps[-1]),
        after=len(values) - 1 - at,
        gain=gain,
        error=MEDIAN_ERROR * spread * math.sqrt(2 / width),
        rises=trend(after) > 1.6,  # four values in a row that rise have 1.7
    )


def _start(each: Evaluation) -> float:
    """What the evaluation loss was, or would have been, before training: the first one comes after an epoch, mostly."""
    first, training = float(each.series.values[0]), each.training
    now = float(np.median(each.training_around(-1, float(each.series.steps[0]))[-10:]))
    if not training.anchored or now <= 0 or first <= 0 or training.start <= 0:
        return first
    ratio = first / now
    factor = 1.0 if 1 / SAME_UNITS <= ratio <= SAME_UNITS else ratio
    return max(first, factor * training.start)


def _went_on(each: Evaluation, turn: _Turn, share: float) -> bool:
    """Whether the training loss fell by `share` from the best evaluation to the end, beyond its noise."""
    span = max(turn.last_step - turn.best_step, 1)
    before = each.training_around(turn.best_step - span / 3, turn.best_step)
    after = each.training_around(turn.last_step - span / 3, turn.last_step)
    change = fall(before, after)
    error = change.error if math.isfinite(change.error) else 0.0
    return change.size >= share * abs(change.before) and change.size > 2 * error


def _kept(history: History, each: Evaluation, turn: _Turn) -> bool:
    """Whether the state of the best evaluation was saved and then none for long, or one was loaded in the end.

    Saves that go on while the evaluation loss rises follow something else: the training loss, or the clock. The
    evaluation that was best by chance may come a little after the smoothed minimum.
    """
    optimizer = each.training.optimizer

    def made(event: Event) -> int:
        return int(event.detail.get("steps", {}).get(optimizer, 0))

    saved = {made(event) for event in history.events("state-saved")}
    if max(saved, default=0) - turn.best_step > SOON * (turn.last_step - turn.best_step):
        return False
    if any(turn.best_step <= step < max(turn.next_step, turn.best_step + 1) for step in saved):
        return True
    # A state that is loaded before another training begins is where that one starts.
    ends = {name: facts.steps for name, facts in history.optimizers.items()}
    loads = (event.detail.get("steps", {}) for event in history.events("state-loaded"))
    return any(all(steps.get(name) == end for name, end in ends.items()) for steps in loads)


def _finding(each: Evaluation, turn: _Turn, lost: float, lost_note: float, *, kept: bool) -> Finding:
    clear = turn.share >= lost
    evidence: dict[str, Evidence] = {
        "evaluation": each.scope,
        "lowest": turn.best,
        "at_step": turn.best_step,
        "at_the_end": turn.last,
        "error_of_the_rise": turn.error,
        "lost_share": turn.share,
        "lost_share_limit": lost if clear else lost_note,
        "training_loss_then": float(np.median(each.training_around(-1, turn.best_step)[-10:])),
        "training_loss_at_the_end": each.training.late,
        "best_state_was_kept": kept,
    }
    said = f"the evaluation loss rose from {turn.best:.3g} at step {turn.best_step:,} to {turn.last:.3g}"
    return Finding(
        "overfitting",
        Severity.WARNING if clear and not kept else Severity.INFO,
        f"{said}, while the training loss went on falling" + (" (the best state was kept)" if kept else ""),
        each.where,
        turn.best_step,
        turn.last_step,
        evidence,
        cause="The model is large for the data and trained for long: it learns the training examples by heart.",
        remedy=f"Stop near step {turn.best_step:,} and keep that state; augment the data or get more; then add weight "
        "decay or dropout, or make the model smaller.",
    )
