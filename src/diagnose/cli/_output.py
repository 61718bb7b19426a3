"""Text on stdout, whatever its encoding."""

from __future__ import annotations

import sys

from diagnose.sinks.wording import encodable


def print_text(text: str) -> None:
    """Prints `text` on stdout; characters that its encoding lacks are replaced."""
    print(encodable(text, sys.stdout.encoding or "utf-8"))
