"""The bank of train/test gap situations: that it is well formed, and that the judge judges as it says."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import gap
from benchmarks.gap_scenarios import datasets, faults, floors, truths
from benchmarks.gap_scenarios.bank import scenarios
from benchmarks.gap_scenarios.judging import grade_of, judge, summarize
from benchmarks.gap_scenarios.models import mlp
from benchmarks.gap_scenarios.scenario import Scenario, case_of, drawn, interventions, measure, reloaded
from benchmarks.gap_scenarios.training import train
from diagnose.gap._recommendation import CODES, Recommendation

BANK = scenarios()
TABLE = truths.load()
BY_NAME = {scenario.name: scenario for scenario in BANK}
MOONS = datasets.recipe(datasets.moons(0.2), train=60, val=20, test=40)


def small(**changes: Any) -> Scenario:
    """A scenario that takes milliseconds."""
    setup = {"width": ("h", 4), "lr": ("eta", 0.01), "epochs": ("rounds", 1)}
    base = Scenario("small", "none", 1, MOONS, mlp, setup, target=0.1)
    return replace(base, **changes)


def short(scenario: Scenario) -> Scenario:
    """The scenario with a single epoch."""
    name = scenario.setup["epochs"][0]
    return replace(scenario, setup={**scenario.setup, "epochs": (name, 1)})


# --- the bank


def test_names_and_orders_are_unique() -> None:
    assert max(Counter(scenario.name for scenario in BANK).values()) == 1
    assert max(Counter(scenario.order for scenario in BANK).values()) == 1


@pytest.mark.parametrize("scenario", BANK, ids=lambda scenario: scenario.name)
def test_a_scenario_is_whole(scenario: Scenario) -> None:
    assert 0 < scenario.target < 1
    assert len(scenario.hyperparameters) == len(scenario.setup), "a user's name stands for one thing"
    assert {"lr", "epochs"} <= set(scenario.setup)
    tried = interventions(scenario)
    assert max(Counter(each.label for each in tried).values()) == 1
    assert {each.code for each in tried} <= set(CODES)


def test_people_call_things_by_different_names() -> None:
    for role in ("width", "lr", "kernel", "weight_decay", "dropout"):
        names = [scenario.setup[role][0] for scenario in BANK if role in scenario.setup]
        assert len(set(names)) >= min(4, len(names)), role


@pytest.mark.parametrize(
    "name",
    [
        "digits-train-error-after-reload",
        "digits-shrinking-maps",
        "mnist-low-keep-probability",
        "digits-a-fifth-flipped",
        "digits-other-scale-at-test",
        "digits-test-rows-in-training",
        "clusters-one-in-thirty",
        "digits-tested-in-training-mode",
    ],
)
def test_every_intervention_runs(name: str) -> None:
    scenario = short(BY_NAME[name])
    for each in interventions(scenario):
        errors = measure(scenario, 3, each)
        assert 0 <= errors.train <= 1 and 0 <= errors.val <= 1 and 0 <= errors.test <= 1


# --- the measured table


def test_the_table_is_of_these_scenarios() -> None:
    assert set(TABLE) == set(BY_NAME)


@pytest.mark.parametrize("scenario", BANK, ids=lambda scenario: scenario.name)
def test_the_table_has_every_intervention_and_seed(scenario: Scenario) -> None:
    row = TABLE[scenario.name]
    truths.truth_of(scenario, row)  # the fingerprint is right
    tried = {each.label: each.code for each in interventions(scenario)}
    assert {label: each["code"] for label, each in row["interventions"].items()} == tried
    assert len(row["seeds"]) >= 5
    for each in (row["start"], *row["interventions"].values()):
        assert len(each["test"]) == len(each["train"]) == len(row["seeds"])


@pytest.mark.parametrize("scenario", BANK, ids=lambda scenario: scenario.name)
def test_a_target_is_met_where_it_is_said_to_be(scenario: Scenario) -> None:
    mean, se = truths.mean_and_se(TABLE[scenario.name]["start"]["test"])
    if scenario.is_met:
        assert mean + 2 * se <= scenario.target
    elif "check-leak" not in truths.truth_of(scenario, TABLE[scenario.name]).right:
        assert mean > scenario.target


def test_enough_count_and_every_advice_is_right_somewhere() -> None:
    known = {each.name: truths.truth_of(each, TABLE[each.name]) for each in BANK}
    counting = [truth for truth in known.values() if truth.counts]
    assert [name for name, truth in known.items() if not truth.counts] == []
    assert len(counting) >= 60
    assert frozenset.union(*(truth.right for truth in counting)) >= set(CODES) - {"less-capacity"}
    # Goodfellow et al., table 11.1, row by row.
    rows = {"width", "lr", "kernel", "padding", "weight_decay", "dropout"}
    assert frozenset.union(*(truth.right_roles for truth in counting)) >= rows


def test_a_measurement_repeats() -> None:
    scenario = BY_NAME["wine-strong-lambda"]
    again = truths.measured(scenario, seeds=(0,))
    row = TABLE[scenario.name]
    assert again["start"]["test"] == pytest.approx(row["start"]["test"][:1], abs=0.05)  # other CPUs round otherwise


def test_a_changed_scenario_is_refused() -> None:
    scenario = small()
    data = truths.measured(scenario, seeds=(0, 1))
    truths.truth_of(scenario, data)
    with pytest.raises(truths.TruthError, match="small was changed"):
        truths.truth_of(replace(scenario, setup={**scenario.setup, "width": ("h", 5)}), data)


# --- verdicts


def verdicts(scenario: Scenario, start: Sequence[float], train_error: float = 0.0, **tests: Sequence[float]) -> Any:
    """The truth of errors by seed, of interventions given as code=errors with `_` for `-`."""
    rows = {
        code: {"code": code.replace("_", "-"), "role": None, "test": errors, "train": errors}
        for code, errors in tests.items()
    }
    base = {"train": [train_error] * len(start), "val": start, "test": start}
    return truths.truth_of(scenario, {"fingerprint": scenario.fingerprint, "start": base, "interventions": rows})


START = [0.30, 0.31, 0.29, 0.32, 0.30]


def test_the_best_and_what_is_not_worse_are_right_and_what_helps_less_is_acceptable() -> None:
    truth = verdicts(
        small(),
        START,
        more_capacity=[0.10, 0.11, 0.09, 0.12, 0.10],
        better_optimization=[0.11, 0.10, 0.10, 0.11, 0.12],
        higher_lr=[0.20, 0.21, 0.19, 0.22, 0.20],
        lower_lr=[0.40, 0.41, 0.39, 0.42, 0.40],
        rebalance=[0.30, 0.29, 0.31, 0.30, 0.32],
    )
    assert truth.right == {"more-capacity", "better-optimization"}
    assert truth.acceptable - truth.right == {"higher-lr"}
    assert truth.forbidden == {"lower-lr", "target-met"}


def test_noise_is_no_improvement() -> None:
    truth = verdicts(small(), START, more_capacity=[0.10, 0.50, 0.05, 0.60, 0.20])
    assert not truth.counts and truth.right == frozenset()


def test_an_advice_that_is_far_behind_the_best_is_not_right_for_its_noise() -> None:
    truth = verdicts(small(), START, more_data=[0.0, 0.2, 0.0, 0.2, 0.0], more_capacity=[0.28, 0.29, 0.27, 0.30, 0.28])
    assert truth.right == {"more-data"} and "more-capacity" in truth.acceptable


def test_data_and_regularization_that_do_not_help_a_bad_training_error_are_forbidden() -> None:
    same = {"more_data": START, "more_regularization": START, "more_capacity": [each - 0.1 for each in START]}
    assert verdicts(small(), START, 0.3, **same).forbidden == {"more-data", "more-regularization", "target-met"}
    assert verdicts(small(), START, 0.0, **same).forbidden == {"target-met"}


def test_capacity_is_forbidden_where_the_evaluation_is_at_fault() -> None:
    truth = verdicts(small(), START, more_capacity=START, check_save_load=[0.01] * 5)
    assert truth.right == {"check-save-load"} and "more-capacity" in truth.forbidden


def test_a_leak_is_right_whichever_way_the_reported_error_moves() -> None:
    for honest in ([each + 0.2 for each in START], [each - 0.2 for each in START]):
        truth = verdicts(small(), START, check_leak=honest)
        assert truth.right == truth.acceptable == {"check-leak"}


def test_nothing_else_is_acceptable_once_the_target_is_met() -> None:
    truth = verdicts(small(is_met=True), [0.05] * 5, more_data=[0.01] * 5, lower_lr=[0.4] * 5)
    assert truth.right == truth.acceptable == {"target-met"}
    assert truth.forbidden == {"lower-lr"}


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=20))
def test_mean_and_standard_error_are_those_of_the_library(values: list[float]) -> None:
    mean, se = truths.mean_and_se(values)
    assert mean == pytest.approx(statistics.fmean(values), abs=1e-12)
    assert se == pytest.approx(statistics.stdev(values) / math.sqrt(len(values)), abs=1e-9)


# --- settings in the user's words


def test_changes_are_taken_in_the_users_names() -> None:
    scenario = BY_NAME["mnist-low-keep-probability"]
    assert scenario.settings.dropout == pytest.approx(0.85)
    assert scenario.from_user({"keep_prob": 1.0}).dropout == 0
    assert scenario.user_name("dropout") == "keep_prob" and scenario.user_name("kernel") is None
    with pytest.raises(TypeError, match="'dropout'; there are layer_width"):
        scenario.from_user({"dropout": 0.0})
    sizes = {"kernel": ("ksize", 5), "lr": ("eta", 0.01), "epochs": ("rounds", 1)}
    stack = small(setup={**sizes, "border": ("border_mode", "valid")})
    assert stack.settings.padding == 0
    assert stack.from_user({"border_mode": "same"}).padding == 2
    assert stack.from_user({"border_mode": "same", "ksize": 3}).padding == 1
    assert small(setup={**sizes, "same_padding": ("same", False)}).from_user({"same": True}).padding == 2


def test_a_case_has_what_its_variant_promises() -> None:
    scenario = BY_NAME["digits-first-checkpoint"]
    case = case_of(short(scenario), 7)
    numbers, live, probe = (case.arguments(variant) for variant in ("numbers", "live", "probe"))
    assert set(numbers) < set(live) < set(probe)
    assert set(live) - set(numbers) == {"model", "train_data", "test_data", "train_dev_data", "loss_fn", "reloaded"}
    assert set(probe) - set(live) == {"train_fn", "probe"}
    assert {len(values) for values in numbers["curves"].values()} == {1}
    assert numbers["n_train"] == len(live["train_data"]) and numbers["n_test"] == len(live["test_data"])


def test_the_train_function_repeats_the_model_and_takes_datasets_of_any_kind() -> None:
    case = case_of(small(), 7)
    rows = case.live["train_data"]
    for data in (
        rows,
        torch.utils.data.Subset(rows, range(len(rows))),
        torch.utils.data.DataLoader(rows),
        rows.tensors,
    ):
        model = case.probe["train_fn"](data)
        for mine, other in zip(model.parameters(), case.live["model"].parameters(), strict=True):
            assert torch.equal(mine, other)
    wider = case.probe["train_fn"](rows, h=8)
    assert next(wider.parameters()).shape[0] == 8


# --- faults


def test_labels_are_flipped_as_often_as_said_and_the_clean_ones_kept() -> None:
    data = faults.flipped(datasets.recipe(datasets.moons(0.2), train=1000), 0.3)(1)
    mended = data.fixed["fix-labels"]
    assert (data.train.y != mended.train.y).double().mean() == pytest.approx(0.3, abs=0.05)
    assert torch.equal(data.train.x, mended.train.x) and torch.equal(data.test.y, mended.test.y)
    assert (data.fixed["more-data"].train.y != MOONS(1).fixed["more-data"].train.y[:1]).any()


def test_leaked_rows_are_in_the_training_rows_and_gone_once_mended() -> None:
    data = faults.leaked_rows(MOONS, 0.5)(1)

    def shared(rows: datasets.Data) -> int:
        return sum(bool((rows.train.x == row).all(1).any()) for row in rows.test.x)

    assert shared(data) == 20 and shared(data.fixed["check-leak"]) == 0
    assert len(data.train.y) == len(data.fixed["check-leak"].train.y)


def test_rare_classes_are_rare_in_training_only() -> None:
    data = faults.imbalanced(datasets.recipe(datasets.moons(0.2), train=1000), {1: 0.1})(1)
    assert data.train.y.double().mean() < 0.15 and data.test.y.double().mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("name", [scenario.name for scenario in BANK if scenario.reload is not None])
def test_a_badly_loaded_model_is_another(name: str) -> None:
    scenario = short(BY_NAME[name])
    if scenario.reload is faults.first_epoch:
        scenario = replace(scenario, setup={**scenario.setup, "epochs": (scenario.setup["epochs"][0], 2)})
    data = drawn(scenario.data, 1)
    fit = train(scenario.build, scenario.settings, data.train, 1, classes=data.classes)
    other = reloaded(scenario, fit, 1)
    assert not torch.allclose(fit.model(data.test.x), other(data.test.x))
    assert not other.training


# --- the judge


def test_an_answer_is_graded_by_its_first_advice_and_searched_for_forbidden_ones() -> None:
    scenario = small()
    truth = verdicts(scenario, START, more_capacity=[0.1] * 5, higher_lr=[0.25] * 5, lower_lr=[0.5] * 5)
    grades = [grade_of([code], truth) for code in ("more-capacity", "higher-lr", "fix-labels", "lower-lr")]
    assert grades == ["right", "acceptable", "wrong", "forbidden"]
    assert grade_of([], truth) == "silent"

    def advisor(source: object = None, **given: Any) -> floors.Advice:
        return floors.Advice("underfitting", (Recommendation("more-capacity", "."), Recommendation("lower-lr", ".")))

    said = judge(scenario, truth, case_of(scenario, 1), "numbers", advisor)
    assert (said.grade, said.forbidden, said.verdict) == ("right", ("lower-lr",), "underfitting")


def test_an_advisor_that_raises_is_an_error_and_not_the_end() -> None:
    def advisor(source: object = None, **given: Any) -> floors.Advice:
        raise RuntimeError("no idea")

    truth = verdicts(small(), START, more_capacity=[0.1] * 5)
    said = judge(small(), truth, case_of(small(), 1), "probe", advisor)
    assert said.grade == "error" and said.detail == "RuntimeError: no idea"


def test_a_hyperparameter_is_right_in_the_users_name_only() -> None:
    scenario = small()
    data = truths.measured(scenario, seeds=(0, 1))
    for label, row in data["interventions"].items():
        row["test"] = [0.0, 0.0] if label == "width x4" else data["start"]["test"]
    truth = truths.truth_of(scenario, data)
    assert truth.right_roles == {"width"}
    for name, expected in (("h", True), ("width", False), ("eta", False), (None, None)):

        def advisor(source: object = None, name: str | None = name, **given: Any) -> floors.Advice:
            return floors.Advice("underfitting", (Recommendation("more-capacity", ".", hyperparameter=name),))

        assert judge(scenario, truth, case_of(scenario, 1), "numbers", advisor).names_right is expected


def test_shares_are_over_all_judgements() -> None:
    truth = verdicts(small(), START, more_data=[0.1] * 5)
    case = case_of(small(), 1)
    said = [judge(small(), truth, case, "live", advisor) for advisor in (floors.always_more_data, floors.textbook)]
    summary = summarize(said)
    assert summary is not None and summary.count == 2
    assert summary.right.value == sum(each.grade == "right" for each in said) / 2
    assert summarize([]) is None


@pytest.mark.parametrize(
    ("train_error", "test_error", "code"),
    [(0.0, 0.05, "target-met"), (0.2, 0.3, "more-capacity"), (0.0, 0.3, "more-data")],
)
def test_the_textbook_rule(train_error: float, test_error: float, code: str) -> None:
    advice = floors.textbook(train_error=train_error, test_error=test_error, target_error=0.1)
    assert [each.code for each in advice.recommendations] == [code]


def test_the_program_judges_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "judged.json"
    assert gap.main(["--only", "wine-strong-lambda", "--variant", "numbers", "--json", str(file)]) == 0
    assert "== textbook" in capsys.readouterr().out
    judged = json.loads(file.read_text())
    assert [each["scenario"] for each in judged["more data"]] == ["wine-strong-lambda"]
    assert gap.main(["--truths", "--only", "wine-strong-lambda"]) == 0
    assert "right: " in capsys.readouterr().out
    assert gap.main(["--only", "no-such"]) == 2


def test_codes_are_the_projects() -> None:
    assert set(get_args(floors.Code)) == set(CODES)
