"""What watching costs: time of watched training over plain training, measured side by side in one run.

    python benchmarks/overhead.py                 # three models, about half an hour
    python benchmarks/overhead.py --models mlp --rounds 3

Each round times, for every variant, a plain block of steps, a watched one and a plain one again, of the same model in
the same process: a new model or process alone changes a step's time by 10 % and more, by where its memory lies. A
ratio is the watched time over the mean of its two neighbours. The first row, plain blocks between plain blocks, shows
what the machine's noise makes of a ratio that is 1. Printed are median, quartiles and range of the rounds, of CPU time
and of wall time. One thread.

The first 100 steps of a watch (the start-up: imports, discovery, dense samples, probes of the model) are a block's
warm-up and are printed apart, in milliseconds: they cost once, however long a run is.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diagnose

WARM_UP_STEPS = 100


class Block(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + self.shortcut(x))


def resnet18() -> nn.Module:
    """ResNet-18 in its usual form for 32x32 images."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    channels = 64
    for out, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(channels, out, stride), Block(out, out, 1)]
        channels = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class GPTBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, c))
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    def __init__(self, vocabulary: int = 256, width: int = 128, depth: int = 4, length: int = 128) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*[GPTBlock(width, 4) for _ in range(depth)])
        self.ln, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x) + self.places(torch.arange(x.shape[1]))
        return self.head(self.ln(self.blocks(h))).transpose(1, 2)


@dataclass(frozen=True)
class Task:
    """A model, a batch and how many steps are timed."""

    make: Callable[[], nn.Module]
    batch: Callable[[], tuple[Tensor, Tensor]]
    steps: int


TASKS = {
    "mlp": Task(
        lambda: nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)),
        lambda: (torch.randn(128, 784), torch.randint(10, (128,))),
        steps=1000,
    ),
    "resnet18": Task(resnet18, lambda: (torch.randn(32, 3, 32, 32), torch.randint(10, (32,))), steps=40),
    "gpt": Task(GPT, lambda: (torch.randint(256, (8, 128)), torch.randint(256, (8, 128))), steps=120),
}

AfterStep = Callable[[int, Tensor], None]


def nothing(step: int, loss: Tensor) -> None:
    pass


@contextlib.contextmanager
def plain(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[AfterStep]:
    yield nothing


def watched(schedule: str, *, store: bool) -> Callable[..., Any]:
    @contextlib.contextmanager
    def variant(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[AfterStep]:
        with tempfile.TemporaryDirectory() as folder:
            directory = f"{folder}/run" if store else None
            with diagnose.watch(model, optimizer, schedule=schedule, run_dir=directory, summary=False):
                yield nothing

    return variant


def tensorboard(every: int) -> Callable[..., Any]:
    @contextlib.contextmanager
    def variant(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[AfterStep]:
        from torch.utils.tensorboard import SummaryWriter

        with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:

            def after(step: int, loss: Tensor) -> None:
                if step % every == 0:
                    for name, parameter in model.named_parameters():
                        writer.add_histogram(name, parameter, step)
                        writer.add_histogram(f"{name}.grad", parameter.grad, step)

            yield after

    return variant


def wandb(every: int) -> Callable[..., Any]:
    @contextlib.contextmanager
    def variant(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[AfterStep]:
        import wandb as peer

        with tempfile.TemporaryDirectory() as folder:
            run = peer.init(mode="offline", dir=folder)
            run.watch(model, log="all", log_freq=every)
            yield lambda step, loss: run.log({"loss": loss.item()})
            run.finish()

    return variant


@dataclass(frozen=True)
class Variant:
    """A way to watch, and the share of the task's steps that is enough to time it."""

    watch: Callable[..., Any]
    share: float = 1.0


def variants() -> dict[str, Variant]:
    found = {
        "plain (control)": Variant(plain),
        "diagnose, default budget": Variant(watched("budget", store=True)),
        "diagnose, every step": Variant(watched("every", store=False), 0.5),
        "TensorBoard histograms, every step": Variant(tensorboard(1), 0.05),
        "TensorBoard histograms, every 100": Variant(tensorboard(100)),
    }
    if find_spec("wandb"):
        found["wandb.watch(log='all'), every step"] = Variant(wandb(1), 0.1)
        found["wandb.watch(log='all'), every 100"] = Variant(wandb(100))
    return found


class Training:
    """One model in training, of which blocks of steps are timed."""

    def __init__(self, task: Task) -> None:
        torch.manual_seed(0)
        self.model = task.make()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.x, self.y = task.batch()

    def _run(self, steps: range, after: AfterStep) -> None:
        for step in steps:
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(self.x), self.y)
            loss.backward()
            self.optimizer.step()
            after(step, loss)

    def timed(self, watch: Callable[..., Any], steps: int) -> tuple[float, float, float]:
        """CPU seconds and wall seconds of the timed steps, and wall seconds of the warm-up."""
        started_s = time.perf_counter()
        with watch(self.model, self.optimizer) as after:
            self._run(range(WARM_UP_STEPS), after)
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            self._run(range(WARM_UP_STEPS, WARM_UP_STEPS + steps), after)
            return time.process_time() - cpu_s, time.perf_counter() - wall_s, wall_s - started_s


def spread(ratios: list[float]) -> str:
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{middle:.3f} ({low:.3f}-{high:.3f}; {min(ratios):.3f}-{max(ratios):.3f})"


def measure(name: str, rounds: int, only: str) -> None:
    task = TASKS[name]
    training = Training(task)
    training.timed(plain, max(1, task.steps // 10))
    runs = {n: variant for n, variant in variants().items() if n.startswith("plain") or only in n}
    cpu: dict[str, list[float]] = {n: [] for n in runs}
    wall: dict[str, list[float]] = {n: [] for n in runs}
    warm: dict[str, list[float]] = {n: [] for n in runs}
    for round_number in range(rounds):
        for n, variant in runs.items():
            steps = max(1, round(task.steps * variant.share))
            before, during, after = (training.timed(watch, steps) for watch in (plain, variant.watch, plain))
            cpu[n].append(2 * during[0] / (before[0] + after[0]))
            wall[n].append(2 * during[1] / (before[1] + after[1]))
            warm[n].append(during[2] - (before[2] + after[2]) / 2)
        print(f"  {name}: round {round_number + 1} of {rounds}", end="\r", flush=True)
    step_ms = 1000 * after[1] / steps
    print(f"\n### {name}: {rounds} rounds of {task.steps} steps, plain step {step_ms:.1f} ms (wall, last round)\n")
    print("| variant | CPU time / plain | wall time / plain | start-up, ms |")
    print("|---|---|---|---|")
    for n in runs:
        print(f"| {n} | {spread(cpu[n])} | {spread(wall[n])} | {1000 * statistics.median(warm[n]):.0f} |")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--only", default="", metavar="TEXT", help="only variants with TEXT in their names")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, 1 thread; median (quartiles; range) over rounds")
    for name in options.models:
        measure(name, options.rounds, options.only)


if __name__ == "__main__":
    main()
