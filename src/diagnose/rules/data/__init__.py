"""Rules about the data that the model is trained and evaluated on."""
