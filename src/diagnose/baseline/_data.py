"""What data are: their examples in whatever they come, the kind of inputs, and what is asked about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from diagnose.errors import CheckError

Kind = Literal["vectors", "images", "sequences", "tokens"]
Task = Literal["classification", "regression", "multilabel", "token-classification"]
TASKS: Final = get_args(Task)
KINDS: Final = get_args(Kind)

_CHANNELS: Final = (1, 3, 4)
_FEW: Final = 20
"""Whole numbers with more distinct values than this, and than half the examples, may be amounts as well as classes."""
_IGNORED: Final = -100


@dataclass(frozen=True)
class Examples:
    """Batches of inputs with their targets.

    Attributes:
        batches: (what the model is given, targets) each.
    """

    batches: tuple[tuple[Any, Tensor], ...]

    @property
    def targets(self) -> Tensor:
        return torch.cat([targets for _, targets in self.batches])

    @property
    def inputs(self) -> Tensor | None:
        """All inputs in one tensor; None if a model gets several, or they have various sizes."""
        parts = [inputs for inputs, _ in self.batches]
        if not all(isinstance(part, Tensor) and part.shape[1:] == parts[0].shape[1:] for part in parts):
            return None
        return torch.cat(parts)

    def __len__(self) -> int:
        return sum(len(targets) for _, targets in self.batches)


def examples_in(data: Any, *, limit: int = 20_000, batch_size: int = 256) -> Examples:
    """The first examples in (inputs, targets), in a data set or in a loader, on the CPU.

    Batches of a loader are (inputs, targets), (input, ..., targets), or mappings with "labels", "label" or "targets".

    Raises:
        CheckError: it is none of these, or there are no examples in it.
    """
    if isinstance(data, Examples):
        return data
    if isinstance(data, Mapping):
        data = _pair(data)
    if isinstance(data, list | tuple) and len(data) == 2 and hasattr(data[1], "__len__") and hasattr(data[1], "shape"):
        return _cut(data[0], _tensor(data[1]), limit, batch_size)
    if isinstance(data, Dataset):
        data = DataLoader(data, batch_size=batch_size)
    if not isinstance(data, Iterable):
        raise CheckError(f"A {type(data).__name__} is no data: give (inputs, targets), a Dataset or a DataLoader.")
    batches, count = [], 0
    with torch.random.fork_rng(devices=[]):  # a loader draws a number whenever it begins
        for batch in islice(data, limit):
            inputs, targets = _pair(batch)
            batches.append((inputs, _tensor(targets)))
            count += len(batches[-1][1])
            if count >= limit:
                break
    if not count:
        raise CheckError("There are no examples in the data.")
    return Examples(tuple(batches))


def _pair(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, Mapping):
        for name in ("labels", "label", "targets", "target"):
            if name in batch:
                return {key: value for key, value in batch.items() if key != name}, batch[name]
        raise CheckError(f"A batch has no targets: its names are {', '.join(map(str, batch))}.")
    if isinstance(batch, list | tuple) and len(batch) >= 2:
        first = batch[0] if len(batch) == 2 else tuple(batch[:-1])
        return (_tensor(first) if hasattr(first, "shape") else first), batch[-1]
    raise CheckError(f"A batch is a {type(batch).__name__}, and has to be (inputs, targets).")


def _tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor) and not hasattr(value, "shape") and not isinstance(value, list | tuple):
        raise CheckError(f"A {type(value).__name__} is no tensor and no array.")
    return torch.as_tensor(value).detach().cpu()


def _cut(inputs: Any, targets: Tensor, limit: int, batch_size: int) -> Examples:
    size = min(len(targets), limit)
    if not size:
        raise CheckError("There are no examples in the data.")
    if hasattr(inputs, "shape"):
        inputs = _tensor(inputs)
        if len(inputs) != len(targets):
            raise CheckError(f"There are {len(inputs)} inputs and {len(targets)} targets.")

    def part(value: Any, rows: slice) -> Any:
        if isinstance(value, Mapping):
            return {key: part(item, rows) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return tuple(part(item, rows) for item in value)
        return value[rows] if isinstance(value, Tensor) and value.dim() and len(value) == len(targets) else value

    return Examples(tuple(_batches(inputs, targets, size, batch_size, part)))


def _batches(inputs: Any, targets: Tensor, size: int, batch_size: int, part: Any) -> Iterator[tuple[Any, Tensor]]:
    for begin in range(0, size, batch_size):
        rows = slice(begin, min(begin + batch_size, size))
        yield part(inputs, rows), targets[rows]


# ---------------------------------------------------------------------- kinds and tasks


def kind_of(inputs: Tensor) -> Kind:
    """What the inputs are, by their shape and type.

    (N, D) of floats are vectors, of integers tokens; (N, T, D) sequences; (N, C, H, W) or (N, H, W, C) images.

    Raises:
        CheckError: they are none of these.
    """
    if inputs.dim() == 2:
        return "vectors" if inputs.is_floating_point() or inputs.dtype in (torch.uint8, torch.bool) else "tokens"
    if inputs.dim() == 1:
        return "vectors"
    if inputs.dim() == 3:
        return "sequences"
    if inputs.dim() == 4:
        return "images"
    raise CheckError(
        f"Inputs of shape {tuple(inputs.shape)} are no vectors (N, D), images (N, C, H, W), sequences (N, T, D) or "
        "tokens (N, T): there is no default baseline for them."
    )


def are_channels_last(images: Tensor) -> bool:
    """Whether images come as (N, H, W, C)."""
    return images.shape[-1] in _CHANNELS and images.shape[1] not in _CHANNELS


def task_of(targets: Tensor, inputs: Tensor | None = None, kind: Kind | None = None) -> Task:
    """What is asked, by the targets.

    Raises:
        CheckError: they leave it open; the message says between what.
    """
    asks = f"give task, one of {', '.join(map(repr, TASKS))}"
    values = targets.unique()
    is_binary = bool(((values == 0) | (values == 1)).all())
    if targets.dim() == 0 or not len(targets):
        raise CheckError(f"Targets of shape {tuple(targets.shape)} have no row for each example.")
    if targets.dim() == 2 and targets.shape[1] > 1:
        if _is_per_place(targets, inputs, kind):
            return "token-classification"
        if not is_binary:
            if targets.is_floating_point():
                return "regression"
            raise CheckError(
                f"Integer targets of shape {tuple(targets.shape)} may be amounts or labels of the places of a "
                f"sequence: {asks}."
            )
        if not bool((targets.sum(1) == 1).all()):
            return "multilabel"
        if len(targets) >= 2 * targets.shape[1]:
            return "classification"  # one-hot
        raise CheckError(
            f"{len(targets)} rows with a single 1 each may be classes or labels that exclude none: {asks}."
        )
    if targets.dim() > 2:
        if targets.is_floating_point():
            return "regression"
        raise CheckError(f"Targets of shape {tuple(targets.shape)} do not tell what is asked: {asks}.")
    if targets.is_floating_point() and not is_binary:
        return "regression"
    if not targets.is_floating_point() and len(values) > max(_FEW, targets.numel() // 2):
        raise CheckError(
            f"{len(values)} distinct whole numbers among {targets.numel()} targets may be classes or amounts: {asks}."
        )
    return "classification"


def _is_per_place(targets: Tensor, inputs: Tensor | None, kind: Kind | None) -> bool:
    if inputs is None or targets.is_floating_point() or targets.dtype == torch.bool:
        return False
    return kind in ("tokens", "sequences") and targets.shape == inputs.shape[:2]


def labels(targets: Tensor, task: Task) -> Tensor:
    """Targets as losses want them: class numbers, or floats of shape (N, K) or (N,)."""
    if task == "token-classification":
        return targets.long()
    if task == "classification":
        if targets.dim() == 2 and targets.shape[1] > 1:
            return targets.argmax(1)
        return targets.reshape(len(targets)).long()
    return targets.float()


def count_of(targets: Tensor, task: Task) -> int:
    """How many numbers a model has to put out for each example, or each place.

    Raises:
        CheckError: class numbers are negative.
    """
    if task in ("classification", "token-classification"):
        if task == "classification" and targets.dim() == 2 and targets.shape[1] > 1:
            return int(targets.shape[1])
        classes = labels(targets, task)
        used = classes[classes != _IGNORED]
        if len(used) and int(used.min()) < 0:
            raise CheckError(f"Class {int(used.min())} is negative: classes are numbered from 0.")
        return max(int(used.max()) + 1 if len(used) else 1, 2)
    return int(targets[0].numel())


def loss_of(outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
    """The mean loss: cross entropy, of classes or of labels; squared error."""
    wanted = labels(targets, task)
    if task == "classification":
        return F.cross_entropy(outputs, wanted)
    if task == "token-classification":
        return F.cross_entropy(outputs.flatten(0, 1), wanted.flatten(), ignore_index=_IGNORED)
    wanted = wanted.reshape(outputs.shape)
    return F.binary_cross_entropy_with_logits(outputs, wanted) if task == "multilabel" else F.mse_loss(outputs, wanted)
