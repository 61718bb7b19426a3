"""What users hand over: names of hyperparameters, curves, suspects, tables; and what they get for what cannot be."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest

from diagnose.errors import GapError
from diagnose.gap import CODES, Recommendation, diagnose_gap
from diagnose.gap._curves import course_of, curves_of
from diagnose.gap._decide import allowed
from diagnose.gap._error import Measured
from diagnose.gap._hyperparameters import recognised
from diagnose.gap._situation import Situation
from diagnose.gap._told import doubling_of, rare_class_of, suspects_of


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("learning-rate", {"lr": 1e-3, "learning_rate": 0.1, "eta": 0.5, "optimizer.lr": 0.1, "learningRate": 1e-4}),
        ("weight-decay", {"wd": 0.0, "weight_decay": 1e-2, "l2": 0.01, "lambda": 0.1, "l2_reg": 1.0}),
        ("dropout", {"p": 0.3, "dropout": 0.5, "drop_prob": 0.1, "p_drop": 0.2, "dropoutRate": 0.9, "keep_prob": 0.7}),
        (
            "hidden-units",
            {
                "hidden": 64,
                "l1": 120,
                "l2": 84,
                "fc1": 32,
                "d_model": 512,
                "channels": [8, 16],
                "hiddenSize": 7,
                "h": 4,
            },
        ),
        ("kernel-width", {"k": 3, "kernel_size": 5, "conv.kernel": 1, "ksize": 2}),
        ("zero-padding", {"pad": 0, "padding": 2}),
        ("depth", {"n_layers": 3, "depth": 0, "num_layers": 4}),
        ("epochs", {"epochs": 10, "max_epochs": 3, "n_epochs": 5}),
        ("batch-size", {"bs": 32, "batch_size": 64}),
    ],
)
def test_names_are_recognised(kind: str, values: dict[str, Any]) -> None:
    found = recognised(values)
    assert found.unknown == ()
    assert {one.kind for one in found.known} == {kind}


def test_what_is_none_of_them() -> None:
    names = {"num_classes": 10, "seed": 3, "lr_decay": 0.9, "in_channels": 3, "nesterov": True, "name": "x", "C": 1.0}
    found = recognised(names)
    assert found.known == ()
    assert set(found.unknown) == set(names)
    assert recognised({"optimizer": "AdamW"}).optimizer == "adamw"
    assert recognised({"optimizer": dict}).optimizer == "dict"
    assert recognised({"adam_lr": 1e-3}).optimizer == "adam"
    assert recognised({"lr": 0.1, "momentum": 0.9}).optimizer == "sgd"


def test_alpha_is_a_rate_or_a_decay_as_the_rest_tells() -> None:
    kinds = {one.name: one.kind for one in recognised({"alpha": 1e-4, "learning_rate_init": 1e-3}).known}
    assert kinds == {"alpha": "weight-decay", "learning_rate_init": "learning-rate"}
    assert recognised({"alpha": 0.02}).unknown == ("alpha",)
    found = recognised({"alpha": 0.02, "x": 3, "units": 4}, [0.02, 0.01])
    assert {one.name: one.kind for one in found.known} == {"alpha": "learning-rate", "units": "hidden-units"}
    assert found.unknown == ("x",)
    assert recognised({"x": 0.02, "y": 0.02}, [0.02]).known == ()
    assert recognised({"wd": 0.02, "lr": 0.1}, [0.02]).first("weight-decay") is not None


def test_the_narrowest_of_a_list_counts() -> None:
    assert next(recognised({"widths": [64, 8, 32]}).of("hidden-units")).value == 8


def test_curves_by_other_names() -> None:
    found = curves_of({"trainLoss": [1, 2], "val_acc": [50.0, 90.0], "training error": [0.5], "lr": [0.1]})
    assert set(found.values) == {"train_loss", "test_error", "train_error", "lr"}
    assert found.get("test_error").tolist() == pytest.approx([0.5, 0.1])


def test_the_last_values_of_curves_are_the_errors() -> None:
    found = diagnose_gap(curves={"train_error": [0.5, 0.01], "val_error": [0.5, 0.2]}, n_train=500, n_test=500)
    assert found.verdict == "overfitting"
    assert any("curves['val_error']" in note for note in found.notes)


def test_a_short_curve_has_no_course() -> None:
    assert not course_of(curves_of({"train_loss": [1.0, 0.9, 0.8]})).known
    assert not course_of(curves_of({})).known
    assert course_of(curves_of({"train_loss": [float("nan")]})).broke_at == 1


@pytest.mark.parametrize("given", [0.04, 40, np.array([-0.9] * 4 + [0.5] * 96, dtype=np.float32)])
def test_suspects_in_any_form(given: Any) -> None:
    found = suspects_of(given, 1000)
    assert found is not None
    assert found.value == pytest.approx(0.04)


def test_the_last_doubling() -> None:
    exact = {100: 0.4, 200: 0.2, 400: 0.1}
    assert doubling_of(exact) == pytest.approx(0.5)
    assert doubling_of(list(exact.items())) == pytest.approx(0.5)
    assert doubling_of({100: 0.4, 400: 0.1}) == pytest.approx(0.5, abs=0.25)
    assert doubling_of({100: 0.4}) is None


def test_a_rare_class_in_any_form() -> None:
    rows = [{"recall": 0.9, "n": 400}, {"recall": 0.95, "n": 500}, {"recall": 0.2, "n": 50}]
    frame = pd.DataFrame(rows, index=["a", "b", "c"])
    for given in (rows, frame, dict(zip("abc", rows, strict=True))):
        found, classes = rare_class_of(given, 0.1)
        assert found is not None
        assert classes == 3
        assert found.share == pytest.approx(50 / 950)
    # A class of which nobody knows whether it is bad, and one that is bad but frequent.
    assert rare_class_of([{"recall": 0.9, "n": 400}, {"recall": 0.5, "n": 4}], 0.1)[0] is None
    assert rare_class_of([{"recall": 0.9, "n": 400}, {"recall": 0.5, "n": 400}], 0.1)[0] is None


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"test_error": -0.1}, "test_error"),
        ({"test_error": "x"}, "no number"),
        ({"test_error": float("nan")}, "finite"),
        ({"test_error": (1, 2, 3)}, "3 values"),
        ({"test_error": (1.0, -1.0)}, "negative"),
        ({"test_error": 0.1, "n_test": 0}, "n_test=0"),
        ({"test_error": 0.1, "target_error": 5}, "target_error=5"),
        ({"n_classes": 1}, "n_classes=1"),
        ({"curves": [1, 2]}, "mapping"),
        ({"curves": {"val_los": [1]}}, "Did you mean 'val_loss'"),
        ({"curves": {"val_loss": [[1]]}}, "shape"),
        ({"curves": {"val_loss": [1], "test_loss": [1]}}, "both"),
        ({"hyperparameters": [1]}, "hyperparameters"),
        ({"hyperparameters": {1: 2}}, "names are strings"),
        ({"suspects": 5}, "n_train"),
        ({"suspects": -1}, "suspects"),
        ({"class_table": {"a": {"n": 3}, "b": {"n": 3}}}, "recall"),
        ({"learning_curve": {0: 0.5}}, "size of 0"),
        ({"learning_curve": 5}, "learning_curve"),
        ({"source": 5}, "run directory"),
        ({"reloaded": abs}, "model"),
    ],
)
def test_what_cannot_be_is_named(told: dict[str, Any], words: str) -> None:
    with pytest.raises(GapError, match=words):
        diagnose_gap(**told)


def test_missing_numbers_of_examples_are_said() -> None:
    found = diagnose_gap(train_error=0.01, test_error=0.2, target_error=0.05)
    assert [note for note in found.notes if "n_test" in note]
    assert "assumed" in str(found)


def test_json_html_and_text() -> None:
    found = diagnose_gap(
        train_error=0.2,
        test_error=0.2,
        target_error=0.05,
        n_train=1000,
        n_test=1000,
        hyperparameters={"<b>hidden": 4},
        curves={"train_loss": [1.0, float("nan")]},
    )
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["verdict"] == found.verdict
    assert data["recommendations"][0]["code"] == found.recommendations[0].code
    assert "<b>hidden" not in found._repr_html_()
    assert str(found).startswith(found.verdict)
    assert all(len(line) <= 101 for line in str(found).splitlines()[1:])


def test_the_next_search_space() -> None:
    found = diagnose_gap(
        train_error=0.2,
        test_error=0.2,
        target_error=0.05,
        n_train=1000,
        hyperparameters={"h": 8, "eta": 1e-3, "seed": 1},
    )
    space = found.recommend_space()
    assert set(space) == {"h", "eta", "seed"}
    assert space["seed"]["distribution"] == "constant"
    assert space["h"]["distribution"] != "constant"


def test_the_most_limiting_of_several_is_first() -> None:
    found = recognised({"drop1": 0.1, "drop2": 0.6, "keep_prob": 0.2, "fc1": 64, "fc2": 16, "wd": 1e-3, "l2": 0.1})
    assert [one.name for one in found.of("dropout")] == ["keep_prob", "drop2", "drop1"]
    assert [one.name for one in found.of("hidden-units")] == ["fc2", "fc1"]
    assert [one.name for one in found.of("weight-decay")] == ["l2", "wd"]


@pytest.mark.parametrize("train_error", [0.04, 0.06, 0.3])
def test_what_must_not_be_said_is_taken_out(train_error: float) -> None:
    situation = Situation(target=0.05, train=Measured("train error", train_error, 1_000))
    everything = [Recommendation(code, "because") for code in CODES]
    kept = {one.code for one in allowed(everything, situation, underfits=train_error > 0.1)}
    above = train_error > 0.05  # and no gap is known that would be larger
    assert bool(kept & {"more-data", "more-regularization", "less-capacity", "rebalance"}) is not above
    assert bool(kept & {"more-capacity", "less-dropout", "less-weight-decay"}) is (train_error > 0.1)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"n_classes": "10"}, "n_classes='10'"),
        ({"n_classes": 2.5}, "n_classes=2.5"),
        ({"n_test": float("nan")}, "n_test=nan"),
        ({"test_error": "20 %"}, "test_error='20 %'"),
        ({"test_error": 20, "n_classes": 10}, "divide percentages by 100"),
        ({"limits": {"suspects": 0.1}}, "limits is a dict"),
    ],
)
def test_wrong_numbers_are_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(GapError, match=re.escape(named)):
        diagnose_gap(**{"train_error": 0.02, "test_error": 0.2, **given})


def test_curves_in_percent_beside_shares() -> None:
    errors = {"train_error": 0.02, "test_error": 0.2, "n_test": 1_000, "target_error": 0.05}
    shares = diagnose_gap(**errors, curves={"val_error": [0.55, 0.4, 0.3, 0.15, 0.17, 0.19, 0.2]})
    percent = diagnose_gap(**errors, curves={"val_error": [55, 40, 30, 15, 17, 19, 20]})
    assert str(percent) == str(shares)
