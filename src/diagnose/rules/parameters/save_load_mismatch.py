"""save-load-mismatch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from diagnose.findings import Evidence, Finding, Location, Severity
from diagnose.history import History, LoadFacts
from diagnose.rules._base import rule


# A model that was not restored looks like a copy that nobody keeps up to date.
@rule("save-load-mismatch", explains=("ema-stale",))
def save_load_mismatch(
    history: History, *, max_unexpected: float = 0.5, min_renamed: int = 2, min_renamed_last: int = 3
) -> Iterator[Finding]:
    """A state that is loaded does not bring back what was saved: own memory, names that do not fit, lost buffers.

    ## What it does
    Looks at every `load_state_dict`. It speaks if the state is the model's own memory, taken before the parameters
    were last written; and if, with `strict=False`, more than `max_unexpected` = half of the names in the state are
    none of the model's, while one prefix taken off (or put before) them makes them fit, or none fits at all. And if

    - the state is the memory of a model that was not trained yet, and nothing was written since it was taken: the load
      does nothing, as happens when entries are filtered by name and none passes;
    - entries of the state were left out that fit what the model lacks in order, shape and kind, `min_renamed` = 2 of
      them matrices, and what fits by name comes after them (a layer was renamed); at the end of a model, where a head
      may be new, there must be `min_renamed_last` = 3, and most of the elements;
    - the model is evaluated with buffers that the state lacks: running statistics of no batch, where only parameters
      were saved, or buffers with `persistent=False` that the model which gave the state had changed;
    - the model is evaluated with parameters that the state lacks, though it had entries to spare, and these are
      trained at no time of the run.
    ## Why it matters
    `best = model.state_dict()` keeps references, not values: it follows the training, and loading it at the end
    "restores" the last weights as the best ones. With `strict=False`, names that begin with `module.` or
    `_orig_mod.` are passed over without a word, and the model keeps its random initialisation.
    ## How to fix
    `best = copy.deepcopy(model.state_dict())`, or save it to a file. Take the prefix off the names, or load into the
    inner module; look at what `load_state_dict` returns; leave `strict=True` wherever all names should fit. Save
    `state_dict()`, not `named_parameters()`; register what training changes as a persistent buffer.
    ## Limits
    A state that is saved to a file much later than it was taken is not noticed, nor are values that differ although
    the names fit. Silent where most names fit (a backbone under a new head), where the state only lacks parameters or
    only has too many, where a later load into the same module fits, about buffers that evaluating overwrites (a
    hidden state, a cache) or that are another one after each batch, and about a state that is changed in place before
    it is loaded.
    ## Source
    PyTorch documentation, "Saving and Loading Models": `best_model_state = deepcopy(model.state_dict())`, "otherwise
    your best state will keep getting updated". A half is judgement: in partial loads on purpose, what is loaded
    outweighs what is not.
    """
    renamed = [load for load in history.loads if _is_renamed(load, min_renamed, min_renamed_last)]
    for load in history.loads:
        if load.aliased:
            yield _aliased(load)
        elif load.keys and load.keys - load.matched > max_unexpected * load.keys:
            if load.prefix:
                yield _misnamed(load, max_unexpected)
            elif not load.matched:
                yield _foreign(load, max_unexpected)
        elif load.idle:
            yield _idle(load)
        elif load.lost:
            yield _without_buffers(load)
        elif _is_renamed(load, min_renamed, min_renamed_last):
            yield _renamed(load, min_renamed)
        elif load.part_evaluated and not any(_is_same(load, other) for other in renamed):
            yield _in_part(load)


def _finding(
    load: LoadFacts, severity: Severity, message: str, evidence: Mapping[str, Evidence], *, cause: str, remedy: str
) -> Finding:
    where = Location(module=load.module, file=load.file, line=load.line)
    return Finding(
        "save-load-mismatch",
        severity,
        message,
        where,
        load.loaded_at,
        load.loaded_at,
        evidence,
        cause=cause,
        remedy=remedy,
    )


def _aliased(load: LoadFacts) -> Finding:
    return _finding(
        load,
        Severity.ERROR,
        f"load_state_dict put nothing back into {load.module}: the state of step {load.taken_at} is the model's own "
        f"memory, and was changed along with it until step {load.loaded_at}",
        {"taken_at": load.taken_at, "loaded_at": load.loaded_at},
        cause="state_dict() returns references to the parameters, not copies.",
        remedy="Keep copy.deepcopy(model.state_dict()), or save the state to a file.",
    )


def _misnamed(load: LoadFacts, max_unexpected: float) -> Finding:
    taken_off = not load.prefix.startswith("+")
    prefix = load.prefix.removeprefix("+")
    return _finding(
        load,
        Severity.ERROR,
        f"load_state_dict(strict=False) loaded {load.matched} of {load.keys} entries into {load.module}: "
        + (f"the names in the state begin with {prefix!r}" if taken_off else f"its names begin with {prefix!r}"),
        _numbers(load, max_unexpected),
        cause="The state was saved from a wrapped model (DataParallel, torch.compile) or from a part of this one.",
        remedy=f"Take {prefix!r} off the names of the state before loading."
        if taken_off
        else f"Put {prefix!r} before the names of the state, or load it into that part of the model.",
    )


def _foreign(load: LoadFacts, max_unexpected: float) -> Finding:
    return _finding(
        load,
        Severity.WARNING,
        f"load_state_dict(strict=False) loaded nothing into {load.module}: none of the {load.keys} names in the state "
        "is one of its own",
        _numbers(load, max_unexpected),
        cause="The state belongs to another model, or lies one level deeper in the checkpoint ('state_dict', 'model').",
        remedy="Compare the names; load with strict=True to have them listed.",
    )


def _idle(load: LoadFacts) -> Finding:
    return _finding(
        load,
        Severity.WARNING,
        f"load_state_dict put nothing into {load.module}: every tensor of the state is the module's own, unchanged",
        {"taken_at": load.taken_at, "loaded_at": load.loaded_at},
        cause="No entry of the checkpoint passed the filter by name, or the state is a reference to the model itself.",
        remedy="Compare the names of the checkpoint with the model's; load it with strict=True to have them listed.",
    )


def _is_renamed(load: LoadFacts, inside: int, at_the_end: int) -> bool:
    is_new_head = not load.inner and (load.renamed_weights < at_the_end or load.renamed_share <= 0.5)
    return load.renamed_weights >= inside and not is_new_head


def _renamed(load: LoadFacts, limit: int) -> Finding:
    there, here = load.renamed
    return _finding(
        load,
        Severity.WARNING,
        f"load_state_dict(strict=False) left out {load.keys - load.matched} of {load.keys} entries, which fit what "
        f"{load.module} lacks in order and shape: {there!r} is called {here!r} here",
        {
            "entries": load.keys,
            "loaded": load.matched,
            "missing": load.missing,
            "renamed_weights": load.renamed_weights,
            "limit": limit,
            "share_of_elements": load.renamed_share,
        },
        cause="The module was renamed after the state was saved.",
        remedy="Rename the entries of the state before loading; leave strict=True to have names checked.",
    )


def _without_buffers(load: LoadFacts) -> Finding:
    first, more = load.lost[0], len(load.lost) - 1
    names = first + (f" and {more} more buffers" if more else "")
    return _finding(
        load,
        Severity.WARNING,
        f"{load.module} is evaluated with loaded weights, but the state lacked what training had put into {names}",
        {"entries": load.keys, "loaded": load.matched, "missing": load.missing, "lost": list(load.lost[:8])},
        cause="Only parameters were saved, or the buffers are registered with persistent=False.",
        remedy="Save model.state_dict(); register what training changes with persistent=True (the default).",
    )


def _is_same(load: LoadFacts, other: LoadFacts) -> bool:
    return (load.module, load.loaded_at, load.line) == (other.module, other.loaded_at, other.line)


def _in_part(load: LoadFacts) -> Finding:
    return _finding(
        load,
        Severity.WARNING,
        f"{load.module} is evaluated with parameters that were neither loaded nor trained: {load.matched} of "
        f"{load.keys} entries of the state were loaded (strict=False)",
        {
            "entries": load.keys,
            "loaded": load.matched,
            "missing": load.missing,
            "unexpected_share": (load.keys - load.matched) / max(load.keys, 1),
        },
        cause="Some names in the state are not the model's, and strict=False passes over them.",
        remedy="Look at what load_state_dict returns; leave strict=True to have names checked.",
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
