"""The target is met: nothing to do, whatever else may look improvable."""

from benchmarks.gap_scenarios import datasets as d
from benchmarks.gap_scenarios import models as m
from benchmarks.gap_scenarios import patterns as p
from benchmarks.gap_scenarios.scenario import Scenario

F = "target-met"

SCENARIOS = [
    Scenario(
        "digits-good-enough",
        F,
        89,
        d.recipe(d.digits, train=500, test=600),
        m.mlp,
        {"width": ("hidden_units", 48), "lr": ("lr", 3e-3), "epochs": ("epochs", 20), "batch": ("batch_size", 32)},
        target=0.12,
        human=0.02,
        gives_val=True,
        is_met=True,
    ),
    Scenario(
        "cancer-good-enough",
        F,
        90,
        d.recipe(d.cancer, train=150, val=100, test=300, more=1),
        m.mlp,
        {"width": ("nodes", 16), "lr": ("eta", 5e-3), "epochs": ("epochs", 15), "batch": ("batch", 16)},
        target=0.09,
        is_met=True,
    ),
    Scenario(
        "tones-good-enough",
        F,
        91,
        d.recipe(p.tones((4, 6, 9), 40), train=300),
        m.conv_net(1, "mean"),
        {"width": ("channels", 12), "kernel": ("ks", 9), "lr": ("lr", 0.01), "epochs": ("epochs", 12)},
        target=0.08,
        is_met=True,
        gives_val=True,
    ),
    Scenario(
        "mnist-gap-within-target",
        F,
        92,
        d.recipe(d.mnist, train=400, test=1000),
        m.mlp,
        {
            "width": ("num_hidden", 64),
            "lr": ("learning_rate", 3e-3),
            "weight_decay": ("wd", 1e-4),
            "epochs": ("epochs", 15),
            "batch": ("bs", 32),
        },
        target=0.22,
        is_met=True,
    ),
]
