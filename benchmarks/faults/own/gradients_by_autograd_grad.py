# fault: none
# near: step-without-backward
# note: No backward(): torch.autograd.grad returns the gradients and the program puts them into .grad itself.
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(6, 48), nn.Tanh(), nn.Linear(48, 1))
parameters = list(net.parameters())
optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
for step in range(300):
    x = torch.randn(64, 6)
    loss = nn.functional.mse_loss(net(x), torch.sin(x[:, :1]) + x[:, 1:2] * x[:, 2:3])
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):
        parameter.grad = gradient
    nn.utils.clip_grad_norm_(parameters, 5.0)
    optimizer.step()
print("loss", loss.item())
