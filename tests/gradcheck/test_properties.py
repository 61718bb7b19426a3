"""Over random models: right ones pass, and one derivative that is off by a tenth is found and named."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from diagnose import check_gradients
from diagnose.testing.strategies import Case, modules
from tests.gradcheck.functions import changed, numbers, planted

ACTIVATIONS = (nn.Tanh, nn.ReLU, nn.GELU, nn.Sigmoid, nn.Softplus, nn.ELU)


@st.composite
def mlps(draw: st.DrawFn) -> tuple[nn.Sequential, Tensor]:
    """A random MLP in float32 or float64, and a batch for it."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    sizes = draw(st.lists(st.integers(1, 12), min_size=2, max_size=4))
    layers: list[nn.Module] = []
    for size, following in itertools.pairwise(sizes):
        layers += [nn.Linear(size, following, bias=draw(st.booleans())), draw(st.sampled_from(ACTIVATIONS))()]
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    return nn.Sequential(*layers).to(dtype), torch.randn(draw(st.integers(1, 6)), sizes[0], dtype=dtype)


@settings(max_examples=25)
@given(mlps(), st.booleans(), st.integers(0, 1000))
def test_random_mlps_are_right(made: tuple[nn.Sequential, Tensor], scalar: bool, seed: int) -> None:
    model, x = made
    report = check_gradients(model, [x], loss_fn=(lambda y: y.square().mean()) if scalar else None, seed=seed)
    # A layer whose units are all dead has no gradient at all; that is right, too.
    assert report.ok, str(report)


@settings(max_examples=25)
@given(modules(), st.integers(0, 1000))
def test_modules_of_all_kinds_are_right(case: Case, seed: int) -> None:
    report = check_gradients(case.module, [case.inputs], loss_fn=lambda y: case.loss_fn(y, case.targets), seed=seed)
    assert report.ok, str(report)


@settings(max_examples=25)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.data())
def test_an_element_off_by_a_tenth_is_found_and_named(shape: list[int], data: st.DataObject) -> None:
    x = numbers(*shape, seed=data.draw(st.integers(0, 1000)))
    position = data.draw(st.integers(0, x.numel() - 1))

    def off(gradient: Tensor) -> Tensor:
        flat = gradient.reshape(-1).clone()
        flat[position] *= 1.1
        return flat.view(gradient.shape)

    function = data.draw(st.sampled_from([torch.exp, torch.atan, lambda x: x**3]))
    (entry,) = check_gradients(planted(function, changed(off)), [x], seed=data.draw(st.integers(0, 1000))).entries
    assert entry.verdict == "fault"
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(position), x.shape))
    assert [element.index for element in entry.elements] == [index]


@settings(max_examples=25)
@given(st.floats(-12, 12), st.floats(-12, 12), st.booleans())
def test_units_do_not_matter(output_power: float, input_power: float, wrong: bool) -> None:
    factor, unit = 10.0**output_power, 10.0**input_power

    def function(x: Tensor) -> Tensor:
        return factor * (x / unit).sin().cumsum(0)

    checked = planted(function, changed(lambda g: 1.01 * g)) if wrong else function
    assert check_gradients(checked, [unit * numbers(5)]).ok is not wrong
