"""The label of a script of the suite: the comments at its top that say what is wrong with it, if anything.

# fault: double-softmax                     the code of the fault, or `none`
# accept: loss-not-decreasing, underfitting other codes that are fair names of it (optional)
# near: log-softmax-mismatch                of a healthy script: the code that it tempts (optional)
# note: The model ends in a softmax and the loss takes another.
# A note may go on over several lines.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

# A fault that no rule names by itself, though others may stand for it.
CODES_WITHOUT_RULE = frozenset({"label-noise"})

_FIELDS = ("fault", "accept", "near", "note")
_FIELD = re.compile(r"# (fault|accept|near|note): (.*\S)\s*$")


class LabelError(ValueError):
    """A script has no label, or one that says nothing sensible."""


@dataclass(frozen=True)
class Label:
    """What is wrong with a script.

    Attributes:
        fault: its code; None for a healthy script.
        accept: other codes that are fair names of the fault; of a healthy script, findings that are no false alarm.
        near: for a healthy script, the code that it tempts.
        note: the fault, or what makes a healthy script look like one, in a sentence or two.
    """

    fault: str | None
    accept: frozenset[str] = frozenset()
    near: str | None = None
    note: str = ""

    @property
    def codes(self) -> frozenset[str]:
        """Every code that the label mentions."""
        return self.accept | {code for code in (self.fault, self.near) if code is not None}


def parse_label(source: str) -> Label:
    """The label at the top of a script's source.

    Raises:
        LabelError: the first line is not `# fault: ...`; a field is given twice or out of order; the note is missing;
            a faulty script has a `near`; an accepted code is the fault itself.
    """
    fields: dict[str, str] = {}
    for line in source.splitlines():
        if found := _FIELD.match(line):
            name, text = found.groups()
            if fields and _FIELDS.index(name) <= _FIELDS.index(list(fields)[-1]):
                raise LabelError(f"'# {name}:' stands after '# {list(fields)[-1]}:'; the order is {', '.join(_FIELDS)}")
            fields[name] = text
        elif "note" in fields and line.startswith("# "):
            fields["note"] += " " + line.removeprefix("# ").strip()
        else:
            break
    if list(fields)[:1] != ["fault"]:
        raise LabelError("the first line must be '# fault: CODE' or '# fault: none'")
    if "note" not in fields:
        raise LabelError("a '# note: ...' must say what is wrong, or what looks wrong and is not")
    fault = None if fields["fault"] == "none" else fields["fault"]
    accept = frozenset(code.strip() for code in fields["accept"].split(",")) if "accept" in fields else frozenset()
    if fault is not None and "near" in fields:
        raise LabelError("'# near:' is for healthy scripts")
    if fault in accept:
        raise LabelError(f"'# accept:' names the fault itself, {fault}")
    return Label(fault, accept, fields.get("near"), fields["note"])


def read_label(script: Path, *, codes: Collection[str] | None = None) -> Label:
    """The label of a file.

    Args:
        codes: the codes that there are; None does not check.

    Raises:
        LabelError: as `parse_label`, with the file's name; or a code is none of `codes`.
    """
    try:
        label = parse_label(script.read_text(encoding="utf-8"))
    except LabelError as error:
        raise LabelError(f"{script}: {error}") from None
    if codes is not None and (unknown := label.codes - set(codes) - CODES_WITHOUT_RULE):
        raise LabelError(f"{script}: there is no rule {', '.join(sorted(unknown))}; see `diagnose rules`")
    return label
