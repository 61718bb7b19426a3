"""Builders and conformance cases, for our tests and for authors of plugins."""

from diagnose.testing.histories import Layer, Parameter, history_of, sampled_steps

__all__ = ["Layer", "Parameter", "history_of", "sampled_steps"]
