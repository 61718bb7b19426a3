# fault: none
# near: symmetric-init
# note: LoRA's B starts at zero, the new head too, and the base is frozen: the classic starts, and training leaves them.
import torch
from torch import nn

torch.manual_seed(0)


class LoraLinear(nn.Module):
    def __init__(self, base, rank=4):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + x @ self.a.T @ self.b.T


model = nn.Sequential(LoraLinear(nn.Linear(16, 64)), nn.ReLU(), LoraLinear(nn.Linear(64, 64)), nn.ReLU(), nn.Linear(64, 4))
nn.init.zeros_(model[4].weight)
nn.init.zeros_(model[4].bias)
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
mixing = torch.randn(16, 4)
for step in range(300):
    x = torch.randn(64, 16)
    loss = nn.functional.cross_entropy(model(x), (x @ mixing).argmax(1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("loss", loss.item())
