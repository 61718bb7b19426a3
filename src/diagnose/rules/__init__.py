"""Rules: pure functions from a history to findings. One file per rule; `all_rules` finds them."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import pkgutil
from collections.abc import Mapping

from diagnose.rules._base import SECTIONS, NotRun, Rule, registered, rule
from diagnose.rules._diagnosis import Diagnosis, diagnose_history

__all__ = ["SECTIONS", "Diagnosis", "NotRun", "Rule", "all_rules", "diagnose_history", "pages_of", "rule"]

ENTRY_POINTS = "diagnose.rules"


@functools.cache
def all_rules() -> dict[str, Rule]:
    """Every rule by code: ours, and those of installed plugins (entry point group `diagnose.rules`)."""
    for module in pkgutil.walk_packages(__path__, prefix=f"{__name__}."):
        if not module.name.rpartition(".")[2].startswith("_"):
            importlib.import_module(module.name)
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        entry_point.load()
    return registered()


def pages_of(rules: Mapping[str, Rule]) -> dict[str, str]:
    """The pages of the rules by code, for sinks, which know no rules."""
    return {code: rule.page for code, rule in rules.items()}
