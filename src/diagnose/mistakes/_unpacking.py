"""What of a batch is given to the model, and what is the target."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from diagnose.collect.nested import mapped
from diagnose.errors import MistakesError

TARGETS: Final = ("labels", "label", "targets", "target")


@dataclass(frozen=True)
class Call:
    """How a model is called for a batch.

    Attributes:
        args, kwargs: what it is called with.
        targets: what it should say.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    targets: Tensor

    @property
    def inputs(self) -> Any:
        """What the model is given beside targets: one tensor, a tuple, or a mapping."""
        if self.args:
            return self.args[0] if len(self.args) == 1 else self.args
        return {name: value for name, value in self.kwargs.items() if name not in TARGETS}


class Unpacking:
    """Takes batches apart, for one model.

    Args:
        model: what is called; its signature decides what of a batch it is given. None: nothing is called.
        unpack: the user's own way: batch -> (inputs, targets).
        classes: names of the classes, for targets that are names.
    """

    def __init__(
        self, model: Callable[..., Any] | None, unpack: Callable[[Any], Any] | None, classes: Sequence[str]
    ) -> None:
        self._unpack = unpack
        self._classes = {name: number for number, name in enumerate(classes)}
        self._signature = _signature(model)
        self._dtype = floating_dtype(model) or torch.get_default_dtype()

    def call(self, batch: Any) -> Call:
        """The call for a batch.

        Raises:
            MistakesError: it has no targets, or nothing for the model in it.
        """
        if self._unpack is not None:
            return self._unpacked(batch)
        if hasattr(batch, "__dataclass_fields__"):
            batch = dict(vars(batch))
        if isinstance(batch, Mapping):
            return self._named(batch)
        if isinstance(batch, list | tuple) and len(batch) >= 2:
            return self._positional(batch)
        raise MistakesError(
            f"A batch is a {_what(batch)}, and has to be (inputs, targets), a mapping or a dataclass: give "
            "unpack=, a function that makes (inputs, targets) of a batch."
        )

    def _unpacked(self, batch: Any) -> Call:
        assert self._unpack is not None
        made = self._unpack(batch)
        if not isinstance(made, list | tuple) or len(made) != 2:
            raise MistakesError(f"unpack returned a {type(made).__name__}, and has to return (inputs, targets).")
        inputs, targets = made
        if isinstance(inputs, Mapping):
            return Call((), inputs, self._targets(targets))
        return Call(tuple(inputs) if isinstance(inputs, list | tuple) else (inputs,), {}, self._targets(targets))

    def _named(self, batch: Mapping[str, Any]) -> Call:
        name = next((name for name in TARGETS if batch.get(name) is not None), None)
        if name is None:
            raise MistakesError(
                f"A batch has no targets: its names are {', '.join(map(str, batch))}, none of them "
                f"{', '.join(TARGETS)}. Give unpack=, a function that makes (inputs, targets) of a batch."
            )
        targets = self._targets(batch[name])
        inputs = {key: value for key, value in batch.items() if key != name}
        if self._signature is None:
            return Call((), inputs, targets)
        names, takes_any, _ = self._signature
        # Models with a head compute their loss from labels, and some need them to compute anything.
        given = {**inputs, name: batch[name]} if name in names else inputs
        known = given if takes_any else {key: value for key, value in given.items() if key in names}
        if any(key in names for key in inputs) or takes_any:
            return Call((), known, targets)
        if len(inputs) == 1:
            return Call(tuple(inputs.values()), {}, targets)
        if len(names) == 1:
            return Call((dict(batch),), {}, targets)  # forward(self, batch)
        raise MistakesError(
            f"The model's forward takes {', '.join(names)}, and the batch has {', '.join(map(str, inputs))}: give "
            "unpack=, a function that makes (inputs, targets) of a batch."
        )

    def _positional(self, batch: Sequence[Any]) -> Call:
        inputs: Sequence[Any] = batch[:-1]
        targets = batch[-1]
        if self._signature is not None:
            _, _, most = self._signature
            if most is not None and most < len(inputs):
                # (image, label, index): what comes after the target is about the example, not for the model.
                inputs, targets = batch[:most], batch[most]
        if len(inputs) == 1 and isinstance(inputs[0], Mapping):
            return (
                Call((), inputs[0], self._targets(targets))
                if self._names(inputs[0])
                else Call(tuple(inputs), {}, self._targets(targets))
            )
        if len(inputs) == 1 and isinstance(inputs[0], list | tuple) and self._signature is not None:
            _, _, most = self._signature
            if most is None or most > 1:
                inputs = tuple(inputs[0])
        found = self._targets(targets)
        return Call(tuple(self._as_tensor(value) for value in inputs), self._wanted(found, len(inputs)), found)

    def _as_tensor(self, value: Any) -> Any:
        if not hasattr(value, "__array__") or isinstance(value, Tensor):
            return value
        made = torch.as_tensor(_writable(value))
        # NumPy's numbers are double by default, and models are not.
        return made.to(self._dtype) if made.dtype == torch.float64 else made

    def _wanted(self, targets: Tensor, used: int) -> dict[str, Tensor]:
        """The targets under the name under which the model takes them, if it does: some give all logits only then."""
        names = () if self._signature is None else self._signature[0][used:]
        return {name: targets for name in names if name in TARGETS}

    def _names(self, inputs: Mapping[str, Any]) -> bool:
        """Whether the model takes the inputs by name, and not as one mapping."""
        if self._signature is None:
            return True
        names, takes_any, _ = self._signature
        return takes_any or any(key in names for key in inputs)

    def _targets(self, targets: Any) -> Tensor:
        if isinstance(targets, list | tuple) and targets and isinstance(targets[0], str):
            return torch.tensor([self._number(name) for name in targets])
        if hasattr(targets, "dtype") and getattr(targets.dtype, "kind", "") in ("U", "O", "S"):
            return torch.tensor([self._number(name) for name in targets.tolist()])
        if isinstance(targets, list | tuple) and targets and isinstance(targets[0], Tensor):
            targets = torch.stack(list(targets))
        try:
            found = torch.as_tensor(_writable(targets))
        except (TypeError, ValueError, RuntimeError) as error:
            raise MistakesError(
                f"Targets of type {type(targets).__name__} are no tensor ({error}): give unpack=, a function that "
                "makes (inputs, targets) of a batch."
            ) from error
        return found.detach()

    def _number(self, name: Any) -> int:
        if name not in self._classes:
            known = (
                ", ".join(map(repr, list(self._classes)[:10]))
                or "no names (give classes=, in the order of the outputs)"
            )
            raise MistakesError(f"Target {name!r} is none of the classes: {known}.")
        return self._classes[name]


