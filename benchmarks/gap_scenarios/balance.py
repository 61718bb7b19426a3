"""Rare classes in training that are as frequent as the others where it counts."""

from benchmarks.gap_scenarios import datasets as d
from benchmarks.gap_scenarios import faults as f
from benchmarks.gap_scenarios import models as m
from benchmarks.gap_scenarios import patterns as p
from benchmarks.gap_scenarios.scenario import Scenario

F = "imbalance"

SCENARIOS = [
    Scenario(
        "cancer-few-malignant",
        F,
        85,
        f.imbalanced(d.recipe(d.cancer, train=300, val=69, test=200, more=1), {0: 0.03}),
        m.mlp,
        {
            "width": ("nodes", 8),
            "lr": ("eta", 2e-3),
            "weight_decay": ("l2", 1e-2),
            "epochs": ("epochs", 15),
            "batch": ("batch", 16),
        },
        target=0.05,
        rebalances=True,
        tells="live",
    ),
    Scenario(
        "clusters-one-in-thirty",
        F,
        86,
        f.imbalanced(d.recipe(d.clusters(10, informative=4, per_class=1, sep=0.9), train=1200), {1: 0.035}),
        m.mlp,
        {"width": ("hidden", 16), "lr": ("lr", 3e-3), "epochs": ("epochs", 15), "batch": ("batch_size", 32)},
        target=0.15,
        rebalances=True,
        tells="live",
    ),
    Scenario(
        "gratings-rare-directions",
        F,
        87,
        f.imbalanced(d.recipe(p.gratings(4, 12, 5.0, noise=2.0), train=600), {2: 0.06, 3: 0.06}),
        m.conv_net(2, "mean"),
        {
            "width": ("filters", 8),
            "kernel": ("kernel_size", 5),
            "lr": ("learning_rate", 0.01),
            "epochs": ("epochs", 10),
        },
        target=0.1,
        rebalances=True,
        tells="live",
    ),
    Scenario(
        "noisy-line-rare-positives",
        F,
        88,
        f.imbalanced(d.recipe(d.linear(10, useful=10, noise=0.4), train=1200), {1: 0.05}),
        m.mlp,
        {"depth": ("layers", 0), "lr": ("step_size", 0.01), "epochs": ("max_iter", 15), "batch": ("batch_size", 32)},
        target=0.18,
        rebalances=True,
        tells="live",
    ),
]
