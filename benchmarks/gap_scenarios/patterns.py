"""Made images and sequences in which the width of a kernel, or what lies at the border, decides."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

Draw: TypeAlias = Callable[[int, int], tuple[np.ndarray, np.ndarray]]


def motif(half: int, length: int, noise: float = 0.3) -> Draw:
    """Sequences (1, length) with a motif somewhere: two halves, whose order is the class.

    A kernel narrower than both halves together sees the same pieces in either class.
    """
    left, right = np.random.default_rng(3).choice([-2.0, 2.0], (2, half))

    def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        y = rng.integers(2, size=count)
        x = rng.normal(0, noise, (count, 1, length))
        for row, label in enumerate(y):
            start = rng.integers(0, length - 2 * half + 1)
            x[row, 0, start : start + 2 * half] += np.concatenate([left, right] if label else [right, left])
        return x, y

    return draw


def echo(near: int, far: int, length: int, noise: float = 0.2) -> Draw:
    """Sequences (1, length) with a spike and its echo, a near or a far one."""

    def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        y = rng.integers(2, size=count)
        x = rng.normal(0, noise, (count, 1, length))
        start = rng.integers(0, length - far, size=count)
        rows = np.arange(count)
        x[rows, 0, start] += 2
        x[rows, 0, start + np.where(y, far, near)] += 2
        return x, y

    return draw


def tones(periods: tuple[float, ...], length: int, noise: float = 0.5) -> Draw:
    """Sequences (1, length) of a sine of random phase; its period is the class."""

    def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        y = rng.integers(len(periods), size=count)
        phase = rng.uniform(0, 2 * math.pi, (count, 1))
        wave = np.sin(2 * math.pi * np.arange(length) / np.array(periods)[y][:, None] + phase)
        return (wave + rng.normal(0, noise, wave.shape))[:, None], y

    return draw


def gratings(directions: int, size: int, period: float, noise: float = 0.5) -> Draw:
    """Images (1, size, size) of stripes of random phase; their direction is the class."""

    def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        y = rng.integers(directions, size=count)
        angle = (math.pi * y / directions)[:, None, None]
        rows, columns = np.mgrid[:size, :size]
        phase = rng.uniform(0, 2 * math.pi, (count, 1, 1))
        wave = np.sin(2 * math.pi * (rows * np.sin(angle) + columns * np.cos(angle)) / period + phase)
        return (wave + rng.normal(0, noise, wave.shape))[:, None], y

    return draw
