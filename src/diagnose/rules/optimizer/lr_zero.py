"""lr-zero."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from diagnose.findings import Evidence, Finding, Location, Severity
from diagnose.history import Floats, History, Ints, OptimizerFacts, SchedulerFacts
from diagnose.rules._base import rule

_LOW_LEVEL: Final = 0.01
_LOW_SHARE: Final = 0.76
"""A rate that decays exponentially by steps, and is at 1 % for the last 76 % of a run, is below 6e-5 of its peak for
half of it: 0.24 * ln 6e-5 / ln 0.01 = 0.51. From there a step of the usual size, 1e-3 of the weights at the peak, is
less than float32 can add to them (2 ** -24 = 6e-8), so for `share` of the run nothing moves at all."""


@rule("lr-zero", explains=("update-too-small", "loss-not-decreasing", "parameter-not-updated"), overall=True)
def lr_zero(
    history: History,
    *,
    small: float = 1e-3,
    share: float = 0.5,
    share_by_epoch: float = 0.75,
    min_steps: int = 30,
    per_step: float = 0.5,
    turns: int = 4,
    floor: float = 0.1,
) -> Iterator[Finding]:
    """The learning rate is about zero for much of the run.

    ## What it does
    Follows the largest learning rate among the groups of each optimizer that made at least `min_steps` =
    30 steps. It speaks if it

    - fell to `small` = 0.1 % of its peak or less and stayed there for `share` = 50 % of the run, or
      for `share_by_epoch` = 75 % where the scheduler was stepped less than `per_step` = 0.5 times per
      optimizer step, that is, once per epoch;
    - fell to 1 % of its peak or less for 76 % of the run, with a scheduler that was stepped with the
      optimizer;
    - was zero from the start to the end, or, by a scheduler, from the start for `share` = 50 % of it;
    - went down and up again, because `CosineAnnealingLR` was stepped with the optimizer for `turns` = 4
      times its `T_max` or more, and its lowest value is below `floor` = 0.1 of the highest;
    - never left the warm-up of a `OneCycleLR` that counts optimizer steps and was stepped once per epoch.
    ## Why it matters
    Without a learning rate nothing is learned, whatever else is right: the run spends its time on steps that
    do not move. The usual reason is a scheduler whose numbers mean epochs and which is stepped once per batch.
    ## How to fix
    Step the scheduler where its numbers belong: in the loop over epochs if they are epochs, in the loop over
    batches if they are batches; or give it the number of batches (`T_max=epochs * len(loader)`).
    ## Limits
    Seen is the learning rate on sampled steps. Silent on warm-up from zero, on decay to zero at the end,
    on restarts (`CosineAnnealingWarmRestarts`), where any group still learns, and on `ReduceLROnPlateau` that
    is stepped once per epoch: it lowers the rate because the loss had stopped to fall. A scheduler that was
    made before the watch began is not known; then only the learning rate itself tells.
    ## Source
    PyTorch documentation, `torch.optim`, "How to adjust learning rate": a scheduler counts its own calls.
    0.1 %: three drops by ten, the most that usual recipes make, reached by them near the end; cosine decay is
    below it for the last 2 % of a run, linear decay for 0.1 %. 50 % and 75 % are judgement: exponential decay by
    epochs may go on long after the loss has settled. 76 %: an exponential decay that is at 1 % for so long is below
    6e-5 for half of the run, where steps that were 1e-3 of the weights are lost in the rounding of float32.
    """
    for optimizer, facts in history.optimizers.items():
        steps, rates = _rates(history, optimizer)
        if facts.steps < min_steps or len(steps) < 3:
            continue
        schedulers = [s for s in history.schedulers.values() if s.optimizer == optimizer]
        by_step = [s for s in schedulers if s.calls_per_step >= per_step]
        needed = share if by_step or not schedulers else share_by_epoch
        peak = float(rates.max())
        if peak <= 0:
            yield _finding(
                optimizer, facts, schedulers, steps,
                f"the learning rate of {optimizer} is 0 in all {facts.steps} steps"
                + ("" if steps[-1] >= facts.steps else f" as far as seen, up to step {steps[-1]}"),
                {"learning_rate": peak, "limit": 0.0},
                "The learning rate was set to 0, or a scheduler multiplies it by 0.",
                f"Give {optimizer} a learning rate.",
            )  # fmt: skip
            continue
        asleep = _share_asleep(steps, rates, facts.steps)
        if schedulers and asleep >= share:  # set by hand, it may be a way to freeze
            yield _finding(
                optimizer, facts, schedulers, steps,
                f"the learning rate of {optimizer} is 0 for the first {100 * asleep:.0f} % of {facts.steps} steps",
                {"peak": peak, "share": asleep, "limit": share},
                "A warm-up is made of whole numbers (step // warmup), or is longer than the run.",
                "Divide with /, and let the warm-up begin above 0.",
            )  # fmt: skip
            continue
        patient = any(s.type == "ReduceLROnPlateau" for s in schedulers) and not by_step
        tiny = _share_low(steps, rates, small * peak, facts.steps)
        low = _share_low(steps, rates, _LOW_LEVEL * peak, facts.steps)
        turning = next((s for s in by_step if _turns(s, turns, floor)), None)
        cut_short = next((s for s in schedulers if _never_rises(s, peak, per_step)), None)
        pace = _pace(by_step or schedulers)
        if (tiny >= needed or (by_step and low >= _LOW_SHARE)) and not patient:
            level, part = (small, tiny) if tiny >= needed else (_LOW_LEVEL, low)
            yield _finding(
                optimizer, facts, by_step or schedulers, steps,
                f"the learning rate of {optimizer} fell from {peak:.3g} to {100 * level:g} % of that or less for "
                f"{100 * part:.0f} % of the run{pace}",
                {"peak": peak, "last": float(rates[-1]), "share": part, "level": level, "limit": needed},
                "The scheduler is stepped once per batch, and its numbers mean epochs."
                if by_step
                else "The learning rate decays much faster than the run is long.",
                "Step the scheduler once per epoch, or give it its numbers in batches.",
            )  # fmt: skip
        elif turning is not None:
            period = turning.settings["T_max"]
            yield _finding(
                optimizer, facts, [turning], steps,
                f"the learning rate of {optimizer} goes to {turning.settings.get('eta_min', 0.0):g} and back every "
                f"{2 * period:g} steps: {turning.type}(T_max={period:g}) was stepped {turning.calls} times",
                {"peak": peak, "T_max": period, "calls": turning.calls, "limit": turns},
                "The scheduler is stepped once per batch, and T_max means epochs: past T_max, the cosine rises again.",
                "Step the scheduler once per epoch, or set T_max to the number of batches of the whole run.",
            )  # fmt: skip
        elif cut_short is not None:
            total = cut_short.settings["total_steps"]
            yield _finding(
                optimizer, facts, [cut_short], steps,
                f"the learning rate of {optimizer} never came above {100 * peak / cut_short.base:.2g} % of what "
                f"{cut_short.type} should reach: it was stepped {cut_short.calls} times of {total:g}",
                {"peak": peak, "max_lr": cut_short.base, "calls": cut_short.calls, "limit": total},
                "The scheduler is stepped once per epoch, and its total_steps means batches.",
                "Step the scheduler after every optimizer step.",
            )  # fmt: skip


def _rates(history: History, optimizer: str) -> tuple[Ints, Floats]:
    """Sampled steps, and the largest learning rate of any group there."""
    steps: dict[int, float] = {}
    for scope in history.scopes("lr"):
        if scope.rpartition("/")[0] == optimizer:
            series = history.series("lr", scope)
            for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True):
                steps[step] = max(steps.get(step, 0.0), value)
    ordered = sorted(steps)
    return np.array(ordered, dtype=np.int64), np.array([steps[step] for step in ordered], dtype=np.float64)


def _share_asleep(steps: Ints, rates: Floats, total: int) -> float:
    """Share of the run before the last of the sampled steps from the first on that had a rate of exactly 0."""
    awake = int(np.argmax(rates > 0))
    return float(steps[awake - 1]) / max(total, 1) if awake else 0.0


def _share_low(steps: Ints, rates: Floats, level: float, total: int) -> float:
    """Share of the run that lies after the peak, between sampled steps that are both at or below `level`."""
    # Three drops by ten are 0.1 % of the start but for rounding.
    low = rates <= level * (1 + 1e-6)
    low[: int(np.argmax(rates)) + 1] = False
    spans = np.diff(np.append(steps, max(total, int(steps[-1]))))
    both = low & np.append(low[1:], low[-1:])
    return float(spans[both].sum() / max(total, 1))


def _turns(scheduler: SchedulerFacts, turns: int, floor: float) -> bool:
    period = scheduler.settings.get("T_max", 0.0)
    lowest = scheduler.settings.get("eta_min", 0.0)
    is_cosine = scheduler.type == "CosineAnnealingLR" and period > 0
    return is_cosine and scheduler.calls >= turns * period and lowest < floor * scheduler.base


def _never_rises(scheduler: SchedulerFacts, peak: float, per_step: float) -> bool:
    """Whether it counts about as many steps as its optimizer has made, made few of them, and is far from its peak."""
    total = scheduler.settings.get("total_steps", 0.0)
    counts_steps = total >= per_step * scheduler.steps and 0 < scheduler.calls_per_step < per_step
    return scheduler.type == "OneCycleLR" and counts_steps and peak < 0.5 * scheduler.base


def _pace(schedulers: list[SchedulerFacts]) -> str:
    if not schedulers:
        return ""
    first = schedulers[0]
    return f"; {first.type} was stepped {first.calls} times in {first.steps} steps"


def _finding(
    optimizer: str,
    facts: OptimizerFacts,
    schedulers: list[SchedulerFacts],
    steps: Ints,
    message: str,
    evidence: dict[str, Evidence],
    cause: str,
    remedy: str,
) -> Finding:
    place = schedulers[0] if schedulers else facts
    return Finding(
        "lr-zero",
        Severity.WARNING,
        message,
        Location(file=place.file, line=place.line),
        int(steps[0]),
        int(steps[-1]),
        {**evidence, "optimizer": optimizer},
        cause=cause,
        remedy=remedy,
    )
