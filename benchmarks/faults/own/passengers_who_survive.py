# fault: none
# near: label-noise
# note: Sex and class tell much, chance the rest: a fifth of the outcomes is against the odds, most where odds are even.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(4)
passengers = 2600
sex = torch.randint(0, 2, (passengers,))
cabin = torch.randint(0, 3, (passengers,))
age = (30 + 14 * torch.randn(passengers)).clamp(1, 80)
fare = torch.exp(3 - 0.6 * cabin + 0.5 * torch.randn(passengers))
odds = torch.tensor([[0.37, 0.16, 0.14], [0.97, 0.92, 0.5]])[sex, cabin] + 0.3 * ((age < 10) & (sex == 0))
survived = torch.bernoulli(odds)
x = torch.stack([sex, cabin - 1, (age - 30) / 14, fare.log() - 2.4], dim=1).float()

model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(12):
    model.train()
    for rows in torch.randperm(2000).split(40):
        loss = F.binary_cross_entropy_with_logits(model(x[rows])[:, 0], survived[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = ((model(x[2000:])[:, 0] > 0) == (survived[2000:] > 0)).float().mean()
    print(f"epoch {epoch + 1}: loss {loss.item():.3f}, right {right:.3f}")
