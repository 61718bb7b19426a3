"""Where checks happen: copies of a model, a batch and a loss, with random states that are put back afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from diagnose.collect.nested import mapped, tensors_in
from diagnose.errors import CheckError
from diagnose.isolation import Copier, State

Inputs = Tensor | Sequence[Any] | Mapping[str, Any]
LossFn = Callable[..., Any]


@dataclass(frozen=True)
class Batch:
    """Inputs of a model, and targets if there are any.

    Attributes:
        args, kwargs: what the model is called with.
        targets: what the loss function gets beside the model's output; None if it gets nothing.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    targets: Any = None

    @property
    def size(self) -> int | None:
        """How many examples it has: the first dimension of its first tensor that has one."""
        return next((tensor.shape[0] for tensor in tensors_in((self.args, self.kwargs)) if tensor.dim()), None)

    def take(self, rows: Sequence[int]) -> Batch:
        """The examples at `rows`: every tensor whose first dimension counts the examples is indexed by them."""
        size, index = self.size, torch.as_tensor(rows, dtype=torch.long)

        def taken(tensor: Tensor) -> Tensor:
            counts_examples = tensor.dim() > 0 and tensor.shape[0] == size
            return tensor[index.to(tensor.device)] if counts_examples else tensor

        return self.map(taken)

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """A batch of changed tensors, in the same containers."""
        args, kwargs, targets = mapped((self.args, dict(self.kwargs), self.targets), change)
        return Batch(args, kwargs, targets)


class Rehearsal:
    """A context in which a copy of the model is run and trained; what the caller gave is as before afterwards.

    Attributes:
        model: the copy, in the modes that the original is in.
        batch: a copy of the batch.

    Args:
        model: any module.
        inputs: a tensor, a sequence of positional arguments, or a mapping of keyword arguments.
        targets: given to `loss_fn` after the output; None if the loss function takes the output alone.
        loss_fn: returns a scalar. None: the model returns its loss, alone, as `.loss` or as `["loss"]`.
        seed: of the random numbers drawn inside.

    Raises:
        CheckError: the model cannot be copied.
    """

    def __init__(
        self, model: nn.Module, inputs: Inputs, targets: Any = None, loss_fn: LossFn | None = None, *, seed: int = 0
    ) -> None:
        if not isinstance(model, nn.Module):
            raise CheckError(f"A {type(model).__name__} is no torch.nn.Module: it cannot be checked.")
        copier = Copier()
        # What torch.compile was given: a copy of compiled code would be compiled again for every check.
        self.model: nn.Module = copier.copy(getattr(model, "_orig_mod", model), "model")
        args, kwargs = copier.copy(_arguments(inputs))
        self.batch = Batch(args, kwargs, copier.copy(targets))
        self._loss_fn: LossFn | None = copier.copy(loss_fn)
        if copier.shared:
            raise CheckError(f"{' and '.join(copier.shared)} cannot be copied (copy.deepcopy fails).")
        self.has_loss = loss_fn is not None
        self._name = type(model).__name__
        self._state = State([self.model, *copier.modules.values()], copier.tensors.values(), seed=seed)

    def __enter__(self) -> Rehearsal:
        self._state.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._state.__exit__(kind, error, traceback)

    def restart(self) -> None:
        """Puts random states and buffers back to what they were at the start. Parameters and modes stay as they are."""
        modes = [(module, module.training) for module in self.model.modules()]
        self._state.restore()
        for module, training in modes:
            module.training = training

    def output(self, batch: Batch | None = None, *, model: nn.Module | None = None) -> Any:
        """What the model returns for a batch.

        Raises:
            CheckError: it raises.
        """
        batch = batch or self.batch
        try:
            return (self.model if model is None else model)(*batch.args, **batch.kwargs)
        except Exception as error:
            raise CheckError(f"{self._name} raised {type(error).__name__}: {error}") from error

    def loss(self, batch: Batch | None = None, *, model: nn.Module | None = None) -> Tensor:
        """The scalar loss of a batch.

        Raises:
            CheckError: the model or the loss function raises, or there is no scalar loss.
        """
        batch = batch or self.batch
        return self.loss_of(self.output(batch, model=model), batch)

    def loss_of(self, output: Any, batch: Batch) -> Tensor:
        """The scalar loss of what the model returned for a batch.

        Raises:
            CheckError: the loss function raises, or there is no scalar loss.
        """
        loss = self._loss_of(output, batch)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            what = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            hint = "" if self.has_loss else " Give a loss_fn, or let the model return a scalar, `.loss` or ['loss']."
            raise CheckError(f"The loss has to be one number, and is a {what}.{hint}")
        return loss.reshape(())

    def _loss_of(self, output: Any, batch: Batch) -> Any:
        if self._loss_fn is None:
            return (
                output["loss"] if isinstance(output, Mapping) and "loss" in output else getattr(output, "loss", output)
            )
        try:
            return self._loss_fn(output) if batch.targets is None else self._loss_fn(output, batch.targets)
        except Exception as error:
            raise CheckError(f"The loss function raised {type(error).__name__}: {error}") from error


def first_tensor(output: Any) -> Tensor | None:
    """The tensor that a model's output stands for: itself, `.logits`, or the first floating point one inside of it."""
    if isinstance(output, Tensor):
        return output
    for name in ("logits", "last_hidden_state"):
        value = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(value, Tensor):
            return value
    return next((tensor for tensor in tensors_in(output) if tensor.is_floating_point() and tensor.dim()), None)


def as_batch(inputs: Inputs, targets: Any = None) -> Batch:
    """A batch of what a model is given, as `Rehearsal` takes it."""
    args, kwargs = _arguments(inputs)
    return Batch(args, kwargs, targets)


def _arguments(inputs: Inputs) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    if isinstance(inputs, list | tuple) and not hasattr(inputs, "_fields"):
        return tuple(inputs), {}
    return (inputs,), {}
