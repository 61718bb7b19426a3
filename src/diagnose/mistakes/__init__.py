"""The worst mistakes of a model, and what is wrong with the data behind them."""
