"""Wrong labels: few and many, uniform and of one kind, learned by heart or not."""

from benchmarks.gap_scenarios import datasets as d
from benchmarks.gap_scenarios import faults as f
from benchmarks.gap_scenarios import models as m
from benchmarks.gap_scenarios.scenario import Scenario

F = "labels"

SCENARIOS = [
    Scenario(
        "digits-a-fifth-flipped",
        F,
        59,
        f.flipped(d.recipe(d.digits, train=800, test=400), 0.2),
        m.mlp,
        {"width": ("hidden_units", 32), "lr": ("lr", 3e-3), "epochs": ("epochs", 15), "batch": ("batch_size", 32)},
        target=0.05,
        human=0.02,
        gives_val=True,
        tells="live",
    ),
    Scenario(
        "mnist-two-fifths-flipped",
        F,
        60,
        f.flipped(d.recipe(d.mnist, train=800, test=1000), 0.4),
        m.mlp,
        {"width": ("num_units", 64), "lr": ("learning_rate", 3e-3), "epochs": ("epochs", 12), "batch": ("bs", 32)},
        target=0.15,
        human=0.02,
        tells="live",
    ),
    Scenario(
        "cancer-careless-annotator",
        F,
        61,
        f.flipped(d.recipe(d.cancer, train=300, val=69, test=200, more=1), 0.25),
        m.mlp,
        {"width": ("nodes", 32), "lr": ("eta", 5e-3), "epochs": ("n_epochs", 30), "batch": ("batch", 16)},
        target=0.05,
        tells="live",
    ),
    Scenario(
        "mnist-wrong-in-test-too",
        F,
        63,
        f.flipped(d.recipe(d.mnist, train=1000, test=1000), 0.12, test_too=True),
        m.mlp,
        {"width": ("hidden_dim", 64), "lr": ("lr", 2e-3), "epochs": ("epochs", 10), "batch": ("bsz", 32)},
        target=0.12,
        human=0.02,
        gives_val=True,
        tells="live",
    ),
    Scenario(
        "clusters-one-sided-errors",
        F,
        65,
        f.flipped(
            d.recipe(d.clusters(8, informative=6, classes=4, per_class=1, sep=2.0), train=600),
            0.3,
            to=lambda y, classes: y.clamp(max=2),
        ),
        m.mlp,
        {"width": ("n_hidden", 64), "lr": ("alpha", 5e-3), "epochs": ("iterations", 25), "batch": ("minibatch", 32)},
        target=0.04,
        gives_val=True,
        tells="live",
    ),
]
