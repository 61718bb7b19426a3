"""The model families: each builds a module from settings, the shape of one row and the number of classes."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from benchmarks.gap_scenarios.training import Build, Settings


def mlp(settings: Settings, shape: tuple[int, ...], classes: int) -> nn.Module:
    """ReLU layers of equal width, dropout after each; no hidden layer at depth 0."""
    return _perceptron(settings, shape, classes, norm=False)


def batchnorm_mlp(settings: Settings, shape: tuple[int, ...], classes: int) -> nn.Module:
    """As `mlp` with batch normalisation before each ReLU."""
    return _perceptron(settings, shape, classes, norm=True)


def conv_net(dims: Literal[1, 2], pool: Literal["mean", "max", "flatten"], *, norm: bool = False) -> Build:
    """`depth` convolutions of `width` channels with stride 1, pooled over all places or flattened, and a linear layer.

    Raises (when built):
        ValueError: nothing is left of the map after the convolutions.
    """
    conv = nn.Conv1d if dims == 1 else nn.Conv2d
    batchnorm = nn.BatchNorm1d if dims == 1 else nn.BatchNorm2d

    def build(settings: Settings, shape: tuple[int, ...], classes: int) -> nn.Module:
        channels, places = shape[0], list(shape[1:])
        layers: list[nn.Module] = []
        for _ in range(settings.depth):
            places = [place + 2 * settings.padding - settings.kernel + 1 for place in places]
            if min(places) < 1:
                raise ValueError(f"a kernel of {settings.kernel} leaves nothing of rows of shape {shape}")
            layers.append(conv(channels, settings.width, settings.kernel, padding=settings.padding))
            if norm:
                layers.append(batchnorm(settings.width))
            layers.append(nn.ReLU())
            channels = settings.width
        features = channels
        if pool == "flatten":
            layers.append(nn.Flatten())
            for place in places:
                features *= place
        else:
            layers.append(_Pool(pool))
        if settings.dropout:
            layers.append(nn.Dropout(settings.dropout))
        return nn.Sequential(*layers, nn.Linear(features, classes))

    return build


class _Pool(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        return flat.mean(2) if self.how == "mean" else flat.amax(2)


def _perceptron(settings: Settings, shape: tuple[int, ...], classes: int, *, norm: bool) -> nn.Module:
    size = 1
    for side in shape:
        size *= side
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(settings.depth):
        layers.append(nn.Linear(size, settings.width))
        if norm:
            layers.append(nn.BatchNorm1d(settings.width))
        layers.append(nn.ReLU())
        if settings.dropout:
            layers.append(nn.Dropout(settings.dropout))
        size = settings.width
    return nn.Sequential(*layers, nn.Linear(size, classes))
