"""Healthy models of many kinds, with a batch for each: no check may call one of them faulty."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Case(NamedTuple):
    """What a check is given."""

    model: nn.Module
    inputs: Any
    targets: Any
    loss_fn: Callable[..., Any] | None


def mlp() -> Case:
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
    return Case(model, torch.randn(8, 6), torch.randint(3, (8,)), F.cross_entropy)


def convolutional() -> Case:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Dropout2d(0.2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip
    return Case(model, torch.randn(6, 3, 8, 8), torch.randint(4, (6,)), F.cross_entropy)


class UNet(nn.Module):
    """Down, up, and a skip connection; batch normalisation throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.inner = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(6, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.up = nn.ConvTranspose2d(12, 6, 2, stride=2)
        self.out = nn.Conv2d(12, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down(x)
        return self.out(torch.cat([skip, self.up(self.inner(skip))], 1))


def u_net() -> Case:
    return Case(UNet(), torch.randn(4, 1, 8, 8), torch.rand(4, 1, 8, 8).round(), F.binary_cross_entropy_with_logits)


class Tagger(nn.Module):
    """A recurrent net over tokens; a label for each place, or for the sequence."""

    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM, *, bidirectional: bool = False, last: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.rnn = kind(8, 12, batch_first=True, bidirectional=bidirectional)  # type: ignore[arg-type]
        self.head, self.last = nn.Linear(24 if bidirectional else 12, 5), last

    def forward(self, ids: Tensor) -> Tensor:
        states, _ = self.rnn(self.embed(ids))
        return self.head(states[:, -1] if self.last else states)


def _per_place(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def tagger() -> Case:
    return Case(Tagger(), torch.randint(20, (4, 7)), torch.randint(5, (4, 7)), _per_place)


def sequence_classifier() -> Case:
    return Case(Tagger(nn.GRU, last=True), torch.randint(20, (4, 7)), torch.randint(5, (4,)), F.cross_entropy)  # type: ignore[arg-type]


class Transformer(nn.Module):
    """Tokens to tokens. Causal, with tied weights, unless told otherwise."""

    def __init__(self, *, causal: bool = True, dropout: float = 0.1) -> None:
        super().__init__()
        self.embed, self.causal = nn.Embedding(20, 16), causal
        place = torch.arange(32).unsqueeze(1)
        angle = place * torch.exp(torch.arange(0, 16, 2) * (-math.log(100.0) / 16))
        self.register_buffer("places", torch.cat([angle.sin(), angle.cos()], 1), persistent=False)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 20, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        length = ids.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, ids.device) if self.causal else None
        x = self.embed(ids) + self.places[:length]  # type: ignore[index]
        return self.head(self.layers(x, mask=mask, is_causal=self.causal))


def language_model() -> Case:
    ids = torch.randint(20, (4, 9))
    return Case(Transformer(), ids[:, :-1], ids[:, 1:], _per_place)


class Translator(nn.Module):
    """nn.Transformer, encoder and decoder, sequences first."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(20, 8), nn.Embedding(20, 8)
        self.transformer = nn.Transformer(8, 2, 1, 1, 16, 0.0)
        self.head = nn.Linear(8, 20)

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(len(tgt), tgt.device)
        return self.head(self.transformer(self.source(src), self.target(tgt), tgt_mask=mask))


def translator() -> Case:
    return Case(
        Translator(), (torch.randint(20, (6, 4)), torch.randint(20, (6, 4))), torch.randint(20, (6, 4)), _per_place
    )


class VAE(nn.Module):
    """Samples in training mode; takes the mean in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(6, 8), nn.Linear(4, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_var = self.encode(x).chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * (0.5 * log_var).exp() if self.training else mean
        return self.decode(z), mean, log_var


def _elbo(output: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    made, mean, log_var = output
    return F.mse_loss(made, x) - 0.5 * (1 + log_var - mean**2 - log_var.exp()).mean()


def vae() -> Case:
    x = torch.randn(8, 6)
    return Case(VAE(), x, x, _elbo)


class Recommender(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(10, 4), nn.Embedding(12, 4)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        return (self.users(users) * self.items(items)).sum(1)


def recommender() -> Case:
    return Case(Recommender(), [torch.randint(10, (8,)), torch.randint(12, (8,))], torch.randn(8), F.mse_loss)


class Dictated(nn.Module):
    """As models of `transformers` are: keyword arguments with a mask and labels; a loss with the output."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(20, 8), nn.Linear(8, 2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.dropout = nn.Dropout(0.1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        x = self.embed(input_ids)
        x = x + self.dropout(self.attention(x, x, x, key_padding_mask=attention_mask == 0, need_weights=False)[0])
        logits = self.head(x.mean(1))
        return {"logits": logits} if labels is None else {"loss": F.cross_entropy(logits, labels), "logits": logits}


def dictated() -> Case:
    mask = torch.ones(4, 6, dtype=torch.long)
    mask[1, 4:] = 0
    inputs = {"input_ids": torch.randint(20, (4, 6)), "attention_mask": mask, "labels": torch.randint(2, (4,))}
    return Case(Dictated(), inputs, None, None)


def regression() -> Case:
    model = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 1))
    return Case(model, torch.randn(16, 5), torch.randn(16, 1), F.mse_loss)


def multi_label() -> Case:
    model = nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 4))
    return Case(model, torch.randn(8, 5), torch.rand(8, 4).round(), F.binary_cross_entropy_with_logits)


class Temporal(nn.Module):
    """Dilated convolutions padded on the left, (batch, channels, time)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(3, 3, 3, dilation=2**k) for k in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for k, layer in enumerate(self.layers):
            x = x + F.relu(layer(F.pad(x, (2 * 2**k, 0))))
        return x


def temporal() -> Case:
    return Case(Temporal(), torch.randn(4, 3, 10), torch.randn(4, 3, 10), F.mse_loss)


HEALTHY = (
    mlp, convolutional, u_net, tagger, sequence_classifier, language_model, translator, vae, recommender, dictated,
    regression, multi_label, temporal,
)  # fmt: skip
CAUSAL = (tagger, language_model, temporal)


def snapshot(case: Case) -> list[Any]:
    """Everything of the caller's that a check has to leave alone."""
    model = case.model
    return [
        {name: value.clone() for name, value in model.state_dict().items()},
        [parameter.grad for parameter in model.parameters()],
        [module.training for module in model.modules()],
        [sorted(vars(module)) for module in model.modules()],
        torch.get_rng_state(),
    ]


def assert_untouched(case: Case, before: list[Any]) -> None:
    """Fails if anything in `snapshot` is another one now."""
    for old, new in zip(before, snapshot(case), strict=True):
        if isinstance(old, dict):
            assert all(torch.equal(value, old[name]) for name, value in new.items())
        elif isinstance(old, Tensor):
            assert torch.equal(old, new)
        else:
            assert old == new
