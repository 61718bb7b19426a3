"""default_baseline: a network, an optimizer and a way to train them, for data of a kind."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diagnose.baseline._data import (
    KINDS,
    TASKS,
    Examples,
    Kind,
    Task,
    count_of,
    examples_in,
    kind_of,
    labels,
    loss_of,
    task_of,
)
from diagnose.baseline._networks import Standardise, Unstandardise, network
from diagnose.errors import CheckError

OptimizerName = Literal["adam", "sgd"]

_WIDTHS: Final[Mapping[Kind, int]] = {"vectors": 128, "images": 32, "sequences": 96, "tokens": 96}
_DEPTHS: Final[Mapping[Kind, int]] = {"vectors": 2, "images": 2, "sequences": 1, "tokens": 1}
_RATES: Final[Mapping[OptimizerName, float]] = {"adam": 1e-3, "sgd": 2e-2}
_GAIN: Final = 1e-3
"""What counts as better, in nats or in variances of the targets: a loss near zero may fall for ever."""
_NETWORKS: Final[Mapping[Kind, str]] = {
    "vectors": "a feed-forward net of {depth} layers with {width} ReLUs",
    "images": "a convolutional net with batch normalisation, {depth} blocks, {width} channels and more",
    "sequences": "a GRU of {depth} layer(s) with {width} units",
    "tokens": "an embedding and a GRU of {depth} layer(s) with {width} units",
}


@dataclass(frozen=True)
class Fit:
    """How a training went.

    Attributes:
        train_losses, validation_losses: mean loss per epoch; of regression, in units of the targets' variance.
        best_epoch: counted from 0; the model has its weights.
        wall_s: seconds it took.
        stopped: "patience", "epochs" or "seconds": what ended it.
    """

    train_losses: tuple[float, ...]
    validation_losses: tuple[float, ...]
    best_epoch: int
    wall_s: float
    stopped: str


@dataclass(frozen=True)
class Baseline:
    """A model to begin with, and everything that is needed to train it.

    Attributes:
        task, kind: what is asked, about what inputs.
        model: puts out logits (classification, multilabel) or values in the targets' own units (regression).
        optimizer: makes one from parameters, with the learning rate and weight decay chosen.
        loss_fn: of outputs and targets as they are in the data.
        hyperparameters: with which it was made; `default_baseline` takes each of them by name.
        search_space: what to try for them, by name, in the schema of W&B sweeps.
        description: one line for people.
    """

    task: Task
    kind: Kind
    model: nn.Module
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    loss_fn: Callable[[Tensor, Tensor], Tensor]
    hyperparameters: Mapping[str, Any]
    search_space: Mapping[str, Mapping[str, Any]]
    description: str
    seed: int = field(default=0, repr=False)

    def fit(
        self,
        train: Any,
        validation: Any = None,
        *,
        epochs: int = 200,
        patience: int = 15,
        seconds: float = 120.0,
    ) -> Fit:
        """Trains the model in place, until the validation loss has not improved for `patience` epochs.

        Inputs (and targets of regression) are standardised by the training data. The learning rate is halved after
        each third of `patience` without improvement. At the end the model has the weights of the best epoch, and is
        in evaluation mode. Random states of the caller are as before.

        Args:
            train, validation: (inputs, targets), data sets or loaders. Without `validation`, a seventh of the
                training data is held out.
            epochs: at most.
            patience: in epochs.
            seconds: at most, as far as epochs are that short.

        Raises:
            CheckError: the data do not fit the model: other shapes, classes that it does not know.
        """
        with _seeded(self.seed, self.model):
            return _fit(self, examples_in(train), validation, epochs, patience, seconds)

    def predict(self, inputs: Tensor, *, batch_size: int = 512) -> Tensor:
        """What the model puts out in evaluation mode, without gradients, on the CPU."""
        self.model.eval()
        device = next(self.model.parameters()).device
        with torch.no_grad():
            return torch.cat([self.model(part.to(device)).cpu() for part in inputs.split(batch_size)])


def default_baseline(
    example_batch: Any,
    task: Task | None = None,
    *,
    kind: Kind | None = None,
    optimizer: OptimizerName = "adam",
    lr: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    dropout: float = 0.2,
    weight_decay: float = 1e-3,
    batch_size: int = 32,
    classes: int | None = None,
    vocabulary: int | None = None,
    seed: int = 0,
) -> Baseline:
    """The baseline for data like these.

    Vectors get a feed-forward net with ReLUs, images a convolutional net with batch normalisation, sequences a gated
    recurrent net, with an embedding where they are tokens. It is trained by Adam, or by SGD with momentum, with a
    decaying learning rate, dropout and early stopping.

    Args:
        example_batch: (inputs, targets), a mapping of both, a data set or a loader. Numbers of features, classes and
            tokens are taken from it, so it should be large, or name them.
        task: by default told from the targets.
        kind: by default told from the inputs: (N, D) floats are vectors, (N, T) integers tokens, (N, T, D) sequences,
            (N, C, H, W) or (N, H, W, C) images.
        optimizer: "adam" (AdamW), or "sgd" with momentum 0.9.
        lr: by default 1e-3 for Adam, 2e-2 for SGD.
        width: units of a layer, or channels of the first block.
        depth: layers, or blocks of convolutions.
        dropout: probability.
        weight_decay: decoupled in Adam.
        batch_size: of `fit`.
        classes: how many, if more than the example batch shows.
        vocabulary: how many tokens; numbers beyond become one unknown token.
        seed: of weights and of `fit`.

    Raises:
        CheckError: the task cannot be told from the targets, or there is no baseline for such inputs.
        ValueError: an option has an impossible value.

    Source:
        Goodfellow, Bengio & Courville, "Deep Learning", section 11.2, "Default Baseline Models".
    """
    _check_options(task, kind, optimizer, dropout)
    examples = examples_in(example_batch)
    inputs, targets = examples.inputs, examples.targets
    if inputs is None:
        raise CheckError("The inputs are not one tensor: there is a default baseline for single tensors only.")
    kind = kind or kind_of(inputs)
    task = task or task_of(targets, inputs, kind)
    width, depth = width or _WIDTHS[kind], depth or _DEPTHS[kind]
    lr = lr if lr is not None else _RATES[optimizer]
    count = max(count_of(targets, task), classes or 0)
    per_place = task == "token-classification"
    if per_place and kind not in ("tokens", "sequences"):
        raise CheckError(f"token-classification needs sequences, and the inputs are {kind}.")
    with _seeded(seed):
        model = network(
            inputs,
            kind,
            count=count,
            per_place=per_place,
            width=width,
            depth=depth,
            dropout=dropout,
            vocabulary=vocabulary,
        )
    if task == "regression":
        model = nn.Sequential(model, Unstandardise(tuple(targets.shape[1:])))
    hyperparameters = {
        "optimizer": optimizer,
        "lr": lr,
        "width": width,
        "depth": depth,
        "dropout": dropout,
        "weight_decay": weight_decay,
        "batch_size": batch_size,
    }
    return Baseline(
        task=task,
        kind=kind,
        model=model,
        optimizer=_factory(optimizer, lr, weight_decay),
        loss_fn=lambda outputs, wanted: loss_of(outputs, wanted, task),
        hyperparameters=hyperparameters,
        search_space=_search_space(kind),
        description=f"{task}: {_NETWORKS[kind].format(width=width, depth=depth)}, dropout {dropout:g}, "
        f"{'Adam' if optimizer == 'adam' else 'SGD with momentum'} at {lr:g}, early stopping",
        seed=seed,
    )


def _check_options(task: Any, kind: Any, optimizer: Any, dropout: float) -> None:
    for name, value, known in (
        ("task", task, (None, *TASKS)),
        ("kind", kind, (None, *KINDS)),
        ("optimizer", optimizer, get_args(OptimizerName)),
    ):
        if value not in known:
            raise ValueError(f"{name} is {value!r}, and has to be one of {', '.join(k for k in known if k)}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}, and has to be at least 0 and less than 1")


def _factory(optimizer: OptimizerName, lr: float, weight_decay: float) -> Callable[[Iterable[nn.Parameter]], Optimizer]:
    def make(parameters: Iterable[nn.Parameter]) -> Optimizer:
        if optimizer == "adam":
            return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)
        return torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=weight_decay)

    return make


def _search_space(kind: Kind) -> dict[str, dict[str, Any]]:
    """In the schema of W&B sweeps; the learning rate first, "the most important hyperparameter" (section 11.4)."""
    width, depth = _WIDTHS[kind], _DEPTHS[kind]
    return {
        "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
        "optimizer": {"values": list(get_args(OptimizerName))},
        "width": {"values": [width // 2, width, 2 * width, 4 * width]},
        "depth": {"distribution": "int_uniform", "min": 1, "max": depth + 2},
        "dropout": {"distribution": "uniform", "min": 0.0, "max": 0.6},
        "weight_decay": {"distribution": "log_uniform_values", "min": 1e-6, "max": 1e-1},
        "batch_size": {"values": [16, 32, 64, 128]},
    }


# ---------------------------------------------------------------------- training


def _fit(baseline: Baseline, train: Examples, validation: Any, epochs: int, patience: int, seconds: float) -> Fit:
    begun = time.monotonic()
    train_set, held_out = _parts(baseline, train, validation)
    model, task = baseline.model, baseline.task
    scale = _learn_statistics(baseline, *train_set)
    optimizer = baseline.optimizer([p for p in model.parameters() if p.requires_grad])
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=max(patience // 3, 1))
    losses: list[float] = []
    checked: list[float] = []
    best, best_state, stopped = 0, copy.deepcopy(model.state_dict()), "epochs"
    last_gain, level = 0, math.inf
    for epoch in range(epochs):
        losses.append(_epoch(model, optimizer, *train_set, task, scale, baseline.hyperparameters["batch_size"]))
        checked.append(_mean_loss(model, *held_out, task, scale))
        schedule.step(checked[-1])
        if math.isfinite(checked[-1]) and checked[-1] <= min(checked):
            best, best_state = epoch, copy.deepcopy(model.state_dict())
        if checked[-1] < level - _GAIN:
            last_gain, level = epoch, checked[-1]
        if epoch - last_gain >= patience:
            stopped = "patience"
            break
        if time.monotonic() - begun > seconds:
            stopped = "seconds"
            break
    model.load_state_dict(best_state)
    model.eval()
    return Fit(tuple(losses), tuple(checked), best, time.monotonic() - begun, stopped)


def _parts(baseline: Baseline, train: Examples, validation: Any) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training and validation data as tensors, the latter held out of the former if there are none."""
    inputs, targets = _tensors(baseline, train)
    if validation is not None:
        return (inputs, targets), _tensors(baseline, examples_in(validation))
    if len(targets) < 2:
        raise CheckError("One example cannot be divided into training and validation data.")
    order = torch.randperm(len(targets))
    held = max(len(targets) // 7, 1)
    kept, out = order[held:], order[:held]
    return (inputs[kept], targets[kept]), (inputs[out], targets[out])


def _tensors(baseline: Baseline, examples: Examples) -> tuple[Tensor, Tensor]:
    inputs, targets = examples.inputs, examples.targets
    if inputs is None:
        raise CheckError("The inputs are not one tensor: the default baseline takes single tensors only.")
    if baseline.task in ("classification", "token-classification"):
        count = count_of(targets, baseline.task)
        device = next(baseline.model.parameters()).device
        with torch.no_grad():
            known = baseline.model.eval()(inputs[:1].to(device)).shape[-1]
        if count > known:
            raise CheckError(f"The data have {count} classes, and the baseline was made for {known}: give classes.")
    return inputs, targets


def _learn_statistics(baseline: Baseline, inputs: Tensor, targets: Tensor) -> float:
    """Standardises inputs and targets by the training data; returns by what the loss is divided."""
    modules = list(baseline.model.modules())
    with torch.no_grad():
        for module in modules:
            if isinstance(module, Standardise):
                is_flat = module.dim == 1 and baseline.kind == "vectors"
                module.learn(_seen_by(baseline.model, module, inputs.flatten(1) if is_flat else inputs))
            elif isinstance(module, Unstandardise):
                module.learn(targets)
    if baseline.task != "regression":
        return 1.0
    return max(float(labels(targets, "regression").var(0, correction=0).mean()), 1e-30)


def _seen_by(model: nn.Module, module: Standardise, inputs: Tensor) -> Tensor:
    """Inputs as a layer gets them: with channels first, if they come last."""
    features = len(module.mean)
    is_channels_last = inputs.dim() == 4 and inputs.shape[1] != features and inputs.shape[-1] == features
    return inputs.movedim(-1, 1) if is_channels_last else inputs


def _epoch(
    model: nn.Module, optimizer: Optimizer, inputs: Tensor, targets: Tensor, task: Task, scale: float, size: int
) -> float:
    model.train()
    device = next(model.parameters()).device
    total, order = 0.0, torch.randperm(len(targets))
    for rows in order.split(min(size, len(order))):
        if len(rows) == 1 and len(order) > 1:
            continue  # batch normalisation needs two
        optimizer.zero_grad()
        loss = loss_of(model(inputs[rows].to(device)), targets[rows].to(device), task) / scale
        loss.backward()
        # Recurrent nets have cliffs: Goodfellow et al., section 10.11.1.
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += float(loss.detach()) * len(rows)
    return total / len(order)


def _mean_loss(model: nn.Module, inputs: Tensor, targets: Tensor, task: Task, scale: float) -> float:
    model.eval()
    device = next(model.parameters()).device
    total = 0.0
    with torch.no_grad():
        for begin in range(0, len(targets), 512):
            part = slice(begin, begin + 512)
            loss = loss_of(model(inputs[part].to(device)), targets[part].to(device), task)
            total += float(loss) * len(targets[part])
    return total / len(targets) / scale


@contextlib.contextmanager
def _seeded(seed: int, model: nn.Module | None = None) -> Iterator[None]:
    """Random numbers from `seed`, on the CPU and on the model's device; the caller's generators are as before."""
    devices = {p.device.index for p in model.parameters() if p.device.type == "cuda"} if model else set()
    with torch.random.fork_rng(devices=[index for index in devices if index is not None]):
        torch.manual_seed(seed)
        yield
