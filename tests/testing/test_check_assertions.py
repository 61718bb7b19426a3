"""Assertions that a check of `diagnose.checks` stands behind: one healthy and one faulty model each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diagnose import testing
from diagnose.checks import CheckResult
from diagnose.errors import CheckFailedError
from diagnose.testing import assert_batch_independent, assert_beats_baseline, assert_causal

X = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))
Y = (X.sum(1) > 0).long()
SEQUENCE = torch.randn(4, 7, 6, generator=torch.Generator().manual_seed(1))


class Flipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:  # type: ignore[override]
        return -upstream


class Net(nn.Module):
    """Two linear layers, and what the tests want to go wrong in between."""

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fault = fault
        self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 2)
        self.shift = torch.zeros(16)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x).relu()
        if self.fault == "detached":
            h = h.detach()
        if self.fault == "flipped":
            h = Flipped.apply(h)
        if self.fault == "nan":
            h = (h - 1).log()
        if self.fault == "always drops":
            h = nn.functional.dropout(h)
        if self.fault == "fixed type":
            h = h @ torch.eye(16, dtype=torch.float32)
        if self.fault == "mixes":
            h = h - h.mean(0)
        if self.fault == "constant":
            h = 0 * h
        if self.fault == "unseeded":
            self.calls += 1
            h = h + torch.rand(h.shape, generator=torch.Generator().manual_seed(torch.seed() % 2**31))
        if self.fault == "unsaved":
            if self.training:
                self.shift = self.shift + h.detach().mean(0)
            h = h + self.shift
        out: Tensor = self.last(h)
        return 100 * out if self.fault == "loud" else out


class Attention(nn.Module):
    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.qkv = nn.Linear(6, 18)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)


CASES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("assert_fits_tiny", "detached", "parameter-not-updated", {"steps": 100, "seconds": 5.0}),
    ("assert_loss_at_init", "loud", "loss-at-init", {}),
    ("assert_gradients_flow", "detached", "parameter-not-updated", {}),
    ("assert_descends", "flipped", "wrong-gradient", {}),
    ("assert_guarantees", "nan", "nan-or-inf", {}),
    ("assert_deterministic", "unseeded", "not-reproducible", {}),
    ("assert_save_load_roundtrip", "unsaved", "save-load-mismatch", {}),
]


@pytest.mark.parametrize(("name", "fault", "code", "options"), CASES, ids=[case[0] for case in CASES])
def test_it_passes_the_healthy_model_and_fails_the_other(
    name: str, fault: str, code: str, options: dict[str, Any]
) -> None:
    function: Callable[..., CheckResult] = getattr(testing, name)
    given = {"loss_fn": nn.functional.cross_entropy, **options}
    result = function(Net(), X, Y, **given)
    assert result.ok
    with pytest.raises(CheckFailedError) as failure:
        function(Net(fault), X, Y, **given)
    assert code in {finding.code for finding in failure.value.findings}
    assert f"diagnose explain {code}" in str(failure.value) and "run this test again: " in str(failure.value)


@pytest.mark.parametrize(
    ("name", "fault", "code"),
    [
        ("assert_batch_independent", "mixes", "batch-mixing"),
        ("assert_inputs_matter", "constant", "constant-output"),
        ("assert_train_eval_consistent", "always drops", "train-mode-in-eval"),
        ("assert_transfers", "fixed type", "hard-coded-dtype"),
    ],
)
def test_those_without_a_loss(name: str, fault: str, code: str) -> None:
    function: Callable[..., CheckResult] = getattr(testing, name)
    assert function(Net(), X).ok
    with pytest.raises(CheckFailedError) as failure:
        function(Net(fault), X)
    assert code in {finding.code for finding in failure.value.findings}


def test_causality() -> None:
    assert assert_causal(Attention(causal=True), SEQUENCE).ok
    with pytest.raises(CheckFailedError, match="target-leakage"):
        assert_causal(Attention(causal=False), SEQUENCE)


def test_baselines() -> None:
    unseen = torch.randn(200, 6, generator=torch.Generator().manual_seed(2))
    train, test = (X, Y), (unseen, (unseen.sum(1) > 0).long())

    class Knows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack((-x.sum(1), x.sum(1)), 1)

    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack((x.sum(1), -x.sum(1)), 1)

    assert assert_beats_baseline(Knows(), train, test, default=False).ok
    with pytest.raises(CheckFailedError, match="below-baseline"):
        assert_beats_baseline(Wrong(), train, test, default=False)


def test_a_check_that_does_not_apply_asserts_nothing_and_fails() -> None:
    with pytest.raises(CheckFailedError, match="nothing-to-assert"):
        assert_causal(Net(), X)
    with pytest.raises(CheckFailedError, match="nothing-to-assert"):
        assert_batch_independent(Net(), X[:1])
