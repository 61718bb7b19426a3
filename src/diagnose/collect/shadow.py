"""A compiled model's activations, from a second, eager forward that nothing in the run can notice.

Compiled code rounds differently from eager code and draws dropout differently, so a training step is never run
eagerly behind the user's back. On a sampled step the step's inputs go through the model once more, as unnoticed.py
describes. A model whose forward changes its own attributes is put right and never shadowed again; one that
communicates with other processes is never shadowed at all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn

from diagnose.collect.forward import ForwardTap
from diagnose.collect.unnoticed import run_unnoticed


def shadow_forward(model: nn.Module, args: Any, kwargs: Any, tap: ForwardTap) -> str | None:
    """Runs `model` once, unnoticed, under `tap`.

    Returns:
        None, or the reason for which this model was not seen and is not to be tried again.
    """
    _, reason = run_unnoticed(model, args, kwargs, watched_by=_installed(tap))
    return reason


@contextlib.contextmanager
def _installed(tap: ForwardTap) -> Iterator[None]:
    tap.install(shadow=True)
    try:
        yield
    finally:
        tap.remove()
