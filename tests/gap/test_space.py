"""The next search space: right scale, right direction, plain data, and nothing that no advice concerns."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diagnose.errors import GapError
from diagnose.gap import Recommendation, recommend_space, sweep_parameters
from diagnose.gap._names import KINDS, kind_of_name
from diagnose.gap._recommendation import CODES

HYPERPARAMETERS = {"lr": 0.01, "hidden": 64, "n_layers": 2, "drop": 0.5, "wd": 1e-3, "activation": "relu", "seed": 3}


def advice(code: Any, **more: Any) -> Recommendation:
    return Recommendation(code, "because", **more)


def entries(*recommendations: Recommendation, **more: Any) -> dict[str, dict[str, Any]]:
    return recommend_space(recommendations, HYPERPARAMETERS, kinds={"drop": "dropout"}, **more)


def searched(space: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, entry in space.items() if entry["distribution"] != "constant"}


def test_a_learning_rate_goes_down_on_a_logarithmic_scale() -> None:
    space = entries(advice("lower-lr", hyperparameter="lr"))
    assert space["lr"] == {
        "distribution": "log_uniform_values",
        "min": 0.001,
        "max": 0.01,
        "reason": "lower-lr: because",
    }
    assert searched(space) == {"lr"}
    assert space["seed"]["value"] == 3 and space["seed"]["distribution"] == "constant"
    assert list(space) == list(HYPERPARAMETERS)


def test_widths_double_and_depth_counts() -> None:
    space = entries(advice("more-capacity"))
    assert space["hidden"]["values"] == [64, 128, 256, 512]
    assert space["n_layers"] == {"distribution": "int_uniform", "min": 2, "max": 5, "reason": "more-capacity: because"}
    assert searched(space) == {"hidden", "n_layers"}
    smaller = entries(advice("less-capacity"))
    assert smaller["hidden"]["values"] == [8, 16, 32, 64]
    assert (smaller["n_layers"]["min"], smaller["n_layers"]["max"]) == (1, 2)


def test_what_regularises_goes_up_or_down() -> None:
    more = entries(advice("more-regularization"))
    assert (more["drop"]["min"], more["drop"]["max"]) == (0.5, 0.875)
    assert (more["wd"]["min"], more["wd"]["max"]) == (1e-3, 1.0)
    less = entries(advice("less-dropout"), advice("less-weight-decay"))
    assert (less["drop"]["min"], less["drop"]["max"]) == (0.0, 0.5)
    assert (less["wd"]["min"], less["wd"]["max"]) == (1e-6, 1e-3)


def test_a_weight_decay_of_zero_has_a_range_above_it_and_none_below() -> None:
    up = recommend_space([advice("more-regularization")], {"weight_decay": 0.0})["weight_decay"]
    assert up["distribution"] == "log_uniform_values" and 0 < up["min"] < up["max"]
    down = recommend_space([advice("less-weight-decay")], {"weight_decay": 0.0})["weight_decay"]
    assert down["distribution"] == "constant" and down["value"] == 0.0


def test_a_suggested_value_lies_in_the_middle_and_a_range_is_taken() -> None:
    assert entries(advice("lower-lr", suggested=0.001))["lr"]["min"] == pytest.approx(1e-4)
    space = entries(advice("higher-lr", hyperparameter="lr", suggested=(0.5, 0.02)))
    assert (space["lr"]["min"], space["lr"]["max"]) == (0.02, 0.5)
    assert entries(advice("more-capacity", hyperparameter="hidden", suggested=(64, 300)))["hidden"]["values"] == [
        *(64, 128, 256, 300)
    ]
    assert entries(advice("less-dropout", suggested=0.2))["drop"]["min"] == 0.0


def test_the_first_advice_counts() -> None:
    space = entries(advice("less-dropout"), advice("more-regularization"))
    assert space["drop"]["max"] == 0.5 and space["wd"]["min"] == 1e-3


@pytest.mark.parametrize("code", ["check-test-pipeline", "check-save-load", "check-leak", "target-met"])
def test_nothing_is_searched_by_an_error_that_is_wrong(code: Any) -> None:
    space = entries(advice(code), advice("more-capacity"))
    assert not searched(space)
    assert code in space["lr"]["reason"]


@pytest.mark.parametrize("code", ["more-data", "fix-labels", "rebalance"])
def test_advice_about_data_moves_no_hyperparameter(code: Any) -> None:
    assert not searched(entries(advice(code)))
    assert searched(entries(advice(code), advice("less-dropout"))) == {"drop"}


def test_kernels_stay_odd_and_padding_whole() -> None:
    now = {"kernel_size": 3, "padding": 0, "pad_mode": "valid", "kernels": (3, 3)}
    space = recommend_space(
        [advice("more-capacity", hyperparameter=name) for name in now], now, kinds={"pad_mode": "zero-padding"}
    )
    assert space["kernel_size"]["values"] == [3, 5, 7]
    assert space["padding"]["values"] == [0, 1, 2]
    assert space["pad_mode"]["values"] == ["valid", "same"]
    assert space["kernels"]["values"] == [[3, 3], [5, 5], [7, 7]]
    less = recommend_space([advice("less-capacity", hyperparameter="kernel_size")], {"kernel_size": 3})
    assert less["kernel_size"]["values"] == [1, 3]


def test_widths_of_layers_are_scaled_together() -> None:
    space = recommend_space([advice("more-capacity")], {"hidden": [32, 16]})
    assert space["hidden"]["values"] == [[32, 16], [64, 32], [128, 64], [256, 128]]


def test_at_the_edge_of_what_was_tried_the_range_goes_beyond() -> None:
    edge = entries(tried={"lr": [0.01, 0.03, 0.1]})["lr"]
    assert edge["min"] <= 0.01 / 3 and edge["max"] == 0.03 and "least" in edge["reason"]
    top = entries(tried={"lr": [0.001, 0.0001, 0.01]})["lr"]
    assert top["min"] == 0.001 and top["max"] >= 0.1
    inside = entries(tried={"lr": [0.003, 0.01, 0.03]})["lr"]
    assert (inside["min"], inside["max"]) == (0.003, 0.03)
    assert entries(tried={"lr": [0.01]})["lr"]["distribution"] == "constant"
    toward = entries(advice("lower-lr"), tried={"lr": [0.003, 0.01, 0.03]})["lr"]
    assert (toward["min"], toward["max"]) == (0.003, 0.01)


def test_more_can_be_set_free() -> None:
    space = entries(advice("more-capacity"), also=["lr"])
    assert (space["lr"]["min"], space["lr"]["max"]) == (0.001, 0.1)


def test_the_advice_says_what_a_strange_name_means() -> None:
    named = recommend_space([advice("less-dropout", hyperparameter="p", kind="dropout")], {"p": 0.8})
    assert named["p"]["distribution"] == "uniform" and named["p"]["max"] == 0.8
    by_kind = recommend_space(
        [advice("lower-lr", kind="learning-rate")], {"step": 0.1}, kinds={"step": "learning-rate"}
    )
    assert by_kind["step"]["max"] == 0.1


def test_a_named_number_of_unknown_kind_is_searched_to_both_sides() -> None:
    space = recommend_space([advice("more-capacity", hyperparameter="heads")], {"heads": 4})
    assert space["heads"]["values"] == [1, 2, 4, 8, 16]


def test_what_is_no_plain_data_is_shown_and_stays() -> None:
    space = recommend_space([], {"act": torch.nn.ReLU, "lr": np.float32(0.5), "n": torch.tensor(3), "none": None})
    assert "ReLU" in space["act"]["value"]
    assert space["lr"]["value"] == 0.5 and space["n"]["value"] == 3
    json.dumps(space, allow_nan=False)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: recommend_space([], {"lr": math.nan}), "'lr' is nan"),
        (lambda: recommend_space([], {"lr": 1.0}, kinds={"eta": "learning-rate"}), "'eta'"),
        (lambda: recommend_space([], {"lr": 1.0}, kinds={"lr": "speed"}), "'speed'"),
        (lambda: recommend_space([], {"lr": 1.0}, also=["width"]), "there are 'lr'"),
        (lambda: recommend_space(["lower-lr"], {"lr": 1.0}), "str"),  # type: ignore[list-item]
        (lambda: recommend_space([], [("lr", 1.0)]), "list"),  # type: ignore[arg-type]
    ],
)
def test_wrong_input_is_named(call: Any, words: str) -> None:
    with pytest.raises(GapError, match=words):
        call()


DISTRIBUTIONS = {
    "constant": {"value"},
    "categorical": {"values"},
    "uniform": {"min", "max"},
    "int_uniform": {"min", "max"},
    "log_uniform_values": {"min", "max"},
}


@given(
    codes=st.lists(st.sampled_from(CODES), max_size=4),
    lr=st.floats(1e-8, 10),
    width=st.integers(1, 10_000),
    depth=st.integers(1, 50),
    dropout=st.floats(0, 0.9),
    decay=st.one_of(st.just(0.0), st.floats(1e-9, 1)),
    kernel=st.integers(1, 11),
    suggested=st.one_of(st.none(), st.floats(1e-6, 100), st.tuples(st.floats(1e-6, 10), st.floats(1e-6, 10))),
)
def test_every_space_is_a_sweep_that_keeps_the_present_value(
    codes: list[Any], lr: float, width: int, depth: int, dropout: float, decay: float, kernel: int, suggested: Any
) -> None:
    now = {"lr": lr, "width": width, "depth": depth, "dropout": dropout, "weight_decay": decay, "kernel_size": kernel}
    advised = [advice(code) for code in codes]
    space = recommend_space(advised, now)
    assert json.loads(json.dumps(space, allow_nan=False)) == space
    for name, entry in space.items():
        assert set(entry) - {"distribution", "reason"} == DISTRIBUTIONS[entry["distribution"]]
        if "values" in entry:
            assert now[name] in entry["values"] and sorted(entry["values"]) == entry["values"]
            assert all(isinstance(value, int) and value >= 1 for value in entry["values"])
        elif "min" in entry:
            assert entry["min"] < entry["max"]
            assert now[name] == 0 or entry["min"] <= now[name] <= entry["max"]
        else:
            assert entry["value"] == now[name]
    dropout_range = space["dropout"]
    assert dropout_range.get("min", 0) >= 0 and dropout_range.get("max", 0.9) <= 0.9
    assert space["lr"]["distribution"] in ("constant", "log_uniform_values")
    assert all("reason" not in entry for entry in sweep_parameters(space).values())
    for name in now:  # any suggestion gives an entry that is well formed
        for code in codes:
            entry = recommend_space([advice(code, hyperparameter=name, suggested=suggested)], now)[name]
            assert entry.get("min", 0) < entry.get("max", 1)


def test_a_space_of_another_order_of_names_is_the_same() -> None:
    space = entries(advice("more-capacity"))
    backwards = dict(reversed(list(HYPERPARAMETERS.items())))
    assert recommend_space([advice("more-capacity")], backwards, kinds={"drop": "dropout"}) == space


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((kind, kind) for kind in KINDS),
        *(("optimizer.lr", "learning-rate"), ("learningRate", "learning-rate"), ("--weight-decay", "weight-decay")),
        *(("num_hidden_layers", "depth"), ("attn_drop_rate", "dropout"), ("d_model", "hidden-units")),
        *(("implicit-zero-padding", "zero-padding"), ("dropout-rate", "dropout"), ("hiddenSize", "hidden-units")),
        *((name, None) for name in ("lr_decay", "min_lr", "in_channels", "model_name", "pad_token_id", "seed", "x")),
        *(("drop_path_rate", "dropout"), ("nb_filter", "hidden-units"), ("conv_size", "kernel-width")),
        *((name, None) for name in ("lr_warmup_steps", "epochs_patience", "out_dim", "alpha", "vocab_size")),
        *((name, None) for name in ("hidden_act", "bn_momentum", "image_size", "optimizer", "")),
    ],
)
def test_names_mean_what_people_mean_by_them(name: str, kind: Any) -> None:
    assert kind_of_name(name) == kind
