"""The early-stopping point and the choice of a checkpoint, on real trainings and on curves whose course is known."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from diagnose.errors import GapError
from diagnose.gap import best_checkpoint


def curve(shape: str, length: int = 60, noise: float = 0.01, seed: int = 0) -> np.ndarray:
    t = np.arange(length) / length
    courses = {
        "flat": 0.3 + 0 * t,
        "settled": 0.3 + 0.5 * np.exp(-t * 15),
        "falling": 0.3 + 0.6 * np.exp(-t * 1.5),
        "u": 0.3 + 0.5 * np.exp(-t * 20) + 0.2 * np.maximum(t - 0.3, 0),
    }
    return courses[shape] + noise * np.random.default_rng(seed).normal(size=length)


def overfitted(epochs: int, examples: int = 40) -> tuple[list[float], list[float], torch.Tensor]:
    """A net that learns forty noisy examples by heart: train and test losses, and test losses per example, by epoch."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(examples + 1000, 20, generator=generator)
    y = (x[:, 0] + 1.5 * torch.randn(len(x), generator=generator) > 0).long()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    train, test = [], []
    for _ in range(epochs):
        loss = nn.functional.cross_entropy(model(x[:examples]), y[:examples])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        train.append(loss.item())
        with torch.no_grad():
            test.append(nn.functional.cross_entropy(model(x[examples:]), y[examples:], reduction="none"))
    per_example = torch.stack(test)
    return train, per_example.mean(1).tolist(), per_example


def test_a_real_training_that_overfits_was_kept_too_long() -> None:
    train, test, per_example = overfitted(80)
    choice = best_checkpoint({"train": train, "validation": test})
    assert choice.verdict == "too-late" and choice.cause == "overfitting"
    assert choice.best == int(np.argmin(test)) + 1
    assert choice.onset is not None and choice.best < choice.onset < 80
    assert "overfitting" in str(choice)
    assert best_checkpoint(test, chosen=choice.best).verdict == "right"
    paired = best_checkpoint(per_example)
    assert paired.verdict == "too-late"
    assert paired.worse_by.value == pytest.approx(test[-1] - min(test), rel=1e-4)


def test_a_real_training_that_was_broken_off_still_falls() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 10, generator=generator)
    y = x @ torch.randn(10, 1, generator=generator)
    model = nn.Linear(10, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    test = []
    for _ in range(40):
        loss = nn.functional.mse_loss(model(x[:200]), y[:200])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        test.append(nn.functional.mse_loss(model(x[200:]), y[200:]).item())
    choice = best_checkpoint(test)
    assert choice.verdict == "still-falling" and choice.best == 40 and choice.onset is None
    assert "train longer" in str(choice)
    early = best_checkpoint(test, chosen=10)
    assert early.verdict == "too-early" and early.is_still_falling


@pytest.mark.parametrize(
    ("shape", "verdict"), [("flat", "right"), ("settled", "right"), ("falling", "still-falling"), ("u", "too-late")]
)
@pytest.mark.parametrize("length", [60, 240])
def test_curves_of_a_known_course_are_judged_by_it(shape: str, verdict: str, length: int) -> None:
    verdicts = [best_checkpoint(curve(shape, length, seed=seed)).verdict for seed in range(40)]
    assert verdicts.count(verdict) >= 37, verdicts


def test_a_flat_noisy_curve_is_rarely_called_wrong_at_any_length() -> None:
    for length in (5, 8, 15, 30, 100):
        choices = [best_checkpoint(curve("flat", length, seed=seed)) for seed in range(100)]
        assert sum(choice.verdict in ("too-late", "too-early") for choice in choices) <= 7, length


def test_a_last_value_that_is_a_spike_is_a_wrong_choice() -> None:
    values = curve("settled")
    values[-1] += 0.2
    choice = best_checkpoint(values)
    assert choice.verdict == "too-late"
    assert choice.worse_by.value == pytest.approx(0.2, abs=0.04)
    assert best_checkpoint(values, chosen=50).verdict == "right"


def test_few_test_examples_make_a_rise_uncertain() -> None:
    values = np.round(curve("u") * 20) / 20
    assert best_checkpoint(values, n_test=20).verdict == "right"
    assert best_checkpoint(curve("u"), n_test=10_000).verdict == "too-late"
    few, many = (best_checkpoint(curve("u"), n_test=n).worse_by for n in (100, 10_000))
    assert few.high - few.low > many.high - many.low


def test_a_training_error_that_rises_too_is_no_overfitting() -> None:
    rising = curve("u")
    assert best_checkpoint({"validation": rising, "train": rising}).cause == "divergence"
    assert best_checkpoint({"validation": rising, "train": curve("settled", noise=0)}).cause == "overfitting"
    assert best_checkpoint(rising).cause == "unknown"


def test_a_run_that_ends_in_nan_has_a_best_checkpoint_before() -> None:
    values = curve("settled")
    values[50:] = math.nan
    choice = best_checkpoint({"validation": values, "train": values})
    assert choice.verdict == "too-late" and choice.worse_by.value == math.inf
    assert choice.best <= 50 and choice.onset == 51 and choice.cause == "divergence"
    json.dumps(choice.to_json(), allow_nan=False)


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.4], [0.5, 0.4, 0.3, 0.6]])
def test_a_few_values_tell_nothing(values: list[float]) -> None:
    choice = best_checkpoint(values)
    assert choice.verdict == "cannot-tell"
    assert choice.best == int(np.argmin(values)) + 1
    assert "too few" in str(choice)
    json.dumps(choice.to_json(), allow_nan=False)


