"""Rules about what the optimizers do to the parameters."""
