"""Mistakes in a notebook: the same page as in a terminal."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diagnose.mistakes._mistakes import Mistakes


def fragment(mistakes: Mistakes) -> str:
    """HTML in which everything that comes from the data is escaped."""
    return f"<pre>{html.escape(str(mistakes))}</pre>"
