"""Recommendations with what table 11.1 says, ordered by weights, without doubles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from diagnose.gap._capacity import TABLE
from diagnose.gap._hyperparameters import Hyperparameter
from diagnose.gap._recommendation import Code, Recommendation

Weighted: TypeAlias = "tuple[float, Recommendation]"


def once(found: Iterator[Recommendation]) -> list[Recommendation]:
    """Without doubles of a code and hyperparameter."""
    kept: dict[tuple[str, str | None], Recommendation] = {}
    for one in found:
        same = [key for key in kept if key[0] == one.code and (one.hyperparameter is None or key[1] is None)]
        if not same:
            kept.setdefault((one.code, one.hyperparameter), one)
    return list(kept.values())


def advice(
    code: Code, reason: str, one: Hyperparameter | None = None, kind: str | None = None, **options: object
) -> Recommendation:
    """A recommendation with what table 11.1 says of its hyperparameter."""
    kind = one.kind if one is not None else kind
    row = TABLE.get(kind or "")
    filled: dict[str, object] = {
        "hyperparameter": None if one is None else one.name,
        "kind": kind,
        "current": None if one is None else one.value,
        "cost": row.cost if row else "",
        "caveat": row.caveat if row else "",
        **options,
    }
    return Recommendation(code, reason, **filled)  # type: ignore[arg-type]


def lower(code: Code, reason: str, one: Hyperparameter | None, kind: str, suggested: object) -> Recommendation:
    """A recommendation by which both errors fall."""
    return advice(code, reason, one, kind, suggested=suggested, train_error="lower", test_error="lower")
