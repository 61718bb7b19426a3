# fault: clip-after-step
# accept: clip-always-active
# note: With a GradScaler the gradients are clipped before scaler.unscale_(): the norm is 65536 times too large, and
# what is left after unscaling is next to nothing.
import torch
from torch import nn

torch.manual_seed(5)
device = "cpu"
model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5)).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scaler = torch.amp.GradScaler(device)
mixing = torch.randn(12, 5)

for step in range(200):
    x = torch.randn(64, 12)
    y = (x @ mixing).argmax(1)
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device, dtype=torch.bfloat16):
        loss = nn.functional.cross_entropy(model(x).float(), y)
    scaler.scale(loss).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    scaler.step(optimizer)
    scaler.update()
print(f"loss {loss.item():.4f}")
