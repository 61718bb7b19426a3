"""nan-or-inf."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from diagnose.findings import Evidence, Finding, Location, Severity
from diagnose.history import Event, History
from diagnose.rules._base import rule

# Within one step, what comes first can be the cause of what comes later, never the reverse.
_ORDER_IN_STEP: Final = ("input", "activation", "loss", "gradient", "parameter")
_KEPT_DETAIL: Final = ("what", "operation", "value", "input_min", "input_max", "loss_before")


@rule("nan-or-inf")
def nan_or_inf(history: History, *, most_skipped: float = 0.5, at_least: int = 20) -> Iterator[Finding]:
    """A loss, a gradient or a parameter became NaN or infinite.

    ## What it does
    Reports the first operation, tensor and step that were not finite, of those that did harm: events of
    the same step are put in the order input, activation, loss, gradient, parameter.
    ## Why it matters
    NaN spreads: one NaN in a loss makes all gradients NaN, one step makes all parameters NaN, and
    nothing brings them back. Everything that is computed afterwards is lost, and the last good
    checkpoint is all that remains.
    ## How to fix
    It depends on the operation that is named. The logarithm or the square root of 0: use the fused loss
    (`cross_entropy`, `binary_cross_entropy_with_logits`), or add an epsilon *inside* the root. A
    division: bound the divisor from below. A loss that grew before: lower the learning rate or clip the
    gradient norm. Half precision: use `GradScaler`, or bfloat16. Inputs: find the rows, and remove or
    impute them.
    ## Limits
    Activations and inputs that are not finite while loss, gradients and parameters stay finite are left
    alone: masks of minus infinity and masked missing values are like that. So are steps that GradScaler
    skipped, unless it skips more than `most_skipped` = half of all steps, and at least `at_least` = 20.
    ## Source
    IEEE 754. Micikevicius et al., "Mixed Precision Training", 2018, for skipped steps: a healthy scale
    search skips one step in some thousand. Goodfellow, Bengio & Courville, *Deep Learning*, sec. 4.1
    (overflow and underflow) and 10.11.
    """
    event = _first(history, most_skipped, at_least) or _from_tables(history)
    if event is None:
        return
    detail = event.detail
    what = str(detail.get("what", "value"))
    value = "NaN" if detail.get("value") == "nan" else "infinite" if detail.get("value") == "inf" else "not finite"
    operation = detail.get("operation")
    module, parameter = detail.get("module"), detail.get("parameter")
    place = f" of {parameter or module}" if parameter or module else ""
    through = f" in {operation}" if operation else ""
    evidence: dict[str, Evidence] = {key: _plain(detail[key]) for key in _KEPT_DETAIL if detail.get(key) is not None}
    yield Finding(
        "nan-or-inf",
        Severity.ERROR,
        f"the {what}{place} became {value}{through} at step {event.step}",
        Location(module or None, parameter or None, detail.get("file"), detail.get("line")),
        event.step,
        _last(history, event),
        evidence,
        cause=str(detail.get("explanation") or "") or _cause(history, event),
        remedy=_remedy(history, event),
    )


def _first(history: History, most_skipped: float, at_least: int) -> Event | None:
    """The earliest harmful event, or the event upstream of it in the same step."""
    events = list(history.events("non-finite"))
    skipped = {event.step for event in history.events("step-skipped")}
    # While GradScaler skips, no step is made: the event bears the number of the step before or after.
    near_skip = {step + offset for step in skipped for offset in (-1, 0, 1)}
    steps = sum(facts.steps for facts in history.optimizers.values())
    skips = history.count("step-skipped")
    stuck = skips >= at_least and skips > most_skipped * (steps + skips)
    lost = _from_tables(history) is not None or not history.scopes("loss")

    def harmful(event: Event) -> bool:
        what = event.detail.get("what")
        if what == "gradient":
            return stuck or event.step not in near_skip
        return what in ("loss", "parameter") or lost

    step = min((event.step for event in events if harmful(event)), default=None)
    return min((event for event in events if event.step == step), key=_depth, default=None)


def _depth(event: Event) -> int:
    what = event.detail.get("what")
    return _ORDER_IN_STEP.index(what) if what in _ORDER_IN_STEP else len(_ORDER_IN_STEP)


def _from_tables(history: History) -> Event | None:
    """The first non-finite loss or parameter on record, where no event was noted."""
    found: list[Event] = []
    for stream in history.scopes("loss"):
        series = history.series("loss", stream)
        bad = np.flatnonzero(np.isinf(series.values))
        if len(bad):
            facts = history.losses.get(stream)
            detail = {"what": "loss", "file": facts.file, "line": facts.line} if facts else {"what": "loss"}
            found.append(Event(int(series.steps[bad[0]]), "non-finite", stream, detail))
    for _, table in history.tables("param_rms"):
        rows, columns = np.nonzero(np.isinf(table.values))
        if len(rows):
            name = table.scopes[int(columns[0])]
            detail = {"what": "parameter", "parameter": name}
            found.append(Event(int(table.steps[rows[0]]), "non-finite", name, detail))
    return min(found, key=lambda event: (event.step, _depth(event)), default=None)


def _last(history: History, event: Event) -> int:
    steps = [event.step, *(e.step for e in history.events("non-finite"))]
    for stream in history.scopes("loss"):
        series = history.series("loss", stream)
        steps.extend(series.steps[np.isinf(series.values)].tolist())
    return max(steps)


def _loss_grew(history: History, event: Event) -> float:
    """How many times its first value the loss had reached before the event; 0 if that is not known."""
    grown = 0.0
    for stream in history.scopes("loss"):
        series = history.series("loss", stream)
        before = series.values[(series.steps < event.step) & np.isfinite(series.values)]
        if len(before) > 1 and before[0] > 0:
            grown = max(grown, float(before[-3:].max() / before[0]))
    return grown


def _cause(history: History, event: Event) -> str:
    grown = _loss_grew(history, event)
    if grown > 10:
        return f"Training had diverged: the loss had grown {grown:.2g} times before."
    if event.detail.get("what") == "input":
        return "The data holds values that are not finite."
    if event.step <= 1:
        return "The first forward pass is not finite already: the inputs, the initialisation or the loss."
    return "An operation outside its range: a logarithm, root or division at 0, or an overflow."


def _remedy(history: History, event: Event) -> str:
    if event.detail.get("what") == "input":
        return "Find the rows with NaN or infinite values, and remove or impute them before training."
    if _loss_grew(history, event) > 10:
        return "Lower the learning rate, or clip the gradient norm with torch.nn.utils.clip_grad_norm_."
    operation = event.detail.get("operation")
    where = f"Bound the inputs of {operation}" if operation else "Find the operation and bound its inputs"
    return f"{where} (an epsilon inside log, sqrt or a divisor), or use the fused loss that takes logits."


def _plain(value: Any) -> Evidence:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str | int | float | bool):
        return value
    return str(value)
