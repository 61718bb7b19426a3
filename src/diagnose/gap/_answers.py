"""What a model answers on data, in evaluation mode and without a trace: errors, classes, margins."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diagnose.baseline import Examples
from diagnose.collect.nested import mapped
from diagnose.errors import GapError
from diagnose.gap._error import Measured
from diagnose.isolation import Copier, State
from diagnose.mistakes._suspects import margins

LossFn = Callable[..., Any]
_FEW_ROWS: Final = 2_048


@dataclass(frozen=True)
class Answers:
    """One row per example (per place, where targets have several).

    Attributes:
        name: of the error: "test error".
        given, predicted: class numbers, shape (N,); None for a regression.
        losses: per example, shape (N,), or per batch where only the loss function is known; None for classes.
        margin: as `mistakes`; None for a regression, or a binary output.
        classes: how many; None for a regression.
    """

    name: str
    given: NDArray[np.int64] | None = None
    predicted: NDArray[np.int64] | None = None
    losses: NDArray[np.float64] | None = None
    margin: NDArray[np.float32] | None = None
    classes: int | None = None

    @property
    def measured(self) -> Measured:
        """The error with what is needed for its interval."""
        if self.given is not None and self.predicted is not None:
            return Measured(self.name, float(np.mean(self.given != self.predicted)), float(len(self.given)))
        assert self.losses is not None
        count = len(self.losses)
        spread = float(np.std(self.losses, ddof=1) / math.sqrt(count)) if count > 1 else 0.0
        return Measured(self.name, float(np.mean(self.losses)), float(count), is_share=False, error=spread)


class Copied:
    """A copy of a model that is run in evaluation mode; a context that puts random states back."""

    def __init__(self, model: Any, seed: int, what: str = "model") -> None:
        if not callable(model):
            raise GapError(f"{what} is a {type(model).__name__}: give a torch.nn.Module, or a function of the inputs.")
        copier = Copier()
        self.model: Any = copier.copy(getattr(model, "_orig_mod", model), what)
        if copier.shared:
            raise GapError(f"{' and '.join(copier.shared)} cannot be copied (copy.deepcopy fails).")
        self.what = what
        self.module = self.model if isinstance(self.model, nn.Module) else None
        self.device = next((p.device for p in self.module.parameters()), torch.device("cpu")) if self.module else None
        self._modules = copier.modules
        self._state = State([*copier.modules.values()], copier.tensors.values(), seed=seed)

    def __enter__(self) -> Copied:
        self._state.__enter__()
        for module in self._modules.values():
            module.eval()
        return self

    def __exit__(self, *error: Any) -> None:
        self._state.__exit__(*error)

    def outputs(self, inputs: Any) -> Tensor:
        """What the model returns for a batch, on the CPU.

        Raises:
            GapError: it raises, or returns no tensor.
        """
        if self.device is not None:
            inputs = mapped(inputs, lambda tensor: tensor.to(self.device))
        try:
            with torch.no_grad():
                if isinstance(inputs, dict):
                    made = self.model(**inputs)
                else:
                    made = self.model(*inputs) if isinstance(inputs, tuple) else self.model(inputs)
        except Exception as error:
            raise GapError(f"{self.what} raised {type(error).__name__}: {error}") from error
        from diagnose.checks._rehearsal import first_tensor

        found = first_tensor(made) if not isinstance(made, np.ndarray) else torch.as_tensor(made)
        if found is None:
            raise GapError(f"{self.what} returned a {type(made).__name__} without a tensor of outputs.")
        return found.detach().float().cpu()


def answers(copied: Copied, data: Examples, name: str, loss_fn: LossFn | None = None) -> Answers:
    """What the model answers on the data.

    Integer targets are classes, floating ones amounts; `loss_fn(outputs, targets)` measures the rest.

    Raises:
        GapError: outputs fit the targets in no way, and there is no loss function.
    """
    return read([(copied.outputs(inputs), targets) for inputs, targets in data.batches], name, loss_fn, copied.what)


def read(parts: list[tuple[Tensor, Tensor]], name: str, loss_fn: LossFn | None, what: str) -> Answers:
    """What outputs mean beside their targets, one pair per batch; see `answers`.

    Raises:
        GapError: outputs fit the targets in no way, and there is no loss function.
    """
    found = read_classes(parts, name)
    if found is not None:
        return found
    output, target = parts[0]
    if output.numel() == target.numel():
        squares = [((o.reshape(len(t), -1) - t.reshape(len(t), -1).float()) ** 2).mean(1) for o, t in parts]
        return Answers(name, losses=torch.cat(squares).double().numpy())
    if loss_fn is None:
        raise GapError(
            f"{what} returns outputs of shape {tuple(output.shape)} for targets of shape {tuple(target.shape)} "
            f"and type {target.dtype}: give a loss_fn(outputs, targets)."
        )
    return Answers(name, losses=np.array([float(loss_fn(o, t)) for o, t in parts]))


def read_classes(parts: list[tuple[Tensor, Tensor]], name: str) -> Answers | None:
    """The classes that were given and those that were answered; None if targets are no classes.

    Outputs are one number per class, one for two classes (a probability or a logit), or the answered classes
    themselves.
    """
    if all(t.dim() == 2 and t.shape[1] == 1 and o.dim() == 2 and o.shape[1] > 1 for o, t in parts):
        parts = [(o, t[:, 0]) for o, t in parts]
    output, target = parts[0]
    if target.is_floating_point() and not all(_is_binary(t) for _, t in parts):
        return None
    if output.dim() == target.dim() + 1 and output.shape[-1] > 1:
        return _classes([(o.reshape(-1, o.shape[-1]), t.reshape(-1)) for o, t in parts], name)
    if target.dim() == 2 and output.shape == target.shape and _is_one_hot(target):
        return _classes([(o, t.argmax(1)) for o, t in parts], name)
    if output.numel() != target.numel():
        return None
    if (answered := _answered(parts, name)) is not None:
        return answered
    return _binary(parts, name) if all(_is_binary(t) for _, t in parts) else None


def _answered(parts: list[tuple[Tensor, Tensor]], name: str) -> Answers | None:
    """Outputs that are classes themselves, as of `predict` of scikit-learn."""
    predicted = torch.cat([o.reshape(-1) for o, _ in parts])
    given = torch.cat([t.reshape(-1) for _, t in parts])
    known = given.unique()
    if predicted.is_floating_point() and not bool(torch.isin(predicted, known.to(predicted.dtype)).all()):
        return None
    return Answers(name, given=given.long().numpy(), predicted=predicted.long().numpy(), classes=len(known))


def _is_binary(target: Tensor) -> bool:
    return bool(((target == 0) | (target == 1)).all())


def _is_one_hot(target: Tensor) -> bool:
    return bool((target.sum(1) == 1).all()) and _is_binary(target)


def _classes(parts: list[tuple[Tensor, Tensor]], name: str) -> Answers:
    outputs, labels = torch.cat([o for o, _ in parts]), torch.cat([t for _, t in parts]).long()
    known = labels >= 0  # -100 marks places without a label
    outputs, labels = outputs[known], labels[known]
    if not len(labels):
        raise GapError(f"There are no labels to measure the {name} with: all are below 0.")
    classes = outputs.shape[1]
    if int(labels.max()) >= classes:
        raise GapError(f"Label {int(labels.max())} is none of the {classes} classes that the model knows.")
    is_probability = bool((outputs >= 0).all()) and bool(torch.allclose(outputs.sum(1), torch.ones(()), atol=1e-3))
    probabilities = (outputs if is_probability else outputs.softmax(1)).double().numpy()
    given = labels.numpy()
    return Answers(
        name,
        given=given,
        predicted=outputs.argmax(1).numpy(),
        margin=margins(probabilities, given),
        classes=classes,
    )


def _binary(parts: list[tuple[Tensor, Tensor]], name: str) -> Answers:
    outputs = torch.cat([o.reshape(-1) for o, _ in parts])
    labels = torch.cat([t.reshape(-1) for _, t in parts]).long()
    is_probability = bool(((outputs >= 0) & (outputs <= 1)).all())
    predicted = (outputs > (0.5 if is_probability else 0.0)).long()
    return Answers(name, given=labels.numpy(), predicted=predicted.numpy(), classes=2)


def train_mode_ratio(copied: Copied, data: Examples) -> float | None:
    """The loss with dropout over that without, on the first examples; None if there is no dropout, or no classes."""
    if copied.module is None:
        return None
    dropouts = [m for m in copied.module.modules() if isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0]
    if not dropouts:
        return None

    def loss() -> float:
        total, count = 0.0, 0
        for inputs, targets in data.batches:
            outputs = copied.outputs(inputs)
            if targets.is_floating_point() or outputs.dim() != 2 or targets.dim() != 1 or outputs.shape[1] < 2:
                return math.nan
            total += float(nn.functional.cross_entropy(outputs, targets.long(), reduction="sum"))
            count += len(targets)
            if count >= _FEW_ROWS:
                break
        return total / count

    without = loss()
    for dropout in dropouts:
        dropout.train()
    try:
        ratio = loss() / without if without > 0 else math.nan
    finally:
        for dropout in dropouts:
            dropout.eval()
    return ratio if math.isfinite(ratio) else None
