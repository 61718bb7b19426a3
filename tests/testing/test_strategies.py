"""Strategies: what they draw fits, and they leave torch's random state alone."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from torch import Tensor

from diagnose.testing.strategies import (
    Batch,
    Case,
    Tokens,
    batches,
    class_targets,
    dtypes,
    modules,
    shapes,
    tensors,
    token_sequences,
)


@given(st.data())
@settings(max_examples=50)
def test_tensors_have_the_shape_type_and_range_that_were_asked_for(data: st.DataObject) -> None:
    low = data.draw(st.floats(-100, 100))
    high = data.draw(st.floats(low, 200))
    dtype = data.draw(dtypes(half=True))
    shape = data.draw(shapes(min_dims=0, max_side=6, min_side=0))
    tensor = data.draw(tensors(shape, dtype=dtype, low=low, high=high, layouts=True))
    assert tensor.shape == shape and tensor.dtype is dtype and not tensor.requires_grad
    assert bool(torch.isfinite(tensor).all())
    slack = torch.finfo(dtype).eps * 200  # the bounds themselves are rounded to the type
    assert bool(((tensor.double() >= low - slack) & (tensor.double() <= high + slack)).all())


@pytest.mark.parametrize(
    "wanted",
    [
        lambda x: x.isnan().any(),
        lambda x: x.isinf().any(),
        lambda x: (x == 10).any(),
        lambda x: x.numel() > 100 and x.unique().numel() > 50,
        lambda x: x.numel() > 1 and x.dim() > 1 and not x.is_contiguous(),
    ],
    ids=["nan", "infinity", "bound", "large", "strided"],
)
def test_special_cases_are_among_them(wanted: Any) -> None:
    everything = tensors(nan=True, infinity=True, layouts=True)
    found = find(everything, wanted, settings=settings(max_examples=2000, suppress_health_check=list(HealthCheck)))
    assert wanted(found)


def test_small_tensors_shrink_to_simple_ones() -> None:
    found = find(tensors(shapes(min_dims=1, max_dims=1)), lambda x: x.numel() >= 2 and x.sum() >= 3)
    assert found.tolist() in ([0, 3], [3, 0])


def test_wrong_arguments_are_told() -> None:
    for strategy, says in (
        (tensors(dtype=torch.int64), "no floating point type"),
        (tensors(low=2, high=1), "low=2 is above high=1"),
        (token_sequences(1, padding=0), "no token to draw"),
        (token_sequences(3, length=2, min_length=3), "min_length=3"),
        (batches(task="clustering"), "task='clustering'"),
        (modules(kinds=("forest",)), "'forest' is none of"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=says):
            find(strategy, lambda _: True)
    with pytest.raises(ValueError, match="classes=0"):
        class_targets((2,), 0)


@given(class_targets(shapes(max_side=9), 4))
@settings(max_examples=30)
def test_class_targets(targets: Tensor) -> None:
    assert targets.dtype is torch.int64 and bool(((targets >= 0) & (targets < 4)).all())


@given(token_sequences(7, padding=0, min_length=2))
@settings(max_examples=50)
def test_tokens_are_padded_at_their_end_and_nowhere_else(tokens: Tokens) -> None:
    assert tokens.ids.shape == tokens.mask.shape
    assert torch.equal(tokens.ids != 0, tokens.mask) and bool((tokens.ids < 7).all())
    assert bool((tokens.lengths >= 2).all())
    assert torch.equal(tokens.mask.int().sort(1, descending=True).values, tokens.mask.int())


@given(batches())
@settings(max_examples=40)
def test_batches_fit_their_loss(batch: Batch) -> None:
    output = torch.zeros(len(batch.inputs), batch.outputs, requires_grad=True)
    loss = batch.loss_fn(output, batch.targets)
    assert loss.dim() == 0 and bool(torch.isfinite(loss))
    loss.backward()


@given(modules())
@settings(max_examples=60)
def test_modules_train_on_their_batch(case: Case) -> None:
    state = torch.get_rng_state()
    loss = case.loss()
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert all(parameter.grad is not None for parameter in case.module.parameters())
    torch.set_rng_state(state)


def test_drawing_leaves_the_global_random_state_alone() -> None:
    state = torch.get_rng_state()
    find(modules(), lambda _: True)
    assert torch.equal(torch.get_rng_state(), state)


def test_without_hypothesis_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import diagnose.testing.strategies"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert child.returncode and "pip install 'torch-diagnose[hypothesis]'" in child.stderr
