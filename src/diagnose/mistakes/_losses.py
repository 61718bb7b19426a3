"""The loss of each example, from a loss function that was made for batches; and what it tells about the outputs."""

from __future__ import annotations

import copy
import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

from diagnose.errors import MistakesError

LossFn = Callable[[Any, Tensor], Any]
Outputs = Literal["logits", "probabilities", "values"]


class Hint(NamedTuple):
    """What a loss function tells about what it is given.

    Attributes:
        family: "classes" exclude each other, "labels" do not, "values" are amounts.
        outputs: what the model puts out. Log-probabilities count as logits: softmax leaves them as they are.
        ignore_index: which targets do not count; None if it does not say.
    """

    family: Literal["classes", "labels", "values"]
    outputs: Outputs
    ignore_index: int | None = None


_KNOWN: Final[dict[str, Hint]] = {
    "crossentropyloss": Hint("classes", "logits"),
    "nllloss": Hint("classes", "logits"),
    "multimarginloss": Hint("classes", "logits"),
    "bcewithlogitsloss": Hint("labels", "logits"),
    "binarycrossentropywithlogits": Hint("labels", "logits"),
    "multilabelsoftmarginloss": Hint("labels", "logits"),
    "bceloss": Hint("labels", "probabilities"),
    "binarycrossentropy": Hint("labels", "probabilities"),
    "mseloss": Hint("values", "values"),
    "l1loss": Hint("values", "values"),
    "smoothl1loss": Hint("values", "values"),
    "huberloss": Hint("values", "values"),
}


def hint_of(loss_fn: LossFn | None) -> Hint | None:
    """What torch's own loss functions, modules or functions, and classes derived from them tell; None for others."""
    if loss_fn is None:
        return None
    inner = loss_fn
    keywords: dict[str, Any] = {}
    while isinstance(inner, functools.partial):
        keywords = {**inner.keywords, **keywords}
        inner = inner.func
    names = [kind.__name__ for kind in type(inner).__mro__] if isinstance(inner, nn.Module) else [_name(inner)]
    for name in names:
        key = name.replace("_", "").lower()
        hint = _KNOWN.get(key) or _KNOWN.get(f"{key}loss")
        if hint is not None:
            ignored = keywords.get("ignore_index", getattr(inner, "ignore_index", None))
            return hint._replace(ignore_index=ignored)
    return None


def fitted(hint: Hint | None, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(outputs, targets) as a loss function of torch's takes them that goes number by number; others as they are.

    Users squeeze (N, 1) in their training loop, and make amounts of labels. Without that, squared errors would be
    broadcast to (N, N), and binary cross entropy would raise.
    """
    if hint is None or hint.family == "classes" or outputs.numel() != targets.numel():
        return outputs, targets
    return outputs.reshape(targets.shape), targets.to(outputs.dtype)


def per_example(loss_fn: LossFn, output: Any, targets: Tensor, counted: Tensor) -> Tensor:
    """The loss of each example: mean over its places that count.

    Args:
        output: what the loss function takes; the model's whole output.
        targets: shape (B, ...).
        counted: shape (B, P): which places of an example count.

    Returns:
        Shape (B,), float32. Taken from one call with `reduction="none"` where the loss function has that; else it is
        called for each example alone.

    Raises:
        MistakesError: the loss function raises, or returns neither a number nor one for each example.
    """
    size = len(counted)
    try:
        loss = _unreduced(loss_fn, output, targets)
        if (
            loss is None
            or loss.dim() == 0
            or loss.numel() % size
            or loss.numel() > max(_count(output), targets.numel())  # broadcast
            or (len(loss) != size and loss.numel() != counted.numel())
        ):
            rows = range(size)
            loss = torch.stack([_number(loss_fn(_row(output, row, size), targets[row : row + 1])) for row in rows])
    except MistakesError:
        raise
    except Exception as error:
        raise MistakesError(f"The loss function raised {type(error).__name__}: {error}") from error
    loss = loss.detach().float().reshape(size, -1)
    if loss.shape == counted.shape and counted.shape[1] > 1:
        return torch.where(counted, loss, 0).sum(1) / counted.sum(1)
    return loss.mean(1)


def _unreduced(loss_fn: LossFn, output: Any, targets: Tensor) -> Tensor | None:
    if isinstance(loss_fn, nn.Module) and isinstance(getattr(loss_fn, "reduction", None), str):
        same: Any = copy.copy(loss_fn)
        same.reduction = "none"
        return _tensor(same(output, targets))
    try:
        has_option = "reduction" in inspect.signature(loss_fn).parameters
    except (TypeError, ValueError):
        has_option = False
    if not has_option:
        return None
    whole: Callable[..., Any] = loss_fn
    return _tensor(whole(output, targets, reduction="none"))


def _count(output: Any) -> int:
    """Numbers in an output; of what is no tensor, more than any loss has."""
    return output.numel() if isinstance(output, Tensor) else sys.maxsize


def _tensor(value: Any) -> Tensor | None:
    return value if isinstance(value, Tensor) else None


def _row(output: Any, row: int, size: int) -> Any:
    if isinstance(output, Tensor):
        return output[row : row + 1] if output.dim() and len(output) == size else output
    if isinstance(output, tuple | list):
        return type(output)(_row(item, row, size) for item in output)
    if isinstance(output, dict):
        return type(output)({key: _row(item, row, size) for key, item in output.items()})
    return output


def _number(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        raise MistakesError(f"For a single example the loss function returned {what}, and has to return one number.")
    return loss.detach().reshape(()).float()


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", ""))
