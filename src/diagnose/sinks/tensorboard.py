"""A run in TensorBoard: scalars, histograms and the findings as text.

torch and tensorboard are imported when there is something to write. What goes wrong (tensorboard is not
installed, the disk is full) is said once; the sink is then silent, and training goes on.
"""

from __future__ import annotations

import html
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from diagnose.report import Report
from diagnose.sinks import wording
from diagnose.storage import EVENT_FILE_SUFFIX

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from diagnose.history import History, Ints, Quantity
    from diagnose.stats.histogram import Histogram

SCALARS: Final[Mapping[Quantity, str]] = {
    "loss": "loss/{}",
    "eval_loss": "evaluation loss/{}",
    "metric": "metric/{}",
    "grad_norm": "gradient norm/{}",
    "grad_norm_before_clip": "gradient norm/{} before clipping",
    "lr": "learning rate/{}",
    "update_ratio": "update ratio/{}",
    "dead_share": "dead units/{}",
    "saturated_share": "saturation/{}",
    "active_share": "active share/{}",
}
"""Quantities that are drawn, and their tags; TensorBoard groups by what stands before the first slash."""

FINDINGS_TAG: Final = "findings"


class TensorBoardSink:
    """Writes what is new since the last time; every method returns at once when the sink is broken.

    Args:
        target: the directory for an event file of ours, or a SummaryWriter of the user, which is flushed but
            never closed.
        say: takes the one message about why nothing is written any more; by default it goes to stderr.
    """

    def __init__(self, target: str | Path | SummaryWriter, *, say: Callable[[str], None] | None = None) -> None:
        self._log_dir = str(target) if isinstance(target, str | os.PathLike) else None
        self._writer: Any = None if self._log_dir is not None else target
        self._say = say or _say
        self._process = os.getpid()
        self._broken = False
        # By quantity and clock: the tag of each column, and the last step that was written of it. Of each
        # column, because a row may get more of them after it was read.
        self._drawn: dict[tuple[str, str], tuple[list[str], Ints]] = {}
        self._findings = ""

    def add_scalars(self, history: History) -> None:
        """Writes the rows of the quantities in SCALARS that were not written before."""
        self._guarded(self._add_scalars, history)

    def add_histogram(self, tag: str, step: int, values: Histogram) -> None:
        """Writes one histogram; nothing if it has no finite values.

        Args:
            tag: "activations/LAYER (pre)", "gradients/PARAMETER", ...
        """
        self._guarded(self._add_histogram, tag, step, values)

    def add_findings(self, report: Report) -> None:
        """Writes the findings as text at the run's last step, if they are not what was written last."""
        self._guarded(self._add_findings, report)

    def flush(self) -> None:
        """Brings everything to the disk. Without it, what was added may be seen only at the end."""
        if self._writer is not None:
            self._guarded(self._writer.flush)

    def close(self) -> None:
        """Flushes; nothing stays open, and a writer that was passed in stays usable."""
        self.flush()

    # -- safety -------------------------------------------------------------------------------------

    def _guarded(self, write: Callable[..., object], *arguments: object) -> None:
        if self._broken or os.getpid() != self._process:
            return
        try:
            write(*arguments)
        except Exception as error:
            self._broken = True
            self._say(f"TensorBoard files are not written any more: {type(error).__name__}: {error}")

    def _open(self) -> Any:
        """The writer, which is made the first time."""
        if self._writer is None:
            try:
                with warnings.catch_warnings():
                    # tensorboard's own imports are deprecated every other year; not the user's concern.
                    warnings.simplefilter("ignore")
                    from diagnose.sinks._event_file import ThreadlessWriter
            except ImportError as error:
                raise ImportError(
                    f"{error}. Install it (pip install tensorboard) or leave it out (--no-tensorboard)."
                ) from error
            assert self._log_dir is not None
            self._writer = ThreadlessWriter(self._log_dir, EVENT_FILE_SUFFIX)
        return self._writer

    # -- writing ------------------------------------------------------------------------------------

    def _add_scalars(self, history: History) -> None:
        import numpy as np

        for quantity, pattern in SCALARS.items():
            for clock, table in history.tables(quantity):
                tags, last = self._drawn.get((quantity, clock), ([], np.zeros(0, dtype=np.int64)))
                tags += [_tag(pattern, scope) for scope in table.scopes[len(tags) :]]
                last = np.pad(last, (0, len(tags) - len(last)), constant_values=-1)
                new = (table.steps[:, None] > last) & ~np.isnan(table.values)
                for row in np.flatnonzero(new.any(axis=1)):
                    step, columns = int(table.steps[row]), np.flatnonzero(new[row])
                    numbers = table.values[row, columns].tolist()
                    self._add_values(dict(zip([tags[c] for c in columns], numbers, strict=True)), step)
                    last[columns] = step
                self._drawn[quantity, clock] = tags, last

    def _add_values(self, values: Mapping[str, float], step: int) -> None:
        writer = self._open()
        if self._log_dir is not None:
            writer.add_values(values, step)
            return
        for tag, value in values.items():
            writer.add_scalar(tag, value, step)

    def _add_histogram(self, tag: str, step: int, values: Histogram) -> None:
        if not values.number:
            return
        self._open().add_histogram_raw(
            wording.visible(tag),
            min=values.minimum,
            max=values.maximum,
            num=values.number,
            sum=values.total,
            sum_squares=values.total_of_squares,
            bucket_limits=values.edges[1:].tolist(),
            bucket_counts=values.counts.tolist(),
            global_step=step,
        )

    def _add_findings(self, report: Report) -> None:
        text = findings_markdown(report)
        if text != self._findings:
            self._open().add_text(FINDINGS_TAG, text, report.run.steps)
            self._findings = text


def findings_markdown(report: Report) -> str:
    """The findings of `report` in Markdown, in which names and messages are only text."""
    parts = [f"**{_markdown(wording.headline(report))}**", _markdown(wording.watched(report))]
    for finding in report.findings:
        code = f"**{finding.severity.value} {_markdown(finding.code)}**"
        title = f"{code} {_markdown(wording.place_and_steps(finding, report))}".rstrip()
        parts.append(f"{title}: {_markdown(finding.message)}")
        details = wording.details(finding, report)
        parts.append("\n".join(f"- **{label}** {_markdown(text)}" for label, text in details))
    parts += [f"not seen: {_markdown(gap)}" for gap in wording.gaps(report)]
    return "\n\n".join(parts)


def _markdown(text: str) -> str:
    """`text` such that Markdown shows it as it is."""
    escaped = re.sub(r"([\\`*_{}\[\]#])", r"\\\1", html.escape(wording.visible(text), quote=False))
    return escaped.replace("|", "&#124;")


def _tag(pattern: str, scope: str) -> str:
    return wording.visible(pattern.format(scope))


def _say(message: str) -> None:
    print(f"diagnose: {message}", file=sys.stderr)
