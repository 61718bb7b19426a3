"""Which values of a hyperparameter are usual, and which one to try next."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from diagnose.gap._hyperparameters import Hyperparameter, Hyperparameters, drop_of

Suggested: TypeAlias = "float | int | tuple[float, float] | None"

_ADAPTIVE: Final = ("adam", "rmsprop", "lion", "adagrad", "nadam", "radam", "adabelief", "lamb", "adafactor")
_USUAL: Final = {
    "adaptive": (3e-4, 3e-3),
    "sgd": (1e-2, 3e-1),
    "momentum": (1e-3, 1e-1),
    "unknown": (3e-4, 1e-1),
}
"""Learning rates that work for most networks: the defaults of the optimizers, and half a decade to either side of what
is usual (Bengio, "Practical recommendations for gradient-based training", 2012: .01 for SGD on inputs of unit size).
Where the optimizer is unknown, all that is usual for any."""


def is_decoupled(hyperparameters: Hyperparameters) -> bool:
    """Whether the optimizer applies weight decay apart from the gradient, times the learning rate."""
    return hyperparameters.optimizer.endswith("w") or hyperparameters.optimizer in ("lion", "lamb")


def usual_rates(hyperparameters: Hyperparameters) -> tuple[float, float]:
    """From and to: the learning rates that are usual for the optimizer."""
    name = hyperparameters.optimizer
    if any(part in name for part in _ADAPTIVE):
        return _USUAL["adaptive"]
    if "sgd" in name:
        momentum = hyperparameters.first("momentum")
        return _USUAL["momentum" if momentum is not None and momentum.value >= 0.5 else "sgd"]
    return _USUAL["unknown"]


def rate_is(hyperparameters: Hyperparameters) -> Literal["low", "high", "usual", "unknown"]:
    """How the learning rate compares with what is usual: off by more than half a decade is low or high."""
    rate = hyperparameters.first("learning-rate")
    if rate is None:
        return "unknown"
    low, high = usual_rates(hyperparameters)
    if rate.value <= low / 3 * 1.001:
        return "low"
    return "high" if rate.value >= high * 3 / 1.001 else "usual"


def has_headroom(hyperparameters: Hyperparameters) -> bool:
    """Whether three times the learning rate would still not be high, whatever the optimizer may be.

    A rate that would be called too high itself is no advice. Where the optimizer is unknown, it may be an adaptive one.
    """
    rate = hyperparameters.first("learning-rate")
    if rate is None:
        return True
    _, high = usual_rates(hyperparameters) if hyperparameters.optimizer else _USUAL["adaptive"]
    return 3 * rate.value < high * 3 / 1.001


def larger(one: Hyperparameter) -> Suggested:
    """For more capacity."""
    value = one.value
    if one.kind == "hidden-units":
        return (2 * value, 8 * value)
    if one.kind == "depth":
        return value + 1
    if one.kind == "kernel-width":
        return (value + 2, value + 4) if value % 2 else (value + 1, value + 3)
    if one.kind == "epochs":
        return (2 * value, 4 * value)
    return None


def smaller(one: Hyperparameter) -> Suggested:
    """For less capacity."""
    if one.kind == "hidden-units" and one.value > 1:
        return (max(int(one.value) // 4, 1), max(int(one.value) // 2, 1))
    if one.kind == "depth" and one.value > 1:
        return one.value - 1
    return None


def padding_for(kernel: Hyperparameter | None) -> int:
    """Zeros on each side that keep the size: half of what a kernel is wide; 1 where its width is unknown."""
    return 1 if kernel is None else max(int(kernel.value) // 2, 1)


def less_regularized(one: Hyperparameter) -> Suggested:
    """A smaller weight decay, or a smaller dropout (a larger share that is kept)."""
    if one.kind == "weight-decay":
        return (one.value / 1000, one.value / 10)
    half = round(drop_of(one) / 2, 3)
    return (round(1 - half, 3), 1.0) if one.keeps else (0.0, half)


def more_regularized(one: Hyperparameter) -> Suggested:
    """A larger weight decay, or a larger dropout, as far as either is usual."""
    if one.kind == "weight-decay":
        return (1e-4, 1e-2) if one.value < 1e-5 else (3 * one.value, 30 * one.value)
    dropped = drop_of(one)
    low, high = (0.2, 0.5) if dropped < 0.2 else (min(dropped + 0.1, 0.8), min(dropped + 0.3, 0.8))
    low, high = round(low, 3), round(high, 3)
    return (round(1 - high, 3), round(1 - low, 3)) if one.keeps else (low, high)


def higher_rate(one: Hyperparameter) -> Suggested:
    """3 to 30 times."""
    return (3 * one.value, 30 * one.value)


def lower_rate(one: Hyperparameter) -> Suggested:
    """A 30th to a third."""
    return (one.value / 30, one.value / 3)
