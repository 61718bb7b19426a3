"""`diagnose run` on real scripts in real processes: the same run, and a report, whatever ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from diagnose.storage import load

TRAIN = """
import torch, sys, time
import torch.nn.functional as F
from torch import nn
torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
def train(steps, clear=True, wait=0.0):
    for _ in range(steps):
        x = torch.randn(16, 4)
        if clear:
            optimizer.zero_grad()
        loss = F.cross_entropy(model(x), (x[:, 0] > 0).long())
        loss.backward()
        optimizer.step()
        time.sleep(wait)
    return loss.item()
"""


def script(folder: Path, body: str, *, name: str = "train.py", head: str = TRAIN) -> Path:
    path = folder / name
    path.write_text(head + body)
    return path


def run(
    folder: Path,
    *arguments: str,
    command: tuple[str, ...] = ("-m", "diagnose", "run"),
    **options: Any,
) -> Any:
    return subprocess.run(
        [sys.executable, *command, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def _hear_interrupts() -> None:
    """What a shell starts in the background ignores SIGINT, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "diagnose", "run", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=_hear_interrupts,
    )  # fmt: skip


def test_the_same_output_and_numbers_and_a_report(tmp_path: Path) -> None:
    path = script(tmp_path, "print(sys.argv[1:], __name__, train(60), torch.get_rng_state().sum().item())")
    plain = run(tmp_path, str(path), "--epochs", "3", command=())
    watched = run(tmp_path, "--json", "report.json", "--run-dir", "run", str(path), "--epochs", "3")
    assert watched.stdout == plain.stdout
    assert watched.returncode == plain.returncode == 0
    assert "healthy" in watched.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["version"] == 1
    assert report["findings"] == []
    assert report["run"]["steps"] == 60
    assert (report["run"]["models"], report["run"]["ending"]) == (["model"], "finished")
    shown = run(tmp_path, "run", command=("-m", "diagnose", "report"))
    assert shown.returncode == 0
    assert "healthy" in shown.stdout + shown.stderr


def test_a_finding_and_fail_on(tmp_path: Path) -> None:
    path = script(tmp_path, "train(40, clear=False)")
    arguments = (
        "--json",
        "report.json",
        "--no-tensorboard",
        "--run-dir",
        "run",
        "--fail-on",
        "error",
        path.name,
    )
    watched = run(tmp_path, *arguments)
    assert watched.returncode == 3
    (finding,) = json.loads((tmp_path / "report.json").read_text())["findings"]
    assert (finding["code"], finding["severity"]) == ("gradients-not-cleared", "error")
    assert finding["where"]["file"].endswith("train.py")
    assert "gradients-not-cleared" in watched.stderr
    assert not list((tmp_path / "run").glob("events*"))
    assert run(tmp_path, *arguments[:-1], "--ignore", "gradients-not-cleared", path.name).returncode == 0


def test_the_scripts_own_exit_code_wins(tmp_path: Path) -> None:
    path = script(tmp_path, "train(40, clear=False)\nsys.exit(5)")
    watched = run(tmp_path, "--fail-on", "error", path.name)
    assert watched.returncode == 5
    assert "gradients-not-cleared" in watched.stderr


def test_an_exception_keeps_its_traceback_and_is_reported(tmp_path: Path) -> None:
    path = script(tmp_path, "train(20)\ndef fail():\n    raise ValueError('boom')\nfail()")
    plain = run(tmp_path, str(path), command=())
    watched = run(tmp_path, "--run-dir", "run", "--json", "report.json", str(path))
    assert watched.returncode == plain.returncode == 1
    assert plain.stderr in watched.stderr
    assert json.loads((tmp_path / "report.json").read_text())["run"]["ending"] == "exception"


@pytest.mark.parametrize(("number", "ending"), [(signal.SIGTERM, "signal"), (signal.SIGINT, "interrupt")])
def test_signals_end_it_with_a_report(tmp_path: Path, number: signal.Signals, ending: str) -> None:
    path = script(tmp_path, "train(10)\nprint('ready', flush=True)\ntrain(100000, wait=0.001)")
    process = start(tmp_path, "--run-dir", "run", "--json", "report.json", path.name)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == -number
    assert json.loads((tmp_path / "report.json").read_text())["run"]["ending"] == ending
    assert "steps" in stderr


