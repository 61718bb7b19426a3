"""Pictures of the curves, with matplotlib where it is installed."""

from __future__ import annotations
