"""Assertions that two ways to compute the same thing agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from diagnose.errors import CheckError, CheckFailedError
from diagnose.testing import (
    assert_accumulation_equivalent,
    assert_accuracy_at_least,
    assert_autocast_agrees,
    assert_compiles,
    assert_directional,
    assert_equivariant,
    assert_invariant,
    assert_models_agree,
    assert_no_host_sync,
    assert_on_device,
    assert_optimizer_covers,
    assert_resumes,
)
from diagnose.testing.strategies import Case, modules

X = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
Y = (X.sum(1) > 0).long()


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 2))


def codes(failure: pytest.ExceptionInfo[CheckFailedError]) -> set[str]:
    return {finding.code for finding in failure.value.findings}


def test_a_model_agrees_with_its_copy_its_script_and_its_saved_outputs() -> None:
    model, other = net(), net()
    saved = assert_models_agree(model, other, X)
    assert_models_agree(model, saved, X)
    assert_models_agree(model, lambda x: other.eval()(x), X)
    assert_models_agree(model, other, X, training=True)  # the same dropout
    with torch.no_grad():
        other[3].bias[1] += 0.25
    with pytest.raises(CheckFailedError) as failure:
        assert_models_agree(model, other, X)
    evidence = failure.value.findings[0].evidence
    assert codes(failure) == {"outputs-differ"} and evidence["largest_difference"] == pytest.approx(0.25)
    assert evidence["first_at"][1] == 1
    assert_models_agree(model, other, X, atol=0.3)
    with pytest.raises(CheckFailedError, match="shape"):
        assert_models_agree(model, saved[:, :1], X)


@settings(max_examples=20)
@given(modules())
def test_any_module_agrees_with_itself_in_either_mode(case: Case) -> None:
    state = torch.get_rng_state()
    for training in (False, True):
        assert_models_agree(case.module, case.module, case.inputs, training=training)
    assert torch.equal(torch.get_rng_state(), state) and case.module.training


def test_autocast() -> None:
    assert_autocast_agrees(net(), X)

    class Cancels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = (self.fc(x) + 1000) - 1000
            return result

    with pytest.raises(CheckFailedError, match="without autocast"):
        assert_autocast_agrees(Cancels(), X)


class Breaks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(x)
        return y if y.sum().item() > 0 else -y


@pytest.mark.slow
def test_compiling() -> None:
    output = assert_compiles(net(), X, X[:4], X[:3])
    assert output.shape == (8, 2)
    with pytest.raises(CheckFailedError) as failure:
        assert_compiles(Breaks(), X)
    assert codes(failure) == {"graph-break"} and "TORCH_LOGS=graph_breaks" in str(failure.value)
    assert (failure.value.findings[0].where.file or "").endswith("test_agreement.py")
    assert_compiles(Breaks(), X, most_breaks=1)


class Mean(nn.Module):
    """The mean over positions, with the padding or without it."""

    def __init__(self, masked: bool) -> None:
        super().__init__()
        self.masked = masked

    def forward(self, x_NTC: Tensor) -> Tensor:
        mask = (x_NTC != 0).any(-1, keepdim=True) if self.masked else torch.ones_like(x_NTC[..., :1])
        return (x_NTC * mask).sum(1) / mask.sum(1)


def padded(x_NTC: Tensor) -> Tensor:
    return nn.functional.pad(x_NTC, (0, 0, 0, 3))


def test_changes_that_must_not_matter_or_must_carry_over() -> None:
    sequences = X[:, None].repeat(1, 4, 1)
    assert_invariant(Mean(masked=True), sequences, padded)
    with pytest.raises(CheckFailedError, match="outputs-differ"):
        assert_invariant(Mean(masked=False), sequences, padded)
    assert_equivariant(net(), X, lambda x: x.flip(0))
    assert_equivariant(lambda x: 2 * x.sum(1), X, lambda x: 3 * x)
    with pytest.raises(CheckFailedError):
        assert_equivariant(lambda x: x.cumsum(0), X, lambda x: x.flip(0))


def test_changes_that_must_move_a_score() -> None:
    def score(output: Tensor) -> Tensor:
        return output[:, 0]

    assert_directional(lambda x: 2 * x, X, lambda x: x + 1, score, at_least=1.9)
    assert_directional(lambda x: -2 * x, X, lambda x: x + 1, score, rises=False)
    with pytest.raises(CheckFailedError, match="8 of 8 scores do not rise by 0 or more"):
        assert_directional(lambda x: -x, X, lambda x: x + 1, score)


def test_accuracy_on_what_has_to_be_known() -> None:
    def knows(x: Tensor) -> Tensor:
        return torch.stack((-x.sum(1), x.sum(1)), 1)

    assert assert_accuracy_at_least(knows, X, Y) == 1.0
    assert assert_accuracy_at_least(lambda x: x.sum(1), X, Y) == 1.0
    with pytest.raises(CheckFailedError, match="0 % right, at least 90 % are to be"):
        assert_accuracy_at_least(lambda x: -knows(x), X, Y, 0.9)
    with pytest.raises(CheckError, match="an output for each target"):
        assert_accuracy_at_least(lambda x: x.sum(), X, Y)


def mean_over_tokens(output: Tensor, target: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output, target, ignore_index=-100)


def test_accumulated_gradients() -> None:
    model, mean = net().eval(), nn.functional.cross_entropy
    before = [parameter.clone() for parameter in model.parameters()]
    assert assert_accumulation_equivalent(model, X, Y, loss_fn=mean, parts=4) < 1e-5
    assert all(p.grad is None and torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    with pytest.raises(CheckFailedError, match="accumulation-differs"):
        assert_accumulation_equivalent(model, X, Y, loss_fn=lambda o, t: mean(o, t, reduction="sum"), parts=4)
    uneven = torch.where(torch.arange(8) < 3, -100, Y)  # padding, all of it in the first half
    with pytest.raises(CheckFailedError, match="accumulation-differs"):
        assert_accumulation_equivalent(model, X, uneven, loss_fn=mean_over_tokens)
    with pytest.raises(CheckFailedError):
        assert_accumulation_equivalent(nn.Sequential(nn.BatchNorm1d(5), model), X, Y, loss_fn=mean)
    with pytest.raises(CheckError, match="8 examples cannot be divided into 9 parts"):
        assert_accumulation_equivalent(model, X, Y, loss_fn=mean, parts=9)


def test_what_an_optimizer_holds() -> None:
    model = net()
    assert_optimizer_covers(torch.optim.SGD(model.parameters(), lr=0.1), model)
    early = torch.optim.SGD(model.parameters(), lr=0.1)
    model[3] = nn.Linear(16, 3)
    with pytest.raises(CheckFailedError, match=r"3\.weight and 1 more") as failure:
        assert_optimizer_covers(early, model)
    assert "built before the model was changed" in str(failure.value)
    with pytest.raises(CheckFailedError, match="2 tensors that the optimizer holds"):
        assert_optimizer_covers(early, model, ignore=["3.*"])
    model[0].requires_grad_(False)
    assert_optimizer_covers(torch.optim.SGD(model[3].parameters(), lr=0.1), model)
    twice = torch.optim.SGD(model.parameters(), lr=0.1)
    twice.param_groups.append({**twice.param_groups[0], "params": [model[3].weight]})
    with pytest.raises(CheckFailedError, match="held more than once"):
        assert_optimizer_covers(twice, model)


def test_devices() -> None:
    model: Any = net()
    assert_on_device(model, "cpu")
    with pytest.raises(CheckFailedError, match=r"4 of 4 tensors are not on meta: 0\.weight is on cpu"):
        assert_on_device(model, torch.device("meta"))
    assert_on_device(model.to("meta"), "meta")


def resumable(*, keep_scheduler: bool = True) -> tuple[Callable[[], Tensor], dict[str, Any]]:
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.1)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(X), Y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        return loss.detach()

    stored = {"model": model, "optimizer": optimizer}
    return step, {**stored, "scheduler": scheduler} if keep_scheduler else stored


def test_resuming() -> None:
    state = torch.get_rng_state()
    assert len(assert_resumes(resumable)) == 6
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(CheckFailedError, match="save-load-mismatch") as failure:
        assert_resumes(lambda: resumable(keep_scheduler=False))
    assert "depends on something that is not stored" in str(failure.value)
    with pytest.raises(ValueError, match="at=6, steps=6"):
        assert_resumes(resumable, at=6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_waits_can_only_be_seen_on_a_device() -> None:
    with pytest.raises(CheckError, match="needs a CUDA device"):
        assert_no_host_sync(net(), X)


@pytest.mark.gpu
def test_waits_for_the_device() -> None:
    model, x = net().cuda(), X.cuda()
    assert assert_no_host_sync(model, x).shape == (8, 2)
    with pytest.raises(CheckFailedError, match="host-sync") as failure:
        assert_no_host_sync(lambda: model(x).sum().item())
    assert (failure.value.findings[0].where.file or "").endswith("test_agreement.py")
    assert torch.cuda.get_sync_debug_mode() == 0
