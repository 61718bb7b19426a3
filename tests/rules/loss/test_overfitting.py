"""overfitting: the evaluation loss has risen from its minimum while the training loss went on falling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import diagnose
from diagnose.findings import Severity
from diagnose.history import EvaluationFacts, History
from diagnose.rules import NotRun, all_rules
from diagnose.testing import Parameter, history_of
from tests.rules.looking import falling, flat, noisy, said, the_only

CODE = "overfitting"
WARNING, INFO = Severity.WARNING, Severity.INFO


def run(values: Sequence[float], loss: np.ndarray | None = None, every: int = 20) -> History:
    steps = every * len(values)
    history = history_of(
        steps=steps,
        loss=falling(steps, 2.3, 0.05) if loss is None else loss,
        parameters={"fc.weight": Parameter((10, 64))},
    )
    history.evaluations["eval"] = EvaluationFacts("SGD", "train.py", 20)
    for index, value in enumerate(values, start=1):
        history.record("eval_loss", every * index, {"eval": value}, clock="SGD")
    return history


def u_shape(rise: float, noise: float = 0.01, count: int = 20) -> np.ndarray:
    """Down from 1.8 to 1, best after a third, up by `rise`."""
    place = np.linspace(-1, 2, count)
    return noisy(np.where(place < 0, 1 + 0.8 * place**2, 1 + rise * place / 2), noise)


# -- it does --------------------------------------------------------------------------------------------------


def train(examples: int, epochs: int) -> diagnose.Watch:
    torch.manual_seed(0)
    inputs = torch.randn(2100, 20)
    labels = (inputs[:, 0] + inputs[:, 1] + torch.randn(2100) > 0).long()
    model = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with diagnose.watch(model, optimizer, summary=False, schedule="seeded") as watch:
        for _ in range(epochs):
            model.train()
            for rows in torch.randperm(examples).split(20):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs[rows]), labels[rows]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                F.cross_entropy(model(inputs[2000:]), labels[2000:])
    return watch


def test_a_large_model_on_few_examples() -> None:
    (finding,) = [f for f in train(100, 40).findings if f.severity is not INFO]
    assert (finding.code, finding.severity) == (CODE, WARNING)
    assert finding.where.file == __file__


def test_its_healthy_twin() -> None:
    assert [f for f in train(2000, 6).findings if f.severity is not INFO] == []


def test_what_it_says() -> None:
    finding = the_only(run(u_shape(0.8)), CODE)
    assert finding.severity is WARNING
    assert (finding.where.file, finding.where.line) == ("train.py", 20)
    assert finding.first_step is not None and 100 <= finding.first_step <= 180
    assert finding.evidence["lost_share"] == pytest.approx(0.8 / 1.3, rel=0.15)


def test_the_loss_may_be_logged() -> None:
    history = history_of(steps=200, loss=falling(200), parameters={"w": Parameter()})
    for step, value in enumerate(u_shape(0.8), start=1):
        history.record("metric", 10 * step, {"val_loss": value, "val_acc": value})
    assert the_only(history, CODE).evidence["evaluation"] == "val_loss"


def test_of_two_data_sets_one_is_the_training_set() -> None:
    history = run(u_shape(0.8))
    history.evaluations["eval@9"] = EvaluationFacts("SGD", "train.py", 9)
    for step in range(20, 401, 20):
        history.record("eval_loss", 400, {"eval@9": 1 / step}, clock="SGD")
    assert the_only(history, CODE).evidence["evaluation"] == "eval"


def test_training_and_test_data_in_one_loop() -> None:
    """The halves of an evaluation that are two data sets: the whole does not show it, one half does."""
    rising, training = u_shape(0.6, 0.005), falling(400, 2.3, 0.05)[19::20]

    history = history_of(steps=400, loss=falling(400, 2.3, 0.05), parameters={"fc.weight": Parameter((10, 64))})
    history.evaluations["eval"] = EvaluationFacts("SGD", "train.py", 20)
    for half in ("first half", "second half"):
        history.evaluations[f"eval ({half})"] = EvaluationFacts("SGD", "train.py", 20, half_of="eval")
    for index, (low, high) in enumerate(zip(training, rising, strict=True), start=1):
        row = {"eval": (low + high) / 2, "eval (first half)": low, "eval (second half)": high}
        history.record("eval_loss", 20 * index, row, clock="SGD")
    assert the_only(history, CODE).evidence["evaluation"] == "eval (second half)"


def test_halves_of_one_data_set_are_one_evaluation() -> None:
    history = run(np.zeros(0))
    for scope in ("eval", "eval (first half)", "eval (second half)"):
        history.evaluations[scope] = EvaluationFacts("SGD", half_of=None if scope == "eval" else "eval")
    loss = falling(400, 2.3, 0.05)
    history = history_of(steps=400, loss=loss, parameters={"fc.weight": Parameter((10, 64))}, into=history)
    for index, value in enumerate(u_shape(0.8), start=1):
        row = {"eval": value, "eval (first half)": 1.1 * value, "eval (second half)": 0.9 * value}
        history.record("eval_loss", 20 * index, row, clock="SGD")
    assert the_only(history, CODE).evidence["evaluation"] == "eval"


# -- it does not ----------------------------------------------------------------------------------------------


def test_a_plateau_with_noise() -> None:
    for seed in range(20):
        values = 1 + 0.8 * np.exp(-np.arange(30) / 4)
        assert not said(run(noisy(values, 0.05, seed)), CODE)


def test_one_noisy_epoch() -> None:
    values = 1 + 0.8 * np.exp(-np.arange(20) / 4)
    values[-1] = 3.0
    assert not said(run(values), CODE)


def test_few_evaluations() -> None:
    with pytest.raises(NotRun, match="5 evaluations"):
        list(all_rules()[CODE].function(run([1.0, 1.5, 2.0, 2.5])))
    assert said(run([1.0, 1.5, 2.0, 2.5, 3.0]), CODE)


def test_without_evaluation() -> None:
    with pytest.raises(NotRun, match="needs evaluation losses"):
        list(all_rules()[CODE].function(history_of(steps=100, loss=falling(100))))


@pytest.mark.parametrize(("rise", "severities"), [(0.05, []), (0.19, [INFO]), (0.5, [WARNING])])
def test_how_much_of_the_gain_is_lost(rise: float, severities: list[Severity]) -> None:
    """The gain is 1.3: from 2.3, where training started, to 1."""
    assert [f.severity for f in said(run(u_shape(rise, 0.001)), CODE)] == severities


def test_a_training_loss_that_rises_too_is_another_fault() -> None:
    loss = np.concatenate([falling(140, 2.3, 0.5), noisy(np.linspace(0.5, 3, 260), 0.05)])
    assert not said(run(u_shape(0.8), loss), CODE)


def test_a_training_loss_that_stays() -> None:
    assert not said(run(u_shape(0.8), np.concatenate([falling(100, 2.3, 0.5), flat(300, 0.5)])), CODE)


def test_an_evaluation_that_comes_down_again() -> None:
    """Grokking, after it."""
    assert not said(run(np.concatenate([u_shape(0.8), np.linspace(1.8, 0.2, 30)])), CODE)


def test_one_that_was_trained_before_and_never_gained() -> None:
    history = run(noisy(np.full(20, 0.50), 0.01), falling(400, 0.4, 0.3))
    assert not said(history, CODE)


def test_a_gan() -> None:
    history = run(u_shape(0.8))
    history_of(steps=400, loss=flat(400, 1.4), parameters={"critic": Parameter()}, optimizer="D", into=history)
    assert not said(history, CODE)


def test_the_best_state_was_kept() -> None:
    history = run(u_shape(0.8, 0.0))
    best = the_only(history, CODE).first_step
    assert best is not None
    for step in (20, 40, 60, best):
        history.note("state-saved", step, "run", steps={"SGD": step})
    assert the_only(history, CODE).severity is INFO
    for step in range(20, 401, 20):  # or else all of them were saved
        history.note("state-saved", step, "run", steps={"SGD": step})
    assert the_only(history, CODE).severity is WARNING


def test_the_state_of_the_best_training_loss_is_not_the_best() -> None:
    """Early stopping that watches the wrong loss saves to the end, and restores what it has saved."""
    history = run(u_shape(0.8, 0.0))
    best = the_only(history, CODE).first_step
    assert best is not None
    for step in (20, 40, best, 300, 380):
        history.note("state-saved", step, "run", steps={"SGD": step})
    history.note("state-loaded", 400, "run", steps={"SGD": 400})
    assert the_only(history, CODE).severity is WARNING


def test_the_best_state_was_restored() -> None:
    history = run(u_shape(0.8))
    history.note("state-loaded", 10, "run", steps={"SGD": 10})
    assert the_only(history, CODE).severity is WARNING
    history.note("state-loaded", 400, "run", steps={"SGD": 400})
    assert the_only(history, CODE).severity is INFO


def test_a_state_that_a_next_training_starts_from_is_not_the_best() -> None:
    """Folds of a cross-validation: each begins with the same initial state."""
    history = run(u_shape(0.8))
    history.note("state-loaded", 400, "run", steps={"SGD": 400})
    history_of(steps=50, loss=falling(50), parameters={"fc.weight": Parameter()}, optimizer="SGD#2", into=history)
    assert the_only(history, CODE).severity is WARNING


@given(st.sampled_from([1e-6, 0.25, 64.0, 1e6]), st.sampled_from([0.05, 0.19, 0.5, 0.8]))
def test_units_do_not_matter(scale: float, rise: float) -> None:
    loss = falling(400, 2.3, 0.05)
    plain = [f.severity for f in said(run(u_shape(rise, 0.001), loss), CODE)]
    assert [f.severity for f in said(run(scale * u_shape(rise, 0.001), scale * loss), CODE)] == plain
