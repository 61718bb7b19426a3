"""The networks: feed-forward for vectors, convolutional for images, gated recurrent for sequences.

Each brings its inputs and outputs to a size around 1 itself, by statistics that are taken from the training data.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diagnose.baseline._data import Kind, are_channels_last


class Standardise(nn.Module):
    """(x - mean) / std along `dim`, the dimension of the features; the identity until it has seen data."""

    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self.mean: Tensor
        self.std: Tensor

    def learn(self, x: Tensor) -> None:
        """Takes the statistics; a feature that does not vary is only centered."""
        rows = x.float().movedim(self.dim, -1).reshape(-1, len(self.mean))
        self.mean.copy_(rows.mean(0))
        deviation = rows.std(0, correction=0)
        self.std.copy_(torch.where(deviation > 1e-8 * (1 + self.mean.abs()), deviation, torch.ones_like(deviation)))

    def forward(self, x: Tensor) -> Tensor:
        shape = [1] * x.dim()
        shape[self.dim] = -1
        return (x.to(self.mean.dtype) - self.mean.view(shape)) / self.std.view(shape)


class Unstandardise(nn.Module):
    """x * std + mean: a network that puts out numbers around 1 predicts targets of any size."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))
        self.mean: Tensor
        self.std: Tensor

    def learn(self, targets: Tensor) -> None:
        """Takes the statistics of training targets, shape (N, *shape)."""
        wanted = targets.float().reshape(-1, *self.shape)
        self.mean.copy_(wanted.mean(0))
        deviation = wanted.std(0, correction=0)
        self.std.copy_(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(-1, *self.shape) * self.std + self.mean


class ChannelsFirst(nn.Module):
    """(N, H, W, C) as (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(-1, 1)


class Recurrent(nn.Module):
    """A GRU over tokens or vectors; what it puts out is for the sequence, or for each place from what came before.

    For the sequence it reads the last state, and mean and maximum of all states: what matters may stand anywhere.
    """

    def __init__(self, first: nn.Module, features: int, width: int, depth: int, dropout: float, count: int) -> None:
        super().__init__()
        self.first = first
        self.rnn = nn.GRU(features, width, depth, batch_first=True, dropout=dropout if depth > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(3 * width, count)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(self.first(x))
        read = torch.cat([states[:, -1], states.mean(1), states.amax(1)], 1)
        out: Tensor = self.head(self.dropout(read))
        return out


class RecurrentPerPlace(Recurrent):
    """The same with an output for each place."""

    def __init__(self, first: nn.Module, features: int, width: int, depth: int, dropout: float, count: int) -> None:
        super().__init__(first, features, width, depth, dropout, count)
        self.head = nn.Linear(width, count)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(self.first(x))
        out: Tensor = self.head(self.dropout(states))
        return out


class Tokens(nn.Module):
    """An embedding; numbers beyond the vocabulary are all one token, the last."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary + 1, width)

    def forward(self, ids: Tensor) -> Tensor:
        rows: Tensor = self.embed(ids.long().clamp(0, self.embed.num_embeddings - 1))
        return rows


def network(
    inputs: Tensor,
    kind: Kind,
    *,
    count: int,
    per_place: bool,
    width: int,
    depth: int,
    dropout: float,
    vocabulary: int | None,
) -> nn.Module:
    """A network for inputs like these that puts out `count` numbers for each example, or for each place."""
    if kind == "vectors":
        return _feed_forward(inputs, width, depth, dropout, count)
    if kind == "images":
        return _convolutional(inputs, width, depth, dropout, count)
    recurrent = RecurrentPerPlace if per_place else Recurrent
    if kind == "tokens":
        size = vocabulary if vocabulary is not None else int(inputs.max()) + 1
        return recurrent(Tokens(size, width), width, width, depth, dropout, count)
    features = inputs.shape[2]
    return recurrent(Standardise(features, 2), features, width, depth, dropout, count)


def _feed_forward(inputs: Tensor, width: int, depth: int, dropout: float, count: int) -> nn.Module:
    features = inputs[0].numel()
    layers: list[nn.Module] = [nn.Flatten(), Standardise(features, 1)]
    for _ in range(depth):
        linear = nn.Linear(features, width)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU(), nn.Dropout(dropout)]
        features = width
    return nn.Sequential(*layers, nn.Linear(features, count))


def _convolutional(images: Tensor, width: int, depth: int, dropout: float, count: int) -> nn.Module:
    layers: list[nn.Module] = [ChannelsFirst()] if are_channels_last(images) else []
    channels, *size = (images.movedim(-1, 1) if layers else images).shape[1:]
    layers.append(Standardise(channels, 1))
    side = min(size)
    for block in range(depth):
        for stride in (1, 2 if side >= 4 else 1):
            out = width * 2**block
            convolution = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            layers += [convolution, nn.BatchNorm2d(out), nn.ReLU()]
            channels, side = out, -(-side // stride)
    # Two by two: where in the image something is may matter.
    pooled = 2 if side >= 2 else 1
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(pooled), nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels * pooled**2, count)
    )
