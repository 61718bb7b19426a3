"""Many trainings of the user's own function, one after the other: each alone, measured, and none of them fatal."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from diagnose.baseline._data import Examples, examples_in
from diagnose.errors import CheckError, GapError
from diagnose.gap._answers import read_classes
from diagnose.gap._subsets import count, is_pair
from diagnose.isolation import State

Floats: TypeAlias = NDArray[np.float64]
Metric: TypeAlias = Literal["error", "loss"] | Callable[[Tensor, Tensor], Any]


@dataclass(frozen=True)
class Failure:
    """A training that crashed, or whose error is no number.

    Attributes:
        at: what was trained: the size of the subset, or the value of the hyperparameter.
        repeat: counted from 0.
        message: what it raised, and where in the user's code.
    """

    at: Any
    repeat: int
    message: str


@dataclass(frozen=True)
class Trained:
    """What one training came to.

    Attributes:
        train, test: errors; train is NaN where the function gave the test error alone.
        per_example: shape (N_test,), errors of the test examples; None where only their mean is known.
        is_share: whether errors are shares of wrong answers.
    """

    train: float
    test: float
    per_example: Floats | None
    is_share: bool


@dataclass(frozen=True)
class Measure:
    """How a trained model is measured: see `learning_curve` for the arguments."""

    test_data: Any
    metric: Metric | None
    loss_fn: Callable[[Tensor, Tensor], Tensor] | None
    batch_size: int

    def __call__(self, made: Any, data: Any) -> Trained:
        """Measures what a training function has returned, after training on `data`.

        Raises:
            GapError: it is none of what it may be, or its error is not finite.
        """
        told = _as_numbers(made)
        if told is not None:
            if not math.isfinite(told[1]) or math.isinf(told[0]):
                raise GapError(f"the training function returned {made!r}: errors have to be finite")
            return Trained(told[0], told[1], None, self.metric == "error")
        if not callable(made) and not hasattr(made, "predict"):
            raise GapError(
                f"the training function returned a {type(made).__name__}, and has to return a trained model, the test "
                "error, or (train error, test error)"
            )
        if self.test_data is None:
            raise GapError("the training function returned a model, so test_data are needed to measure it")
        train, _ = self._errors(made, data)
        test, is_share = self._errors(made, self.test_data)
        for name, errors in (("train", train), ("test", test)):
            if not np.isfinite(errors).all():
                raise GapError(f"the {name} error of the model is {float(errors.mean())}")
        each = test if len(test) > 1 else None
        return Trained(float(train.mean()), float(test.mean()), each, is_share)

    def _errors(self, model: Any, data: Any) -> tuple[Floats, bool]:
        """Errors of each example (or their mean alone, shape (1,)), and whether they are 0 or 1."""
        examples = _examples(data, self.batch_size)
        outputs = torch.cat([_tensor(part) for part in _outputs(model, examples)])
        targets = examples.targets
        if len(outputs) != len(targets):
            raise GapError(f"the model puts out {len(outputs)} rows for {len(targets)} examples")
        if callable(self.metric):
            return _floats(self.metric(outputs, targets), len(targets)), False
        if self.metric != "loss" and (wrong := _wrong(outputs, targets)) is not None:
            return wrong, True
        if self.metric == "error":
            raise GapError(
                f"metric='error' is for class labels, and targets are {targets.dtype} of shape {tuple(targets.shape)} "
                f"with outputs of shape {tuple(outputs.shape)}: leave it out, or give a function of outputs and targets"
            )
        if self.loss_fn is not None:
            return _losses(self.loss_fn, outputs, targets), False
        if outputs.numel() != targets.numel() or self.metric == "loss":
            raise GapError("loss_fn is needed to measure the model")
        squares = (outputs.reshape(len(targets), -1) - targets.reshape(len(targets), -1)).double() ** 2
        return squares.mean(1).numpy(), False


def attempt(
    train_fn: Callable[..., Any],
    data: Any,
    changes: Mapping[str, Any],
    measure: Measure,
    *,
    seed: int,
    at: Any,
    repeat: int,
) -> Trained | Failure:
    """Trains once and measures; whatever goes wrong is told. The caller's random states are as before."""
    try:
        with State((), seed=seed):
            return measure(train_fn(data, **changes), data)
    except (GapError, CheckError) as error:
        return Failure(at, repeat, str(error))
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Failure(at, repeat, f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})")


