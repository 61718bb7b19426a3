# fault: none
# near: wrong-softmax-dim
# note: The symmetric contrastive loss takes its softmax along rows and along columns of the similarity matrix; both
# are candidates, and it learns to match pairs.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
to_image, to_text = torch.randn(6, 30), torch.randn(6, 20)


class Matcher(nn.Module):
    def __init__(self):
        super().__init__()
        self.image = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 16))
        self.text = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 16))
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, image, text):
        image, text = F.normalize(self.image(image), dim=1), F.normalize(self.text(text), dim=1)
        return self.log_scale.exp() * image @ text.T


def pairs(n):
    meaning = torch.randn(n, 6)
    return meaning @ to_image + torch.randn(n, 30), meaning @ to_text + torch.randn(n, 20)


model = Matcher()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
target = torch.arange(64)
for step in range(300):
    similarity = model(*pairs(64))
    log_rows, log_columns = F.log_softmax(similarity, dim=1), F.log_softmax(similarity, dim=0)
    loss = -(log_rows.diagonal().mean() + log_columns.diagonal().mean()) / 2
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
with torch.no_grad():
    print("right of 64", (model(*pairs(64)).argmax(1) == target).float().mean().item())
