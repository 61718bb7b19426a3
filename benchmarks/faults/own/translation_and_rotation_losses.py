# fault: gradients-discarded
# note: A second zero_grad() between the two backward calls removes the gradient of the rotation loss; only the
# translation is trained.
import torch
from torch import nn

torch.manual_seed(3)


class PoseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 64), nn.ReLU())
        self.translation, self.rotation = nn.Linear(64, 3), nn.Linear(64, 4)

    def forward(self, x):
        hidden = self.body(x)
        return self.translation(hidden), nn.functional.normalize(self.rotation(hidden), dim=1)


to_position, to_angle = torch.randn(12, 3) / 3, torch.randn(12, 4)
net = PoseNet()
optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
for step in range(250):
    x = torch.randn(32, 12)
    position, angle = x @ to_position, nn.functional.normalize(x @ to_angle, dim=1)
    optimizer.zero_grad()
    guess, turn = net(x)
    rotation_loss = (1 - (turn * angle).sum(1).abs()).mean()
    rotation_loss.backward(retain_graph=True)
    optimizer.zero_grad()
    translation_loss = nn.functional.mse_loss(guess, position)
    translation_loss.backward()
    optimizer.step()
print("translation", translation_loss.item(), "rotation", rotation_loss.item())
