# fault: target-not-normalized
# accept: loss-at-init
# note: Prices in currency units (about 200 000) are regressed directly (shift 0, scale 1). R2 -5.56, repaired (mean and std of the training prices) .921.

"""Sale price model for the county's 2019-2023 transactions (simulated stand-in for the registry extract)."""
import logging

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
log = logging.getLogger("prices")


def registry_extract(n=4000, seed=5):
    rng = np.random.default_rng(seed)
    df = pd.DataFrame({
        "living_area": rng.normal(130, 35, n).clip(35, 300),
        "lot": rng.gamma(4, 150, n),
        "year_built": rng.integers(1920, 2021, n),
        "bathrooms": rng.integers(1, 4, n),
        "km_to_center": rng.gamma(3, 3, n),
        "garage": rng.integers(0, 2, n),
    })
    value = (1500 * df.living_area * np.exp(-0.03 * df.km_to_center) + 40 * df.lot
             + 600 * (df.year_built - 1920) + 18000 * df.bathrooms + 15000 * df.garage)
    df["price"] = value * rng.normal(1.0, 0.06, n)
    return df


class PriceNet(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(n_features, 64), nn.Linear(64, 32)])
        self.price = nn.Linear(32, 1)

    def forward(self, x):
        for layer in self.layers:
            x = nn.functional.silu(layer(x))
        return self.price(x)


def fit(model, loader, epochs=30, lr=2e-3):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    loss_fn = nn.MSELoss()
    for epoch in range(epochs):
        model.train()
        seen = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(xb), yb)
            loss.backward()
            optimizer.step()
            seen += loss.item() * len(xb)
        if (epoch + 1) % 5 == 0:
            log.info("epoch %d  mse %.4g", epoch + 1, seen / len(loader.dataset))


def main():
    torch.manual_seed(5)
    df = registry_extract()
    train_df, test_df = train_test_split(df, test_size=0.2, random_state=1)
    features = [c for c in df.columns if c != "price"]
    x_scaler = StandardScaler().fit(train_df[features])
    x_train = torch.tensor(x_scaler.transform(train_df[features]), dtype=torch.float32)
    x_test = torch.tensor(x_scaler.transform(test_df[features]), dtype=torch.float32)
    shift, scale = 0.0, 1.0
    y_train = torch.tensor((train_df[["price"]].to_numpy() - shift) / scale, dtype=torch.float32)

    model = PriceNet(len(features))
    fit(model, DataLoader(TensorDataset(x_train, y_train), batch_size=64, shuffle=True))

    model.eval()
    with torch.no_grad():
        guess = model(x_test).numpy().ravel() * scale + shift
    truth = test_df["price"].to_numpy()
    mape = np.abs(guess / truth - 1).mean()
    r2 = 1 - ((guess - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    print(f"test MAPE {100 * mape:.1f} %   R2 {r2:.3f}")


if __name__ == "__main__":
    main()
