"""Ready invariants: silent where they hold, with numbers where they do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diagnose.checks import invariants
from diagnose.errors import CheckFailedError

A = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
CAUSAL = torch.ones(4, 4, dtype=torch.bool).triu(1)


@pytest.mark.parametrize(
    ("holds", "broken", "told"),
    [
        (lambda: invariants.finite(A), lambda: invariants.finite(A / 0), "16 of 16 values are not finite"),
        (lambda: invariants.probabilities(A.sigmoid()), lambda: invariants.probabilities(A), r"outside of \[0, 1\]"),
        (
            lambda: invariants.sums_to_one(A.softmax(-1)),
            lambda: invariants.sums_to_one(A.softmax(0)),
            "along dimension 0 they are: the softmax goes along the wrong one",
        ),
        (
            lambda: invariants.attention_weights(A.masked_fill(CAUSAL, -torch.inf).softmax(-1), CAUSAL),
            lambda: invariants.attention_weights(A.softmax(-1), CAUSAL),
            "6 of 6 masked positions have a weight",
        ),
        (
            lambda: invariants.attention_weights(A.softmax(-1)),
            lambda: invariants.attention_weights(A.softmax(-1) * ~CAUSAL, CAUSAL),
            "sums along dimension -1 are not 1",
        ),
        (
            lambda: invariants.unit_norm(A / A.norm(dim=-1, keepdim=True)),
            lambda: invariants.unit_norm(A),
            "4 of 4 norms along dimension -1 are not 1",
        ),
        (
            lambda: invariants.standardised((A - A.mean(0)) / A.std(0, correction=0), 0),
            lambda: invariants.standardised(A + 3, 0),
            "not standardised",
        ),
        (
            lambda: invariants.monotone([3, 2, 2, 1]),
            lambda: invariants.monotone([3, 2, 2.1, 1]),
            "value 2 is not decreasing: 2, then 2.1",
        ),
        (
            lambda: invariants.monotone(torch.arange(4), "increasing"),
            lambda: invariants.monotone([1, float("nan")]),
            "value 1 is not decreasing",
        ),
        (lambda: invariants.symmetric(A + A.T), lambda: invariants.symmetric(A), "not symmetric"),
        (
            lambda: invariants.positive_semidefinite(A @ A.T),
            lambda: invariants.positive_semidefinite(A + A.T),
            "its least eigenvalue is -",
        ),
        (
            lambda: invariants.orthogonal(torch.linalg.qr(A)[0][:2]),
            lambda: invariants.orthogonal(A),
            "not orthogonal",
        ),
        (
            lambda: invariants.symmetric(torch.stack([A + A.T, A @ A.T])),
            lambda: invariants.symmetric(A[:2]),
            "no square matrix",
        ),
    ],
)
def test_each_holds_and_breaks(holds: Callable[[], Any], broken: Callable[[], Any], told: str) -> None:
    holds()
    with pytest.raises(AssertionError, match=told) as caught:
        broken()
    assert isinstance(caught.value, CheckFailedError)


def test_rows_that_may_see_nothing_are_free() -> None:
    hidden = torch.tensor([[True, True], [False, True]])
    invariants.attention_weights(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), hidden)
    invariants.attention_weights(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.where(hidden, -torch.inf, 0.0))


def test_a_direction_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="direction is 'down'"):
        invariants.monotone([1, 2], "down")  # type: ignore[arg-type]


@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=20),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_every_softmax_in_every_type_is_one(values: list[float], dtype: torch.dtype) -> None:
    weights = torch.tensor(values, dtype=dtype).softmax(-1)
    invariants.sums_to_one(weights)
    invariants.probabilities(weights)
    invariants.attention_weights(weights[None])


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_every_covariance_is_positive_semidefinite(rows: int, size: int, seed: int) -> None:
    x = torch.randn(rows, size, generator=torch.Generator().manual_seed(seed))
    invariants.positive_semidefinite(x.T @ x)
