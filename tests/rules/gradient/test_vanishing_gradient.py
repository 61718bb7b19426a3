"""vanishing-gradient: the gradient fades with depth, and the network does not learn."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diagnose.findings import Severity
from diagnose.history import History
from diagnose.testing import Parameter, history_of, sampled_steps
from tests.rules.looking import chain, falling, flat, loud, said, the_only

CODE = "vanishing-gradient"


def fading(per_layer: float, layers: int = 7, last: float = 1e-2) -> dict[str, Parameter]:
    """A chain whose relative gradient loses `per_layer` powers of ten in each layer; SGD with lr 0.1."""
    names = list(chain(layers))
    relative = [last * 10 ** (-per_layer * (layers - 1 - index)) for index in range(layers)]
    return {
        name: Parameter((64, 64), rms=0.1, gradient=0.1 * value, ratio=0.1 * value)
        for name, value in zip(names, relative, strict=True)
    }


def run(parameters: dict[str, Parameter], loss: Any = None, **more: Any) -> History:
    return history_of(steps=300, loss=flat(300) if loss is None else loss, parameters=parameters, **more)


def test_a_deep_sigmoid_network() -> None:
    finding = the_only(run(fading(0.8)), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.where.parameter == "0.weight"
    assert finding.evidence["decades_lost"] == pytest.approx(4.8)
    assert finding.evidence["first_layers_moved"] < 0.01
    assert (finding.first_step, finding.last_step) == (1, sampled_steps(300)[-1])
    assert "10^4.8" in finding.message


def test_an_adaptive_optimizer_moves_the_first_layers_and_still_learns_nothing() -> None:
    parameters = {name: replace(p, ratio=1e-3) for name, p in fading(0.8).items()}
    assert the_only(run(parameters), CODE).severity is Severity.WARNING


@pytest.mark.parametrize(("per_layer", "fires"), [(0.49, False), (0.51, True)])
def test_the_limit_is_three_powers_of_ten(per_layer: float, fires: bool) -> None:
    parameters = {name: replace(p, ratio=1e-3) for name, p in fading(per_layer).items()}
    assert bool(said(run(parameters), CODE)) is fires


@pytest.mark.parametrize(("per_layer", "fires"), [(0.32, False), (0.34, True)])
def test_it_is_two_where_the_first_layers_do_not_move(per_layer: float, fires: bool) -> None:
    slow = {name: replace(p, ratio=p.ratio / 200) for name, p in fading(per_layer, last=0.5).items()}  # type: ignore[operator]
    assert bool(said(run(slow), CODE)) is fires


def test_one_odd_layer_does_not_hide_it() -> None:
    parameters = fading(0.8)
    parameters["3.weight"] = replace(parameters["3.weight"], gradient=1e-5)
    assert said(run(parameters), CODE)
    parameters["3.weight"] = replace(parameters["3.weight"], gradient=0.0)
    assert said(run(parameters), CODE)


def test_an_initialisation_that_is_much_too_small() -> None:
    """All weights get the same next to nothing, as the product of the others is in each of their gradients."""
    tiny = chain(8, rms=0.01, gradient=1e-11, ratio=1e-11)
    finding = the_only(run(tiny, loss=flat(300, 2.303, 0.001)), CODE)
    assert finding.evidence["elasticity"] < 1e-6
    assert "next to nothing" in finding.message


def test_a_little_learned_by_the_last_layer_does_not_excuse_a_frozen_network() -> None:
    assert said(run(fading(1.0), loss=falling(300, 2.3, 1.8)), CODE)
    assert said(run(fading(1.0), loss=falling(300, 2.3, 0.5)), CODE)
    assert not said(run(fading(1.0), loss=falling(300, 2.3, 0.1)), CODE)
    assert not said(run(fading(0.6), loss=falling(300, 2.3, 1.8)), CODE)


# -- healthy look-alikes ------------------------------------------------------------------------------


def test_small_gradients_in_a_network_that_learns() -> None:
    assert not said(run(fading(0.8), loss=falling(300)), CODE)


def test_few_layers() -> None:
    assert not said(run(fading(2.0, layers=3)), CODE)


def test_an_embedding_in_front() -> None:
    parameters = {"embed.weight": Parameter((5000, 64), rms=1.0, gradient=1e-9, module_type="Embedding")}
    assert not said(run({**parameters, **chain(6)}), CODE)


def test_an_actor_and_a_critic_are_two_chains() -> None:
    actor = {
        f"actor.{i}.weight": Parameter(shape, gradient=1e-7) for i, shape in enumerate([(64, 4), (64, 64), (2, 64)])
    }
    critic = {
        f"critic.{i}.weight": Parameter(shape, gradient=1.0) for i, shape in enumerate([(64, 4), (64, 64), (1, 64)])
    }
    assert not said(run({**actor, **critic}), CODE)


def test_two_chains_of_fitting_sizes_differ_in_one_step() -> None:
    parameters = {name: replace(p, gradient=1e-7 if i < 4 else 1.0) for i, (name, p) in enumerate(chain(8).items())}
    assert not said(run(parameters), CODE)


def unrolled(cell: str) -> dict[str, Parameter]:
    """An encoder of the first state, a cell that makes thirty steps, and what reads the last state."""
    kinds = {"encoder.0": "Linear", "encoder.2": "Linear", "cell": cell, "readout": "Linear"}
    return {
        "encoder.0.weight": Parameter(gradient=1e-9, module_type=kinds["encoder.0"], order=1),
        "encoder.2.weight": Parameter(gradient=1e-9, module_type=kinds["encoder.2"], order=2),
        "cell.weight_ih": Parameter((64, 16), gradient=1e-3, module_type=cell, order=3),
        "cell.weight_hh": Parameter((64, 64), gradient=1e-3, module_type=cell, order=3),
        "readout.weight": Parameter((10, 64), gradient=1e-2, module_type=kinds["readout"], order=33),
    }


def test_a_recurrent_cell_stands_for_many_layers() -> None:
    assert said(run(unrolled("RNNCell")), CODE)
    assert not said(run(unrolled("Linear")), CODE)


def test_a_layer_below_dead_units() -> None:
    parameters = chain(6)
    for name in list(parameters)[:4]:
        parameters[name] = replace(parameters[name], gradient=0.0, ratio=0.0)
    assert not said(run(parameters), CODE)


def test_a_gradient_that_fades_for_a_while_only() -> None:
    at = sampled_steps(300)
    parameters = {
        name: replace(p, gradient=[0.1 * p.gradient if step < 20 else 1e-3 for step in at])  # type: ignore[operator]
        for name, p in fading(0.8).items()
    }
    assert not said(run(parameters), CODE)


def test_a_resumed_classifier() -> None:
    """A loss far below ln 64: it knew something from the start."""
    history = run(fading(0.8), loss=flat(300, 0.2, 0.3), grad_fn="NllLossBackward0")
    assert not said(history, CODE)


def test_a_fine_tune_after_a_training_in_the_same_run() -> None:
    history = history_of(steps=300, loss=falling(300), parameters=chain(6), optimizer="first")
    history_of(steps=300, loss=flat(300, 0.1), parameters=fading(0.8), optimizer="second", into=history)
    assert not loud(said(history, CODE))


def test_a_warm_up() -> None:
    assert not said(run(fading(0.8), lr=lambda step: 1e-5 * step), CODE)


def test_layers_that_were_never_seen_to_run() -> None:
    parameters = {name: replace(p, order=None) for name, p in fading(0.8).items()}
    assert not said(run(parameters), CODE)


def test_convolutions_are_flattened_into_a_linear_layer() -> None:
    kernels = [(8, 1, 3, 3), *[(8, 8, 3, 3)] * 5, (10, 512)]
    parameters = {name: replace(p, shape=shape) for (name, p), shape in zip(fading(0.8).items(), kernels, strict=True)}
    assert the_only(run(parameters), CODE).evidence["layers"] == 7


def test_noise_in_the_gradients_does_not_matter() -> None:
    rng, at = np.random.default_rng(0), sampled_steps(300)
    parameters = {
        name: replace(p, gradient=p.gradient * np.exp(rng.normal(size=len(at))))  # type: ignore[operator]
        for name, p in fading(0.8).items()
    }
    assert said(run(parameters), CODE)
    assert not math.isnan(the_only(run(parameters), CODE).evidence["first_layers_moved"])  # type: ignore[arg-type]
