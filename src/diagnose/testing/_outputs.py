"""What a model returns: whether its shape, its type and its values are as they should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from diagnose.checks._rehearsal import Inputs, Rehearsal, first_tensor
from diagnose.errors import CheckError
from diagnose.findings import Finding, Severity


def output_of(model: Callable[..., Any], inputs: Inputs, seed: int) -> Any:
    if isinstance(model, nn.Module):
        with Rehearsal(model, inputs, seed=seed) as rehearsal, torch.no_grad():
            return rehearsal.output()
    args, kwargs = ((), inputs) if isinstance(inputs, Mapping) else (inputs, {})
    args = args if isinstance(args, tuple | list) and not hasattr(args, "_fields") else (args,)
    with torch.no_grad():
        return model(*args, **kwargs)


Shape: TypeAlias = Sequence[int | str | None]


def named_outputs(output: Any, shape: Shape | Mapping[str, Shape] | None) -> dict[str, tuple[Tensor, Shape | None]]:
    """The tensors to look at, with the shapes that they should have."""
    if isinstance(shape, Mapping):
        named: dict[str, tuple[Tensor, Shape | None]] = {}
        for name, wanted in shape.items():
            tensor = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
            if not isinstance(tensor, Tensor):
                raise CheckError(f"The model returned {_a(output)}, in which {name!r} is {_a(tensor)}, not a tensor.")
            named[name] = (tensor, wanted)
        return named
    tensor = first_tensor(output)
    if tensor is None:
        raise CheckError(f"The model returned {_a(output)}: there is no tensor in it.")
    return {"output": (tensor, shape)}


def _a(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with the keys {', '.join(map(str, value))}"
    return "nothing" if value is None else f"an object of type {type(value).__name__}"


def output_faults(
    name: str,
    tensor: Tensor,
    wanted: Shape | None,
    sizes: dict[str, int],
    low: float,
    high: float,
    dtype: torch.dtype | None,
) -> Iterator[Finding]:
    shape = tuple(tensor.shape)
    if wanted is not None and not _fits(shape, wanted, sizes):
        expected = ", ".join("*" if size is None else str(size) for size in wanted)
        bound = {size: sizes[size] for size in wanted if isinstance(size, str) and size in sizes}
        yield Finding(
            "wrong-output",
            Severity.ERROR,
            f"{name} has shape {shape}, expected ({expected})" + (f" with {bound}" if bound else ""),
            evidence={"shape": list(shape), "expected": expected},
            cause="A transposed or squeezed dimension, a head of the wrong width, or a reduction inside of the model.",
            remedy="Print the shapes layer by layer for this batch, from the last layer backwards.",
        )
    if dtype is not None and tensor.dtype is not dtype:
        yield Finding(
            "wrong-output",
            Severity.ERROR,
            f"{name} is {tensor.dtype}, expected {dtype}",
            evidence={"dtype": str(tensor.dtype), "expected": str(dtype)},
            cause="A cast inside of the model, or autocast around it.",
            remedy=f"Cast the output with .to({dtype}) where it is made.",
        )
    if not (tensor.is_floating_point() or tensor.is_complex()):
        finite = tensor
    else:
        good = torch.isfinite(tensor)
        if not bool(good.all()):
            yield _not_finite(name, tensor, good)
        finite = tensor[good]
    if not tensor.is_complex() and finite.numel() and tensor.dtype is not torch.bool:
        smallest, largest = (float(value) for value in torch.aminmax(finite))
        if smallest < low or largest > high:
            yield Finding(
                "wrong-output",
                Severity.ERROR,
                f"{name} has values from {smallest:.6g} to {largest:.6g}, expected from {low:g} to {high:g}",
                evidence={"smallest": smallest, "largest": largest, "low": low, "high": high},
                cause="A missing or a wrong output activation, or inputs of another scale than the model expects.",
                remedy="Look at the last layer: softmax or sigmoid for shares, none for logits and regression.",
            )


def _fits(shape: Sequence[int], wanted: Shape, sizes: dict[str, int]) -> bool:
    """Whether each dimension is as wanted; names get their sizes on the way."""
    if len(shape) != len(wanted):
        return False
    right = True
    for size, want in zip(shape, wanted, strict=True):
        if isinstance(want, str):
            right &= sizes.setdefault(want, size) == size
        elif want is not None:
            right &= want == size
    return right


def _not_finite(name: str, tensor: Tensor, good: Tensor) -> Finding:
    first = tuple(int(index) for index in torch.nonzero(~good)[0])
    nans = int(torch.isnan(tensor).sum())
    bad = int((~good).sum())
    return Finding(
        "nan-or-inf",
        Severity.ERROR,
        f"{bad} of {tensor.numel()} values of {name} are not finite ({nans} NaN), the first at {list(first)}",
        evidence={"not_finite": bad, "nan": nans, "values": tensor.numel(), "first_at": list(first)},
        cause="A division by zero, a logarithm or square root of something that is not positive, an overflow of exp or "
        "of float16, or inputs that are not finite.",
        remedy="Check the inputs with torch.isfinite; then look for the first module whose output is not.",
    )
