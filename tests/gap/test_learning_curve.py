"""Learning curves of real trainings, their subsets, their noise, and what goes wrong in between."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import diagnose
from diagnose.errors import GapError
from diagnose.gap import learning_curve
from diagnose.gap._measured import difference
from diagnose.gap._subsets import classes_of, nested_order, sizes_of, subset

Pair = tuple[Tensor, Tensor]


def blobs(count: int, seed: int = 0, noise: float = 1.2) -> Pair:
    """Three classes in five dimensions that overlap."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 3
    return torch.eye(5)[y] * 2 + noise * torch.randn(count, 5, generator=generator), y


def line(count: int, seed: int = 0) -> Pair:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 8, generator=generator)
    return x, x.sum(1, keepdim=True) + 0.5 * torch.randn(count, 1, generator=generator)


def fit_classes(data: Pair, width: int = 16, steps: int = 60) -> nn.Module:
    x, y = data
    model = nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        rows = torch.randint(len(y), (32,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    return model


def least_squares(data: Pair) -> nn.Module:
    x, y = data
    model = nn.Linear(x.shape[1], 1)
    with torch.no_grad():
        solved = torch.linalg.lstsq(torch.cat([x, torch.ones(len(x), 1)], 1), y).solution
        model.weight.copy_(solved[:-1].T)
        model.bias.copy_(solved[-1])
    return model


TEST = blobs(600, seed=1)


@pytest.fixture(scope="module")
def curve() -> Any:
    return learning_curve(fit_classes, blobs(480), test_data=TEST)


def test_a_curve_of_a_net_falls_with_more_data(curve: Any) -> None:
    assert curve.sizes == (30, 60, 120, 240, 480)
    assert curve.metric == "error" and curve.n_test == 600
    assert curve.points[0].test.value > curve.last.test.value
    for point in curve.points:
        assert len(point.test_errors) == 3 and point.test.low <= np.mean(point.test_errors) <= point.test.high
        assert point.train is not None
    assert not curve.failures
    text = str(curve)
    assert "480" in text and "last doubling" in text
    assert json.loads(json.dumps(curve.to_json(), allow_nan=False))["points"][0]["size"] == 30


def test_errors_are_those_of_the_model_in_evaluation_mode() -> None:
    kept = []

    def train(data: Pair) -> nn.Module:
        kept.append((fit_classes(data), data))
        return kept[-1][0]

    curve = learning_curve(train, blobs(60), test_data=TEST, sizes=[60], repeats=1)
    model, data = kept[0]
    assert model.training  # as it was returned
    model.eval()
    with torch.no_grad():
        assert curve.last.test.value == pytest.approx(float((model(TEST[0]).argmax(1) != TEST[1]).float().mean()))
        assert curve.last.train is not None
        assert curve.last.train.value == pytest.approx(float((model(data[0]).argmax(1) != data[1]).float().mean()))


def test_a_regression_is_measured_by_its_squared_error_and_meets_its_noise() -> None:
    curve = learning_curve(least_squares, line(1024), test_data=line(2000, seed=1), repeats=4)
    assert curve.metric == "loss"
    assert curve.last.test.value == pytest.approx(0.25, rel=0.1)
    assert any("have met" in fact or "gap is" in fact for fact in curve.diagnosis)
    assert curve.predict(2048).value == pytest.approx(0.25, rel=0.1)
    other = learning_curve(
        least_squares, line(1024), test_data=line(2000, seed=1), repeats=4, loss_fn=nn.functional.l1_loss
    )
    assert other.last.test.value == pytest.approx(0.5 * (2 / np.pi) ** 0.5, rel=0.1)


def test_numbers_and_pairs_of_them_are_errors() -> None:
    def by_hand(data: Pair) -> tuple[float, float]:
        return 0.5, 2 / len(data[1]) ** 0.5 + 0.02 * random.random()

    curve = learning_curve(by_hand, blobs(400), sizes=[100, 400])
    assert curve.metric == "value" and curve.last.train is not None and curve.last.train.value == 0.5
    assert curve.last_doubling is not None and curve.last_doubling.low > 0
    alone = learning_curve(lambda data: torch.tensor(1 / len(data[1])), blobs(400), sizes=[100, 400])
    assert alone.last.train is None and alone.gap is None
    shares = learning_curve(by_hand, blobs(400), test_data=TEST, sizes=[400], metric="error")
    assert shares.last.test.high - shares.last.test.low > curve.last.test.high - curve.last.test.low


@pytest.mark.parametrize("form", ["pair", "numpy", "dataset", "list"])
def test_data_come_in_many_forms_and_stay_in_them(form: str) -> None:
    x, y = blobs(90)
    seen = []

    def train(data: Any) -> nn.Module:
        seen.append(data)
        if form == "numpy":
            assert isinstance(data[0], np.ndarray)
            data = torch.from_numpy(data[0]), torch.from_numpy(data[1])
        elif form != "pair":
            data = torch.stack([item[0] for item in data]), torch.stack([item[1] for item in data])
        return fit_classes(data, steps=5)

    forms = {
        "pair": (x, y),
        "numpy": (x.numpy(), y.numpy()),
        "dataset": TensorDataset(x, y),
        "list": list(zip(x, y, strict=True)),
    }
    curve = learning_curve(train, forms[form], test_data=TEST, sizes=[45], repeats=2)
    assert len(seen) == 2 and curve.metric == "error"


def test_an_estimator_with_predict_is_a_model() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    data = tuple(part.numpy() for part in blobs(200))
    curve = learning_curve(
        lambda part: linear_model.LogisticRegression().fit(*part), data, test_data=TEST, sizes=[100, 200]
    )
    assert curve.metric == "error" and 0 < curve.last.test.value < 0.4


def test_one_training_that_crashes_is_named_and_the_rest_stays() -> None:
    calls = []

    def train(data: Pair) -> float:
        calls.append(len(data[1]))
        if len(calls) == 2:
            raise ZeroDivisionError("planted")
        return float("nan") if len(calls) == 3 else 1 / len(data[1])

    curve = learning_curve(train, blobs(90), sizes=[30, 90], repeats=3)
    assert [(failure.at, failure.repeat) for failure in curve.failures] == [(90, 0), (30, 1)]
    assert "planted" in curve.failures[0].message and "test_learning_curve.py" in curve.failures[0].message
    assert "finite" in curve.failures[1].message
    assert "Training 1 with 90 examples failed" in str(curve)
    assert [len(point.test_errors) for point in curve.points] == [2, 2]


def test_when_all_fail_it_says_so() -> None:
    def train(data: Pair) -> float:
        raise ValueError("planted")

    with pytest.raises(GapError, match="All 4 trainings failed; the first, with 30 examples: ValueError: planted"):
        learning_curve(train, blobs(60), sizes=[30, 60], repeats=2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: learning_curve(fit_classes, blobs(60), sizes=[0]), "sizes hold 0"),
        (lambda: learning_curve(fit_classes, blobs(60), sizes=[61]), "sizes hold 61"),
        (lambda: learning_curve(fit_classes, blobs(60), sizes=[]), "empty"),
        (lambda: learning_curve(fit_classes, blobs(60), repeats=0), "repeats is 0"),
        (lambda: learning_curve(fit_classes, iter([])), "iterator"),
        (lambda: learning_curve(fit_classes, []), "no examples"),
        (lambda: learning_curve(fit_classes, blobs(60)), "test_data are needed"),
        (lambda: learning_curve(lambda data: "model", blobs(60), test_data=TEST), "returned a str"),
        (lambda: learning_curve(lambda data: nn.Linear(4, 3), blobs(60), test_data=TEST), "RuntimeError"),
        (lambda: learning_curve(lambda data: nn.Linear(5, 3), blobs(60), test_data=TEST, metric="loss"), "loss_fn"),
        (lambda: learning_curve(least_squares, line(60), test_data=line(60), metric="error"), "class labels"),
    ],
)
def test_wrong_input_is_named(call: Any, words: str) -> None:
    with pytest.raises(GapError, match=words):
        call()


