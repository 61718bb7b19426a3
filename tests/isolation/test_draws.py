"""A widened copy draws the random numbers of its original."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diagnose
from diagnose.isolation import NarrowDraws, wide_constants

DRAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "randn": lambda x: torch.randn(x.shape),
    "randn of a dtype": lambda x: torch.randn(3, dtype=x.dtype),
    "rand_like": torch.rand_like,
    "normal_": lambda x: torch.empty_like(x).normal_(1.0, 2.0),
    "exponential_": lambda x: torch.empty_like(x).exponential_(),
    "normal": lambda x: torch.normal(x, torch.ones_like(x)),
    "bernoulli": lambda x: torch.bernoulli(x.sigmoid()),
    "multinomial": lambda x: torch.multinomial(x.sigmoid(), 4, replacement=True),
    "a distribution": lambda x: torch.distributions.Normal(x, 1.0).rsample(),
    "gumbel": lambda x: F.gumbel_softmax(x, dim=0),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_numbers_in_double_precision(name: str) -> None:
    x = torch.linspace(-1, 1, 40)
    torch.manual_seed(3)
    narrow = DRAWS[name](x)
    torch.manual_seed(3)
    with wide_constants(), NarrowDraws(torch.float32):
        wide = DRAWS[name](x.double())
    assert wide.dtype is (torch.float64 if narrow.is_floating_point() else narrow.dtype)
    torch.testing.assert_close(wide, narrow.to(wide.dtype), rtol=1e-5, atol=1e-6)


def test_what_is_asked_for_in_another_precision_stays_so() -> None:
    with NarrowDraws(torch.float32):
        assert torch.randn(3, dtype=torch.float16).dtype is torch.float16
        assert torch.empty(3).normal_().dtype is torch.float32


class Autoencoder(nn.Module):
    """A variational one: its loss is smooth, and random."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(20, 8), nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 20))

    def forward(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encode(x).chunk(2, dim=1)
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        divergence = (1 + log_variance - mean.square() - log_variance.exp()).mean()
        return F.mse_loss(self.decode(latent), x) - 0.5 * divergence


@pytest.mark.parametrize("seed", range(3))
def test_gradients_of_a_variational_autoencoder(seed: int) -> None:
    torch.manual_seed(seed)
    report = diagnose.check_gradients(Autoencoder(), torch.randn(8, 20), seed=seed)
    assert report.ok, str(report)
    assert report.precision == "float32, differences in float64"
