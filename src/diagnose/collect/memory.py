"""How much memory copies may take."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor

SHARE: Final = 0.1
"""Share of the free memory, on each device, that copies for a probe may take."""


def copies_fit(*groups: tuple[int, Iterable[Tensor]]) -> bool:
    """Whether copies of tensors take no more than their share. Each group: how many copies, of which tensors."""
    needed: dict[torch.device, int] = {}
    for copies, tensors in groups:
        for tensor in tensors:
            needed[tensor.device] = needed.get(tensor.device, 0) + copies * tensor.numel() * tensor.element_size()
    return all(bytes_ <= SHARE * _free_bytes(device) for device, bytes_ in needed.items())


def _free_bytes(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # not everywhere
        return float("inf")
