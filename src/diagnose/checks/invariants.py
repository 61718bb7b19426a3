"""What has to hold of tensors, as functions that raise an AssertionError with the numbers if it does not.

They can be used alone, in tests and in training code, and within `diagnose.checks.guarantees`:

    invariants.sums_to_one(attention, dim=-1)
    guarantees(model, x, y, loss_fn=..., invariants={"gates": lambda output: invariants.probabilities(output[1])})

Tolerances are by type: 1e-8 for float64, 1e-4 for float32, 2e-2 for 16 bits, relative to the size of the values.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Final, Literal

import torch
from torch import Tensor

from diagnose.errors import CheckFailedError

__all__ = [
    "attention_weights",
    "finite",
    "monotone",
    "orthogonal",
    "positive_semidefinite",
    "probabilities",
    "standardised",
    "sums_to_one",
    "symmetric",
    "unit_norm",
]

_TOLERANCES: Final = {torch.float64: 1e-8, torch.float32: 1e-4}


def finite(values: Tensor) -> None:
    """Holds if no element is NaN or infinite.

    Raises:
        CheckFailedError: an AssertionError with their number and the place of the first.
    """
    bad = ~torch.isfinite(values.detach())
    if bool(bad.any()):
        nans = int(torch.isnan(values.detach()).sum())
        _fail(
            f"{int(bad.sum())} of {values.numel()} values are not finite ({nans} NaN), first at {_place(bad)}",
        )


def probabilities(values: Tensor, *, tolerance: float | None = None) -> None:
    """Holds if all elements lie in [0, 1].

    Raises:
        CheckFailedError: an element lies outside by more than `tolerance`, or is NaN.
    """
    real = values.detach()
    finite(real)
    excess = torch.maximum(-real, real - 1)
    bad = excess > _tolerance(real, tolerance)
    if bool(bad.any()):
        _fail(
            f"{int(bad.sum())} of {real.numel()} values lie outside of [0, 1]: they go from {float(real.min()):.6g} to "
            f"{float(real.max()):.6g}, first at {_place(bad)}"
        )


def sums_to_one(values: Tensor, dim: int = -1, *, tolerance: float | None = None) -> None:
    """Holds if sums along `dim` are 1, as of a softmax.

    Raises:
        CheckFailedError: a sum is further from 1 than `tolerance`, or is NaN; the message says along which other
            dimension they are 1, if along any.
    """
    real = values.detach()
    finite(real)
    limit = _tolerance(real, tolerance)
    error = (real.double().sum(dim) - 1).abs()
    bad = error > limit
    if bool(bad.any()):
        others = [
            d
            for d in range(real.dim())
            if d != dim % real.dim() and bool(((real.double().sum(d) - 1).abs() <= limit).all())
        ]
        hint = f"; along dimension {others[0]} they are: the softmax goes along the wrong one" if others else ""
        worst = float(real.double().sum(dim).flatten()[int(error.argmax())])
        _fail(
            f"{int(bad.sum())} of {bad.numel()} sums along dimension {dim} are not 1: the worst is {worst:.6g}, first "
            f"at {_place(bad)}{hint}"
        )


def attention_weights(weights: Tensor, hidden: Tensor | None = None, *, tolerance: float | None = None) -> None:
    """Holds if weights are at least 0, sum to 1 along the last dimension, and are exactly 0 where hidden.

    Args:
        weights: shape (..., queries, keys).
        hidden: broadcastable to `weights`: True, or -inf, where a key must not be seen. Rows that may see nothing may
            hold anything finite.

    Raises:
        CheckFailedError: one of these does not hold.
    """
    real = weights.detach()
    finite(real)
    if hidden is not None:
        is_hidden = hidden if hidden.dtype == torch.bool else hidden == -math.inf
        is_hidden = is_hidden.to(real.device).expand_as(real)
        sees_nothing = is_hidden.all(-1, keepdim=True)
        seen = (real != 0) & is_hidden & ~sees_nothing
        if bool(seen.any()):
            _fail(
                f"{int(seen.sum())} of {int(is_hidden.sum())} masked positions have a weight, up to "
                f"{float(real[seen].max()):.3g}, first at {_place(seen)}: the mask is not applied before the softmax, "
                "or is inverted"
            )
        real = torch.where(sees_nothing, torch.full_like(real, 1 / real.shape[-1]), real)
    if bool((real < 0).any()):
        _fail(f"{int((real < 0).sum())} weights are negative, first at {_place(real < 0)}")
    sums_to_one(real, tolerance=tolerance)


def unit_norm(values: Tensor, dim: int = -1, *, p: float = 2.0, tolerance: float | None = None) -> None:
    """Holds if the p-norm along `dim` is 1, as of normalised embeddings.

    Raises:
        CheckFailedError: a norm is further from 1 than `tolerance`.
    """
    real = values.detach()
    finite(real)
    norms = torch.linalg.vector_norm(real.double(), p, dim)
    bad = (norms - 1).abs() > _tolerance(real, tolerance)
    if bool(bad.any()):
        _fail(
            f"{int(bad.sum())} of {bad.numel()} norms along dimension {dim} are not 1: they go from "
            f"{float(norms.min()):.6g} to {float(norms.max()):.6g}, first at {_place(bad)}"
        )


def standardised(values: Tensor, dim: int | tuple[int, ...] = -1, *, tolerance: float = 0.05) -> None:
    """Holds if mean and standard deviation along `dim` are 0 and 1, as of inputs or of normalised features.

    Raises:
        CheckFailedError: one of them is further off than `tolerance`.
    """
    real = values.detach().double()
    finite(real)
    mean, deviation = real.mean(dim), real.std(dim, correction=0)
    bad = (mean.abs() > tolerance) | ((deviation - 1).abs() > tolerance)
    if bool(bad.any()):
        _fail(
            f"{int(bad.sum())} of {bad.numel()} are not standardised: means from {float(mean.min()):.4g} to "
            f"{float(mean.max()):.4g}, deviations from {float(deviation.min()):.4g} to {float(deviation.max()):.4g}"
        )


def monotone(
    values: Iterable[float] | Tensor,
    direction: Literal["decreasing", "increasing"] = "decreasing",
    *,
    tolerance: float = 1e-6,
) -> None:
    """Holds if a sequence never turns, as the bound of EM, or a loss under exact line search.

    Args:
        values: in order; a loss per step, say.
        tolerance: relative to the size of the values; rounding may turn.

    Raises:
        CheckFailedError: it turns; the message says where first, and by how much.
        ValueError: `direction` is neither.
    """
    if direction not in ("decreasing", "increasing"):
        raise ValueError(f"direction is {direction!r}, and has to be 'decreasing' or 'increasing'")
    series = [float(value) for value in values]
    sign = 1 if direction == "decreasing" else -1
    for step, (before, after) in enumerate(itertools.pairwise(series), 1):
        if not sign * (after - before) <= tolerance * max(abs(before), abs(after)):
            _fail(f"value {step} is not {direction}: {before:.8g}, then {after:.8g}")


def symmetric(matrix: Tensor, *, tolerance: float | None = None) -> None:
    """Holds if a matrix, or each of a batch of them, equals its transpose (its conjugate transpose, if complex).

    Raises:
        CheckFailedError: it does not, or is not square.
    """
    real = _square(matrix)
    error = (real - real.mH).abs()
    bad = error > _tolerance(matrix, tolerance) * max(float(real.abs().max()), 1e-300)
    if bool(bad.any()):
        _fail(
            f"the matrix is not symmetric: elements differ from their mirror images by up to {float(error.max()):.3g}, "
            f"first at {_place(bad)}"
        )


def positive_semidefinite(matrix: Tensor, *, tolerance: float | None = None) -> None:
    """Holds if a symmetric matrix, or each of a batch of them, has no negative eigenvalue, as a covariance.

    Raises:
        CheckFailedError: it has, or is not symmetric.
    """
    symmetric(matrix, tolerance=tolerance)
    values = torch.linalg.eigvalsh(_square(matrix))
    least, limit = float(values.min()), _tolerance(matrix, tolerance) * float(values.abs().max())
    if least < -limit:
        _fail(f"the matrix is not positive semi-definite: its least eigenvalue is {least:.6g}")


def orthogonal(matrix: Tensor, *, tolerance: float | None = None) -> None:
    """Holds if rows (columns, if there are more rows) are orthogonal to each other and of length 1.

    Raises:
        CheckFailedError: they are not.
    """
    real = matrix.detach().to(torch.complex128 if matrix.is_complex() else torch.float64)
    finite(matrix)
    wide = real if real.shape[-2] <= real.shape[-1] else real.mH
    product = wide @ wide.mH
    error = float((product - torch.eye(wide.shape[-2], dtype=product.dtype, device=product.device)).abs().max())
    if error > _tolerance(matrix, tolerance):
        _fail(f"the matrix is not orthogonal: products of its rows are off by up to {error:.3g}")


def _square(matrix: Tensor) -> Tensor:
    if matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2]:
        _fail(f"shape {tuple(matrix.shape)} is no square matrix")
    finite(matrix)
    return matrix.detach().to(torch.complex128 if matrix.is_complex() else torch.float64)


def _tolerance(values: Tensor, given: float | None) -> float:
    if given is not None:
        return given
    real = values.real.dtype if values.is_complex() else values.dtype
    return _TOLERANCES.get(real, 2e-2 if real.is_floating_point else 0.0)


def _place(bad: Tensor) -> list[int]:
    found: list[int] = bad.nonzero()[0].tolist()
    return found


def _fail(message: str) -> None:
    raise CheckFailedError(message)
