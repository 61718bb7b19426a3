# fault: none
# near: parameter-not-updated
# note: The weights live in a dict and go through torch.func.functional_call; the module's own parameters are only a
# template and never change.
import torch
from torch import nn
from torch.func import functional_call

torch.manual_seed(0)
template = nn.Sequential(nn.Linear(5, 48), nn.GELU(), nn.Linear(48, 3))
weights = {name: p.detach().clone().requires_grad_() for name, p in template.named_parameters()}
optimizer = torch.optim.Adam(weights.values(), lr=5e-3)
mixing = torch.randn(5, 3)
for step in range(300):
    x = torch.randn(64, 5)
    loss = nn.functional.cross_entropy(functional_call(template, weights, x), (x @ mixing).argmax(1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("loss", loss.item())
