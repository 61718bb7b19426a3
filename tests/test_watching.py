"""`diagnose.watch` as its users meet it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diagnose
from diagnose.storage import load


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 40, *, clear: bool = True) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(16, 4, generator=generator)
        if clear:
            optimizer.zero_grad()
        F.cross_entropy(model(x), (x[:, 0] > 0).long()).backward()
        optimizer.step()


def test_findings_at_any_time_and_after(tmp_path: Path) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(model, optimizer, run_dir=tmp_path / "run", summary=False) as watch:
        assert watch.findings == ()
        train(model, optimizer, clear=False)
        assert [f.code for f in watch.findings] == ["gradients-not-cleared"]
    assert [f.code for f in watch.findings] == ["gradients-not-cleared"]
    history, diagnosis = load(tmp_path / "run")
    assert history.run.steps == 40
    assert diagnosis is not None
    assert [f.code for f in diagnosis.findings] == ["gradients-not-cleared"]


def test_the_summary_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(model, optimizer):
        train(model, optimizer)
    output = capsys.readouterr()
    assert output.out == ""
    assert "healthy" in output.err


def test_logged_metrics() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(model, optimizer, summary=False) as watch:
        train(model, optimizer, steps=5)
        watch.step(loss=torch.tensor(1.5))
        watch.log(val_error=0.25, accuracy=torch.tensor([0.75]))
        with pytest.raises(TypeError, match=r"val_error.*'high'"):
            watch.log(accuracy=0.8, val_error="high")  # type: ignore[arg-type]
    series = watch.history.series("metric", "val_error")
    assert (series.steps.tolist(), series.values.tolist()) == ([5], [0.25])
    assert watch.history.series("metric", "accuracy").values.tolist() == [0.75]
    assert watch.history.series("metric", "loss").values.tolist() == [1.5]


def test_it_renders_itself_in_notebooks() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = diagnose.watch().start()
    train(model, optimizer, clear=False)
    html = watch._repr_html_()
    assert "gradients-not-cleared" in html
    assert "still running" in html
    watch.stop()
    assert "still running" not in watch._repr_html_()
    watch.stop()
    assert "40 steps" in repr(watch)


def test_options_are_checked() -> None:
    with pytest.raises(diagnose.ConfigError, match="budget"):
        diagnose.watch(budget=7.0)
    with pytest.raises(diagnose.ConfigError, match="dead-units"):
        diagnose.watch(ignore=["dead-unit"])
    with pytest.raises(diagnose.ConfigError, match="schedule"):
        diagnose.watch(schedule="sometimes")
    with pytest.raises(diagnose.ConfigError, match=r"not a torch\.nn\.Module"):
        diagnose.watch(model=[3])  # type: ignore[list-item]
    with pytest.raises(diagnose.ConfigError, match=r"not a torch\.optim\.Optimizer"):
        diagnose.watch(net(), optimizer=["adam"])  # type: ignore[list-item]


def test_an_unwritable_run_directory_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(diagnose.RunDirectoryError, match=r"in the way|cannot"):
        diagnose.watch(run_dir=tmp_path / "file" / "run")


def test_a_directory_that_vanishes_is_complained_of_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(model, optimizer, run_dir=tmp_path / "run", tensorboard=False, summary=False) as watch:
        train(model, optimizer, steps=3)
        (tmp_path / "run").rename(tmp_path / "elsewhere")
        watch._store(None)
        watch._store(None)
        train(model, optimizer, steps=3)
    assert capsys.readouterr().err.count("cannot be written any more") == 1
    assert watch.history.run.steps == 6


def test_several_models_by_name() -> None:
    models = {"left": net(), "right": net()}
    optimizer = torch.optim.SGD([p for m in models.values() for p in m.parameters()], lr=0.1)
    with diagnose.watch(models, optimizer, schedule="every", summary=False) as watch:
        (models["left"](torch.randn(3, 4)) + models["right"](torch.randn(3, 4))).square().mean().backward()
        optimizer.step()
    assert {"left.0.weight", "right.0.weight"} <= set(watch.history.parameters)
    assert {"left.1", "right.1"} <= set(watch.history.layers)


def test_an_existing_summary_writer_is_used_and_left_open(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with SummaryWriter(str(tmp_path)) as writer:
        with diagnose.watch(model, optimizer, tensorboard=writer, schedule="every", summary=False):
            train(model, optimizer, steps=5)
        writer.add_scalar("mine", 1.0, 5)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    scalars, histograms = events.Tags()["scalars"], events.Tags()["histograms"]
    assert "mine" in scalars
    assert any(tag.startswith("loss") for tag in scalars)
    assert {"gradients/0.weight", "parameters/0.weight", "updates/0.weight"} <= set(histograms)
    assert {"activations/1 (pre)", "activations/1 (post)"} <= set(histograms)


def test_a_custom_schedule() -> None:
    class Third:
        def next_after(self, step: int) -> int:
            return step + 3 - step % 3

        def spent(self, **_: Any) -> None:
            pass

        def alarm(self, step: int) -> bool:
            return False

        def restart(self, step: int) -> bool:
            return False

    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(model, optimizer, schedule=Third(), summary=False) as watch:
        train(model, optimizer, steps=10)
    assert watch.history.series("update_ratio", "0.weight").steps.tolist() == [3, 6, 9]


def test_the_users_exception_passes_through() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(KeyError), diagnose.watch(model, optimizer, summary=False) as watch:
        train(model, optimizer, steps=3)
        raise KeyError
    assert watch.history.run.ending == "exception"


def test_losses_of_several_backward_lines_are_told_apart() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def main_loss(x: Tensor) -> Tensor:
        return model(x).square().mean()

    with diagnose.watch(model, optimizer, summary=False) as watch:
        for _ in range(4):
            optimizer.zero_grad()
            main_loss(torch.randn(3, 4)).backward()
            (100 + main_loss(torch.randn(3, 4))).backward()
            optimizer.step()
    low, high = (watch.history.series("loss", stream).values for stream in watch.history.scopes("loss"))
    assert low.max() < 10
    assert high.min() > 99
