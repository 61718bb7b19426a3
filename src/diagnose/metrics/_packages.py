"""Packages that are needed for some metrics only, and are imported there."""

from __future__ import annotations

import importlib
from typing import Any

from diagnose.errors import MetricError


def needed(module: str, what: str) -> Any:
    """The module called `module`.

    Raises:
        MetricError: it is not installed; the message says for `what` it is needed, and how it is installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = {"sklearn": "scikit-learn"}.get(module.partition(".")[0], module.partition(".")[0])
        raise MetricError(
            f"{what} needs {package}, which cannot be imported ({error}): pip install 'torch-diagnose[analysis]'"
        ) from error
