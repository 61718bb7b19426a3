"""Kernels too narrow for the pattern, and maps that shrink for want of zero padding (table 11.1)."""

from benchmarks.gap_scenarios import datasets as d
from benchmarks.gap_scenarios import models as m
from benchmarks.gap_scenarios import patterns as p
from benchmarks.gap_scenarios.scenario import Scenario

F = "convolution"

SCENARIOS = [
    Scenario(
        "motif-narrow-kernel",
        F,
        11,
        d.recipe(p.motif(6, 40, noise=0.8), train=500),
        m.conv_net(1, "max"),
        {
            "width": ("channels", 4),
            "kernel": ("kernel_size", 3),
            "padding": ("padding", 0),
            "lr": ("lr", 0.01),
            "epochs": ("epochs", 20),
        },
        target=0.05,
        tells="probe",
    ),
    Scenario(
        "tones-narrow-kernel",
        F,
        14,
        d.recipe(p.tones((9, 12, 16), 48, noise=0.8), train=500),
        m.conv_net(1, "mean"),
        {
            "width": ("out_channels", 8),
            "kernel": ("ks", 3),
            "lr": ("eta", 0.01),
            "epochs": ("n_epochs", 20),
            "border": ("pad_mode", "same"),
        },
        target=0.1,
        tells="probe",
    ),
    Scenario(
        "gratings-pointwise",
        F,
        15,
        d.recipe(p.gratings(4, 12, 5.0), train=500),
        m.conv_net(2, "mean"),
        {"width": ("feature_maps", 8), "kernel": ("kernel", 1), "lr": ("lr", 0.01), "epochs": ("epochs", 15)},
        target=0.05,
        tells="probe",
    ),
    Scenario(
        "digits-pointwise",
        F,
        17,
        d.recipe(d.digits, train=600),
        m.conv_net(2, "mean"),
        {"width": ("nb_filter", 16), "kernel": ("conv_size", 1), "lr": ("lr", 0.01), "epochs": ("nb_epochs", 20)},
        target=0.15,
        human=0.02,
        tells="probe",
    ),
    Scenario(
        "digits-shrinking-maps",
        F,
        18,
        d.recipe(d.digits, train=600),
        m.conv_net(2, "flatten"),
        {
            "width": ("ch", 3),
            "depth": ("num_convs", 3),
            "kernel": ("kernel_size", 3),
            "padding": ("padding", 0),
            "lr": ("lr", 0.005),
            "epochs": ("epochs", 15),
        },
        target=0.05,
        human=0.02,
        gives_val=True,
        tells="probe",
    ),
    Scenario(
        "mnist-valid-stack",
        F,
        19,
        d.recipe(d.mnist, train=500, test=1000),
        m.conv_net(2, "flatten"),
        {
            "width": ("width", 2),
            "depth": ("depth", 3),
            "kernel": ("ksize", 5),
            "border": ("border_mode", "valid"),
            "lr": ("learning_rate", 0.005),
            "epochs": ("epochs", 15),
        },
        target=0.12,
        human=0.02,
        tells="probe",
    ),
    Scenario(
        "long-echo-narrow-kernel",
        F,
        22,
        d.recipe(p.echo(3, 5, 30, noise=0.4), train=500),
        m.conv_net(1, "max"),
        {
            "width": ("conv_channels", 12),
            "kernel": ("conv_kernel", 2),
            "lr": ("learning_rate", 0.01),
            "epochs": ("epochs", 20),
        },
        target=0.1,
        tells="probe",
    ),
]
