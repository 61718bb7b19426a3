"""Embeddings of examples: what a layer of the model puts out for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

from diagnose.errors import MistakesError
from diagnose.mistakes._calling import output_tensor
from diagnose.mistakes._scores import Floats


class Embeddings:
    """Takes the outputs of a layer while the model runs.

    Args:
        name: of the submodule; None: nothing is taken.
    """

    def __init__(self, name: str | None) -> None:
        self._name = name
        self._found: list[Any] = []

    def listen(self, module: nn.Module) -> Callable[[], object]:
        """Begins to take them; returns what ends it.

        Raises:
            MistakesError: there is no such layer.
        """
        if self._name is None:
            return lambda: None
        try:
            layer = module.get_submodule(self._name)
        except AttributeError:
            known = ", ".join(key for key, _ in module.named_modules() if key) or "none: the model has no parts"
            raise MistakesError(f"embeddings={self._name!r} is no layer of the model. Its layers: {known}.") from None

        def take(_: Any, __: Any, output: Any) -> None:
            self._found.append(_vectors(output_tensor(output)).cpu().numpy())

        return layer.register_forward_hook(take).remove

    def joined(self, count: int) -> Floats | None:
        """Shape (count, D); None if nothing was asked for.

        Raises:
            MistakesError: there are not as many as examples.
        """
        if not self._found:
            return None
        found: Floats = np.concatenate(self._found).astype(np.float32)
        if len(found) != count:
            raise MistakesError(
                f"{self._name} has put out {len(found)} embeddings for {count} examples: name a "
                "layer that runs once for each batch and has a row for each example."
            )
        return found


def _vectors(output: Tensor) -> Tensor:
    """Shape (B, D): means over positions, (B, T, D), or over pixels, (B, D, H, W)."""
    values = output.detach().float()
    if values.dim() == 3:
        return values.mean(1)
    return values.flatten(2).mean(2) if values.dim() > 3 else values.reshape(len(values), -1)
