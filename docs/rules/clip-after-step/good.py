import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

# The next value of a damped wave, read step by step.
network = nn.RNN(1, 32, batch_first=True)
head = nn.Linear(32, 1)
parameters = [*network.parameters(), *head.parameters()]
optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
time = torch.arange(25) / 4
for step in range(300):
    waves = (torch.exp(-time / 8) * torch.sin(time + 6 * torch.rand(32, 1))).unsqueeze(2)
    states, _ = network(waves[:, :-1])
    loss = F.mse_loss(head(states), waves[:, 1:])
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, max_norm=0.1)
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.4f}")