def test_random_states_and_data_are_as_before_and_the_seed_decides() -> None:
    data = blobs(60)
    before = [part.clone() for part in data]
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    expected = torch.rand(3), np.random.rand(3), random.random()
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    one = learning_curve(fit_classes, data, test_data=TEST, sizes=[30, 60], repeats=2)
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])
    assert random.random() == expected[2]
    assert all(torch.equal(part, old) for part, old in zip(data, before, strict=True))
    again = learning_curve(fit_classes, data, test_data=TEST, sizes=[60, 30], repeats=2)
    assert one.to_json() == again.to_json()
    other = learning_curve(fit_classes, data, test_data=TEST, sizes=[30, 60], repeats=2, seed=9)
    assert other.to_json() != one.to_json()


def test_a_difference_is_paired_by_the_test_examples() -> None:
    curve = learning_curve(fit_classes, blobs(480), test_data=TEST, sizes=[240, 480])
    apart = curve.points[0].spread.examples + curve.points[1].spread.examples
    assert difference(*curve.points).examples < apart / 2


@pytest.mark.slow
def test_intervals_hold_the_error_of_new_trainings_on_new_examples() -> None:
    """The interval of one curve against the mean over many trainings and a large test set, twenty times."""
    truth = learning_curve(
        fit_classes, blobs(60), test_data=blobs(9000, seed=7), sizes=[60], repeats=20
    ).last.test.value
    holds = 0
    for seed in range(20):
        told = learning_curve(
            fit_classes, blobs(60), test_data=blobs(150, seed=100 + seed), sizes=[60], repeats=3, seed=50 * seed
        )
        holds += told.last.test.low <= truth <= told.last.test.high
    assert holds >= 17


