"""memory-growth."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History, LifetimeFacts
from diagnose.rules._base import rule


@rule("memory-growth")
def memory_growth(history: History, *, min_kept: int = 4, min_steps: int = 8) -> Iterator[Finding]:
    """The graphs of more and more losses are kept alive.

    ## What it does
    Marks the graph behind the loss in sampled steps and sees when it is freed. It speaks if the graphs of at least
    `min_kept` = 4 losses were freed all at once (or were alive at the end), the oldest at least `min_steps` = 8
    steps old, and none that was marked between them had been freed before.
    ## Why it matters
    A loss carries the graph that it was computed with. `total += loss` and `losses.append(loss)` keep every graph
    since the last reset: memory grows with each step, until it runs out in the middle of a long epoch, and freeing
    the chain takes time, too.
    ## How to fix
    Accumulate numbers: `total += loss.item()`, or `total += loss.detach()` where waiting for the device costs time.
    The same holds for predictions that are collected for a metric. A state that is carried from batch to batch is
    detached in between.
    ## Limits
    Losses that are kept in a window of fixed length are freed one by one, and pass. Backward frees most of what the
    graph keeps, so a small model may never run out of memory. Accumulation over fewer than 8 steps is passed over.
    A graph that another thread or the garbage collector frees late may look kept.
    ## Source
    PyTorch FAQ, "My model reports cuda runtime error(2): out of memory": "Don't accumulate history across your
    training loop". Four graphs and 8 steps are judgement: a loop that frees its graphs does so within one step.
    """
    lines = dict.fromkeys((facts.file, facts.line) for facts in history.lifetimes)
    for file, line in lines:
        lifetimes = [facts for facts in history.lifetimes if (facts.file, facts.line) == (file, line)]
        if _rolls(lifetimes):
            continue
        groups = [_group(lifetimes, end, history.run.steps) for end in dict.fromkeys(f.died for f in lifetimes)]
        kept = max(groups, key=lambda group: group[1] - group[0][0].born if len(group[0]) >= min_kept else -1)
        group, end = kept
        if len(group) >= min_kept and end - group[0].born >= min_steps:
            yield _finding(group, end, len(groups), min_kept, min_steps)


def _group(lifetimes: list[LifetimeFacts], died: int | None, last: int) -> tuple[list[LifetimeFacts], int]:
    """The graphs that died together, without gaps between them, and when: the newest run of such."""
    end = max(last, max(facts.born for facts in lifetimes)) if died is None else died
    group: list[LifetimeFacts] = []
    for facts in sorted(lifetimes, key=lambda f: f.born, reverse=True):
        if facts.died == died:
            group.insert(0, facts)
        elif group:
            break
    return group, end


def _rolls(lifetimes: list[LifetimeFacts]) -> bool:
    """Whether graphs that are alive together are freed one by one, as from a window of the last losses."""
    by_birth = sorted(lifetimes, key=lambda f: f.born)
    overlapping = [
        (older, newer)
        for older, newer in itertools.pairwise(by_birth)
        if older.died is not None and newer.born < older.died
    ]
    return sum(older.died != newer.died for older, newer in overlapping) > len(overlapping) / 2


def _finding(group: list[LifetimeFacts], end: int, times: int, min_kept: int, min_steps: int) -> Finding:
    oldest, newest = group[0], group[-1]
    return Finding(
        "memory-growth",
        Severity.WARNING,
        f"the graphs of all {len(group)} losses looked at since step {oldest.born + 1} were still alive "
        f"{end - oldest.born} steps later: they pile up",
        Location(file=oldest.file, line=oldest.line),
        oldest.born + 1,
        max(end, newest.born + 1),
        {
            "graphs_kept": len(group),
            "min_kept": min_kept,
            "oldest_steps": end - oldest.born,
            "min_steps": min_steps,
            "freed": "never" if oldest.died is None else end,
        },
        cause="Losses or outputs are summed up or collected with their graphs: total += loss, losses.append(loss).",
        remedy="Accumulate loss.item() or loss.detach(); detach what is collected or carried on.",
    )
