"""What the targets of loss functions say: the class of each example, where there is one."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from diagnose.collect.reading import Unseen

BY_INDEX: Final = frozenset({"cross_entropy", "nll_loss", "multi_margin_loss"})
_BY_SHARE: Final = frozenset(
    {"cross_entropy", "binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss", "kl_div"}
)


def class_labels(loss: str, output: Tensor, target: Tensor) -> Tensor | None:
    """The class of each example, shape (N,), if the target is one class per example; else None.

    Understood are class indices, zeros and ones of a binary target, and one-hot rows.

    Args:
        loss: the loss function, as its name in torch.nn.functional.
    """
    if type(target) is not Tensor or target.layout is not torch.strided or not target.numel() or target.is_meta:
        return None
    with Unseen():
        if not target.is_floating_point():
            if loss in BY_INDEX and target.dim() == 1 and output.dim() == 2:
                return target.detach()
            return None
        if loss not in _BY_SHARE or target.dim() not in (1, 2):
            return None
        target = target.detach()
        if not bool(((target == 0) | (target == 1)).all()):
            return None
        if target.dim() == 1 or target.shape[1] == 1:
            return target.reshape(-1).to(torch.int64) if loss.startswith("binary") else None
        return target.argmax(dim=1) if bool((target.sum(dim=1) == 1).all()) else None