def moved(call: Call, device: torch.device) -> Call:
    """The call with its tensors on a device. Targets stay where they are."""

    def to(tensor: Tensor) -> Tensor:
        return tensor.to(device, non_blocking=True)

    return Call(mapped(call.args, to), mapped(dict(call.kwargs), to), call.targets)


def floating_dtype(model: Any) -> torch.dtype | None:
    """That of the first floating point parameter; None if there is none."""
    parameters = model.parameters() if isinstance(model, torch.nn.Module) else ()
    return next((tensor.dtype for tensor in parameters if tensor.is_floating_point()), None)


def _what(batch: Any) -> str:
    name = type(batch).__name__
    return f"{name} of {len(batch)}" if isinstance(batch, list | tuple) else name


def _writable(value: Any) -> Any:
    """An array that torch may share memory with: those of pandas are read-only."""
    if isinstance(value, Tensor) or not hasattr(value, "__array__"):
        return value
    array = np.asarray(value)
    return array if array.flags.writeable else array.copy()


def _signature(model: Callable[..., Any] | None) -> tuple[tuple[str, ...], bool, int | None] | None:
    """(names of parameters, whether any other name goes, how many positional ones at most), of what a model takes."""
    if model is None:
        return None
    function = model.forward if isinstance(model, torch.nn.Module) else model
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    kinds = [parameter.kind for parameter in parameters]
    names = tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    positional = sum(
        kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds
    )
    takes_any = inspect.Parameter.VAR_KEYWORD in kinds
    return names, takes_any, None if inspect.Parameter.VAR_POSITIONAL in kinds else positional
