"""Healthy models of many kinds, as people write them, each with a batch and a loss: checks find nothing in them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Case(NamedTuple):
    """What a check is given."""

    model: nn.Module
    inputs: Any
    targets: Any = None
    loss_fn: Any = None


def mlp() -> Case:
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    return Case(net, torch.randn(16, 10), torch.randint(4, (16,)), nn.CrossEntropyLoss())


def with_dropout() -> Case:
    net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3))
    return Case(net, torch.randn(16, 10), torch.randint(3, (16,)), F.cross_entropy)


def conv_with_batch_norm() -> Case:
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 5),
    )
    return Case(net, torch.randn(12, 1, 12, 12), torch.randint(5, (12,)), F.cross_entropy)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 12)
        self.rnn = kind(12, 24, batch_first=True)
        self.head = nn.Linear(24, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.rnn(self.embedding(ids))[0][:, -1])


def lstm() -> Case:
    return Case(Recurrent(nn.LSTM), torch.randint(20, (10, 7)), torch.randint(3, (10,)), F.cross_entropy)


def gru() -> Case:
    return Case(Recurrent(nn.GRU), torch.randint(20, (10, 7)), torch.randint(3, (10,)), F.cross_entropy)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.position = nn.Parameter(torch.randn(1, 8, 16) * 0.02)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.encoder(self.embedding(ids) + self.position, src_key_padding_mask=mask)
        return self.head(x[:, 0])


def transformer_encoder() -> Case:
    mask = torch.zeros(10, 8, dtype=torch.bool)
    mask[3:6, 6:] = True
    inputs = {"ids": torch.randint(20, (10, 8)), "mask": mask}
    return Case(Encoder(), inputs, torch.randint(3, (10,)), F.cross_entropy)


class Decoder(nn.Module):
    """A small language model with tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(24, 32)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.position = nn.Embedding(8, 32)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True, norm_first=True) for _ in range(2)
        )
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 24, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) + self.position(torch.arange(ids.shape[1]))
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=True)
        return self.head(self.norm(x))


def transformer_decoder() -> Case:
    ids = torch.randint(24, (8, 9))
    return Case(
        Decoder(), ids[:, :-1], ids[:, 1:], lambda logits, y: F.cross_entropy(logits.flatten(0, 1), y.flatten())
    )


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.middle = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU())
        self.up = nn.ConvTranspose2d(24, 12, 2, stride=2)
        self.out = nn.Sequential(nn.Conv2d(24, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        down = self.down(x)
        return self.out(torch.cat([down, self.up(self.middle(down))], dim=1))


def unet() -> Case:
    images = torch.randn(8, 1, 16, 16)
    return Case(UNet(), images, (images > 0.3).float(), nn.BCEWithLogitsLoss())


def unet_with_random_masks() -> Case:
    return Case(UNet(), torch.randn(8, 1, 16, 16), torch.randint(2, (8, 1, 16, 16)).float(), nn.BCEWithLogitsLoss())


class VAE(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(20, 32), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(32, 4), nn.Linear(32, 4)
        self.decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 20), nn.Sigmoid())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encoder(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decoder(z), mean, log_variance


def vae() -> Case:
    def loss(output: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
        reconstruction, mean, log_variance = output
        kl = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum() / len(x)
        return F.binary_cross_entropy(reconstruction, x, reduction="sum") / len(x) + kl

    x = torch.rand(16, 20)
    return Case(VAE(), x, x, loss)


class Factors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(30, 8), nn.Embedding(40, 8)
        self.user_bias, self.item_bias = nn.Embedding(30, 1), nn.Embedding(40, 1)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        product = (self.users(users) * self.items(items)).sum(1)
        return product + self.user_bias(users).squeeze(1) + self.item_bias(items).squeeze(1)


def embeddings() -> Case:
    inputs = (torch.randint(30, (16,)), torch.randint(40, (16,)))
    return Case(Factors(), inputs, torch.rand(16) * 5, nn.MSELoss())


class TiedAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 20) * 0.2)
        self.bias = nn.Parameter(torch.zeros(20))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(torch.tanh(F.linear(x, self.weight)), self.weight.t(), self.bias)


def tied_autoencoder() -> Case:
    x = torch.randn(16, 20)
    return Case(TiedAutoencoder(), x, x, F.mse_loss)


def regression() -> Case:
    x = torch.randn(32, 6)
    net = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 1))
    return Case(net, x, x.sum(1, keepdim=True).sin() * 3 + 5, nn.MSELoss())


def linear_regression() -> Case:
    x = torch.randn(32, 2)
    return Case(nn.Linear(2, 1), x, x @ torch.tensor([[1.0], [2.0]]) + torch.randn(32, 1), nn.MSELoss())