def steps_stored(directory: Path) -> int:
    return load(directory)[0].run.steps if (directory / "history.npz").exists() else 0


def test_after_kill_9_the_last_snapshot_can_be_read(tmp_path: Path) -> None:
    path = script(tmp_path, "print('ready', flush=True)\ntrain(100000, clear=False, wait=0.002)")
    process = start(tmp_path, "--run-dir", "run", path.name)
    assert process.stdout is not None
    process.stdout.readline()
    deadline = time.monotonic() + 60
    while steps_stored(tmp_path / "run") <= 20 and time.monotonic() < deadline:
        time.sleep(0.2)
    process.kill()
    process.communicate(timeout=60)
    assert steps_stored(tmp_path / "run") > 20
    shown = run(tmp_path, "run", command=("-m", "diagnose", "report"))
    assert "gradients-not-cleared" in shown.stdout + shown.stderr
    assert not list((tmp_path / "run").glob("*.tmp"))


def test_a_folder_of_modules_with_the_names_of_others(tmp_path: Path) -> None:
    """The script's own `html.py` is its business; what we import must not be that."""
    for name in ("html", "tomllib", "helper"):
        (tmp_path / f"{name}.py").write_text(f"print('the own {name}')\n")
    path = script(tmp_path, "import html\ntrain(10)\n", head="import helper\n" + TRAIN)
    plain, watched = run(tmp_path, path.name, command=()), run(tmp_path, "--json", "report.out", path.name)
    assert (watched.stdout, watched.returncode) == (plain.stdout, 0), watched.stderr
    assert "the own html" in watched.stdout
    assert json.loads((tmp_path / "report.out").read_text())["run"]["steps"] == 10


def test_os_exit(tmp_path: Path) -> None:
    path = script(tmp_path, "train(10)\nimport os\nos._exit(4)")
    assert run(tmp_path, path.name).returncode == 4


def test_module_in_a_package_under_interpreter_flags(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "model.py").write_text(TRAIN)
    script(
        package,
        "from .model import train\nprint(__name__, __debug__, __spec__.name)\ntrain(20)",
        head="",
    )
    watched = run(
        tmp_path,
        "-m",
        "package.train",
        command=("-O", "-u", "-m", "diagnose", "run", "--run-dir", "run"),
    )
    assert watched.stdout == "__main__ False package.train\n"
    assert "20 steps" in watched.stderr


def test_threads_set_before_torch_is_imported(tmp_path: Path) -> None:
    head = "import os\nos.environ['OMP_NUM_THREADS'] = '1'\nimport torch\nprint(torch.get_num_threads())\n"
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    path = script(tmp_path, "", head=head)
    assert run(tmp_path, path.name, env=environment).stdout == "1\n"


def test_loader_workers_that_fork_and_spawn(tmp_path: Path) -> None:
    body = """
from torch.utils.data import DataLoader, Dataset
class Data(Dataset):
    def __len__(self): return 64
    def __getitem__(self, i): return torch.full((4,), i / 64), i % 2
if __name__ == "__main__":
    for context in ("fork", "spawn"):
        for x, y in DataLoader(Data(), 8, shuffle=True, num_workers=2, multiprocessing_context=context):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    print(sum(p.sum().item() for p in model.parameters()))
"""
    path = script(tmp_path, body)
    plain = run(tmp_path, path.name, command=("-W", "error"))
    watched = run(tmp_path, path.name, command=("-W", "error", "-m", "diagnose", "run", "--run-dir", "run"))
    assert (watched.stdout, watched.returncode) == (plain.stdout, 0), watched.stderr
    assert "16 steps" in watched.stderr


@pytest.mark.parametrize(
    ("body", "head", "expected", "code"),
    [
        ("print('hello')", "", "never imported torch", 0),
        ("print(torch.ones(2).sum())", "import torch\n", "no optimizer step", 0),
        (
            "model.eval()\nwith torch.no_grad():\n    model(torch.ones(1, 4))",
            TRAIN,
            "no optimizer step",
            0,
        ),
        ("import no_such_module", "", "no_such_module", 1),
        ("", "", "never imported torch", 0),
        ("def broken(:", "", "SyntaxError", 1),
    ],
)
def test_runs_with_nothing_to_see(tmp_path: Path, body: str, head: str, expected: str, code: int) -> None:
    path = script(tmp_path, body, head=head)
    watched = run(tmp_path, "--json", "report.json", path.name)
    assert watched.returncode == code
    assert expected in watched.stderr
    assert "Traceback" not in watched.stderr or code == 1


