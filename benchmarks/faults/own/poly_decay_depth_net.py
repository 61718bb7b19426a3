# fault: lr-zero
# note: PolynomialLR counts 10 epochs but is stepped per batch: after 10 of 400 batches the learning rate is 0.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
EPOCHS, BATCHES = 10, 40


class DepthNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Conv2d(1, 16, 3, padding=1)
        self.dec = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x):
        return self.dec(torch.tanh(self.enc(x)))


net = DepthNet()
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=EPOCHS, power=0.9)
for epoch in range(EPOCHS):
    for _ in range(BATCHES):
        image = torch.randn(8, 1, 12, 12)
        depth = F.avg_pool2d(image, 3, 1, 1) * 2
        loss = F.mse_loss(net(image), depth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    print(epoch, loss.item())
