"""What is found and what is not: labelled training scripts, faulty and healthy, each under `diagnose run`.

    python benchmarks/detection.py                    # all of benchmarks/blind, some minutes on two cores
    python benchmarks/detection.py benchmarks/blind/s13.py

The scripts in `blind/` were written by somebody who knew the codes but not the rules; `labels.json` says what is
wrong with each (null: nothing) and which other codes a fair judge accepts. Printed are, per script, the codes
found, and in all: caught, missed, false alarms at `warning` and above.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

BLIND = Path(__file__).with_name("blind")


def codes_found(script: Path) -> list[str]:
    """The codes of all findings above `info`, symptoms left out, in the order in which they are reported."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "diagnose", "run", "--no-tensorboard", "--json", str(report)]
        subprocess.run([*command, str(script.resolve())], cwd=folder, capture_output=True, timeout=900, check=False)
        findings = json.loads(report.read_text(encoding="utf-8"))["findings"]
    return [finding["code"] for finding in findings if finding["severity"] != "info"]


def verdict(label: dict[str, Any], found: list[str]) -> str:
    if label["code"] is None:
        return "quiet" if not set(found) - set(label["also_ok"]) else "FALSE ALARM"
    if label["code"] in found:
        return "caught"
    return "accepted" if set(found) & set(label["also_ok"]) else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", nargs="*", type=Path, default=sorted(BLIND.glob("s*.py")))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    labels = json.loads((BLIND / "labels.json").read_text(encoding="utf-8"))
    tally: dict[str, int] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        for script, found in zip(options.scripts, pool.map(codes_found, options.scripts), strict=True):
            label = labels[script.name]
            said = verdict(label, found)
            tally[said] = tally.get(said, 0) + 1
            print(f"{script.name}  {said:<12}{label['code'] or '-':<24}{', '.join(found) or '-'}", flush=True)
    print("; ".join(f"{count} {said}" for said, count in sorted(tally.items())))


if __name__ == "__main__":
    main()
