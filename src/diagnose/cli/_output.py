"""Text on stdout, whatever its encoding, and into files that options name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from diagnose.errors import ConfigError
from diagnose.sinks.wording import encodable


def print_text(text: str) -> None:
    """Prints `text` on stdout; characters that its encoding lacks are replaced."""
    print(encodable(text, sys.stdout.encoding or "utf-8"))


def write_text(option: str, path: Path, text: str) -> None:
    """Writes a line or more to the file that `option` names, whole or not at all.

    Raises:
        ConfigError: it cannot be written.
    """
    from diagnose.storage import replace_file

    write_file(option, path, lambda path: replace_file(path, lambda file: file.write(f"{text}\n".encode())))


def write_file(option: str, path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` write the file that `option` names.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        write(path)
    except OSError as error:
        raise ConfigError(f"{option} {path}: cannot be written: {error.strerror or error}") from error
