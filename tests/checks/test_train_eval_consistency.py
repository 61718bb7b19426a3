"""train_eval_consistency: dropout and batch statistics may differ between the modes, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from diagnose.checks import Status, train_eval_consistency
from tests.checks import models
from tests.checks.models import Case


@pytest.mark.parametrize("make", models.HEALTHY)
@pytest.mark.parametrize("training", [True, False])
def test_healthy_models_agree(make: Callable[[], Case], training: bool) -> None:
    torch.manual_seed(0)
    case = make()
    case.model.train(training)
    before = models.snapshot(case)
    result = train_eval_consistency(case.model, case.inputs)
    assert result.ok, str(result)
    assert not result.findings
    models.assert_untouched(case, before)


def norms(**options: float | None) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, **options), nn.ReLU(), nn.Linear(6, 3))  # type: ignore[arg-type]


@pytest.mark.parametrize("momentum", [0.1, 0.01, 0.001, 0.5, None])
def test_statistics_that_follow_however_slowly(momentum: float | None) -> None:
    assert train_eval_consistency(norms(momentum=momentum), 3 + 5 * torch.randn(16, 4)).ok


def test_statistics_that_never_move() -> None:
    result = train_eval_consistency(norms(momentum=0.0), 3 + 5 * torch.randn(16, 4))
    assert result.status is Status.FAILED
    finding = result.findings[0]
    assert (finding.code, finding.where.module) == ("train-eval-mismatch", "1")
    assert "momentum=0" in finding.message


def test_the_momentum_of_keras() -> None:
    result = train_eval_consistency(norms(momentum=0.99), torch.randn(16, 4))
    assert result.ok
    assert [finding.severity.value for finding in result.findings] == ["info"]


def test_one_normalisation_for_two_places() -> None:
    class Shared(nn.Module):
        def __init__(self, far: float) -> None:
            super().__init__()
            self.norm, self.far = nn.BatchNorm1d(4), far

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x) + self.norm(self.far * x + self.far - 1)

    assert train_eval_consistency(Shared(1.0), torch.randn(16, 4)).ok
    result = train_eval_consistency(Shared(10.0), torch.randn(16, 4))
    assert result.status is Status.FAILED
    assert result.findings[0].evidence["calls_in_a_forward"] == 2


@pytest.mark.parametrize("kind", ["functional", "list", "norm in a list", "attention"])
def test_what_stays_on_in_evaluation_mode(kind: str) -> None:
    class Faulty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.layers = nn.Linear(4, 4), [nn.Dropout(0.5)]
            self.norms = [nn.BatchNorm1d(4)]

        def forward(self, x: Tensor) -> Tensor:
            x = self.linear(x)
            if kind == "functional":
                return F.dropout(x, 0.3)
            if kind == "attention":
                return F.scaled_dot_product_attention(x[None], x[None], x[None], dropout_p=0.2)[0]
            return self.layers[0](x) if kind == "list" else self.norms[0](x)

    result = train_eval_consistency(Faulty(), torch.randn(8, 4))
    assert result.status is Status.FAILED
    finding = result.findings[0]
    assert finding.code == "train-mode-in-eval"
    assert finding.where.file == __file__


class Branching(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.linear = kind, nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.linear(x))
        if self.kind == "softmax" and not self.training:
            return x.softmax(1)
        if self.kind == "scale" and self.training:
            x = x * 2
        if self.kind == "layer" and not self.training:
            x = x.relu()
        return x + torch.randn_like(x) if self.kind == "noise" and self.training else x


@pytest.mark.parametrize("kind", ["scale", "layer"])
def test_branches_that_compute_something_else(kind: str) -> None:
    result = train_eval_consistency(Branching(kind), torch.randn(16, 4))
    assert result.status is Status.FAILED, str(result)
    finding = result.findings[0]
    assert finding.where.file == __file__
    assert "they part at" in finding.message


@pytest.mark.parametrize("kind", ["softmax", "noise", ""])
def test_branches_that_are_meant(kind: str) -> None:
    result = train_eval_consistency(Branching(kind), torch.randn(16, 4))
    assert result.ok
    assert [f.severity.value for f in result.findings] == (["info"] if kind == "softmax" else [])


@pytest.mark.parametrize("scaled", [True, False])
def test_dropout_of_ones_own_has_to_rescale(scaled: bool) -> None:
    class Dropping(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                x = x * (torch.rand_like(x) > 0.5) * (2 if scaled else 1)
            return super().forward(x)

    torch.manual_seed(0)
    result = train_eval_consistency(Dropping(20, 4), torch.randn(16, 20))
    assert result.ok
    assert [f.severity.value for f in result.findings] == ([] if scaled else ["info"])


def test_other_outputs_in_training_mode() -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.aux = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            return (self.linear(x), self.aux(x)) if self.training else self.linear(x)

    assert train_eval_consistency(Auxiliary(), torch.randn(8, 4)).ok

    class Detector(nn.Linear):
        def forward(self, x: Tensor) -> object:
            return {"loss": super().forward(x).sum()} if self.training else super().forward(x)

    assert train_eval_consistency(Detector(4, 3), torch.randn(8, 4)).status is Status.NOT_APPLICABLE
    too_small = train_eval_consistency(norms(), torch.randn(1, 4))
    assert too_small.status is Status.NOT_APPLICABLE


def test_layers_with_dropout_of_their_own_and_spectral_norm() -> None:
    rnn = nn.GRU(4, 4, 2, dropout=0.5, batch_first=True)
    assert train_eval_consistency(rnn, torch.randn(8, 5, 4)).ok
    layer = nn.TransformerEncoderLayer(4, 2, 8, 0.5, batch_first=True)
    assert train_eval_consistency(layer, torch.randn(8, 5, 4)).ok
    spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))
    assert train_eval_consistency(spectral, torch.randn(8, 4)).ok


def test_frozen_statistics_are_left_in_peace() -> None:
    class Frozen(nn.Sequential):
        def train(self, mode: bool = True) -> Frozen:
            super().train(mode)
            self[1].eval()
            return self

    result = train_eval_consistency(Frozen(nn.Linear(4, 4), nn.BatchNorm1d(4)), torch.randn(8, 4))
    assert result.ok
    assert result.evidence["frozen_in_training_mode"] == ["1"]


@settings(max_examples=10)
@given(st.integers(2, 12), st.floats(0.1, 100), st.floats(-10, 10), st.integers(0, 99))
def test_batch_normalisation_agrees_whatever_the_batch(size: int, scale: float, shift: float, seed: int) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh())
    assert train_eval_consistency(model, shift + scale * torch.randn(size, 3), seed=seed).ok
