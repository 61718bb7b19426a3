# fault: none
# near: update-too-large
# note: Plain SGD at lr 4 with small (mean over pixels) gradients; explained variance 0.78 and rising steadily.

# Denoising autoencoder on 8x8 digits, plain SGD.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(5)

data = torch.tensor(load_digits().data / 16.0, dtype=torch.float32)
data = data[torch.randperm(len(data))]
train, test = data[:1500], data[1500:]


class DAE(nn.Module):
    def __init__(self, code=24):
        super().__init__()
        self.down = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, code))
        self.up = nn.Sequential(nn.Linear(code, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x):
        return self.up(self.down(x))


dae = DAE()
# the loss is a mean over 64 pixels, hence the step size
opt = torch.optim.SGD(dae.parameters(), lr=4.0)
mse = nn.MSELoss()

baseline = test.var(0, unbiased=False).mean().item()
steps = 0
for epoch in range(1, 31):
    dae.train()
    s = 0.0
    for idx in torch.randperm(len(train)).split(50):
        clean = train[idx]
        noisy = clean + 0.1 * torch.randn_like(clean)
        loss = mse(dae(noisy), clean)
        opt.zero_grad()
        loss.backward()
        opt.step()
        s += loss.item() * len(idx)
        steps += 1
    if epoch % 3 == 0:
        dae.eval()
        with torch.no_grad():
            t = mse(dae(test + 0.1 * torch.randn_like(test)), test).item()
        print(f"epoch {epoch:2d} ({steps} steps)  train {s / len(train):.5f}  test {t:.5f}  explained {1 - t / baseline:.3f}")
