"""Training mode and evaluation mode: dropout and normalisation."""
