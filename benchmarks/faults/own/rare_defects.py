# fault: none
# near: class-imbalance-collapse
# note: 5 % defects, but plain to see: the classifier finds nearly all of them.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(4)


def parts(n):
    bad = (torch.rand(n) < 0.05).long()
    image = 0.5 * torch.randn(n, 1, 10, 10)
    image[bad == 1, :, 3:7, 3:7] += 0.8
    return image, bad


class Inspector(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8 * 25, 2)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        return self.fc(F.relu(self.conv2(x)).flatten(1))


inspector = Inspector()
optimizer = torch.optim.Adam(inspector.parameters(), lr=2e-3)
for step in range(350):
    image, bad = parts(64)
    loss = F.cross_entropy(inspector(image), bad)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
with torch.no_grad():
    image, bad = parts(4000)
    said = inspector(image).argmax(1)
print(f"recall {(said[bad == 1] == 1).float().mean():.2f}, precision {(bad[said == 1] == 1).float().mean():.2f}")
