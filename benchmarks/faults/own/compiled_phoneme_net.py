# fault: double-softmax
# note: A compiled model that ends in Softmax, and cross_entropy on its output, in bfloat16 autocast.
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(2000, 16)
y = (x @ torch.randn(16, 8) + 0.3 * torch.randn(2000, 8)).argmax(1)
model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 8), nn.Softmax(dim=1))
compiled = torch.compile(model, backend="eager")
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for epoch in range(5):
    for rows in torch.randperm(2000).split(50):
        with torch.autocast("cpu", torch.bfloat16):
            loss = nn.functional.cross_entropy(compiled(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print("loss", loss.item())
