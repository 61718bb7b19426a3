"""Calling a model, and the tensor that what it returns stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diagnose.collect.nested import tensors_in
from diagnose.errors import DiagnoseError, MistakesError
from diagnose.mistakes._scores import Id
from diagnose.mistakes._unpacking import Call, floating_dtype


def called(model: Callable[..., Any], call: Call, ids: Sequence[Id]) -> Any:
    """What the model returns.

    Raises:
        MistakesError: it raises.
    """
    try:
        return model(*call.args, **call.kwargs)
    except DiagnoseError:
        raise
    except Exception as error:
        shapes = ", ".join(f"{tuple(t.shape)} {t.dtype}" for t in tensors_in((call.args, dict(call.kwargs))))
        raise MistakesError(
            f"{_name_of(model)} raised {type(error).__name__} for examples {ids[0]} to {ids[-1]} "
            f"(inputs {shapes}{_other_dtype(model, call)}): {error}"
        ) from error


def outputs_of(output: Any, predict: Callable[[Any], Any] | None) -> Tensor:
    """The tensor of outputs in what a model returned.

    Args:
        predict: the user's own way.

    Raises:
        MistakesError: there is none, or `predict` raises.
    """
    if predict is None:
        return output_tensor(output)
    try:
        return output_tensor(predict(output))
    except DiagnoseError:
        raise
    except Exception as error:
        raise MistakesError(
            f"predict= raised {type(error).__name__}: {error}. The model returned a {type(output).__name__}."
        ) from error


def output_tensor(output: Any) -> Tensor:
    """The tensor that a model's output stands for: itself, `.logits`, "logits", "out", or the first one with floats.

    Raises:
        MistakesError: there is none.
    """
    if isinstance(output, np.ndarray) and output.dtype.kind in "fiub":
        output = torch.from_numpy(output)  # a function of scikit-learn's, `predict_proba` say
    if isinstance(output, Tensor):
        return output
    for name in ("logits", "out", "output", "outputs", "prediction", "predictions"):
        value = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(value, Tensor):
            return value
    found = next((tensor for tensor in tensors_in(output) if tensor.is_floating_point() and tensor.dim()), None)
    if found is None:
        raise MistakesError(
            f"The model returned a {type(output).__name__} without a tensor of outputs in it: give predict=, a "
            "function that makes the outputs (logits, probabilities or values) of what the model returns."
        )
    return found


def _name_of(model: Any) -> str:
    """The class of a module, the name of a function."""
    return str(
        type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", type(model).__name__)
    )


def _other_dtype(model: Any, call: Call) -> str:
    """Says so if the inputs have not the floating type of the parameters: the usual reason why a model raises."""
    own = floating_dtype(model)
    given = {tensor.dtype for tensor in tensors_in((call.args, dict(call.kwargs))) if tensor.is_floating_point()}
    return f"; its parameters are {own}" if own is not None and given and own not in given else ""


def device_of(model: Any) -> torch.device:
    """Where a module is; the CPU for functions."""
    if not isinstance(model, nn.Module):
        return torch.device("cpu")
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))
