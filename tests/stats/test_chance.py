"""How many units a symmetric initialisation leaves dead."""

from __future__ import annotations

import numpy as np
import pytest

from diagnose.stats.chance import dead_by_symmetry


def test_the_bound_comes_down_to_one_half() -> None:
    bounds = [dead_by_symmetry(units) for units in (1, 8, 64, 1000, 10**6)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] == 1
    assert bounds[-1] == pytest.approx(0.5, abs=0.01)


def test_the_numbers_on_the_page() -> None:
    assert dead_by_symmetry(64) == pytest.approx(0.69, abs=0.005)
    assert dead_by_symmetry(1000) == pytest.approx(0.55, abs=0.005)


def test_a_layer_with_one_constant_input_stays_below_it() -> None:
    # The worst case: all examples are alike, so that every unit is either always or never active.
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=4)
    weights = rng.uniform(-1, 1, size=(20_000, 64, 4))
    biases = rng.uniform(-1, 1, size=(20_000, 64))
    dead = ((weights @ inputs + biases) < 0).mean(axis=1)
    # 3 sigmas of a binomial with 64 trials, whose values are 1/64 apart: 1 layer in 500.
    assert (dead >= dead_by_symmetry(64)).mean() < 1 / 350
