"""causality: what looks ahead is found, at every cut and in every layout; what may is not called a fault."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from diagnose.checks import Status, causality
from tests.checks import models
from tests.checks.models import Case


@pytest.mark.parametrize("make", models.CAUSAL)
def test_causal_models_pass(make: Callable[[], Case]) -> None:
    torch.manual_seed(0)
    case = make()
    before = models.snapshot(case)
    result = causality(case.model, case.inputs, case.targets)
    assert result.ok, str(result)
    models.assert_untouched(case, before)


@pytest.mark.parametrize("make", models.HEALTHY)
def test_no_healthy_model_is_at_fault_unless_it_has_to_be_causal(make: Callable[[], Case]) -> None:
    torch.manual_seed(0)
    case = make()
    assert causality(case.model, case.inputs, case.targets, required=None).status is not Status.FAILED


@pytest.mark.parametrize("make", [models.mlp, models.convolutional, models.sequence_classifier, models.recommender])
def test_what_has_no_places_is_not_judged(make: Callable[[], Case]) -> None:
    case = make()
    assert causality(case.model, case.inputs).status is Status.NOT_APPLICABLE


def test_the_decoder_of_a_translator_is_judged_and_its_encoder_is_not() -> None:
    case = models.translator()
    result = causality(case.model, case.inputs)
    assert result.ok
    assert [finding.severity.value for finding in result.findings] == ["info"]
    assert "input 0" in result.findings[0].message


class Faulty(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.conv = kind, nn.Conv1d(6, 6, 3, padding=1)
        self.rnn, self.norm = nn.GRU(6, 6, batch_first=True, bidirectional=True), nn.BatchNorm1d(8)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "convolution":
            return self.conv(x.transpose(1, 2)).transpose(1, 2)
        if self.kind == "bidirectional":
            return self.rnn(x)[0]
        scores = x @ x.transpose(1, 2)
        places = torch.arange(x.shape[1])
        if self.kind == "off by one":
            scores = scores.masked_fill(places[None] > places[:, None] + 1, -torch.inf)
        if self.kind == "inverted":
            scores = scores.masked_fill(places[None] < places[:, None], -torch.inf)
        if self.kind == "after softmax":
            return scores.softmax(-1).tril() @ x
        if self.kind == "mean over time":
            return x - x.mean(1, keepdim=True)
        return scores.softmax(-1) @ x


@pytest.mark.parametrize(
    "kind", ["convolution", "bidirectional", "off by one", "inverted", "no mask", "after softmax", "mean over time"]
)
def test_what_looks_ahead_is_found(kind: str) -> None:
    result = causality(Faulty(kind), torch.randn(4, 8, 6))
    assert result.status is Status.FAILED, kind
    finding = result.findings[0]
    assert (finding.code, finding.severity.value) == ("target-leakage", "error")
    assert finding.where.file == __file__


def test_only_the_last_step_leaks() -> None:
    class Peeking(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.cumsum(1) + F.pad(x[:, -1:], (0, 0, x.shape[1] - 2, 1))

    assert causality(Peeking(), torch.randn(3, 9, 2)).status is Status.FAILED
    assert causality(Peeking(), torch.randn(3, 9, 2), cuts=[1, 4]).ok
    with pytest.raises(ValueError, match="cut 9 lies outside"):
        causality(Peeking(), torch.randn(3, 9, 2), cuts=[9])


def test_unmasked_language_models_are_at_fault_even_where_nobody_asked() -> None:
    model, ids = models.Transformer(causal=False), torch.randint(20, (4, 9))
    assert causality(model, ids[:, :-1], ids[:, 1:], required=None).status is Status.FAILED
    assert causality(model, ids).status is Status.FAILED
    tagging = causality(model, ids, torch.randint(20, (4, 9)), required=None)
    assert tagging.ok
    assert tagging.findings[0].severity.value == "info"


@pytest.mark.parametrize("time_dim", [0, 1, 2, None])
def test_time_may_come_in_any_dimension(time_dim: int | None) -> None:
    class Summing(nn.Module):
        def __init__(self, sign: int, dim: int) -> None:
            super().__init__()
            self.sign, self.dim = sign, dim

        def forward(self, x: Tensor) -> Tensor:
            return x.cumsum(self.dim) if self.sign > 0 else x.flip(self.dim).cumsum(self.dim).flip(self.dim)

    for dim in range(3) if time_dim is None else [time_dim]:
        assert causality(Summing(1, dim), torch.randn(5, 6, 7), time_dim=time_dim).ok
        assert causality(Summing(-1, dim), torch.randn(5, 6, 7), time_dim=time_dim).status is Status.FAILED


def test_recurrent_nets_with_sequences_first() -> None:
    assert causality(nn.LSTM(3, 4), torch.randn(6, 2, 3)).ok
    assert causality(nn.LSTM(3, 4, bidirectional=True), torch.randn(6, 2, 3)).status is Status.FAILED


def test_masks_and_labels_are_no_sequences() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = models.Transformer(causal=False)

        def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.inner(input_ids)
            return {"loss": F.cross_entropy(logits.flatten(0, 1), labels.flatten()), "logits": logits}

    ids = torch.randint(20, (4, 9))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.roll(-1, 1)}
    assert causality(Model(), inputs).status is Status.FAILED


@settings(max_examples=20)
@given(st.integers(3, 12), st.integers(-3, 3), st.integers(0, 99))
def test_a_shift_leaks_if_and_only_if_it_is_from_the_future(length: int, shift: int, seed: int) -> None:
    class Shifted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            places = torch.arange(length) + shift
            inside = (places >= 0) & (places < length)
            return x + inside[:, None] * x[:, places.clamp(0, length - 1)]

    torch.manual_seed(seed)
    result = causality(Shifted(), torch.randn(2, length, 3), time_dim=1, cuts=length)
    assert (result.status is Status.FAILED) is (0 < shift < length)
