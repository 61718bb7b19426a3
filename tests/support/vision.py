"""torchvision beside a CPU build of torch, for tests and benchmarks. Never for the library."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

# Operators live as long as the library object that defines them.
_library: torch.library.Library | None = None


def import_torchvision() -> ModuleType:
    """torchvision; skips the test if it is not installed.

    Its compiled operators load only beside the build of torch that they were made for. Without them its
    import fails ("operator torchvision::nms does not exist"), though models and data sets do not need
    them. So the missing operators are declared here, without an implementation.
    """
    global _library
    try:
        return pytest.importorskip("torchvision")
    except RuntimeError:
        _library = torch.library.Library("torchvision", "DEF")
        for name, schema in _SCHEMAS.items():
            _library.define(name + schema)
    return pytest.importorskip("torchvision")
