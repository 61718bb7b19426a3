"""What experiments say of a training error that is too high."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from diagnose.gap._advice import Weighted, advice
from diagnose.gap._error import Measured
from diagnose.gap._hyperparameters import Hyperparameter
from diagnose.gap._recommendation import Code
from diagnose.gap._situation import ProbeResult, Situation

_CODE_OF_PROBE: Final[dict[tuple[str, bool], Code]] = {
    ("learning-rate", True): "higher-lr",
    ("learning-rate", False): "lower-lr",
    ("hidden-units", True): "more-capacity",
    ("depth", True): "more-capacity",
    ("kernel-width", True): "more-capacity",
    ("zero-padding", True): "more-capacity",
    ("weight-decay", False): "less-weight-decay",
    ("dropout", False): "less-dropout",
    ("epochs", True): "better-optimization",
}


def probed(situation: Situation) -> Iterator[Weighted]:
    """The changes that lowered the training error in an experiment, by how much they did."""
    for probe in situation.probes:
        gain = probe.gain("train") or probe.gain("test")
        if gain is None or gain.low <= 0 or probe.kind == "data":
            continue
        test = probe.gain("test")
        if test is not None and test.value <= 0:
            continue  # it fits the training examples better, and others not: that is no help
        code = _CODE_OF_PROBE.get((probe.kind, _went_up(probe)))
        if code is None:
            continue
        yield (
            90 + min(4 * gain.value / max(_base(probe), 1e-12), 4.0),
            advice(
                code,
                f"in an experiment with {probe.change} the error fell by {situation.text(gain)}",
                Hyperparameter(probe.hyperparameter, probe.kind, probe.before)  # type: ignore[arg-type]
                if probe.hyperparameter is not None and probe.before is not None
                else None,
                probe.kind,
                suggested=probe.after,
                train_error="lower",
                test_error="lower" if (probe.gain("test") or gain).low > 0 else "unknown",
            ),
        )


def refuted(situation: Situation) -> Iterator[tuple[Code, str | None]]:
    """(code, hyperparameter) of the changes that were tried, and did not help: an experiment says more than a curve.

    There is one learning rate, whatever it is called; that a wider layer did not help says nothing of a kernel.
    """
    for probe in situation.probes:
        gain = probe.gain("test") or probe.gain("train")
        code = _CODE_OF_PROBE.get((probe.kind, _went_up(probe)))
        if code is not None and gain is not None and gain.value <= 0:
            yield code, None if probe.kind == "learning-rate" else probe.hyperparameter


def _base(probe: ProbeResult) -> float:
    base: Measured | None = probe.base_train or probe.base_test
    return 1.0 if base is None else abs(base.value)


def _went_up(probe: ProbeResult) -> bool:
    if probe.before is None or probe.after is None:
        return "x" in probe.change
    return probe.after > probe.before
