"""The tuner, to come: searches hyperparameters, every trial watched by `diagnose`. Nothing is here yet."""
