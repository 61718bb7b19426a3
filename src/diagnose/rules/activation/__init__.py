"""Rules about what the layers put out."""
