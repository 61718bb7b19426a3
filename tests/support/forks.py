"""Runs many programs under `diagnose` without starting as many interpreters that all import torch.

    python -m tests.support.forks

imports torch once and then makes a copy of itself (`fork`) for every line of JSON that it reads from its input, with
"arguments" (of `diagnose`), "folder", "output" and "errors" (files). The copy becomes that program, as a new
interpreter would, except that torch is there already. For each it writes its exit code. What the launcher does before
a program imports torch has tests of its own, with interpreters of their own.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from tests.support.tree import ROOT

LONGEST_S: Final = 240.0

_server: subprocess.Popen[str] | None = None


def diagnose(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """What `diagnose ARGUMENTS` does in `folder`, in a fork of a process that has torch."""
    global _server
    if _server is None or _server.poll() is not None:
        _server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        atexit.register(_server.terminate)
    assert _server.stdin is not None
    assert _server.stdout is not None
    files = {"output": folder / "output.txt", "errors": folder / "errors.txt"}
    request = {"arguments": arguments, "folder": str(folder), **{name: str(path) for name, path in files.items()}}
    _server.stdin.write(json.dumps(request) + "\n")
    _server.stdin.flush()
    code = int(_server.stdout.readline())
    output, errors = (path.read_text(encoding="utf-8", errors="replace") for path in files.values())
    return subprocess.CompletedProcess(arguments, code, output, errors)


def _serve() -> dict[str, Any]:
    """Returns, in a copy of this process, what it is to do; in this process, never."""
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        child = os.fork()
        if not child:
            return request
        print(_exit_code(child), flush=True)
    raise SystemExit


def _exit_code(child: int) -> int:
    """What the process ended with; after LONGEST_S it is ended."""
    deadline_s = time.monotonic() + LONGEST_S
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline_s:
            os.kill(child, signal.SIGKILL)
            deadline_s += LONGEST_S
        time.sleep(0.02)


def _become(request: dict[str, Any]) -> None:
    """Streams, folder and arguments of a program that was started anew."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name, number in (("output", 1), ("errors", 2)):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.chdir(request["folder"])
    sys.path[0] = request["folder"]
    sys.argv = ["diagnose", *request["arguments"]]


if __name__ == "__main__":
    import torch  # noqa: F401

    import diagnose.watching  # noqa: F401
    from diagnose.cli import main

    _become(_serve())
    sys.exit(main())
