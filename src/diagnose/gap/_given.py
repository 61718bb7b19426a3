"""What the user may give besides numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Live:
    """A trained model, the same one loaded from a file, and data; None where there is none."""

    model: Any = None
    reloaded: Any = None
    train: Any = None
    test: Any = None
    train_dev: Any = None
    loss_fn: Callable[..., Any] | None = None
