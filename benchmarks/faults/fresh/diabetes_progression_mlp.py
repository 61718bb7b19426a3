# fault: overfitting
# note: 309 patients, a 128-64 MLP without any regularisation, 150 epochs: train mse goes to 0.002 while val mse rises from about 0.47 (epoch 5-10) to 0.85. R2 -0.059 with the fault, 0.400 when stopped after 10 epochs.

# %% [markdown]
# # Disease progression from ten baseline variables
# %%
import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

torch.manual_seed(42)
# %%
X, y = load_diabetes(return_X_y=True, scaled=False)
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.3, random_state=1)
sx, sy = StandardScaler().fit(X_train), StandardScaler().fit(y_train[:, None])


def tensor(a):
    return torch.tensor(a, dtype=torch.float32)


X_train, X_val = tensor(sx.transform(X_train)), tensor(sx.transform(X_val))
y_train, y_val = tensor(sy.transform(y_train[:, None])), tensor(sy.transform(y_val[:, None]))

# %%
model = nn.Sequential(
    nn.Linear(10, 128), nn.ReLU(),
    nn.Linear(128, 64), nn.ReLU(),
    nn.Linear(64, 1),
)
EPOCHS = 150
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
loss_fn = nn.MSELoss()

# %%
for epoch in range(1, EPOCHS + 1):
    model.train()
    perm = torch.randperm(len(X_train))
    train_loss = 0.0
    for i in range(0, len(perm), 16):
        b = perm[i:i + 16]
        optimizer.zero_grad()
        loss = loss_fn(model(X_train[b]), y_train[b])
        loss.backward()
        optimizer.step()
        train_loss += loss.item() * len(b)
    model.eval()
    with torch.no_grad():
        val_loss = loss_fn(model(X_val), y_val).item()
    if epoch % 5 == 0:
        print(f"epoch {epoch:3d}  train {train_loss / len(perm):.3f}  val {val_loss:.3f}")

# %%
model.eval()
with torch.no_grad():
    print(f"R2 on the validation patients: {r2_score(y_val, model(X_val)):.3f}")
