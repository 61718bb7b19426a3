"""Rules: pure functions from a history to findings. One file per rule; `all_rules` finds them."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import pkgutil
from collections.abc import Mapping

from diagnose.rules._base import SECTIONS, NotRun, Rule, broken_plugins, plugin_failed, registered, rule
from diagnose.rules._diagnosis import Diagnosis, diagnose_history

__all__ = [
    "SECTIONS",
    "Diagnosis",
    "NotRun",
    "Rule",
    "all_rules",
    "broken_plugins",
    "diagnose_history",
    "pages_of",
    "rule",
]

ENTRY_POINTS = "diagnose.rules"


@functools.cache
def all_rules() -> dict[str, Rule]:
    """Every rule by code: ours, and those of installed plugins (entry point group `diagnose.rules`).

    A plugin that cannot be loaded is left out; `broken_plugins` says why, and so does every diagnosis.
    """
    for module in pkgutil.walk_packages(__path__, prefix=f"{__name__}."):
        if not module.name.rpartition(".")[2].startswith("_"):
            importlib.import_module(module.name)
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            entry_point.load()
        except (Exception, SystemExit) as error:
            plugin_failed(_described(entry_point), error)
    return registered()


def _described(entry_point: importlib.metadata.EntryPoint) -> str:
    package = f" of {entry_point.dist.name} {entry_point.dist.version}" if entry_point.dist is not None else ""
    return f"{entry_point.name} ({entry_point.value}{package})"


def pages_of(rules: Mapping[str, Rule]) -> dict[str, str]:
    """The pages of the rules by code, for sinks, which know no rules."""
    return {code: rule.page for code, rule in rules.items()}