def test_accuracies_are_errors_upside_down() -> None:
    errors = curve("u")
    one, other = best_checkpoint(errors), best_checkpoint(1 - errors, higher_is_better=True)
    assert (one.verdict, one.best, one.onset, one.patience) == (other.verdict, other.best, other.onset, other.patience)
    assert other.worse_by.value == pytest.approx(one.worse_by.value)
    assert other.value_at(1) == pytest.approx(1 - one.value_at(1))
    assert best_checkpoint(1 - errors, higher_is_better=True, n_test=1000).verdict == "too-late"


def test_epochs_have_the_users_numbers() -> None:
    choice = best_checkpoint([3.0, 1.0, 2.0, 2.5, 3.0, 3.5, 4.0], epochs=range(0, 700, 100), chosen=600)
    assert choice.best == 100 and choice.chosen == 600


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: best_checkpoint([]), "None of the 0 values"),
        (lambda: best_checkpoint([math.nan]), "finite"),
        (lambda: best_checkpoint(["a"]), "no list of numbers"),
        (lambda: best_checkpoint({"loss": [1.0]}), "'loss'"),
        (lambda: best_checkpoint([1.0, 2.0], chosen=3), "epoch 3"),
        (lambda: best_checkpoint([1.0, 2.0], epochs=[1]), "1 epochs for 2"),
        (lambda: best_checkpoint([1.0, 2.0], epochs=[2, 1]), "ascend"),
        (lambda: best_checkpoint([1.0, 2.0], n_test=10), "shares"),
        (lambda: best_checkpoint([0.1, 0.2], n_test=0), "n_test is 0"),
        (lambda: best_checkpoint({"validation": [1.0], "train": [1.0, 2.0]}), "shape"),
        (lambda: best_checkpoint(np.zeros((2, 2, 2))), "shape"),
    ],
)
def test_wrong_input_is_named(call: Any, words: str) -> None:
    with pytest.raises(GapError, match=words):
        call()


def stopped_early(values: list[float], patience: int) -> int:
    """Algorithm 7.1, word for word: the epoch, from 1, whose parameters are kept."""
    kept, best, waited = 0, math.inf, 0
    for epoch, value in enumerate(values, start=1):
        if value < best:
            kept, best, waited = epoch, value, 0
        else:
            waited += 1
            if waited >= patience:
                break
    return kept


@given(st.lists(st.integers(0, 12), min_size=1, max_size=30))
def test_patience_is_what_the_algorithm_of_the_book_needs(whole: list[int]) -> None:
    values = [value / 10 for value in whole]
    choice = best_checkpoint(values)
    needed = [p for p in range(1, len(values) + 1) if stopped_early(values, p) == choice.best]
    if choice.patience is None:
        assert choice.best == 1
    else:
        assert choice.patience == needed[0]
        assert choice.stops_at == min(choice.best + choice.patience, len(values))


@given(
    st.lists(st.floats(0.01, 10), min_size=5, max_size=40),
    st.floats(-6, 6).map(lambda power: 10**power),
)
def test_other_units_change_nothing(values: list[float], factor: float) -> None:
    one, other = best_checkpoint(values), best_checkpoint([value * factor for value in values])
    assert one.worse_by.low <= one.worse_by.value <= one.worse_by.high
    assert other.worse_by.value == pytest.approx(one.worse_by.value * factor, rel=1e-6, abs=1e-9 * factor)
    assert other.patience == one.patience and other.best == one.best
    assert one.as_good[0] <= one.as_good[1]
    json.dumps(one.to_json(), allow_nan=False)


def test_one_run_more_of_the_same_curve_gives_the_same_answer_and_leaves_it_alone() -> None:
    values = curve("u")
    before = values.copy()
    assert best_checkpoint(values) == best_checkpoint(values.tolist())
    assert np.array_equal(values, before)


def test_a_smaller_patience_may_find_one_as_good() -> None:
    values = curve("settled", noise=0.01)
    choice = best_checkpoint(values)
    kept = [stopped_early(values.tolist(), p) for p in range(1, 61)]
    first, last = choice.as_good
    enough = next(p for p, epoch in enumerate(kept, start=1) if first <= epoch <= last)
    assert choice.patience_as_good == enough


def test_a_smooth_loss_that_falls_by_next_to_nothing_does_not_count_as_falling() -> None:
    t = np.arange(60)
    assert best_checkpoint(0.3 + 0.5 * np.exp(-t / 2) - 1e-4 * t).verdict == "right"
