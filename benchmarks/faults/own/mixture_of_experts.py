# fault: unregistered-module
# accept: parameter-not-updated
# note: The experts live in a plain dict: no parameters() lists them, no optimizer trains them.
import torch
from torch import nn

torch.manual_seed(0)


class Experts(nn.Module):
    def __init__(self, inputs=8, count=4):
        super().__init__()
        self.gate = nn.Linear(inputs, count)
        self.experts = {f"expert{i}": nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, 1)) for i in range(count)}

    def forward(self, x):
        answers = torch.cat([expert(x) for expert in self.experts.values()], 1)
        return (self.gate(x).softmax(1) * answers).sum(1)


model = Experts()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for step in range(200):
    x = torch.randn(64, 8)
    loss = nn.functional.mse_loss(model(x), x[:, 0].abs() + x[:, 1])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("loss", loss.item())
