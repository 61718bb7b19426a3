"""Training on a copy: gradients, steps, and back to where it began."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.optim import Optimizer

from diagnose.checks._calls import Calls, WithoutDropout
from diagnose.checks._rehearsal import Batch, Inputs, LossFn, Rehearsal
from diagnose.errors import CheckError

MakeOptimizer: TypeAlias = Callable[[Iterable[nn.Parameter]], Optimizer]


class Trial:
    """A context: a rehearsal whose model can be trained and put back.

    Attributes:
        rehearsal: the copies.
        trainable: parameters of the copy that require a gradient, by name; tied ones once.

    Args:
        dropout: False switches it off, as Karpathy's recipe does for such experiments: it only adds noise.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Inputs,
        targets: Any = None,
        loss_fn: LossFn | None = None,
        *,
        dropout: bool = True,
        seed: int = 0,
    ) -> None:
        self.rehearsal = Rehearsal(model, inputs, targets, loss_fn, seed=seed)
        self.trainable = {
            name: parameter for name, parameter in self.rehearsal.model.named_parameters() if parameter.requires_grad
        }
        self._start = {name: parameter.detach().clone() for name, parameter in self.trainable.items()}
        self._dropout = dropout
        if not dropout:
            _switch_off_dropout(self.rehearsal.model)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Trial:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.rehearsal)
            stack.enter_context(torch.enable_grad())
            if not self._dropout and self._drops_by_name():
                stack.enter_context(WithoutDropout())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    @property
    def batch(self) -> Batch:
        return self.rehearsal.batch

    def _drops_by_name(self) -> bool:
        with Calls() as calls, torch.no_grad():
            self.rehearsal.output()
        self.rehearsal.restart()
        return bool(calls.dropped)

    def restart(self) -> None:
        """Puts parameters, buffers and random states back to the start, and clears gradients."""
        with torch.no_grad():
            for name, parameter in self.trainable.items():
                parameter.copy_(self._start[name])
                parameter.grad = None
        self.rehearsal.restart()

    def backward(self, batch: Batch | None = None) -> Tensor:
        """The loss, after fresh gradients were computed.

        Raises:
            CheckError: model, loss or backward raise, or the loss depends on no parameter.
        """
        for parameter in self.trainable.values():
            parameter.grad = None
        loss = self.rehearsal.loss(batch)
        if not loss.requires_grad:
            raise NoGradientError
        try:
            loss.backward()
        except Exception as error:
            raise CheckError(f"The backward pass raised {type(error).__name__}: {error}") from error
        return loss.detach()

    def gradients(self) -> dict[str, Tensor | None]:
        """By parameter, as the last backward has left them; sparse ones dense."""
        return {
            name: None
            if parameter.grad is None
            else parameter.grad.detach().to_dense()
            if parameter.grad.is_sparse
            else parameter.grad.detach()
            for name, parameter in self.trainable.items()
        }

    def unmoved(self) -> list[str]:
        """The parameters that are what they were at the start."""
        return [name for name, parameter in self.trainable.items() if torch.equal(parameter, self._start[name])]

    @contextlib.contextmanager
    def moved(self, directions: dict[str, Tensor], step: float) -> Iterator[None]:
        """A context in which the parameters are moved along directions; then they are back."""
        before = {name: self.trainable[name].detach().clone() for name in directions}
        try:
            with torch.no_grad():
                for name, direction in directions.items():
                    self.trainable[name].add_(direction, alpha=step)
            yield
        finally:
            with torch.no_grad():
                for name, value in before.items():
                    self.trainable[name].copy_(value)


class NoGradientError(CheckError):
    """The loss depends on no parameter."""

    def __init__(self) -> None:
        super().__init__("The loss depends on no parameter that requires a gradient.")


def _switch_off_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
        elif isinstance(module, nn.RNNBase | nn.MultiheadAttention):
            module.dropout = 0.0
