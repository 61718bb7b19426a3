import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

# Remove the noise from short sine waves.
model = nn.Sequential(
    nn.Conv1d(1, 8, kernel_size=5, padding=2),
    nn.Tanh(),
    nn.Conv1d(8, 1, kernel_size=5, padding=2),
)
optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
time = torch.linspace(0, 6, 64)
for step in range(300):
    clean = torch.sin(time + 6 * torch.rand(32, 1)).unsqueeze(1)
    noisy = clean + 0.5 * torch.randn_like(clean)
    loss = F.mse_loss(model(noisy), clean)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.4f}")
