"""What trained layers get as data: read from the layer's own argument, exactly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diagnose
from diagnose.collect.inputs import SAMPLES
from diagnose.history import History

WIDTHS = torch.tensor([1.0, 10.0, 100.0])


def watched(
    model: nn.Module,
    inputs: Tensor,
    target: Tensor | None = None,
    steps: int = 3,
    loss: Callable[[Tensor, Tensor], Tensor] = F.mse_loss,
) -> History:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for _ in range(steps):
            optimizer.zero_grad()
            output = model(inputs)
            (output.square().mean() if target is None else loss(output, target)).backward()
            optimizer.step()
    assert watch.history.count("collector-failed") == 0
    return watch.history


def test_scales_of_features() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(64, 3) * WIDTHS
    history = watched(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), inputs)
    (facts,) = history.inputs.values()
    rms = inputs.double().square().mean(dim=0).sqrt()
    assert (facts.kind, facts.module, facts.features, facts.rows) == ("linear", "0", 3, 3 * 64)
    assert (facts.first_step, facts.last_step) == (1, 3)
    assert facts.largest == pytest.approx(rms.max().item(), rel=1e-5)
    assert facts.smallest == pytest.approx(rms.min().item(), rel=1e-5)
    assert facts.rms == pytest.approx(inputs.double().square().mean().sqrt().item(), rel=1e-5)
    assert (facts.low, facts.high) == pytest.approx((inputs.min().item(), inputs.max().item()))
    assert not facts.integers


def test_zeros_do_not_make_a_feature_small() -> None:
    inputs = torch.zeros(40, 20)
    inputs[torch.arange(40), torch.arange(40) % 20] = 1.0
    inputs[:, 0] = 1.0
    facts = watched(nn.Linear(20, 2), inputs).inputs["Linear"]
    assert (facts.smallest, facts.largest, facts.integers) == (1.0, 1.0, True)


def test_channels_of_images() -> None:
    images = torch.rand(8, 2, 6, 6) * torch.tensor([1.0, 50.0])[:, None, None]
    facts = next(iter(watched(nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten()), images).inputs.values()))
    assert facts.features == 2
    assert 20 < facts.largest / facts.smallest < 120


def test_recurrent_layers() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.lstm(x)[0][:, -1]

    facts = watched(Last(), torch.full((5, 7, 3), 200.0)).inputs["lstm"]
    assert (facts.features, facts.largest) == (3, 200.0)


def test_outside_of_modules() -> None:
    weight = torch.zeros(3, 1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with diagnose.watch(optimizer=optimizer, schedule="every", summary=False) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            (torch.full((4, 3), 7.0) @ weight).square().mean().backward()
            optimizer.step()
    (facts,) = watch.history.inputs.values()
    assert (facts.module, facts.largest, facts.file) == ("", 7.0, __file__)


def test_what_is_no_data() -> None:
    """Embeddings take ids. A frozen layer is not trained, and what it gives is the data of the next one."""
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(8, 2))
    assert watched(model, torch.randint(9, (6, 2))).inputs == {}
    frozen = nn.Sequential(nn.Linear(3, 4).requires_grad_(False), nn.Linear(4, 2))
    assert list(watched(frozen, torch.randn(6, 3)).inputs) == ["1"]


def test_a_normalisation_behind() -> None:
    behind = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.LayerNorm(4), nn.Linear(4, 2))
    assert watched(behind, torch.randn(6, 3)).inputs["0"].normalized_next
    later = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.LayerNorm(4))
    assert not watched(later, torch.randn(6, 3)).inputs["0"].normalized_next


def test_a_nan_is_not_counted() -> None:
    inputs = torch.ones(8, 3)
    inputs[0, 0] = float("nan")
    assert watched(nn.Linear(3, 2), inputs).inputs["Linear"].high == 1.0


def test_variance_of_targets() -> None:
    target = torch.randn(50, 2) * torch.tensor([1.0, 3.0]) + 100
    (facts,) = watched(nn.Linear(3, 2), torch.randn(50, 3), target).targets.values()
    assert facts.variance == pytest.approx(target.var(dim=0).mean().item(), rel=1e-4)


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss])
@pytest.mark.parametrize("scale", [0.1, 30.0])
def test_error_of_a_constant_answer(loss: Callable[[Tensor, Tensor], Tensor], scale: float) -> None:
    target = torch.randn(500, 1) * scale + 100
    (facts,) = watched(nn.Linear(3, 1), torch.randn(500, 3), target, loss=loss).targets.values()
    best = loss(target.median().expand_as(target), target).item()
    assert 0.95 * best <= facts.constant <= 1.4 * best


def test_a_loss_with_other_options_has_another_error() -> None:
    def summed(output: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(output, target, reduction="sum")

    assert not watched(nn.Linear(3, 1), torch.randn(50, 3), torch.randn(50, 1), loss=summed).targets


def test_bounded() -> None:
    (facts,) = watched(nn.Linear(3, 2), torch.randn(8, 3), steps=60).inputs.values()
    assert facts.rows == SAMPLES * 8
    wide = watched(nn.Linear(9000, 2), torch.randn(8, 9000)).inputs["Linear"]
    assert wide.features <= 4096
