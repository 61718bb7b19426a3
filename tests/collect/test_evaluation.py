"""Evaluation losses: one stream for each place and data set, whatever a script's style."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diagnose
from diagnose.history import History


def data(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4, generator=generator), torch.randint(2, (n,), generator=generator)


class Run:
    """A loop that keeps what it evaluated, by name."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        self.new_optimizer()
        self.expected: dict[str, list[float]] = {}

    def new_optimizer(self) -> None:
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

    def train(self, steps: int = 3) -> None:
        self.model.train()
        for step in range(steps):
            inputs, labels = data(8, step)
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(inputs), labels).backward()
            self.optimizer.step()

    def evaluate(self, name: str, seed: int, batches: tuple[int, ...] = (8, 8, 4)) -> None:
        self.model.eval()
        total = 0.0
        with torch.no_grad():
            for size in batches:
                inputs, labels = data(size, seed + size)
                total += size * float(nn.CrossEntropyLoss()(self.model(inputs), labels))
        self.expected.setdefault(name, []).append(total / sum(batches))


def streams(history: History) -> dict[str, list[float]]:
    """The values by scope, halves left out."""
    return {
        scope: history.series("eval_loss", scope).values.tolist()
        for scope in history.scopes("eval_loss")
        if history.evaluations[scope].half_of is None
    }


def matches(history: History, run: Run, *names: str) -> None:
    found = list(streams(history).values())
    assert len(found) == len(names)
    for values, name in zip(found, names, strict=True):
        assert values == pytest.approx(run.expected[name], rel=1e-5)


def test_two_data_sets_in_a_loop_are_two_streams() -> None:
    run = Run()
    with diagnose.watch(summary=False) as watch:
        for _ in range(20):
            run.train()
            for name, seed in (("train", 0), ("test", 100)):
                run.evaluate(name, seed)
    matches(watch.history, run, "train", "test")
    scope, other = streams(watch.history)
    assert scope == "eval" and other.startswith("eval@")
    facts = watch.history.evaluations[other]
    assert facts.file == __file__ and facts.line is not None and facts.optimizer in watch.history.optimizers


def test_two_call_sites_are_two_streams() -> None:
    run = Run()
    with diagnose.watch(summary=False) as watch:
        for _ in range(20):
            run.train()
            run.evaluate("a", 0)
            run.evaluate("b", 100)
        run.evaluate("last", 200)
    matches(watch.history, run, "a", "b", "last")


def test_eval_called_for_every_batch_is_one_stream() -> None:
    run = Run()
    means = []
    with diagnose.watch(summary=False) as watch:
        for _ in range(10):
            run.train()
            losses = []
            for batch in range(20):
                run.model.eval()
                with torch.no_grad():
                    inputs, labels = data(4, batch)
                    losses.append(float(F.cross_entropy(run.model(inputs), labels)))
            means.append(sum(losses) / len(losses))
    assert list(streams(watch.history).values()) == [pytest.approx(means, rel=1e-5)]


@pytest.mark.parametrize("calls", [4, 6, 7, 256, 258, 400, 1200])
def test_halves_of_a_pass(calls: int) -> None:
    """As in `for split in ("train", "val"): for k in range(n): ...`, all under one `eval()`."""
    run, losses = Run(), []
    with diagnose.watch(summary=False) as watch:
        run.train()
        run.model.eval()
        with torch.no_grad():
            for seed in range(calls):
                inputs, labels = data(2 + seed % 3, seed % 50)
                losses.append((len(labels), float(F.cross_entropy(run.model(inputs), labels))))
    history = watch.history

    def mean(part: list[tuple[int, float]]) -> float:
        return sum(size * loss for size, loss in part) / sum(size for size, _ in part)

    assert streams(history) == {"eval": [pytest.approx(mean(losses), rel=1e-6)]}
    halves = [scope for scope, facts in history.evaluations.items() if facts.half_of == "eval"]
    if calls in (7, 258):  # an odd number; one that is cut in pairs
        assert halves == []
        return
    expected = [mean(losses[: calls // 2]), mean(losses[calls // 2 :])]
    assert [float(history.series("eval_loss", scope).values[0]) for scope in halves] == pytest.approx(
        expected, rel=1e-6
    )


def test_a_new_optimizer_has_streams_of_its_own() -> None:
    """Phases of a script, folds of a cross-validation: each has its own steps."""
    run = Run()
    with diagnose.watch(summary=False) as watch:
        for phase in range(2):
            run.new_optimizer()
            for _ in range(5 - phase):
                run.train()
                run.evaluate(f"phase {phase}", 0)
    matches(watch.history, run, "phase 0", "phase 1")
    second = list(streams(watch.history))[1]
    steps = watch.history.series("eval_loss", second).steps
    assert len(steps) == 4 and set(np.diff(steps)) == {3}


def test_an_evaluation_before_the_first_step_counts() -> None:
    run = Run()
    with diagnose.watch(summary=False) as watch:
        for _ in range(3):
            run.evaluate("a", 0)
            run.train()
    matches(watch.history, run, "a")
    assert watch.history.series("eval_loss", "eval").steps.tolist() == [0, 3, 6]


def test_evaluation_without_training() -> None:
    run = Run()
    with diagnose.watch(summary=False) as watch:
        run.evaluate("a", 0)
    matches(watch.history, run, "a")


def test_facts_survive_the_round_trip() -> None:
    run = Run()
    with diagnose.watch(summary=False) as watch:
        run.train()
        run.evaluate("a", 0)
    data, arrays = watch.history.to_arrays()
    again = History.from_arrays(json.loads(json.dumps(data)), arrays)
    assert again.evaluations == watch.history.evaluations
    del data["evaluations"]  # as an older version has written it
    assert History.from_arrays(data, arrays).evaluations == {}


def test_states_that_are_saved_and_loaded() -> None:
    run = Run()
    with diagnose.watch(summary=False) as watch:
        run.train()
        state = {name: value.clone() for name, value in run.model.state_dict().items()}
        run.train()
        run.model.load_state_dict(state)
    assert [event.step for event in watch.history.events("state-saved")] == [3]
    assert [event.step for event in watch.history.events("state-loaded")] == [6]
    assert "state_dict" in nn.Module.state_dict.__qualname__
    assert not hasattr(nn.Module.state_dict, "__wrapped__")
