"""Assertions about training code, builders of histories, and strategies for property tests.

    from diagnose.testing import assert_trains

The assertions are plain functions: they need no pytest, and none of the fixtures that our pytest plugin makes of them.
Names are loaded when they are first used, so that the plugin costs nothing where it is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from diagnose.testing.agreement import (
        assert_accumulation_equivalent,
        assert_accuracy_at_least,
        assert_autocast_agrees,
        assert_compiles,
        assert_directional,
        assert_equivariant,
        assert_invariant,
        assert_models_agree,
        assert_no_host_sync,
        assert_on_device,
        assert_optimizer_covers,
        assert_resumes,
    )
    from diagnose.testing.assertions import (
        assert_all_parameters_update,
        assert_batch_independent,
        assert_beats_baseline,
        assert_causal,
        assert_descends,
        assert_deterministic,
        assert_fits_tiny,
        assert_frozen,
        assert_gradients_correct,
        assert_gradients_flow,
        assert_guarantees,
        assert_inputs_matter,
        assert_loss_at_init,
        assert_no_dead_units,
        assert_no_saturation,
        assert_output_shape_and_finite,
        assert_save_load_roundtrip,
        assert_train_eval_consistent,
        assert_trains,
        assert_transfers,
        assert_update_ratio_between,
    )
    from diagnose.testing.histories import Layer, Parameter, history_of, sampled_steps

ASSERTIONS: Final[tuple[str, ...]] = (
    "assert_accumulation_equivalent",
    "assert_accuracy_at_least",
    "assert_all_parameters_update",
    "assert_autocast_agrees",
    "assert_batch_independent",
    "assert_beats_baseline",
    "assert_causal",
    "assert_compiles",
    "assert_descends",
    "assert_deterministic",
    "assert_directional",
    "assert_equivariant",
    "assert_fits_tiny",
    "assert_frozen",
    "assert_gradients_correct",
    "assert_gradients_flow",
    "assert_guarantees",
    "assert_inputs_matter",
    "assert_invariant",
    "assert_loss_at_init",
    "assert_models_agree",
    "assert_no_dead_units",
    "assert_no_host_sync",
    "assert_no_saturation",
    "assert_on_device",
    "assert_optimizer_covers",
    "assert_output_shape_and_finite",
    "assert_resumes",
    "assert_save_load_roundtrip",
    "assert_train_eval_consistent",
    "assert_trains",
    "assert_transfers",
    "assert_update_ratio_between",
)
"""Each is also a pytest fixture of the same name."""

__all__ = [
    "Layer",
    "Parameter",
    "assert_accumulation_equivalent",
    "assert_accuracy_at_least",
    "assert_all_parameters_update",
    "assert_autocast_agrees",
    "assert_batch_independent",
    "assert_beats_baseline",
    "assert_causal",
    "assert_compiles",
    "assert_descends",
    "assert_deterministic",
    "assert_directional",
    "assert_equivariant",
    "assert_fits_tiny",
    "assert_frozen",
    "assert_gradients_correct",
    "assert_gradients_flow",
    "assert_guarantees",
    "assert_inputs_matter",
    "assert_invariant",
    "assert_loss_at_init",
    "assert_models_agree",
    "assert_no_dead_units",
    "assert_no_host_sync",
    "assert_no_saturation",
    "assert_on_device",
    "assert_optimizer_covers",
    "assert_output_shape_and_finite",
    "assert_resumes",
    "assert_save_load_roundtrip",
    "assert_train_eval_consistent",
    "assert_trains",
    "assert_transfers",
    "assert_update_ratio_between",
    "history_of",
    "sampled_steps",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    homes = ("assertions", "agreement") if name in ASSERTIONS else ("histories",)
    modules = [importlib.import_module(f"{__name__}.{home}") for home in homes]
    value = next(getattr(module, name) for module in modules if hasattr(module, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
