# fault: none
# near: log-softmax-mismatch
# note: Test accuracy 0.873 (uninformed 0.2), NLL 0.38, both still improving. Softmax gate and softmax experts are mixed as probabilities, then log, then NLLLoss: correct. Compiled with the eager backend.

"""Mixture of experts on a piecewise problem: softmax gate, softmax experts, likelihood of the mixture."""
import torch
from torch import nn


class Expert(nn.Module):
    def __init__(self, d, k, h=24):
        super().__init__()
        self.f = nn.Sequential(nn.Linear(d, h), nn.Tanh(), nn.Linear(h, k))

    def forward(self, x):
        return self.f(x).softmax(-1)


class MixtureOfExperts(nn.Module):
    def __init__(self, d, k, n_experts=4):
        super().__init__()
        self.experts = nn.ModuleList(Expert(d, k) for _ in range(n_experts))
        self.gate = nn.Linear(d, n_experts)

    def forward(self, x):
        w = self.gate(x).softmax(-1)                                   # [B, E]
        p = torch.stack([e(x) for e in self.experts], dim=1)           # [B, E, K]
        mixed = torch.einsum("be,bek->bk", w, p)
        return mixed.clamp_min(1e-7).log(), w


def pieces(n, gen):
    """Four regions of the plane (x0, x1), each with a linear rule of its own over the other coordinates."""
    rules = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(77))
    x = torch.randn(n, 8, generator=gen)
    region = (x[:, 0] > 0).long() * 2 + (x[:, 1] > 0).long()
    score = torch.einsum("nd,ndk->nk", x[:, 2:], rules[region])
    return x, score.argmax(1)


def main():
    torch.manual_seed(2)
    gen = torch.Generator().manual_seed(2)
    x, y = pieces(6000, gen)
    xt, yt = pieces(1500, gen)
    model = MixtureOfExperts(8, 5)
    fast = torch.compile(model, backend="eager")
    nll = nn.NLLLoss()
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=20, eta_min=2e-4)
    for epoch in range(20):
        model.train()
        total = 0.0
        for rows in torch.randperm(len(x)).split(60):
            logp, w = fast(x[rows])
            usage = w.mean(0)
            balance = (usage * usage.log()).sum()      # keeps all experts in use
            loss = nll(logp, y[rows]) + 0.02 * balance
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(rows)
        sched.step()
        model.eval()
        with torch.no_grad():
            logp, w = fast(xt)
            test_nll, acc = nll(logp, yt).item(), (logp.argmax(1) == yt).float().mean().item()
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1}: train {total / len(x):.3f}  test nll {test_nll:.3f}  accuracy {acc:.3f}  "
                  f"gate use {[round(u, 2) for u in w.mean(0).tolist()]}")
    print(f"mixture of experts, test accuracy: {acc:.3f}")


if __name__ == "__main__":
    main()
