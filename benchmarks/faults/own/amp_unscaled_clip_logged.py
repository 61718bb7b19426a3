# fault: none
# near: clip-after-step
# note: Gradients are unscaled before they are clipped; the call after the step has an infinite limit and only reads
# the norm for the log.
import torch
from torch import nn

torch.manual_seed(5)
model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scaler = torch.amp.GradScaler("cpu")
mixing = torch.randn(12, 5)
norms = []
for step in range(250):
    x = torch.randn(64, 12)
    y = (x @ mixing).argmax(1)
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nn.functional.cross_entropy(model(x).float(), y)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    scaler.step(optimizer)
    scaler.update()
    norms.append(nn.utils.clip_grad_norm_(model.parameters(), float("inf")).item())
print(f"loss {loss.item():.4f}, mean norm {sum(norms) / len(norms):.3f}")
