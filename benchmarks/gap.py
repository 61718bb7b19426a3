"""Is the advice of `diagnose_gap` right?  Situations in which every advice was followed, and what it did measured.

    python benchmarks/gap.py                            # judge, in all three variants
    python benchmarks/gap.py --variant numbers --only digits-four-units
    python benchmarks/gap.py --from 60                  # those that were written from the 60th on
    python benchmarks/gap.py --truths                   # what was measured, and what follows
    python benchmarks/gap.py --measure                  # measure again what was changed (--again: everything)
    python benchmarks/gap.py --json FILE

`numbers` are errors with sample sizes, curves and hyperparameters; `live` adds model, data and, where one was
saved, the reloaded model; `probe` adds a train function that may be called. truths.py says when an advice is right,
acceptable or forbidden. The judged run is on a seed that the truth was not measured on. Two floors are judged beside:
"more data" always, and the textbook in five lines. "Tellable" are the scenarios whose cause can be seen in a variant
at all.
The exit code is 0 whatever was found, and 2 when there is nothing to judge with.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `python benchmarks/gap.py`

import torch
from rich.console import Console
from rich.progress import track

import diagnose
from benchmarks.gap_scenarios import floors, truths
from benchmarks.gap_scenarios.bank import scenarios
from benchmarks.gap_scenarios.judging import GRADES, Advisor, Judgement, Summary, judge, summarize
from benchmarks.gap_scenarios.scenario import VARIANTS, Case, Scenario, Variant, case_of
from diagnose.storage import replace_file

SEED = 1000
FLOORS: dict[str, Advisor] = {"more data": floors.always_more_data, "textbook": floors.textbook}


def main(arguments: Sequence[str] | None = None) -> int:
    """Judges, or measures; the exit code."""
    options = _options(arguments)
    torch.set_num_threads(1)  # the trainings are too small for more, and repeat only so
    chosen = [each for each in scenarios() if _is_chosen(each, options)]
    if not chosen:
        print("no scenario has such a name, family or order", file=sys.stderr)
        return 2
    if options.measure:
        return _measure(chosen, again=options.again)
    table = truths.load()
    missing = [each.name for each in chosen if each.name not in table]
    if missing:
        print(f"not measured: {', '.join(missing)}; python benchmarks/gap.py --measure", file=sys.stderr)
        return 2
    known = {each.name: truths.truth_of(each, table[each.name]) for each in chosen}
    if options.truths:
        for each in chosen:
            print(_truth_text(each, known[each.name]))
        return 0
    counting = [each for each in chosen if known[each.name].counts]
    print(f"{len(counting)} scenarios; {len(chosen) - len(counting)} more do not count, for nothing helps them")
    advisors = dict(FLOORS)
    own = getattr(diagnose, "diagnose_gap", None)
    if own is None:
        print("diagnose.diagnose_gap does not exist: only the floors are judged")
    else:
        advisors["diagnose_gap"] = own
    judged = _judge(counting, known, advisors, options.variant or VARIANTS, options.seed)
    for name, judgements in judged.items():
        print(_report(name, judgements, listed=options.all or name == list(advisors)[-1]))
    if options.json:
        data = {name: [each.to_json() for each in judgements] for name, judgements in judged.items()}
        replace_file(options.json, lambda file: file.write(json.dumps(data, indent=1).encode()))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this scenario; may be repeated")
    parser.add_argument("--family", action="append", default=[], help="this family; may be repeated")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="ORDER", help="from this order on")
    parser.add_argument("--variant", action="append", choices=VARIANTS, help="may be repeated; all three by default")
    parser.add_argument("--seed", type=int, default=SEED, help="of the judged run (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="list the floors' answers too")
    parser.add_argument("--truths", action="store_true", help="show what was measured")
    parser.add_argument("--measure", action="store_true", help="measure what is new or was changed")
    parser.add_argument("--again", action="store_true", help="with --measure: everything")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(arguments)


def _is_chosen(scenario: Scenario, options: argparse.Namespace) -> bool:
    return (
        (not options.only or scenario.name in options.only)
        and (not options.family or scenario.family in options.family)
        and scenario.order >= options.first
    )


def _measure(chosen: Sequence[Scenario], *, again: bool) -> int:
    for each in chosen:
        table = truths.load()
        if not again and table.get(each.name, {}).get("fingerprint") == each.fingerprint:
            continue
        table[each.name] = truths.measured(each)
        truths.save(table)
        print(_truth_text(each, truths.truth_of(each, table[each.name])), flush=True)
    known = {each.name for each in scenarios()}
    table = truths.load()
    truths.save({name: row for name, row in table.items() if name in known})
    return 0


def _judge(
    chosen: Sequence[Scenario],
    known: dict[str, truths.Truth],
    advisors: dict[str, Advisor],
    variants: Sequence[Variant],
    first_seed: int,
) -> dict[str, list[Judgement]]:
    judged: dict[str, list[Judgement]] = {name: [] for name in advisors}
    console = Console(stderr=True)
    for each in track(chosen, "judging", console=console, disable=not console.is_terminal, transient=True):
        case = _case(each, first_seed)
        for name, advisor in advisors.items():
            for variant in variants:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    judged[name].append(judge(each, known[each.name], case.copy(), variant, advisor))
    return judged


def _case(scenario: Scenario, first_seed: int) -> Case:
    """The first run that is in the situation: its test error lies on that side of the target that it should.

    A leak makes the test error look better than it is; there any run will do.
    """
    for seed in range(first_seed, first_seed + 10):
        case = case_of(scenario, seed)
        is_met = case.numbers["test_error"] <= case.numbers["target_error"]
        if is_met == scenario.is_met or scenario.family == "leak":
            break
    return case


def _truth_text(scenario: Scenario, truth: truths.Truth) -> str:
    lines = [
        f"{scenario.order:3d} {scenario.name} ({scenario.family}): train {truth.train:.3f}, test {truth.test:.3f}, "
        f"target {scenario.target:g}",
        *(f"      {each.improvement:+.3f} +- {each.se:.3f}  {each.code}: {each.label}" for each in truth.effects),
        f"    right: {_listed(truth.right)}; acceptable: {_listed(truth.acceptable - truth.right)}; "
        f"forbidden: {_listed(truth.forbidden)}",
    ]
    return "\n".join(lines)


def _listed(codes: frozenset[str]) -> str:
    return ", ".join(sorted(codes)) or "nothing"


def _report(name: str, judgements: Sequence[Judgement], *, listed: bool) -> str:
    lines = ["", f"== {name}"]
    if listed:
        for each in judgements:
            said = each.detail if each.grade == "error" else f"{each.verdict}: {each.codes[0] if each.codes else '-'}"
            lines.append(f"{each.order:3d} {each.scenario:32s} {each.variant:8s} {each.grade:10s} {said}")
            if each.grade not in ("right", "error"):
                lines.append(f"      right would be: {', '.join(each.right)}")
            if each.forbidden:
                lines.append(f"      forbidden, and given: {', '.join(each.forbidden)}")
    for variant in VARIANTS:
        of_variant = [each for each in judgements if each.variant == variant]
        lines += _shares(variant, of_variant)
        if of_variant:
            lines += _shares(f"{variant}, tellable", [each for each in of_variant if each.tellable])
            lines.append("    " + ", ".join(f"{g} {sum(e.grade == g for e in of_variant)}" for g in GRADES))
            for family in dict.fromkeys(each.family for each in of_variant):
                mine = [each for each in of_variant if each.family == family]
                lines.append(
                    f"    {family:16s} right {sum(e.grade == 'right' for e in mine)} of {len(mine)}"
                    f", with a forbidden advice {sum(bool(e.forbidden) for e in mine)}"
                )
    return "\n".join(lines)


def _shares(title: str, judgements: Sequence[Judgement]) -> list[str]:
    summary = summarize(judgements)
    return [] if summary is None else [f"{title}: {_text(summary)}"]


def _text(summary: Summary) -> str:
    named, naming = summary.named
    return (
        f"first right {summary.right}, right or acceptable {summary.useful}, a forbidden one {summary.forbidden} "
        f"of {summary.count}; names a right hyperparameter {named} of {naming}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
