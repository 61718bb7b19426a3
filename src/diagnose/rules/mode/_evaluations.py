"""What ran without gradients while a model was trained: an evaluation, or a part of the training?

Teachers, targets, generators and pseudo-labels run without gradients too, in training mode, and are meant to. What
tells an evaluation is that the model runs on several inputs in a row, that a loss is computed which nothing can be
trained by, or that the same held-out inputs come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from diagnose.history import Event, History


@dataclass(frozen=True)
class Evaluation:
    """A phase without gradients that is taken for an evaluation.

    Attributes:
        model: name of the model.
        step: the step after which it was.
        runs: forward passes on different inputs.
        on: names of modules in training mode that `model.eval()` would have reached.
        unreached: modules and calls in training mode that it does not reach.
        in_training_mode: whether the model itself was in training mode.
        off: whether anything with two modes was in evaluation mode.
        has_loss: whether a loss function was called.
    """

    model: str
    step: int
    runs: int
    on: tuple[str, ...]
    unreached: tuple[str, ...]
    in_training_mode: bool
    off: bool
    has_loss: bool
    file: str | None
    line: int | None


def evaluations(history: History, model: str, *, runs: int) -> Iterator[Evaluation]:
    """The phases of `model` that are evaluations, in order; `runs` in a row on different inputs are enough."""
    events = list(history.events("ran-without-gradients", model))
    in_training = {_place(event) for event in events if event.detail["trained_on"]}
    gaps = _typical_gaps(events)
    for event in events:
        detail = event.detail
        different = detail["runs"] - detail["repeated"] - detail["dropped"]
        # A place that looks at the batch just trained on is part of the training: the accuracy of the step.
        if different < 1 or _place(event) in in_training or _is_sampling(detail):
            continue
        if _is_evaluation(detail, different, runs, gaps.get(_place(event))):
            yield Evaluation(
                model,
                event.step,
                different,
                tuple(detail["on"]),
                tuple(detail["unreached"]),
                in_training_mode=2 * detail["in_training_mode"] > detail["runs"],
                off=detail["off"] > 0,
                has_loss=detail["losses"] > 0,
                file=detail["file"],
                line=detail["line"],
            )


def _is_evaluation(detail: Mapping[str, Any], different: int, runs: int, gap: float | None) -> bool:
    is_new_shape = not detail["shape_of_training"]
    if detail["losses"]:
        return different >= runs or detail["known_input"] or is_new_shape
    if detail["known_input"]:
        return bool(detail["feeds_loss"] or detail["comes_last"])
    # Without a loss, what happens between any two steps may be the making of a target, or play (rollouts).
    is_rare = gap is None or gap > 1
    is_play = detail.get("beside", False)
    return bool(detail["feeds_loss"]) and not is_play and is_rare and (different >= runs or is_new_shape)


def _is_sampling(detail: Mapping[str, Any]) -> bool:
    """The same input several times: Monte-Carlo dropout."""
    return bool(2 * detail["repeated"] >= detail["runs"] > 2)


def with_gradients(history: History, model: str, *, runs: int) -> Iterator[Evaluation]:
    """The passes of `model` in training mode that no backward went through and that are evaluations.

    Gradients were enabled, so more than a pass unused is asked for: several different inputs in a row, or one that
    comes back, that training never has. A loss function judges them; or it is the model that training judges, and the
    inputs come back, or no training comes after them. What happens between any two steps is part of training, and
    so may be losses of single examples (a choice of the hard) and outputs for all training data (a memory bank).
    """
    events = list(history.events("forward-unused", model))
    gaps = _typical_gaps(events)
    for event in events:
        detail, gap = event.detail, gaps.get(_place(event))
        different, known = detail["different"], detail["known_input"]
        if detail["trained_on"] or detail["per_example"] or 2 * different <= detail["runs"] or detail["share"] <= 0.5:
            continue
        if gap is not None and gap <= 1:
            continue
        if detail["same_line"] and not (known and different >= runs):
            continue
        is_new_shape = detail["losses"] and not detail["shape_of_training"]
        is_held_out = known or detail["is_final"]
        is_judged = detail["losses"] or (detail["comes_last"] and detail["trains_by_loss"] and is_held_out)
        if is_judged and (different >= runs or known or is_new_shape):
            yield Evaluation(
                model, event.step, different, tuple(detail["on"]), (), in_training_mode=True, off=False,
                has_loss=detail["losses"] > 0, file=detail["file"], line=detail["line"],
            )  # fmt: skip


def _place(event: Event) -> tuple[str | None, int | None]:
    return event.detail["file"], event.detail["line"]


def _typical_gaps(events: list[Event]) -> dict[tuple[str | None, int | None], float]:
    """Steps between two phases at the same place: the smallest of those seen, for later ones were not all looked at."""
    gaps: dict[tuple[str | None, int | None], float] = {}
    last: dict[tuple[str | None, int | None], int] = {}
    for event in events:
        place = _place(event)
        if place in last and event.step > last[place]:
            gap = event.step - last[place]
            gaps[place] = min(gap, gaps.get(place, gap))
        last[place] = event.step
    return gaps
