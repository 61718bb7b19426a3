"""Trained well and not general: few rows, useless features, networks that learn the noise."""

from benchmarks.gap_scenarios import datasets as d
from benchmarks.gap_scenarios import models as m
from benchmarks.gap_scenarios import patterns as p
from benchmarks.gap_scenarios.scenario import Intervention, Scenario

F = "overfitting"

# Where the noise is in the data themselves, only much less room to learn it by heart makes a difference.
_MUCH_LESS = (
    Intervention("less-capacity", "width 4", "width", {"width": 4}),
    Intervention("more-regularization", "stopped early", "epochs", {"epochs": 8}),
    Intervention("more-regularization", "decay .1", "weight_decay", {"weight_decay": 0.1}),
)

SCENARIOS = [
    Scenario(
        "digits-eighty-rows",
        F,
        48,
        d.recipe(d.digits, train=80),
        m.mlp,
        {"width": ("hidden_units", 128), "lr": ("lr", 3e-3), "epochs": ("epochs", 40), "batch": ("batch_size", 16)},
        target=0.06,
        human=0.02,
        gives_val=True,
    ),
    Scenario(
        "mnist-few-rows-cnn",
        F,
        49,
        d.recipe(d.mnist, train=150, test=1000),
        m.conv_net(2, "flatten"),
        {
            "width": ("filters", 8),
            "kernel": ("kernel_size", 3),
            "padding": ("padding", 1),
            "lr": ("learning_rate", 3e-3),
            "epochs": ("epochs", 20),
        },
        target=0.1,
        human=0.02,
    ),
    Scenario(
        "needles-among-useless-features",
        F,
        52,
        d.recipe(d.clusters(60, informative=5, per_class=1, sep=0.9), train=100),
        m.mlp,
        {"width": ("h", 64), "lr": ("lr", 5e-3), "epochs": ("epochs", 40), "batch": ("batch_size", 16)},
        target=0.1,
        gives_val=True,
    ),
    Scenario(
        "gratings-sixty-images",
        F,
        54,
        d.recipe(p.gratings(4, 12, 5.0, noise=1.5), train=60),
        m.conv_net(2, "flatten"),
        {
            "width": ("n_channels", 16),
            "kernel": ("k", 5),
            "lr": ("lr", 3e-3),
            "epochs": ("epochs", 25),
            "batch": ("batch_size", 16),
        },
        target=0.15,
        gives_val=True,
    ),
    Scenario(
        "parity-learned-by-heart",
        F,
        56,
        d.recipe(d.parity(4, 12), train=200),
        m.mlp,
        {"width": ("n_hidden", 128), "lr": ("lr", 5e-3), "epochs": ("passes", 40), "batch": ("mb_size", 16)},
        target=0.1,
    ),
    Scenario(
        "coin-flips-memorised",
        F,
        94,
        d.recipe(d.linear(10, useful=10, noise=1.0), train=200, test=1000, more=2),
        m.mlp,
        {
            "width": ("fc_dim", 128),
            "depth": ("fc_layers", 2),
            "lr": ("lr", 5e-3),
            "weight_decay": ("l2_penalty", 0.0),
            "epochs": ("epochs", 40),
            "batch": ("batch_size", 32),
        },
        target=0.3,
        extra=_MUCH_LESS,
        gives_val=True,
    ),
    Scenario(
        "diabetes-memorised",
        F,
        95,
        d.recipe(d.diabetes, train=100, val=40, test=200, more=2),
        m.mlp,
        {
            "width": ("hidden_layer_size", 128),
            "depth": ("n_layers", 2),
            "dropout": ("drop_prob", 0.0),
            "lr": ("learning_rate_init", 5e-3),
            "epochs": ("max_iter", 40),
            "batch": ("batch_size", 16),
        },
        target=0.27,
        extra=_MUCH_LESS,
    ),
    Scenario(
        "clusters-noisy-by-nature",
        F,
        96,
        d.recipe(d.clusters(4, informative=2, per_class=1, sep=1.5, flip=0.4), train=200, test=1000, more=2),
        m.mlp,
        {
            "width": ("nodes", 128),
            "depth": ("stack", 2),
            "lr": ("lr", 5e-3),
            "epochs": ("n_steps", 40),
            "batch": ("batch_size", 32),
        },
        target=0.22,
        extra=_MUCH_LESS,
    ),
    Scenario(
        "one-useful-feature-in-a-crowd",
        F,
        97,
        d.recipe(d.linear(30, useful=2, noise=0.5), train=150, test=1000, more=2),
        m.mlp,
        {
            "width": ("size_hidden", 64),
            "depth": ("num_hidden", 3),
            "weight_decay": ("decay", 1e-5),
            "lr": ("lr", 3e-3),
            "epochs": ("epochs", 40),
            "batch": ("batch_size", 16),
        },
        target=0.2,
        extra=_MUCH_LESS,
        gives_val=True,
    ),
]