def test_training_in_a_spawned_child_is_said_not_to_be_watched(tmp_path: Path) -> None:
    body = """
import multiprocessing
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=train, args=(5,))
    child.start()
    child.join()
    print(child.exitcode)
"""
    path = script(tmp_path, body)
    watched = run(tmp_path, path.name)
    assert watched.stdout == "0\n"
    assert "other processes" in watched.stderr


def test_bad_usage(tmp_path: Path) -> None:
    missing = run(tmp_path, "missing.py")
    assert missing.returncode == 2
    assert "missing.py" in missing.stderr
    assert not (tmp_path / "diagnose-runs").exists()
    path = script(tmp_path, "train(3)")
    (tmp_path / "file").write_text("")
    unwritable = run(tmp_path, "--run-dir", "file/run", path.name)
    assert unwritable.returncode == 2
    assert "file/run" in unwritable.stderr
    (tmp_path / "pyproject.toml").write_text("[tool.diagnose]\nbudgett = 0.1\n")
    garbage = run(tmp_path, path.name)
    assert garbage.returncode == 2
    assert 'Did you mean "budget"' in garbage.stderr


def test_switched_off(tmp_path: Path) -> None:
    path = script(tmp_path, "print(train(20, clear=False))")
    off = run(tmp_path, path.name, env={**os.environ, "DIAGNOSE": "0"})
    assert (off.returncode, off.stderr) == (0, "")
    assert not (tmp_path / "diagnose-runs").exists()


def test_a_failure_inside_of_the_forward_has_the_frames_of_its_own_run(tmp_path: Path) -> None:
    """Under the mode a Python function of torch stands in the traceback twice; what is ours goes."""
    body = "F.mse_loss(model(torch.randn(3, 4)), torch.randn(5, 7), reduction='no such')\n"
    path = script(tmp_path, body)
    plain, watched = run(tmp_path, path.name, command=()), run(tmp_path, path.name)
    assert watched.returncode == plain.returncode == 1
    assert plain.stderr in watched.stderr


def test_warnings_name_the_line_that_they_name_without_us(tmp_path: Path) -> None:
    """From torch's Python code (stacklevel 2) and from its C++ code (the innermost Python frame)."""
    body = (
        "for _ in range(2):\n"
        "    optimizer.zero_grad()\n"
        "    F.mse_loss(model(torch.randn(3, 4)), torch.randn(1, 2)).backward()\n"
        "    nn.MSELoss()(model(torch.randn(3, 4)), torch.randn(1, 2))\n"
        "    optimizer.step()\n"
        "float(next(model.parameters()).sum())\n"
    )
    path = script(tmp_path, body)
    plain, watched = run(tmp_path, path.name, command=()), run(tmp_path, path.name)
    assert "UserWarning" in plain.stderr
    assert watched.stderr.startswith(plain.stderr)


def test_a_baseline_and_sarif(tmp_path: Path) -> None:
    path = script(tmp_path, "train(120, clear=False)")
    first = run(tmp_path, "--write-baseline", "known.json", "--sarif", "a.sarif", "--fail-on", "warning", str(path))
    assert first.returncode == 3
    known = json.loads((tmp_path / "known.json").read_text())["findings"]
    assert "gradients-not-cleared" in [entry["code"] for entry in known]
    (result, *_) = json.loads((tmp_path / "a.sarif").read_text())["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "train.py"
    again = run(tmp_path, "--baseline", "known.json", "--fail-on", "warning", str(path))
    assert again.returncode == 0, again.stderr
    assert "in the baseline" in again.stderr


def test_a_baseline_that_cannot_be_read_is_told_before_the_script_runs(tmp_path: Path) -> None:
    path = script(tmp_path, "print('ran')")
    for options in (["--baseline", "missing.json"], ["--sarif", str(tmp_path)], ["--write-baseline", str(tmp_path)]):
        refused = run(tmp_path, *options, str(path))
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "diagnose: " in refused.stderr
        assert not (tmp_path / "diagnose-runs").exists()
