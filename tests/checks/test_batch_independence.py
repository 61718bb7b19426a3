"""batch_independence: healthy models pass, whatever mixes examples is named with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from diagnose.checks import Status, batch_independence
from tests.checks import models
from tests.checks.models import Case


@pytest.mark.parametrize("make", models.HEALTHY)
@pytest.mark.parametrize("with_targets", [True, False])
def test_healthy_models_are_not_called_mixing_and_stay_as_they_are(
    make: Callable[[], Case], with_targets: bool
) -> None:
    torch.manual_seed(0)
    case = make()
    before = models.snapshot(case)
    result = batch_independence(case.model, case.inputs, case.targets if with_targets else None)
    assert result.status is not Status.FAILED, str(result)
    # Six tokens for each of four sentences, sequences first: no shape says so.
    assert result.ok or make is models.translator
    models.assert_untouched(case, before)


def test_the_modules_that_mix_in_training_are_told() -> None:
    case = models.convolutional()
    result = batch_independence(case.model, case.inputs)
    assert result.ok
    assert result.evidence["modules_that_mix_in_training"] == ["1"]
    assert not result.findings


class Faulty(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.linear = kind, nn.Linear(6, 6)
        self.rnn, self.attention = nn.LSTM(6, 6), nn.MultiheadAttention(6, 2)
        self.norm = nn.BatchNorm1d(6, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        if self.kind == "lstm":
            return self.rnn(y)[0][:, -1]
        if self.kind == "attention":
            return self.attention(y, y, y)[0].mean(1)
        if self.kind == "view":
            return y.view(y.shape[1], y.shape[0], 6).transpose(0, 1).tanh().mean(1)
        if self.kind == "norm":
            return self.norm(y.mean(1))
        if self.kind == "softmax":
            return torch.softmax(y.mean(1), dim=0)
        return y.mean(1) - y.mean(1).max() if self.kind == "max" else y.mean(1) - y.mean()


@pytest.mark.parametrize("kind", ["lstm", "attention", "view", "norm", "softmax", "max", "mean"])
def test_what_mixes_examples_is_found(kind: str) -> None:
    result = batch_independence(Faulty(kind), torch.randn(5, 7, 6))
    assert result.status is Status.FAILED
    finding = result.findings[0]
    assert finding.code == "batch-mixing"
    assert finding.where.file == __file__
    line = Path(__file__).read_text(encoding="utf-8").splitlines()[finding.where.line - 1]  # type: ignore[operator]
    assert {"view": ".view", "norm": "self.norm", "lstm": "self.rnn", "attention": "self.attention"}.get(
        kind, "y.mean(1)"
    ) in line


def test_one_bad_example_that_spoils_the_others_is_a_warning() -> None:
    class Routed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.eye(len(x)) @ x

    finding = batch_independence(Routed(), torch.randn(5, 3)).findings[0]
    assert finding.severity.value == "warning"
    assert "NaN" in finding.message


def test_sequences_that_come_first() -> None:
    x = torch.randn(7, 4, 6)
    assert batch_independence(nn.LSTM(6, 5), x, batch_dim=1).ok
    assert batch_independence(nn.LSTM(6, 5), x, torch.zeros(4)).ok
    undecided = batch_independence(nn.LSTM(6, 5), x)
    assert undecided.status is Status.NOT_APPLICABLE
    assert "give batch_dim" in undecided.summary
    assert batch_independence(nn.LSTM(6, 5), x, batch_dim=0).status is Status.FAILED


def test_what_relates_examples_or_has_only_one_is_not_judged() -> None:
    class Graph(nn.Module):
        def forward(self, x: Tensor, edges: Tensor) -> Tensor:
            return x + torch.zeros_like(x).index_add(0, edges[1], x[edges[0]])

    graph = batch_independence(Graph(), [torch.randn(5, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])])
    assert graph.status is Status.NOT_APPLICABLE
    assert batch_independence(nn.Linear(3, 2), torch.randn(1, 3)).status is Status.NOT_APPLICABLE
    assert batch_independence(nn.Flatten(0), torch.randn(4, 3)).ok

    class Clip(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a @ b.T

    assert batch_independence(Clip(), [torch.randn(4, 3), torch.randn(4, 3)]).ok


def test_mixing_in_training_only_is_worth_knowing() -> None:
    class Mixup(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0.5 * (x + x.roll(1, 0)) if self.training else x

    result = batch_independence(Mixup(), torch.randn(4, 3))
    assert result.ok
    assert [finding.severity.value for finding in result.findings] == ["info"]


@settings(max_examples=20)
@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 99), st.booleans())
def test_a_mean_over_examples_is_always_found_and_its_absence_never(
    n: int, features: int, seed: int, mix: bool
) -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.tanh() + x.mean(0) if mix else x.tanh()

    torch.manual_seed(seed)
    assert batch_independence(Model(), torch.randn(n, features), seed=seed).ok is not mix
