"""Errors over one hyperparameter: the U shape, its optimum, its edges, on real trainings and on errors told by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import diagnose
from diagnose.errors import GapError
from diagnose.gap import validation_curve

Pair = tuple[Tensor, Tensor]


def polynomial_data(count: int, seed: int) -> Pair:
    """A cubic with noise, in powers of x up to 12: the example of figure 5.2 and of section 11.4.1."""
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(count, 1, generator=generator, dtype=torch.float64) - 1
    y = 2 * x**3 - x + 0.2 * torch.randn(count, 1, generator=generator, dtype=torch.float64)
    return torch.cat([x**power for power in range(1, 13)], 1), y


TRAIN, TEST = polynomial_data(24, 0), polynomial_data(500, 1)


class Ridge(nn.Module):
    def __init__(self, data: Pair, degree: int, weight_decay: float) -> None:
        super().__init__()
        x = torch.cat([torch.ones(len(data[1]), 1, dtype=torch.float64), data[0][:, :degree]], 1)
        penalty = weight_decay * torch.eye(degree + 1, dtype=torch.float64)
        self.weights = nn.Parameter(torch.linalg.solve(x.T @ x + penalty, x.T @ data[1]))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, : len(self.weights) - 1] @ self.weights[1:] + self.weights[0]


def ridge(data: Pair, degree: int = 12, weight_decay: float = 1e-8) -> nn.Module:
    """Fitted to a random four fifths of the data, as a training that has chance in it."""
    rows = torch.randperm(len(data[1]))[: len(data[1]) * 4 // 5]
    return Ridge((data[0][rows], data[1][rows]), degree, weight_decay)


def told(values: dict[Any, tuple[float, float]], noise: float = 0.0, repeats: int = 3, **more: Any) -> Any:
    """A curve of (train, test) errors told by hand."""

    def train(data: Any, x: Any) -> tuple[float, float]:
        a, b = values[x]
        return a, b + noise * float(torch.randn(()))

    return validation_curve(train, [1, 2, 3], name="x", values=list(values), repeats=repeats, **more)


def test_capacity_of_a_polynomial_makes_a_u() -> None:
    curve = validation_curve(
        ridge, TRAIN, name="degree", values=[1, 2, 3, 5, 8, 12], test_data=TEST, repeats=12, progress=False
    )
    assert curve.metric == "loss" and curve.best == 3
    assert curve.sides == ("underfits", "overfits") and curve.is_u_shaped
    assert curve.edge is None
    assert "degree = 1 underfits" in str(curve) and "degree = 12 overfits" in str(curve)
    data = json.loads(json.dumps(curve.to_json(), allow_nan=False))
    assert data["best"] == 3 and data["sides"] == ["underfits", "overfits"]


def test_weight_decay_goes_the_other_way_round_on_a_logarithmic_scale() -> None:
    curve = validation_curve(
        ridge, TRAIN, name="weight_decay", values=[1e-8, 1e-4, 1e-2, 1.0, 100.0], test_data=TEST, repeats=12
    )
    assert curve.is_geometric and curve.sides == ("overfits", "underfits")
    assert 1e-4 <= curve.best <= 1.0


def test_a_best_value_at_the_edge_is_said_to_be_there() -> None:
    curve = validation_curve(ridge, TRAIN, name="degree", values=[1, 2, 3], test_data=TEST, repeats=6)
    assert curve.edge == "high" and curve.next_values == (4, 5)
    assert "largest value tried" in str(curve)


def test_values_within_a_standard_error_are_as_good() -> None:
    flat = told(dict.fromkeys((1, 2, 3, 4), (0.1, 0.3)), noise=0.05, repeats=5, seed=3)
    # The same random numbers for all values: differences are nothing.
    assert flat.as_good == (1, 2, 3, 4) and flat.edge is None and flat.sides == (None, None)
    assert "No value can be told from another" in str(flat)
    clear = told({1: (0.3, 0.5), 2: (0.1, 0.3), 3: (0.0, 0.5)}, noise=0.001)
    assert clear.as_good == (2,) and clear.is_u_shaped


def test_a_single_training_leaves_the_noise_unknown() -> None:
    curve = told({1: (0.1, 0.4), 2: (0.1, 0.3)}, repeats=1)
    assert "Nothing is known of the noise" in str(curve)
    assert curve.points[0].test.high == math.inf
    json.dumps(curve.to_json(), allow_nan=False)


def test_values_need_not_be_numbers() -> None:
    curve = told({"relu": (0.1, 0.2), None: (0.1, 0.3), "tanh": (0.2, 0.4)}, noise=0.001)
    assert curve.values == ("relu", None, "tanh") and curve.best == "relu"
    assert curve.edge is None and curve.next_values == () and not curve.is_geometric
    assert "None" in str(curve)
    switches = told({True: (0.1, 0.2), False: (0.1, 0.3)}, noise=0.001)
    assert switches.best is True and not switches.is_numeric


def test_changes_are_given_to_every_training() -> None:
    seen = []

    def train(data: Any, x: int, other: str) -> float:
        seen.append((x, other))
        return float(x)

    validation_curve(train, [1, 2], name="x", values=[2, 1], repeats=2, changes={"other": "y"})
    assert seen == [(1, "y"), (2, "y")] * 2


def test_a_training_that_spoils_its_data_does_not_spoil_those_of_the_next() -> None:
    x, y = TRAIN[0].clone(), TRAIN[1].clone()

    def train(data: Pair, degree: int) -> nn.Module:
        model = ridge(data, degree)
        data[0].zero_()
        return model

    curve = validation_curve(train, (x, y), name="degree", values=[1, 3], test_data=TEST, repeats=2)
    assert torch.equal(x, TRAIN[0]) and torch.equal(y, TRAIN[1])
    assert curve.best == 3


def test_a_crash_is_named_with_its_value() -> None:
    def train(data: Any, x: float) -> float:
        if x == 2.5:
            raise OverflowError("planted")
        return x

    curve = validation_curve(train, [1, 2], name="x", values=[1.5, 2.5, 3.5], repeats=2)
    assert curve.values == (1.5, 3.5)
    assert [(failure.at, failure.repeat) for failure in curve.failures] == [(2.5, 0), (2.5, 1)]
    assert "Training 2 with x = 2.5 failed: OverflowError: planted" in str(curve)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: told({}), "empty"),
        (lambda: validation_curve(ridge, TRAIN, name="d", values=[1, 1]), "1 twice"),
        (lambda: validation_curve(ridge, TRAIN, name="d", values=[1.0, math.nan]), "NaN"),
        (lambda: validation_curve(ridge, TRAIN, name="d", values=[1], repeats=0), "repeats is 0"),
        (lambda: validation_curve(ridge, TRAIN, name="d", values=[1], changes={"d": 2}), "'d' is in changes"),
        (lambda: validation_curve(ridge, TRAIN, name="d", values=[1]), "All 3 trainings failed; the first, with d=1"),
        (lambda: validation_curve(ridge, 3, name="degree", values=[1]), "int"),
    ],
)
def test_wrong_input_is_named(call: Any, words: str) -> None:
    with pytest.raises(GapError, match=words):
        call()


@given(
    errors=st.lists(st.integers(5_000, 90_000).map(lambda count: count / 100_000), min_size=2, max_size=6),
    factor=st.floats(-3, 3).map(lambda power: 10**power),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=25, deadline=None)
def test_neither_units_nor_the_order_of_values_matter(errors: list[float], factor: float, order: Any) -> None:
    rows = [(place + 1, (error / 3, error)) for place, error in enumerate(errors)]
    one = told(dict(rows), noise=0.01)
    order.shuffle(rows)
    assert told(dict(rows), noise=0.01).to_json() == one.to_json()
    scaled = told({value: (a * factor, b * factor) for value, (a, b) in rows}, noise=0.01 * factor)
    assert (scaled.best, scaled.as_good, scaled.edge, scaled.sides) == (one.best, one.as_good, one.edge, one.sides)
    assert one.best in one.as_good


@pytest.mark.parametrize(
    ("values", "geometric"),
    [
        ([1, 2, 4, 8], True),
        ([1e-4, 1e-3, 1e-2], True),
        ([0.0, 0.1, 0.2, 0.3], False),
        ([1, 2, 3, 4], False),
        ([0.1, 0.2, 0.3, 0.4], False),
        ([0, 1, 10, 100], False),
        ([-1.0, 1.0, 10.0], False),
        ([32, 64, 128, 512], True),
        ([1e-3, 1e-1], True),
        ([5], False),
    ],
)
def test_what_is_spaced_by_factors_has_a_logarithmic_axis(values: list[float], geometric: bool) -> None:
    assert told(dict.fromkeys(values, (0.1, 0.2)), repeats=2).is_geometric is geometric


def test_next_values_go_on_as_the_values_did() -> None:
    def best_at(values: list[float], best: float) -> tuple[float, ...]:
        return tuple(told({v: (0.1, 0.2 if v == best else 0.3) for v in values}, repeats=2).next_values)

    assert best_at([16, 32, 64], 64) == (128, 256)
    assert best_at([1e-3, 1e-2, 1e-1], 1e-3) == pytest.approx((1e-5, 1e-4))
    assert best_at([1e-3, 1e-2, 1e-1], 1e-2) == pytest.approx((10**-2.5, 10**-1.5), rel=1e-3)
    assert best_at([0.0, 0.2, 0.4], 0.0) == ()
    assert best_at([0.0, 0.2, 0.4], 0.2) == pytest.approx((0.1, 0.3))
    assert best_at([1, 2], 1) == ()


def test_a_picture_is_written_with_the_axis_that_the_values_need(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    curve = told({0.001: (0.1, 0.3), 0.01: (0.1, 0.2), 0.1: (0.2, 0.3)}, noise=0.01)
    curve.plot(tmp_path / "curve.svg")
    assert b"<svg" in (tmp_path / "curve.svg").read_bytes()
    assert curve.plot().get_xscale() == "log"
    words = told({"$a": (0.1, 0.3), "b": (0.1, 0.2)}, repeats=1).plot()
    assert words.get_xscale() == "linear" and len(words.get_xticks()) == 2
    with pytest.raises(OSError, match="no_such"):
        curve.plot(tmp_path / "no_such" / "curve.png")


def test_it_is_there_at_the_top() -> None:
    assert diagnose.validation_curve is validation_curve
