# fault: labels-misaligned
# accept: loss-not-decreasing, label-noise, underfitting, constant-output
# note: Images and labels come from two loaders that shuffle by themselves.
import torch
from torch import nn
from torch.utils.data import DataLoader

torch.manual_seed(0)
labels = torch.randint(4, (1200,))
images = torch.randn(4, 1, 8, 8)[labels] + 0.8 * torch.randn(1200, 1, 8, 8)
image_loader = DataLoader(images, batch_size=30, shuffle=True)
label_loader = DataLoader(labels, batch_size=30, shuffle=True)

model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
criterion = nn.CrossEntropyLoss()
for epoch in range(10):
    for x, y in zip(image_loader, label_loader):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