def logistic_regression() -> Case:
    return Case(nn.Linear(3, 1), torch.randn(32, 3), torch.randint(2, (32, 1)).float(), nn.BCEWithLogitsLoss())


def multi_label() -> Case:
    net = nn.Sequential(nn.Linear(12, 32), nn.GELU(), nn.Linear(32, 6))
    return Case(net, torch.randn(16, 12), torch.randint(2, (16, 6)).float(), nn.BCEWithLogitsLoss())


def smoothed() -> Case:
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4), nn.LogSoftmax(dim=1))
    soft = torch.softmax(torch.randn(16, 4) * 2, dim=1)
    return Case(net, torch.randn(16, 10), soft, nn.KLDivLoss(reduction="batchmean"))


def label_smoothing() -> Case:
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
    return Case(net, torch.randn(16, 10), torch.randint(4, (16,)), nn.CrossEntropyLoss(label_smoothing=0.1))


def negative_log_likelihood() -> Case:
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4), nn.LogSoftmax(dim=-1))
    return Case(net, torch.randn(16, 10), torch.randint(4, (16,)), nn.NLLLoss())


def probabilities_and_log() -> Case:
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4), nn.Softmax(dim=1))

    def loss(p: Tensor, y: Tensor) -> Tensor:
        return -(p.gather(1, y[:, None]) + 1e-8).log().mean()

    return Case(net, torch.randn(16, 10), torch.randint(4, (16,)), loss)


class Gaussian(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.mean, self.scale = nn.Linear(6, 32), nn.Linear(32, 1), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.body(x))
        return self.mean(h), F.softplus(self.scale(h)) + 1e-3


def likelihood() -> Case:
    def loss(output: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        return -torch.distributions.Normal(*output).log_prob(y).mean()

    return Case(Gaussian(), torch.randn(16, 6), torch.randn(16, 1), loss)


class Experts(nn.Module):
    """The first feature chooses among layers; a batch may leave some out."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(6, 16) for _ in range(6))
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        chosen = (x[:, 0].abs() * 3).long().clamp(max=5)
        h = x.new_zeros(len(x), 16)
        for index in chosen.unique().tolist():
            h = h.index_add(0, (chosen == index).nonzero()[:, 0], self.experts[index](x[chosen == index]))
        return self.head(torch.tanh(h))


def experts() -> Case:
    return Case(Experts(), torch.randn(8, 6) * 0.5, torch.randint(3, (8,)), F.cross_entropy)


def sigmoid_and_bce() -> Case:
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid())
    return Case(net, torch.randn(16, 10), torch.randint(2, (16, 1)).float(), nn.BCELoss())


class Losing(nn.Module):
    """Returns its loss, as the models of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Recurrent(nn.GRU)

    def forward(self, input_ids: Tensor, labels: Tensor) -> Any:
        logits = self.body(input_ids)
        return SimpleNamespace(loss=F.cross_entropy(logits, labels), logits=logits)


def returns_its_loss() -> Case:
    return Case(Losing(), {"input_ids": torch.randint(20, (10, 7)), "labels": torch.randint(3, (10,))})


class ZeroHead(nn.Module):
    """A residual network whose branches and head begin at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(10, 32), nn.Linear(32, 4)
        self.branch = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))
        for layer in (self.branch[-1], self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        return self.head(h + self.branch(h))


def zero_head() -> Case:
    return Case(ZeroHead(), torch.randn(16, 10), torch.randint(4, (16,)), F.cross_entropy)


def frozen_backbone() -> Case:
    case = mlp()
    for parameter in case.model[:4].parameters():  # type: ignore[index]
        parameter.requires_grad_(False)
    return case


class Contrast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(12, 16), nn.Linear(10, 16)
        self.scale = nn.Parameter(torch.tensor(2.6))

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return F.normalize(self.left(a), dim=1), F.normalize(self.right(b), dim=1), self.scale.exp()


def contrastive() -> Case:
    def loss(output: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        left, right, scale = output
        logits, labels = scale * left @ right.t(), torch.arange(len(left))
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels)) / 2

    return Case(Contrast(), (torch.randn(12, 12), torch.randn(12, 10)), None, loss)


HEALTHY: tuple[Callable[[], Case], ...] = (
    mlp,
    with_dropout,
    conv_with_batch_norm,
    lstm,
    gru,
    transformer_encoder,
    transformer_decoder,
    unet,
    unet_with_random_masks,
    vae,
    embeddings,
    tied_autoencoder,
    regression,
    linear_regression,
    logistic_regression,
    multi_label,
    smoothed,
    label_smoothing,
    negative_log_likelihood,
    sigmoid_and_bce,
    probabilities_and_log,
    likelihood,
    experts,
    returns_its_loss,
    zero_head,
    frozen_backbone,
    contrastive,
)


def made(make: Callable[[], Case], seed: int = 0) -> Case:
    """The case, with random numbers of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()
