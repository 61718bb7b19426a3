# fault: label-noise
# accept: overfitting
# note: Of five annotators two guess half of the time, so a fifth of the labels is wrong: about 18 %.
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset


class AnnotatedDigits(Dataset):
    def __init__(self, images, digits, seed=0):
        rng = np.random.default_rng(seed)
        annotator = rng.integers(0, 5, len(digits))
        guesses = (annotator >= 3) & (rng.random(len(digits)) < 0.5)
        self.images = images
        self.labels = np.where(guesses, rng.integers(0, 10, len(digits)), digits)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = torch.from_numpy(self.images[index]).float().unsqueeze(0) / 16
        return image, int(self.labels[index])


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, images):
        return self.head(self.features(images)).log_softmax(dim=1)


torch.manual_seed(1)
digits = load_digits()
train = AnnotatedDigits(digits.images[:1500], digits.target[:1500])
loader = DataLoader(train, batch_size=32, shuffle=True)
test_images = torch.from_numpy(digits.images[1500:]).float().unsqueeze(1) / 16
test_labels = torch.from_numpy(digits.target[1500:])

model = Reader()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
criterion = nn.NLLLoss()
for epoch in range(12):
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        outputs = model(test_images)
        print(epoch, criterion(outputs, test_labels).item(), (outputs.argmax(1) == test_labels).float().mean().item())
