"""train-test-overlap: the model is evaluated on rows that it is trained on."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import diagnose
from diagnose.findings import Severity
from diagnose.history import EvaluationRows, History
from tests.rules.looking import loud, said, the_only

CODE = "train-test-overlap"
CLEAN = EvaluationRows(
    "net", "SGD", "train.py", 20, phases=5, rows=200, distinct=200, trained=600, coverage=0.75,
    batches=[(50, 0)] * 4, training_batch=32, batches_trained=40,
)  # fmt: skip
LEAKY = replace(CLEAN, seen=60, trained_met=60, batches=[(50, 15)] * 4)
WHOLE = replace(
    CLEAN, rows=800, distinct=800, seen=600, trained_met=600, line=30, batches=[(50, 37), (50, 38)] * 8
)  # fmt: skip


def run(*facts: EvaluationRows) -> History:
    history = History()
    for number, each in enumerate(facts):
        history.evaluated[f"net/{number}"] = each
    return history


# -- the fault ------------------------------------------------------------------------------------


def test_some_rows_in_common() -> None:
    finding = the_only(run(LEAKY), CODE)
    assert finding.severity is Severity.WARNING
    assert (finding.where.file, finding.where.line) == ("train.py", 20)
    assert finding.evidence["share"] == pytest.approx(0.3)
    assert finding.evidence["estimated_share"] == pytest.approx(0.4)


def test_all_test_rows_are_training_rows() -> None:
    assert loud(said(run(replace(LEAKY, seen=150, trained_met=150, batches=[(50, 37), (50, 38)] * 2)), CODE))


def test_the_end_of_one_slice_is_the_begin_of_the_other() -> None:
    assert loud(said(run(replace(LEAKY, batches=[(50, 38), (50, 22), (50, 0), (50, 0)])), CODE))


@pytest.mark.parametrize(("seen", "fires"), [(9, False), (10, True)])
def test_at_least_ten_rows_and_five_per_cent(seen: int, fires: bool) -> None:
    assert bool(said(run(replace(LEAKY, seen=seen, batches=[(200, seen)])), CODE)) is fires
    assert not said(run(replace(LEAKY, seen=seen, distinct=201, batches=[(201, seen)])), CODE)


def test_copies_of_measurements_are_no_chance() -> None:
    copied = replace(LEAKY, equal_pairs=120)
    assert not said(run(copied), CODE)
    finding = the_only(run(replace(copied, fine=True)), CODE)
    assert finding.severity is Severity.WARNING
    assert finding.evidence["by_chance"] == 0


def test_an_overlap_that_ends_with_a_batch() -> None:
    edge = replace(LEAKY, batches=[(50, 38), (50, 37), (50, 0), (50, 0)])
    assert not said(run(edge), CODE)
    assert loud(said(run(replace(edge, one_loader=True)), CODE))
    # All training rows and the others, at one go: meant.
    both = replace(WHOLE, batches=[(50, 37), (50, 38)] * 8 + [(50, 0)] * 4, rows=1000, distinct=1000, one_loader=True)
    assert the_only(run(both), CODE).severity is Severity.INFO


# -- healthy look-alikes ----------------------------------------------------------------------------


def test_clean() -> None:
    assert not said(run(CLEAN), CODE)


def test_the_training_error_alone() -> None:
    assert the_only(run(WHOLE), CODE).severity is Severity.INFO


def test_the_training_error_beside_that_of_a_test_set() -> None:
    assert not said(run(WHOLE, CLEAN), CODE)
    part = replace(LEAKY, seen=150, trained_met=150, batches=[(50, 37), (50, 38)] * 2)
    assert not said(run(part, CLEAN), CODE)
    assert loud(said(run(part, replace(CLEAN, model="other")), CODE))


def test_training_set_and_test_set_in_one_loop() -> None:
    both = replace(WHOLE, batches=[(50, 37), (50, 38)] * 8 + [(50, 0)] * 4, rows=1000, distinct=1000)
    assert not said(run(both), CODE)


def test_few_different_rows() -> None:
    assert not said(run(replace(LEAKY, equal_pairs=200)), CODE)
    assert not said(run(replace(LEAKY, discrete=True, rows=40, distinct=40, seen=30, batches=[(40, 30)])), CODE)


def test_a_finite_set_of_points_that_are_drawn_evenly() -> None:
    # 300 points: a training row is met with 600 / 300 trials' luck, and so is another row of the evaluation.
    points = replace(LEAKY, fine=True, trained=280, distinct=146, seen=136, trained_met=136, equal_pairs=66)
    assert not said(run(replace(points, batches=[(50, 46)] * 4)), CODE)


def test_other_rows_each_time() -> None:
    assert not said(run(replace(LEAKY, repeated=0.1)), CODE)


def test_evaluated_within_the_training_step() -> None:
    assert not said(run(replace(LEAKY, beside=5)), CODE)


def test_a_look_at_a_training_batch() -> None:
    look = replace(LEAKY, rows=128, distinct=128, seen=110, trained_met=110, batches=[(128, 110)], training_batch=128)
    assert not said(run(look), CODE)
    assert said(run(replace(look, training_batch=32)), CODE)


def test_nothing_was_trained_on_yet() -> None:
    assert not said(run(replace(CLEAN, trained=0), EvaluationRows()), CODE)


FACTS = st.builds(
    replace,
    st.just(LEAKY),
    seen=st.integers(0, 200),
    equal_pairs=st.integers(0, 50),
    fine=st.booleans(),
    one_loader=st.booleans(),
    coverage=st.floats(0, 1),
    batches=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)).map(lambda b: (b[0], min(b))), min_size=1),
)


@given(st.lists(FACTS, max_size=4))
def test_order_does_not_matter_and_a_round_trip_changes_nothing(facts: list[EvaluationRows]) -> None:
    found = said(run(*facts), CODE)
    turned = said(run(*reversed(facts)), CODE)
    assert sorted(f.message for f in found) == sorted(f.message for f in turned)
    data, arrays = run(*facts).to_arrays()
    assert said(History.from_arrays(json.loads(json.dumps(data)), arrays), CODE) == found


# -- real runs ------------------------------------------------------------------------------------------


def trained(train: Tensor, test: Tensor) -> History:
    torch.manual_seed(0)
    points, labels = torch.randn(500, 6), torch.randint(2, (500,))
    model = nn.Linear(6, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for _ in range(3):
            for batch in train[torch.randperm(len(train))].split(40):
                optimizer.zero_grad()
                F.cross_entropy(model(points[batch]), labels[batch]).backward()
                optimizer.step()
            with torch.no_grad():
                for batch in test.split(50):
                    model(points[batch])
    assert watch.history.count("collector-failed") == 0
    return watch.history


def test_a_real_run_and_its_twin() -> None:
    rows = torch.arange(500)
    finding = the_only(trained(rows[:400], rows[[*range(280, 500)]]), CODE)
    assert finding.severity is Severity.WARNING
    assert finding.evidence["rows_in_common"] == 120
    assert not said(trained(rows[:400], rows[400:]), CODE)
