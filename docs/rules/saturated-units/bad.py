# expect: saturated-units
import torch
import torch.nn.functional as F

torch.manual_seed(0)

w1 = torch.rand(20, 64)
b1 = torch.zeros(64)
w2 = 0.1 * torch.randn(64, 1)
b2 = torch.zeros(1)
parameters = [w1, b1, w2, b2]
for parameter in parameters:
    parameter.requires_grad_()

optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
for step in range(300):
    x = torch.rand(64, 20)
    y = (x[:, :10].sum(dim=1) > x[:, 10:].sum(dim=1)).float()
    hidden = torch.tanh(x @ w1 + b1)
    logits = (hidden @ w2 + b2).squeeze(1)
    loss = F.binary_cross_entropy_with_logits(logits, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
