"""save-load-mismatch."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History, LoadFacts
from diagnose.rules._base import rule


@rule("save-load-mismatch")
def save_load_mismatch(history: History, *, max_unexpected: float = 0.5) -> Iterator[Finding]:
    """A state that is loaded changes nothing: it is the model's own memory, or its names do not fit.

    ## What it does
    Looks at every `load_state_dict`. It speaks if the state is the model's own memory, taken before the parameters
    were last written; and if, with `strict=False`, more than `max_unexpected` = half of the names in the state are
    none of the model's, while one prefix taken off (or put before) them makes them fit, or none fits at all.
    ## Why it matters
    `best = model.state_dict()` keeps references, not values: it follows the training, and loading it at the end
    "restores" the last weights as the best ones. With `strict=False`, names that begin with `module.` or
    `_orig_mod.` are passed over without a word, and the model keeps its random initialisation.
    ## How to fix
    `best = copy.deepcopy(model.state_dict())`, or save it to a file. Take the prefix off the names, or load into the
    inner module; look at what `load_state_dict` returns; leave `strict=True` wherever all names should fit.
    ## Limits
    A state that is saved to a file much later than it was taken is not noticed, nor are values that differ although
    the names fit. Silent where most names fit (a backbone under a new head), where the state only lacks names or
    only has too many, where a later load into the same module fits, and where nothing was written since the state
    was taken.
    ## Source
    PyTorch documentation, "Saving and Loading Models": `best_model_state = deepcopy(model.state_dict())`, "otherwise
    your best state will keep getting updated". A half is judgement: in partial loads on purpose, what is loaded
    outweighs what is not.
    """
    for load in history.loads:
        if load.aliased:
            yield _aliased(load)
        elif load.keys and load.keys - load.matched > max_unexpected * load.keys:
            if load.prefix:
                yield _misnamed(load, max_unexpected)
            elif not load.matched:
                yield _foreign(load, max_unexpected)


def _aliased(load: LoadFacts) -> Finding:
    return Finding(
        "save-load-mismatch",
        Severity.ERROR,
        f"load_state_dict put nothing back into {load.module}: the state of step {load.taken_at} is the model's own "
        f"memory, and was changed along with it until step {load.loaded_at}",
        Location(module=load.module, file=load.file, line=load.line),
        load.loaded_at,
        load.loaded_at,
        {"taken_at": load.taken_at, "loaded_at": load.loaded_at},
        cause="state_dict() returns references to the parameters, not copies.",
        remedy="Keep copy.deepcopy(model.state_dict()), or save the state to a file.",
    )


def _misnamed(load: LoadFacts, max_unexpected: float) -> Finding:
    taken_off = not load.prefix.startswith("+")
    prefix = load.prefix.removeprefix("+")
    return Finding(
        "save-load-mismatch",
        Severity.ERROR,
        f"load_state_dict(strict=False) loaded {load.matched} of {load.keys} entries into {load.module}: "
        + (f"the names in the state begin with {prefix!r}" if taken_off else f"its names begin with {prefix!r}"),
        Location(module=load.module, file=load.file, line=load.line),
        load.loaded_at,
        load.loaded_at,
        _numbers(load, max_unexpected),
        cause="The state was saved from a wrapped model (DataParallel, torch.compile) or from a part of this one.",
        remedy=f"Take {prefix!r} off the names of the state before loading."
        if taken_off
        else f"Put {prefix!r} before the names of the state, or load it into that part of the model.",
    )


def _foreign(load: LoadFacts, max_unexpected: float) -> Finding:
    return Finding(
        "save-load-mismatch",
        Severity.WARNING,
        f"load_state_dict(strict=False) loaded nothing into {load.module}: none of the {load.keys} names in the state "
        "is one of its own",
        Location(module=load.module, file=load.file, line=load.line),
        load.loaded_at,
        load.loaded_at,
        _numbers(load, max_unexpected),
        cause="The state belongs to another model, or lies one level deeper in the checkpoint ('state_dict', 'model').",
        remedy="Compare the names; load with strict=True to have them listed.",
    )


def _numbers(load: LoadFacts, max_unexpected: float) -> dict[str, str | int | float | None]:
    return {
        "entries": load.keys,
        "loaded": load.matched,
        "missing": load.missing,
        "unexpected_share": (load.keys - load.matched) / load.keys,
        "max_unexpected": max_unexpected,
        "prefix": load.prefix or None,
    }
