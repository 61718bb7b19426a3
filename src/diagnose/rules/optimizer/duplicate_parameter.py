"""duplicate-parameter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from diagnose.findings import Finding, Location, Severity
from diagnose.history import EventKind, History
from diagnose.rules._base import rule

_KINDS: Final[tuple[EventKind, ...]] = ("stepped-twice", "stepped-by-both")


@rule("duplicate-parameter", explains=("update-too-large", "loss-diverging"))
def duplicate_parameter(history: History, *, share: float = 0.25, at_least: int = 3) -> Iterator[Finding]:
    """A parameter is updated twice.

    ## What it does
    Looks for a parameter that one optimizer holds twice, and for one that two optimizers hold and step with
    the same gradient: the second step finds the tensor in `.grad` that the first one has used, not cleared
    since. And for two optimizers that step in turn, one of which holds all that the other one trains and more, where
    that is what the loss sees last: a critic that is trained to tell two things apart, and then to take them for one
    by the optimizer of what it judges. The last two count if there are `at_least` = 3 such steps and they are
    `share` = 25 % or more of the steps of the second optimizer that the watch followed.
    ## Why it matters
    The parameter moves twice per step, or with two sets of averages that know nothing of each other: its
    learning rate is not the one that was set, while the rest of the model has the right one. Weight decay
    is applied twice, too.
    ## How to fix
    Give each parameter to one optimizer, once. For weights that two modules share, leave out
    doubles: `list({id(p): p for p in parameters}.values())`.
    ## Limits
    Two optimizers may hold the same parameters if each steps with gradients of its own and each goes on with layers of
    its own behind them, as in adversarial autoencoders and for tasks that share their first layers; if both hold all
    of them, as for the inner and outer steps of meta-learning; or one after the other. An optimizer that another one
    steps from inside (SAM, Lookahead) is not looked at. A parameter is known to be held twice after the first samples.
    ## Source
    PyTorch refuses a parameter in two groups and warns of doubles in one ("in future, this will cause an
    error"; pytorch/pytorch issue 40967). The numbers are judgement: a loop that does it does it in every
    round; a watch that samples both optimizers follows every second step of either.
    """
    yield from _held_twice(history)
    for optimizer, facts in history.optimizers.items():
        for kind in _KINDS:
            count = history.count(kind, optimizer)
            if count >= at_least and count >= share * facts.followed:
                yield _stepped(history, kind, optimizer, count, facts.followed, share)


def _stepped(history: History, kind: EventKind, optimizer: str, count: int, followed: int, share: float) -> Finding:
    events = list(history.events(kind, optimizer))
    first = events[0].detail
    other, shared, name = first.get("other"), int(first.get("parameters", 0)), str(first.get("parameter", ""))
    which = f"{name} and {_counted(shared - 1)} more" if shared > 1 else name
    if kind == "stepped-twice":
        message = f"{optimizer} steps {which} with the gradients that {other} has just used: they move twice"
        cause = "Two optimizers were given the same parameters."
    else:
        message = f"{optimizer} steps {which} too, all that {other} trains: each undoes what the other one has learned"
        cause = "The optimizer was given the parameters of a whole stack of models, of which it should train a part."
    return Finding(
        "duplicate-parameter",
        Severity.WARNING,
        message,
        Location(parameter=name or None, file=first.get("file"), line=first.get("line")),
        min(event.step for event in events),
        max(event.step for event in events),
        {
            "parameters": shared,
            "steps_concerned": count,
            "steps_followed": followed,
            "limit": share,
            "optimizer": optimizer,
            "other": str(other),
        },
        cause=cause,
        remedy=f"Leave the shared parameters to either {optimizer} or {other}.",
    )


def _held_twice(history: History) -> Iterator[Finding]:
    doubles: dict[str, list[str]] = {}
    for name, facts in history.parameters.items():
        for optimizer, times in Counter(facts.optimizers).items():
            if times > 1:
                doubles.setdefault(optimizer, []).append(name)
    for optimizer, names in doubles.items():
        worst = max(names, key=lambda name: (history.parameters[name].size, name))
        held = history.optimizers.get(optimizer)
        yield Finding(
            "duplicate-parameter",
            Severity.WARNING,
            f"{optimizer} holds {_counted(len(names))} more than once: {worst} "
            + ("and the like move" if len(names) > 1 else "moves")
            + " twice in every step",
            Location(parameter=worst, file=held.file if held else None, line=held.line if held else None),
            evidence={"parameters": len(names), "limit": 1, "optimizer": optimizer},
            cause="Lists of parameters were joined that have members in common, such as tied weights.",
            remedy="Leave out doubles: list({id(p): p for p in parameters}.values()).",
        )


def _counted(number: int) -> str:
    return f"{number} parameters" if number != 1 else "a parameter"
