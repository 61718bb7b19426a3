# fault: memory-growth
# note: `history.append(loss)` keeps the loss tensor and with it the graph of every step.
import torch
from torch import nn

torch.manual_seed(0)


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4))
        self.decoder = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 32))

    def forward(self, x):
        return self.decoder(self.encoder(x))


basis = torch.randn(4, 32)
model = Autoencoder()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
history = []
for step in range(300):
    x = torch.randn(64, 4) @ basis / 2
    loss = nn.functional.mse_loss(model(x), x)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    history.append(loss)
print("mean of the last fifty", torch.stack(history[-50:]).mean().item())
