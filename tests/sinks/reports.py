"""Made-up reports for the tests of the sinks."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from diagnose.findings import Finding, Location, Severity
from diagnose.report import OptimizerSummary, Report, RunSummary

RUN = RunSummary(
    command="train.py --epochs 3",
    started="2026-01-02T03:04:05",
    ending="finished",
    models=("CNN",),
    optimizers=(OptimizerSummary("SGD", "SGD", 412),),
    steps=412,
    sampled=38,
    wall_s=12.31,
    own_s=0.4,
    startup_s=0.2,
    overhead=0.0123,
    versions={"torch": "2.13"},
    directory=Path("/runs/train-20260102-030405"),
)
UPDATE_TOO_LARGE = Finding(
    code="update-too-large",
    severity=Severity.ERROR,
    message="SGD moves head.weight by 43 % of its size, 40 samples in a row.",
    where=Location(parameter="head.weight"),
    first_step=3,
    last_step=412,
    evidence={
        "update_ratio": 0.4312,
        "limit": 0.1,
        "learning_rate": 4.0,
        "also_at": ["body.0.weight", "body.2.weight"],
    },
    cause="The learning rate is too high for this model.",
    remedy="Divide the learning rate by 10 (now 4).",
    symptoms=(
        Finding("dead-units", Severity.WARNING, "", Location(module="body.7"), first_step=9),
        Finding("loss-not-decreasing", Severity.WARNING, "", first_step=40, last_step=80),
    ),
)
NOT_CLEARED = Finding(
    code="gradients-not-cleared",
    severity=Severity.WARNING,
    message="Each step uses gradients that the step before it has used already.",
    where=Location(file="train.py", line=31),
    first_step=2,
    evidence={"stale_share": 0.998, "limit": 0.5},
    remedy="Call optimizer.zero_grad() before loss.backward().",
)
REMARK = Finding(
    code="bias-before-batchnorm",
    severity=Severity.INFO,
    message="The bias of conv1 is removed by the BatchNorm after it: 16 of 12,345 parameters do nothing.",
    where=Location(parameter="conv1.bias"),
)
NOT_RUN = {"exploding-gradient": "not run: needs grad_norm"}

UNHEALTHY = Report((UPDATE_TOO_LARGE, NOT_CLEARED, REMARK), NOT_RUN, RUN)
HEALTHY = Report((), NOT_RUN, RUN)
NOTHING_SEEN = Report((), {}, RunSummary(ending="exception"))

TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
"""Every code point there is, surrogates and control characters too."""


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """Reports whose every text is arbitrary."""

    def a_finding(symptoms: tuple[Finding, ...] = ()) -> Finding:
        return Finding(
            code=draw(TEXT),
            severity=draw(st.sampled_from(Severity)),
            message=draw(TEXT),
            where=Location(draw(st.none() | TEXT), draw(st.none() | TEXT), draw(st.none() | TEXT), 3),
            first_step=draw(st.none() | st.integers(1, 100)),
            last_step=draw(st.none() | st.integers(100, 200)),
            evidence=draw(
                st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | st.floats() | TEXT, max_size=3)
            ),
            cause=draw(TEXT),
            remedy=draw(TEXT),
            symptoms=symptoms,
        )

    findings = tuple(a_finding((a_finding(),)) for _ in range(draw(st.integers(0, 2))))
    run = RunSummary(
        models=(draw(TEXT),),
        optimizers=(OptimizerSummary(draw(TEXT), draw(TEXT), 200),),
        steps=200,
        ending=draw(TEXT),
        not_seen={draw(TEXT): draw(TEXT)},
        failed={draw(TEXT): draw(TEXT)},
        directory=Path("runs/" + draw(TEXT).replace("\0", "")),
    )
    return Report(findings, {draw(TEXT): draw(TEXT)}, run)
