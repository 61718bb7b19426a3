"""Parameters that no gradient reaches, and why."""

from __future__ import annotations

from typing import Any

from torch import nn

from diagnose.findings import Evidence, Finding, Location, Severity


class Called:
    """A context that notes which modules are called."""

    def __init__(self, model: nn.Module) -> None:
        self.names = {module: name for name, module in model.named_modules()}
        self.called: set[str] = set()
        self._handles: list[Any] = []

    def __enter__(self) -> None:
        for module in self.names:
            self._handles.append(module.register_forward_pre_hook(self._note))

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _note(self, module: nn.Module, _: Any) -> None:
        self.called.add(self.names[module])

    def left_out(self, parameter: str, model: nn.Module) -> bool:
        """Whether it belongs to a branch that was not run, of a list of branches of which another was."""
        parts = parameter.split(".")[:-1]
        for depth in range(1, len(parts) + 1):
            branch, parent = ".".join(parts[:depth]), ".".join(parts[: depth - 1])
            is_choice = isinstance(model.get_submodule(parent), nn.ModuleList | nn.ModuleDict)
            siblings = [n for n in self.called if n.startswith(f"{parent}.") and n.count(".") == branch.count(".")]
            ran = any(name == branch or name.startswith(f"{branch}.") for name in self.called)
            if is_choice and not ran and siblings:
                return True
        return False


def unreached(model: nn.Module, names: list[str], called: Called) -> list[Finding]:
    chosen = [name for name in names if called.left_out(name, model)]
    others = [name for name in names if name not in chosen]
    cut = [name for name in others if name.rpartition(".")[0] in called.called]
    unused = [name for name in others if name not in cut]
    findings = []
    if cut:
        findings.append(
            of_parameters(
                "parameter-not-updated",
                Severity.ERROR if len(cut) * 2 > sum(p.requires_grad for p in model.parameters()) else Severity.WARNING,
                f"{listed(cut)} took part in the forward and got no gradient",
                cut,
                cause="What it computes is cut off (`.detach()`, `no_grad()`, `.data`), or the loss does not use it.",
                remedy="Follow its output to the loss; set requires_grad=False if it is not to be trained.",
            )
        )
    if unused:
        findings.append(
            of_parameters(
                "parameter-not-updated",
                Severity.WARNING,
                f"{listed(unused)} got no gradient: the forward did not use it",
                unused,
                cause="A layer that was made and is never called, or is called under another name.",
                remedy="Call it in forward, or remove it.",
            )
        )
    if chosen:
        findings.append(
            of_parameters(
                "parameter-not-updated",
                Severity.INFO,
                f"{listed(chosen)} got no gradient from this batch: other branches were run",
                chosen,
                cause="The input chooses among branches (experts, adapters, skipped layers).",
                remedy="Nothing, if other batches use them.",
            )
        )
    return findings


def of_parameters(
    code: str, severity: Severity, message: str, names: list[str], *, cause: str, remedy: str, evidence: Any = None
) -> Finding:
    first = names[0]
    numbers: dict[str, Evidence] = {"parameters": len(names), "also_at": [*names[1:]], **(evidence or {})}
    return Finding(
        code,
        severity,
        message,
        Location(module=first.rpartition(".")[0] or None, parameter=first),
        evidence=numbers,
        cause=cause,
        remedy=remedy,
    )


def listed(names: list[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")
