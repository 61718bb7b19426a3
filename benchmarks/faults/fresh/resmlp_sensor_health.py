# fault: unregistered-module
# accept: parameter-not-updated
# note: the experts sit in a plain Python list, so model.parameters() has only the gate. Validation R2 0.11; with nn.ModuleList 0.88.

"""Remaining-health regression from simulated machine sensors; experts mixed by a gate (pure PyTorch port)."""
import torch
import torch.nn as nn
import torch.nn.functional as F


def simulate(n, seed):
    g = torch.Generator().manual_seed(seed)
    load, temp, vib, age = torch.randn(4, n, generator=g)
    regime = (load > 0.3).long() + (temp > 0.2).long()
    z = torch.stack([torch.sin(2.5 * vib) + 0.3 * age, age * vib - 0.5 * load, torch.cos(2 * age) * temp], 1)
    health = z.gather(1, regime[:, None])[:, 0] + 0.1 * torch.randn(n, generator=g)
    x = torch.stack([load, temp, vib, age], 1)
    x = torch.cat([x, x @ torch.randn(4, 6, generator=torch.Generator().manual_seed(99)) / 2 + 0.1 * torch.randn(n, 6, generator=g)], 1)
    return x, health


class Expert(nn.Module):
    def __init__(self, d_in, d_hidden):
        super().__init__()
        self.up = nn.Linear(d_in, d_hidden)
        self.mid = nn.Linear(d_hidden, d_hidden)
        self.down = nn.Linear(d_hidden, 1)

    def forward(self, x):
        return self.down(F.gelu(self.mid(F.gelu(self.up(x)))))


class MixtureOfExperts(nn.Module):
    def __init__(self, d_in, n_experts=4, d_hidden=24):
        super().__init__()
        self.experts = [Expert(d_in, d_hidden) for _ in range(n_experts)]
        self.gate = nn.Sequential(nn.Linear(d_in, 16), nn.Tanh(), nn.Linear(16, n_experts))

    def forward(self, x):
        w = self.gate(x).softmax(dim=-1)
        y = torch.cat([e(x) for e in self.experts], dim=-1)
        return (w * y).sum(-1)


class Experiment:
    def __init__(self, model, optimizer, train, valid, mean, std):
        self.__dict__.update(locals())

    def scale(self, y):
        return (y - self.mean) / self.std

    def epoch(self, bs=64):
        self.model.train()
        x, y = self.train
        order = torch.randperm(len(x))
        out = 0.0
        for b in order.split(bs):
            loss = F.smooth_l1_loss(self.model(x[b]), self.scale(y[b]))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            out += loss.item() * len(b) / len(x)
        return out

    @torch.no_grad()
    def r2(self):
        self.model.eval()
        x, y = self.valid
        err = (self.model(x) - self.scale(y)).pow(2).mean()
        return (1 - err / self.scale(y).var()).item()


if __name__ == "__main__":
    torch.manual_seed(2)
    train, valid = simulate(4000, 1), simulate(1000, 2)
    mu, sd = train[0].mean(0), train[0].std(0)
    train, valid = ((x.sub(mu) / sd, y) for x, y in (train, valid))
    model = MixtureOfExperts(10)
    opt = torch.optim.Adam(model.parameters(), lr=4e-3)
    exp = Experiment(model, opt, train, valid, train[1].mean(), train[1].std())
    for i in range(20):
        l = exp.epoch()
        if i % 4 == 3:
            print(f"epoch {i + 1} huber {l:.4f} R2 {exp.r2():.3f}")
    print(f"validation R2: {exp.r2():.3f}")
