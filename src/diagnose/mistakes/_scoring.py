"""From the outputs of a batch to numbers for each place of each example, and from these to numbers for the example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from diagnose.errors import MistakesError
from diagnose.mistakes._plan import Plan

_LARGEST: Final = 30_000_000
"""Numbers that are worked on at once; the logits of a language model are many."""


@dataclass(frozen=True)
class Places:
    """Numbers for each place of each example of a batch, all of shape (B, P).

    Attributes:
        counted: whether the place has a target.
        given, predicted: class numbers, or values; 0 where nothing counts.
        confidence, margin: as in `Scores`; NaN for values.
        loss: cross entropy in nats, or the squared error.
        probabilities: shape (B, K), of a classification; None otherwise.
    """

    counted: Tensor
    given: Tensor
    predicted: Tensor
    confidence: Tensor
    margin: Tensor
    loss: Tensor
    probabilities: Tensor | None = None

    @property
    def is_wrong(self) -> Tensor:
        """Shape (B, P); meaningless for values."""
        return self.counted & (self.given != self.predicted)

    def to_cpu(self) -> Places:
        moved: dict[str, Any] = {key: None if value is None else value.cpu() for key, value in vars(self).items()}
        return Places(**moved)


def score(outputs: Tensor, targets: Tensor, plan: Plan) -> Places:
    """Numbers for each place, on the device of the outputs.

    Args:
        outputs: shape (B, ...), as the model puts them out.
        targets: shape (B, ...).

    Raises:
        MistakesError: outputs or targets are not what the plan takes them for.
    """
    targets = targets.to(outputs.device, non_blocking=True)
    if plan.task == "regression":
        return _values(outputs, targets)
    per_class = _per_class(outputs, plan)
    given, counted = _labels(targets, plan, per_class.shape)
    rows = max(_LARGEST // max(per_class[0].numel(), 1), 1)
    parts = [
        _classes(per_class[begin : begin + rows], given[begin : begin + rows], counted[begin : begin + rows], plan)
        for begin in range(0, len(given), rows)
    ]
    return parts[0] if len(parts) == 1 else _joined(parts)


def _values(outputs: Tensor, targets: Tensor) -> Places:
    size = len(targets)
    if outputs.numel() != targets.numel():
        raise MistakesError(f"A batch has {outputs.numel()} outputs for {targets.numel()} targets.")
    # Never by broadcasting: (N, 1) minus (N,) would be (N, N).
    predicted, given = outputs.reshape(size, -1).float(), targets.reshape(size, -1).float()
    nothing = torch.full_like(predicted, torch.nan)
    return Places(~given.isnan(), given, predicted, nothing, nothing, (predicted - given) ** 2)


def _per_class(outputs: Tensor, plan: Plan) -> Tensor:
    """Shape (B, P, K): logits or probabilities, of two classes where there is one number for each place."""
    if plan.per_place == "one":
        flat = outputs.flatten(1) if outputs.dim() > 1 else outputs[:, None]
        other = torch.zeros_like(flat) if plan.outputs == "logits" else 1 - flat
        return torch.stack([other, flat], dim=-1)
    moved = outputs.movedim(1, -1) if plan.layout == "second" else outputs
    if plan.task == "classification":
        return moved.reshape(len(outputs), 1, -1)
    if plan.shifted:
        moved = moved[:, :-1]
    return moved.flatten(1, -2)


def _labels(targets: Tensor, plan: Plan, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """(class numbers, whether they count), each of shape (B, P)."""
    if plan.one_hot:
        return targets.argmax(1, keepdim=True), torch.ones_like(targets[:, :1], dtype=torch.bool)
    flat = targets.flatten(1) if targets.dim() > 1 else targets[:, None]
    if plan.shifted:
        flat = flat[:, 1:]
    if flat.shape != shape[:2]:
        raise MistakesError(
            f"A batch has outputs for {shape[1]} places of each example, and targets for {flat.shape[1]}."
        )
    counted = flat != plan.ignore_index
    if flat.is_floating_point():
        counted &= ~flat.isnan()
    given = torch.where(counted, flat, 0).long()
    if bool((given < 0).any()) or bool((given >= shape[2]).any()):
        wrong = given[(given < 0) | (given >= shape[2])][0].item()
        raise MistakesError(
            f"A target is {wrong}, and there are outputs for classes 0 to {shape[2] - 1}. If it is to be ignored: give "
            f"ignore_index={wrong}."
        )
    return given, counted


def _classes(per_class: Tensor, given: Tensor, counted: Tensor, plan: Plan) -> Places:
    numbers = per_class.float()
    if plan.outputs == "probabilities":
        probabilities = numbers
        if bool(((numbers < -1e-3) | (numbers > 1 + 1e-3)).any()):
            raise MistakesError(
                "Outputs looked like probabilities in the first batches, and later ones are not between 0 and 1: give "
                "outputs='logits'."
            )
        loss = -probabilities.gather(-1, given[..., None]).clamp_min(torch.finfo(torch.float32).tiny).log()[..., 0]
    else:
        log = F.log_softmax(numbers, dim=-1)
        loss = -log.gather(-1, given[..., None])[..., 0]
        probabilities = log.exp_()
    mine = probabilities.gather(-1, given[..., None])[..., 0]
    top, classes = probabilities.topk(2, dim=-1) if probabilities.shape[-1] > 1 else (probabilities, given[..., None])
    best_other = torch.where(classes[..., 0] == given, top[..., -1], top[..., 0])
    return Places(
        counted=counted,
        given=given,
        predicted=classes[..., 0],
        confidence=top[..., 0],
        margin=mine - best_other,
        loss=loss,
        probabilities=probabilities[:, 0] if plan.task == "classification" else None,
    )


def _joined(parts: list[Places]) -> Places:
    def joined(name: str) -> Tensor | None:
        found = [getattr(part, name) for part in parts]
        return None if found[0] is None else torch.cat(found)

    return Places(**{name: joined(name) for name in vars(parts[0])})  # type: ignore[arg-type]


# ---------------------------------------------------------------------- of examples


def summary(places: Places, plan: Plan) -> dict[str, Tensor]:
    """The columns of `Scores` for a batch, each of shape (B,)."""
    counted = places.counted
    if plan.task == "classification" or (plan.task == "regression" and counted.shape[1] == 1):
        none = ~counted[:, 0]
        columns = {name: getattr(places, name)[:, 0] for name in ("loss", "confidence", "margin")}
        columns = {name: column.masked_fill(none, torch.nan) for name, column in columns.items()}
        given, predicted = places.given[:, 0], places.predicted[:, 0]
        if plan.task == "regression":
            return {**columns, "given": given, "predicted": predicted}
        return {**columns, "given": given.masked_fill(none, -1), "predicted": predicted.masked_fill(none, -1)}
    number = counted.sum(1)
    worst = torch.where(counted, places.loss.nan_to_num(torch.inf), -1).argmax(1)
    none = number == 0

    def at_worst(values: Tensor, empty: float) -> Tensor:
        return values.gather(1, worst[:, None])[:, 0].masked_fill(none, empty)

    return {
        "loss": torch.where(counted, places.loss, 0).sum(1) / number,
        "given": at_worst(places.given, -1),
        "predicted": at_worst(places.predicted, -1),
        "confidence": at_worst(places.confidence, torch.nan),
        "margin": _margin(places, plan).masked_fill(none, torch.nan),
        "place": worst,
        "places": number,
        "wrong_places": places.is_wrong.sum(1) if plan.task != "regression" else torch.zeros_like(number),
    }


def _margin(places: Places, plan: Plan) -> Tensor:
    if plan.task in ("multilabel", "tokens"):
        return torch.where(places.counted, places.margin, torch.inf).min(1).values
    if plan.task == "segmentation":
        return torch.where(places.counted, places.margin, 0).sum(1) / places.counted.sum(1)
    return torch.full_like(places.loss[:, 0], torch.nan)
