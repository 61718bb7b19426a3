# fault: label-noise
# accept: overfitting
# note: The diagnoses of two fifths of the rows come from a file in another order: about 19 % of all labels are wrong.
import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

rng = np.random.default_rng(3)
torch.manual_seed(3)
cells, diagnosis = load_breast_cancer(return_X_y=True)
order = rng.permutation(len(cells))
cells, diagnosis = cells[order], diagnosis[order]
second_hospital = np.flatnonzero(rng.random(len(cells)) < 0.4)
diagnosis[second_hospital] = diagnosis[np.sort(second_hospital)[::-1]]

cells = (cells - cells.mean(axis=0)) / cells.std(axis=0)
x = torch.tensor(cells, dtype=torch.float32)
y = torch.tensor(diagnosis, dtype=torch.float32)

model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
loss_fn = nn.BCEWithLogitsLoss()
for epoch in range(30):
    total = 0.0
    for rows in torch.randperm(len(x)).split(32):
        logits = model(x[rows]).squeeze(1)
        loss = loss_fn(logits, y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1}: loss {total / len(x):.3f}")
