"""unregistered-module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from diagnose.findings import Finding, Location, Severity
from diagnose.history import Container, History, LeafFacts
from diagnose.rules._base import rule

_REMEDY: Final[dict[Container, str]] = {
    "list": "Keep modules in nn.ModuleList and parameters in nn.ParameterList",
    "dict": "Keep modules in nn.ModuleDict and parameters in nn.ParameterDict",
    "object": "Derive the class of this object from nn.Module, and assign it after super().__init__()",
    "tensor": "Wrap the tensor in nn.Parameter",
}
_WHAT: Final[dict[Container, str]] = {
    "list": "a plain list",
    "dict": "a plain dict",
    "object": "an object that is no registered module",
    "tensor": "a plain tensor",
}


@rule("unregistered-module", explains=("loss-not-decreasing",))
def unregistered_module(history: History, *, min_looks: int = 3, min_steps: int = 5) -> Iterator[Finding]:
    """The loss depends on layers that no module registers and no optimizer holds.

    ## What it does
    Walks the graph behind the loss down to the tensors that `backward()` fills with gradients, a few times per run. A
    tensor that is no registered parameter of a model and is held by no optimizer, that was the same one in
    `min_looks` = 3 steps over at least `min_steps` = 5 steps, and whose value never changed while its gradient was
    never cleared, is looked for in the plain attributes of the registered modules: lists, dictionaries, objects.
    ## Why it matters
    `nn.Module` registers what is assigned to an attribute, not what lies in a plain list or dictionary.
    `model.parameters()` leaves the rest out: these layers keep their random initialisation for ever, are not moved
    by `.to(device)`, do not hear of `train()` and `eval()`, and are missing from `state_dict()`. The other layers
    make up for it, so that the loss may fall all the same.
    ## How to fix
    `nn.ModuleList`, `nn.ModuleDict`, `nn.ParameterList` or `nn.ParameterDict` instead of the plain container;
    `nn.Parameter` around a plain tensor; `nn.Module` as the base class of an object that holds layers. What is kept
    out on purpose should be frozen: `requires_grad_(False)`.
    ## Limits
    Silent about tensors that are made anew in each step (inputs with gradients, adversarial examples), those that
    some code changes or clears by hand, and plain tensors that no product, convolution or lookup uses as its weight
    (the fixed points of a physics-informed loss). What is found in no attribute of a registered module gets an
    `info`. Layers that are made inside `forward` are not found.
    ## Source
    PyTorch documentation, `nn.ModuleList`: "modules it contains are properly registered". Three looks tell what
    stays from what is made in each step; 5 steps are what any optimizer needs to change what it holds.
    """
    if not any(facts.optimizers and facts.module_type for facts in history.parameters.values()):
        return  # no module is trained by an optimizer: a functional program, or an input is optimised
    strays = {
        name: leaf
        for name, leaf in history.leaves.items()
        if leaf.looks >= min_looks
        and leaf.last_step - leaf.first_step >= min_steps
        and not leaf.changed
        and not leaf.cleared
        and (leaf.is_parameter or leaf.is_weight)
    }
    holders: dict[str, list[str]] = {}
    for name, leaf in strays.items():
        if leaf.holder or leaf.is_parameter:
            holders.setdefault(leaf.holder, []).append(name)
    for holder, names in sorted(holders.items(), key=lambda item: not item[0]):
        yield _finding(holder, [(name, strays[name]) for name in sorted(names)], min_looks)


def _finding(holder: str, strays: list[tuple[str, LeafFacts]], min_looks: int) -> Finding:
    name, leaf = strays[0]
    what = f"{holder} is {_WHAT[leaf.container]}: " if leaf.container else ""
    several = f"{len(strays)} tensors" if len(strays) > 1 else "a tensor"
    return Finding(
        "unregistered-module",
        Severity.ERROR if holder else Severity.INFO,
        f"{what}the loss depends on {several} (such as {name}, {list(leaf.shape)}) that no module registers and no "
        f"optimizer holds; after {leaf.last_step} steps unchanged",
        Location(module=leaf.module or None, parameter=name if holder else None, file=leaf.file, line=leaf.line),
        max(leaf.first_step, 1),
        max(each.last_step for _, each in strays),
        {
            "tensors": len(strays),
            "looks": leaf.looks,
            "min_looks": min_looks,
            "names": [each for each, _ in strays[:20]],
        },
        cause="nn.Module registers what is assigned to its attributes, not what a list, a dict or an object holds.",
        remedy=f"{_REMEDY.get(leaf.container, 'Register it in a module, or give it to an optimizer')}; or set "
        "requires_grad to False if it is not to be trained.",
    )