# ---------------------------------------------------------------------- what was returned


def _as_numbers(made: Any) -> tuple[float, float] | None:
    """(train error, test error), NaN for what was not told; None if it is no number and no pair of them."""
    if (number := _as_number(made)) is not None:
        return math.nan, number
    if isinstance(made, tuple | list) and len(made) == 2:
        train, test = _as_number(made[0]), _as_number(made[1])
        if train is not None and test is not None:
            return train, test
    return None


def _as_number(value: Any) -> float | None:
    if isinstance(value, nn.Module | bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return float(value.item())
    return None


def _examples(data: Any, batch_size: int) -> Examples:
    size = count(data, "the data")
    if not is_pair(data) and not isinstance(data, DataLoader):
        source = data if isinstance(data, Dataset) else list(data)
        data = DataLoader(source, batch_size=batch_size)  # type: ignore[arg-type]
    return examples_in(data, limit=size, batch_size=batch_size)


def _outputs(model: Any, examples: Examples) -> Iterable[Any]:
    """What the model puts out for each batch, in evaluation mode; its modes are put back."""
    if not callable(model):
        for inputs, _ in examples.batches:
            yield model.predict(inputs.numpy() if isinstance(inputs, Tensor) else inputs)
        return
    modes = [(module, module.training) for module in model.modules()] if isinstance(model, nn.Module) else []
    device = next((p.device for p in model.parameters()), None) if isinstance(model, nn.Module) else None
    try:
        for module, _ in modes:
            module.training = False
        with torch.no_grad():
            for inputs, _ in examples.batches:
                yield _call(model, inputs, device)
    finally:
        for module, mode in modes:
            module.training = mode


def _call(model: Callable[..., Any], inputs: Any, device: torch.device | None) -> Any:
    if isinstance(inputs, Mapping):
        return model(**{name: _moved(value, device) for name, value in inputs.items()})
    if isinstance(inputs, tuple | list) and inputs and all(isinstance(item, Tensor) for item in inputs):
        return model(*(_moved(item, device) for item in inputs))
    return model(_moved(inputs, device))


def _moved(value: Any, device: torch.device | None) -> Any:
    return value.to(device) if isinstance(value, Tensor) and device is not None else value


def _tensor(value: Any) -> Tensor:
    if hasattr(value, "logits"):
        value = value.logits
    return torch.as_tensor(value).detach().cpu()


def _wrong(outputs: Tensor, targets: Tensor) -> Floats | None:
    """Shape (N,): 1 where an answer is wrong, else 0; None if targets are no classes, one for each example."""
    if outputs.dim() > 1 and not outputs.is_floating_point():
        outputs = outputs.float()
    found = read_classes([(outputs, targets)], "error")
    if found is None or found.given is None or found.predicted is None or len(found.given) != len(targets):
        return None
    wrong: Floats = (found.given != found.predicted).astype(np.float64)
    return wrong


def _losses(loss_fn: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor) -> Floats:
    """The loss of each example, so that its noise over examples is known; their mean where one alone cannot be asked
    for.
    """
    try:
        each = [float(loss_fn(outputs[row : row + 1], targets[row : row + 1])) for row in range(len(targets))]
        whole = float(loss_fn(outputs, targets))
    except (TypeError, ValueError, RuntimeError, IndexError):
        return _floats(loss_fn(outputs, targets), len(targets))
    found = np.array(each)
    if math.isclose(float(found.mean()), whole, rel_tol=1e-3, abs_tol=1e-9):
        return found
    return np.array([whole])  # a loss of the whole batch is not the mean over its examples


def _floats(value: Any, size: int) -> Floats:
    array = np.atleast_1d(np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value, dtype=np.float64))
    if array.shape not in ((1,), (size,)):
        raise GapError(
            f"metric returned something of shape {array.shape}: a number, or one for each example, is needed"
        )
    return array
