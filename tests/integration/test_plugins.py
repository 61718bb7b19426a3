"""Rules of third parties: an installed package with an entry point in the group `diagnose.rules`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PLUGIN = '''\
"""A rule about the batch size, from outside."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Evidence, Finding, Severity
from diagnose.history import History
from diagnose.rules import NotRun, rule


@rule("few-steps", needs=("loss",), since="2.0")
def few_steps(history: History, *, fewest: int = 1000, patient: bool = False) -> Iterator[Finding]:
    """The run is too short to say anything.

    ## What it does
    Counts the steps: `fewest` = 1000 are wanted, unless `patient` = False is set.
    ## Why it matters
    It is an example.
    ## How to fix
    Train on.
    ## Limits
    None.
    ## Source
    This test.
    """
    if patient:
        raise NotRun("needs patience")
    if history.run.steps < fewest:
        evidence: dict[str, Evidence] = {"steps": history.run.steps, "limit": fewest}
        yield Finding("few-steps", Severity.WARNING, "the run is too short", evidence=evidence)
'''

TRAIN = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(30):
    inputs = torch.randn(16, 4)
    optimizer.zero_grad()
    nn.functional.mse_loss(model(inputs), inputs[:, :1]).backward()
    optimizer.step()
"""


def install(site: Path, name: str, source: str, *, target: str | None = None) -> None:
    """What an installer leaves in `site` of the package `name`, which has one module."""
    package = site / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "rules.py").write_text(source)
    info = site / f"{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[diagnose.rules]\nextra = {target or f'{name}.rules'}\n")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


def diagnose(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-m", "diagnose", *arguments],
        cwd=site.parent,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def report(site: Path, *options: str) -> dict[str, Any]:
    (site.parent / "train.py").write_text(TRAIN)
    done = diagnose(site, "run", "--no-tensorboard", "--json", "r.json", *options, "train.py")
    assert done.returncode == 0, done.stderr
    loaded: dict[str, Any] = json.loads((site.parent / "r.json").read_text())
    return loaded


def codes(report: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in report["findings"]]


def test_it_is_listed_and_explained(site: Path) -> None:
    install(site, "extra_rules", PLUGIN)
    listed = diagnose(site, "rules")
    assert "few-steps" in listed.stdout and "The run is too short to say anything." in listed.stdout
    page = diagnose(site, "explain", "few-steps")
    assert page.returncode == 0, page.stderr
    assert "## How to fix\nTrain on." in page.stdout
    assert "[tool.diagnose.rules.few-steps]\nfewest = 1000\npatient = false" in page.stdout


def test_its_findings_are_reported(site: Path) -> None:
    install(site, "extra_rules", PLUGIN)
    (found,) = [finding for finding in report(site)["findings"] if finding["code"] == "few-steps"]
    assert found["evidence"] == {"steps": 30, "limit": 1000}
    assert codes(report(site, "--select", "few-steps")) == ["few-steps"]
    assert "few-steps" not in codes(report(site, "--ignore", "few-steps"))


def test_its_thresholds_are_set_and_checked(site: Path) -> None:
    install(site, "extra_rules", PLUGIN)
    pyproject = site.parent / "pyproject.toml"
    pyproject.write_text("[tool.diagnose.rules.few-steps]\nfewest = 10\n")
    assert "few-steps" not in codes(report(site))
    pyproject.write_text("[tool.diagnose.rules.few-steps]\npatient = true\n")
    assert report(site)["not_run"]["few-steps"] == "not run: needs patience"
    pyproject.write_text("[tool.diagnose.rules.few-steps]\nfewset = 10\n")
    refused = diagnose(site, "run", "train.py")
    assert refused.returncode == 2
    assert 'Did you mean "fewest"?' in refused.stderr


BROKEN = {
    "raises": ("raise RuntimeError('oh')", None, "RuntimeError: oh"),
    "exits": ("raise SystemExit(5)", None, "SystemExit: 5"),
    "lacks": ("", "extra_rules.missing", "ModuleNotFoundError: No module named 'extra_rules.missing'"),
    "declares": (
        PLUGIN.replace('"few-steps", needs=("loss",)', '"few-steps", needs=("luck",)'),
        None,
        "RuleError: rule 'few-steps' needs unknown quantities: ['luck']",
    ),
    "doubles": (
        PLUGIN.replace("few-steps", "dead-units").replace("few_steps", "dead_units"),
        None,
        "RuleError: rule 'dead-units' is registered twice",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_plugin_is_named_and_the_others_work(site: Path, how: str) -> None:
    source, target, problem = BROKEN[how]
    install(site, "extra_rules", source, target=target)
    listed = diagnose(site, "rules")
    assert listed.returncode == 0
    assert "dead-units" in listed.stdout and "few-steps" not in listed.stdout
    assert "diagnose: the plugin extra (extra_rules." in listed.stderr and "of extra_rules 1.2" in listed.stderr
    assert problem in listed.stderr
    unknown = diagnose(site, "explain", "few-steps")
    assert unknown.returncode == 2
    assert 'there is no rule "few-steps"' in unknown.stderr and problem in unknown.stderr


def test_a_run_with_a_broken_plugin(site: Path) -> None:
    install(site, "extra_rules", "raise RuntimeError('oh')")
    (found,) = [finding for finding in report(site)["findings"] if finding["code"] == "rule-error"]
    assert found["severity"] == "info"
    assert "the plugin extra (extra_rules.rules of extra_rules 1.2) could not be loaded" in found["message"]
    assert "RuntimeError: oh" in found["message"]


def test_a_rule_of_a_plugin_that_fails_is_left_out(site: Path) -> None:
    install(site, "extra_rules", PLUGIN.replace("if patient:", "if 1 / 0:"))
    (found,) = [finding for finding in report(site)["findings"] if finding["code"] == "rule-error"]
    assert "the rule few-steps failed and was left out: ZeroDivisionError" in found["message"]
