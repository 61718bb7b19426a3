"""Findings in a notebook: complete, escaped, self-contained."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hypothesis import given

from diagnose.report import Report
from diagnose.sinks import wording
from diagnose.sinks.html import findings_html
from tests.sinks.reports import HEALTHY, UNHEALTHY, reports

ALLOWED = {"div", "style", "b", "br", "small", "details", "summary", "dl", "dt", "dd", "code"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on tags that are not closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "br":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1] != "style":
            self.text += data


def test_everything_is_said() -> None:
    page = Page(findings_html(UNHEALTHY))
    for text in (
        "training is broken: 1 error, 1 warning",
        "CNN with SGD; 412 steps (38 sampled) in 12 s, overhead 1.2 %",
        "error update-too-large in head.weight and 2 more, since step 3: SGD moves",
        "update ratio 0.431 (limit 0.1)",
        "Divide the learning rate by 10",
        "loss-not-decreasing (steps 40 to 80)",
        "diagnose explain gradients-not-cleared",
        "bias-before-batchnorm",
        "/runs/train-20260102-030405",
    ):
        assert text in page.text
    assert "healthy: nothing wrong in 412 steps" in Page(findings_html(HEALTHY)).text


def test_self_contained_small_and_without_text_colours() -> None:
    source = findings_html(UNHEALTHY)
    assert len(source) < 4000
    assert not re.search(r"https?:|<script|<link|@import|url\(", source)
    # On a dark page dark text, on a light page light text: only the page knows.
    assert set(re.findall(r"(?<!-)\bcolor:([^;}\"]+)", source)) == {"inherit"}
    assert "background" not in source


def test_names_of_any_length_are_broken_rather_than_cut() -> None:
    """A notebook hides what is wider than its cell."""
    (rule,) = re.findall(r"\.diagnose\{[^}]*\}", findings_html(UNHEALTHY))
    assert "overflow-wrap:anywhere" in rule


@given(report=reports())
def test_nothing_of_the_report_becomes_markup(report: Report) -> None:
    page = Page(findings_html(report))
    assert set(page.tags) <= ALLOWED
    assert {name for name, _ in page.attributes} <= {"class", "style", "open"}
    for finding in report.findings:
        for text in (finding.message, finding.cause, finding.remedy):
            assert wording.visible(text) in page.text


def test_escaping_by_example() -> None:
    from dataclasses import replace

    hostile = "</summary><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;\"\x1b[31m"
    finding = replace(UNHEALTHY.findings[0], code=hostile, message=hostile, evidence={hostile: hostile})
    source = findings_html(Report((finding,), {}, replace(UNHEALTHY.run, models=(hostile,))))
    assert "<script" not in source
    assert "<img" not in source
    assert "\x1b" not in source
    assert "&amp;amp;" in source
