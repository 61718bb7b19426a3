"""Pictures of the curves, with matplotlib where it is installed; no window, and no state of pyplot, is touched."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diagnose.gap._measured import Place
from diagnose.plots import new_axes, write_figure

if TYPE_CHECKING:
    from diagnose.gap._learning_curve import LearningCurve
    from diagnose.gap._validation_curve import ValidationCurve

_TRAIN, _TEST = "#4c78a8", "#e4572e"


def plot_learning_curve(curve: LearningCurve, target: Any) -> Any:
    """See `LearningCurve.plot`."""
    axes = _axes(target)
    _errors(axes, list(curve.sizes), curve.points)
    axes.set_xscale("log")
    axes.set_xlabel("training examples")
    axes.set_ylabel(curve.metric)
    ticks = list(curve.sizes)
    if len(curve.points) > 2 and curve.last.spread.mean > 0:
        outlook = curve.outlook()
        sizes = [round(curve.last.at * times) for times in (1, 1.4, 2, 2.8, 4)]
        told = [outlook.predict(size) for size in sizes]
        axes.plot(sizes, [t.value for t in told], color=_TEST, linestyle=":", label="expected")
        ticks += sizes[2::2]
        axes.fill_between(sizes, [t.low for t in told], [t.high for t in told], color=_TEST, alpha=0.12, linewidth=0)
    _ticks(axes, ticks)
    return _finished(axes, target)


def plot_validation_curve(curve: ValidationCurve, target: Any) -> Any:
    """See `ValidationCurve.plot`."""
    axes = _axes(target)
    places = list(curve.values) if curve.is_numeric else list(range(len(curve.points)))
    _errors(axes, places, curve.points, line="-" if curve.is_numeric else "none")
    if not curve.is_numeric:
        axes.set_xticks(places, [str(value) for value in curve.values])
    elif curve.is_geometric:
        axes.set_xscale("log")
    good = [place for place, value in zip(places, curve.values, strict=True) if any(value is g for g in curve.as_good)]
    axes.plot(
        good,
        [point.test.value for place, point in zip(places, curve.points, strict=True) if place in good],
        linestyle="none",
        marker="o",
        markersize=11,
        markerfacecolor="none",
        markeredgecolor=_TEST,
        label="best, or as good",
    )
    axes.set_xlabel(_literal(curve.name))
    axes.set_ylabel(curve.metric)
    return _finished(axes, target)


def _errors(axes: Any, x: Sequence[Any], points: Sequence[Place], line: str = "-") -> None:
    for name, color, intervals in (
        ("train", _TRAIN, [point.train for point in points]),
        ("test", _TEST, [point.test for point in points]),
    ):
        known = [(place, interval) for place, interval in zip(x, intervals, strict=True) if interval is not None]
        if not known:
            continue
        at = [place for place, _ in known]
        values = np.array([interval.value for _, interval in known])
        below, above = (np.array([getattr(i, end) for _, i in known]) for end in ("low", "high"))
        # Where nothing is known of the noise, the interval is infinite, and none is drawn.
        bars = np.nan_to_num(np.array([values - below, above - values]), posinf=0.0)
        axes.errorbar(
            at, values, yerr=bars, color=color, linestyle=line, marker="o", markersize=4, capsize=3, label=name
        )


def _axes(target: Any) -> Any:
    if target is not None and not isinstance(target, str | os.PathLike):
        return target
    return new_axes((6.4, 4.2))


def _ticks(axes: Any, sizes: Sequence[int]) -> None:
    axes.set_xticks(list(sizes), [str(size) for size in sizes])
    axes.minorticks_off()


def _finished(axes: Any, target: Any) -> Any:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=min(axes.get_ylim()[0], 0.0))
    axes.legend(frameon=False)
    if isinstance(target, str | os.PathLike):
        write_figure(axes.figure, Path(target), dpi=130)
    return axes


def _literal(text: str) -> str:
    """A name with a dollar sign is no formula."""
    return text.replace("$", r"\$")
