"""Rules about what the loss function is given."""
