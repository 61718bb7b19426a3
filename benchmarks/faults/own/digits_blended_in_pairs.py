# fault: none
# near: label-noise
# note: mixup: each image is blended with another one, and the loss with that one's label is blended in, too.
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
rng = np.random.default_rng(0)
pixels, digits = load_digits(return_X_y=True)
order = rng.permutation(len(digits))
x = torch.tensor(pixels[order] / 16, dtype=torch.float32)
y = torch.tensor(digits[order])

model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(15):
    for rows in torch.randperm(1500).split(50):
        share = rng.beta(0.4, 0.4)
        partner = rows[torch.randperm(len(rows))]
        blended = share * x[rows] + (1 - share) * x[partner]
        outputs = model(blended)
        loss = share * criterion(outputs, y[rows]) + (1 - share) * criterion(outputs, y[partner])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        print(epoch, (model(x[1500:]).argmax(1) == y[1500:]).float().mean().item())