def test_a_picture_is_written(curve: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    curve.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert curve.plot().get_xscale() == "log"


def test_it_is_there_at_the_top() -> None:
    assert diagnose.learning_curve is learning_curve


# ---------------------------------------------------------------------- subsets


@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=5), seed=st.integers(0, 99), share=st.floats(0.05, 1.0))
@settings(max_examples=60)
def test_every_beginning_has_the_classes_in_their_proportions(counts: list[int], seed: int, share: float) -> None:
    classes = np.repeat(np.arange(len(counts)), counts)
    order = nested_order(len(classes), classes, seed)
    assert sorted(order.tolist()) == list(range(len(classes)))
    size = max(round(share * len(classes)), 1)
    found = np.bincount(classes[order[:size]], minlength=len(counts))
    # Within one of its share, and the shares of the others are as far off together.
    assert (np.abs(found - size * np.array(counts) / len(classes)) <= 2).all()


def test_orders_are_random_subsets() -> None:
    firsts = [nested_order(10, None, seed)[0] for seed in range(300)]
    assert set(np.bincount(firsts, minlength=10) > 10) == {True}
    classes = np.array([0] * 9 + [1])
    halves = [9 in nested_order(10, classes, seed)[:5] for seed in range(300)]
    assert 110 < sum(halves) < 190


def test_labels_are_classes_where_they_are_whole_and_few() -> None:
    x, y = blobs(30)
    assert classes_of((x, y)) is not None and classes_of(TensorDataset(x, y)) is not None
    assert classes_of(list(zip(x, y, strict=True))) is not None
    assert classes_of((x, x[:, 0])) is None and classes_of((x, torch.arange(30))) is None
    assert classes_of((x, ["a", "b", "c"] * 10)) is not None


def test_sizes_are_geometric_and_big_enough_for_the_classes() -> None:
    assert sizes_of(None, 1600, None) == (100, 200, 400, 800, 1600)
    assert sizes_of(None, 160, np.arange(160) % 20) == (40, 80, 160)
    assert sizes_of([0.5, 40, 1.0], 160, None) == (40, 80, 160)


def test_a_list_of_two_examples_is_no_pair() -> None:
    examples = [(torch.zeros(2), 0), (torch.ones(2), 1)]
    assert subset(examples, np.array([1])) == [examples[1]]


def test_a_loader_is_fine_for_testing_only() -> None:
    loader = torch.utils.data.DataLoader(TensorDataset(*TEST), batch_size=100)
    curve = learning_curve(fit_classes, blobs(60), test_data=loader, sizes=[60], repeats=1)
    pair = learning_curve(fit_classes, blobs(60), test_data=TEST, sizes=[60], repeats=1)
    assert curve.last.test == pair.last.test and curve.n_test == 600
    with pytest.raises(GapError, match="give its dataset"):
        learning_curve(fit_classes, loader, test_data=TEST)


def test_no_wrong_answer_is_no_certainty() -> None:
    easy = blobs(120, noise=0.01), blobs(30, seed=1, noise=0.01)
    curve = learning_curve(fit_classes, easy[0], test_data=easy[1], sizes=[60, 120], repeats=2)
    assert curve.last.test.value == 0.0 < curve.last.test.high
    assert curve.data_needed(0.5).is_reached and not curve.data_needed(0.001).is_reached
    assert "cannot be told" in str(curve) or "stopped falling" in str(curve) or "met" in str(curve)
    json.dumps(curve.to_json(), allow_nan=False)


def test_each_repeat_has_its_own_random_numbers_and_its_own_subset() -> None:
    seen = []

    def train(data: Pair) -> float:
        seen.append((tuple(data[0][:, 0].tolist()), float(torch.rand(()))))
        return 0.5

    learning_curve(train, blobs(60), sizes=[20, 60], repeats=3)
    assert len({part for part, _ in seen[::2]}) == 3
    drawn = [number for _, number in seen]
    assert drawn[0] == drawn[1] and len(set(drawn)) == 3
    assert all(set(small) <= set(large) for (small, _), (large, _) in zip(seen[::2], seen[1::2], strict=True))
