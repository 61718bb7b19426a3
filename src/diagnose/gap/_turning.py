"""Where the test error, or the test loss, has turned upwards while the training went on."""

from __future__ import annotations

from typing import Final

import numpy as np

from diagnose.gap._error import Measured, figure
from diagnose.gap._situation import Situation
from diagnose.gap._stopping import CheckpointChoice, best_checkpoint
from diagnose.gap._widening import is_tiny
from diagnose.stats.intervals import Interval, newcombe

_FEWEST_EPOCHS: Final = 5


def checkpoints(situation: Situation) -> tuple[CheckpointChoice | None, CheckpointChoice | None]:
    """What the curves of the test error and of the test loss say of the last epoch; None where there is no curve."""
    found: list[CheckpointChoice | None] = []
    for what in ("error", "loss"):
        values = situation.curves.get(f"test_{what}")
        if np.isfinite(values).sum() < _FEWEST_EPOCHS:
            found.append(None)
            continue
        shares = what == "error" and situation.is_share and bool(((values >= 0) & (values <= 1)).all())
        n = int(situation.test.n) if shares and situation.test is not None else None
        train = situation.curves.get(f"train_{what}")
        both = {"validation": values, "train": train} if len(train) == len(values) else {"validation": values}
        found.append(best_checkpoint(both, n_test=n))
    return found[0], found[1]


def turned(situation: Situation, errors: CheckpointChoice | None) -> tuple[int, Interval] | None:
    """(epoch of the lowest test error, how much worse the last ones are), if that is beyond its noise.

    Beyond the noise of the curve (`best_checkpoint`), or, of shares, beyond that of two sets of as many test examples,
    between medians of three epochs. Both epochs see the same examples, so the latter is stricter than it had to be.
    """
    if errors is None:
        return None
    if errors.verdict == "too-late":
        return errors.best, errors.worse_by
    values, test = situation.curves.get("test_error"), situation.test
    if test is None or not test.is_share or not np.isfinite(values).all():
        return None
    levels = np.median(np.stack([values[:-2], values[1:-1], values[2:]]), axis=0).clip(0, 1)
    best = int(np.argmin(levels))
    worse = newcombe(float(levels[-1]) * test.n, test.n, float(levels[best]) * test.n, test.n)
    return (best + 2, worse) if worse.low > 0 else None


def learns_by_heart(situation: Situation) -> str | None:
    """What shows that a better fit of the training examples is no better model; None if nothing does.

    An experiment that fitted them worse, and answered more of the others rightly. Or curves: from some epoch on the
    training loss fell, the test loss rose beyond its noise, and the test error did not fall. A test loss alone may rise
    because the model grows too sure of answers that are as good as before, so errors that are shares need their own
    curve. An experiment in which a better fit lowered the test error says more than the curves.
    """
    gains = [(probe, probe.gain("train"), probe.gain("test")) for probe in situation.probes]
    for probe, train, test in gains:
        if train is not None and test is not None and train.high < 0 < test.low and probe.kind != "data":
            return (
                f"in an experiment with {probe.change} the test error fell by {situation.text(test)}, while the train "
                f"error changed from {_figure(probe.base_train)} to {_figure(probe.train)}"
            )
    if any(train is not None and test is not None and min(train.low, test.low) > 0 for _, train, test in gains):
        return None
    if is_tiny(situation):
        return None  # it has no room for that
    _, losses = checkpoints(situation)
    if losses is None or losses.verdict != "too-late" or losses.cause != "overfitting":
        return None
    errors = situation.curves.get("test_error")
    if len(errors):
        if len(errors) != len(situation.curves.get("test_loss")) or not np.isfinite(errors).all():
            return None
        around = errors[max(losses.best - 2, 0) : losses.best + 1]
        if float(np.mean(errors[-3:])) < float(np.mean(around)):
            return None
    elif situation.is_share:
        return None
    return (
        f"since epoch {losses.best} the training loss has fallen, while the test loss has risen and the test error has "
        "not fallen"
    )


def _figure(one: Measured | None) -> str:
    """An error as people read it."""
    return "?" if one is None else figure(one.value, one.is_share)
