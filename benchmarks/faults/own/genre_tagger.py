# fault: double-sigmoid
# note: The tagger returns sigmoid probabilities, and MultiLabelSoftMarginLoss applies a sigmoid of its own.
import torch
import torch.nn as nn

torch.manual_seed(11)
GENRES = 6


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, GENRES))

    def forward(self, features):
        return torch.sigmoid(self.body(features))


features = torch.randn(3000, 20)
tags = (features @ torch.randn(20, GENRES) + torch.randn(3000, GENRES) > 2).float()
tagger = Tagger()
loss_function = nn.MultiLabelSoftMarginLoss()
optimizer = torch.optim.AdamW(tagger.parameters(), lr=2e-3)
for epoch in range(6):
    for rows in torch.randperm(2500).split(50):
        optimizer.zero_grad()
        loss = loss_function(tagger(features[rows]), tags[rows])
        loss.backward()
        optimizer.step()
with torch.no_grad():
    print("exact matches", ((tagger(features[2500:]) > 0.5) == tags[2500:].bool()).all(1).float().mean().item())
