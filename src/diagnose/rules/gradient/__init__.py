"""Rules about the gradients of the parameters."""
