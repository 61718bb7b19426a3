# fault: gradients-not-cleared
# note: enc_opt.zero_grad() is called twice and dec_opt.zero_grad() never (copy and paste), so the decoder's gradients pile up over the whole run. Test error 1.310 (rising from epoch 4 on) with the fault, 0.030 without.

"""Compress infrared-like spectra to four numbers. Encoder and decoder have their own learning rates."""
import torch
import torch.nn as nn

torch.manual_seed(8)


def spectra(n, seed):
    g = torch.Generator().manual_seed(seed)
    grid = torch.linspace(0.08, 0.92, 80)
    centre = 0.2 + 0.2 * torch.arange(4)[None, :]
    conc = torch.rand(n, 4, generator=g)
    peaks = torch.exp(-((grid[None, None] - centre[..., None]) / 0.06) ** 2)
    s = (conc[..., None] * peaks).sum(1)
    s = torch.log1p(2 * s)
    return s + 0.01 * torch.randn(n, 80, generator=g)


encoder = nn.Sequential(nn.Linear(80, 48), nn.ELU(), nn.Linear(48, 4))
decoder = nn.Sequential(nn.Linear(4, 48), nn.ELU(), nn.Linear(48, 80))
enc_opt = torch.optim.Adam(encoder.parameters(), lr=1e-3)
dec_opt = torch.optim.Adam(decoder.parameters(), lr=2e-3)

train, test = spectra(2000, 1), spectra(500, 2)
mean, std = train.mean(0), train.std(0)
train, test = (train - mean) / std, (test - mean) / std


def reconstruction_error(x):
    encoder.eval(), decoder.eval()
    with torch.no_grad():
        return (decoder(encoder(x)) - x).pow(2).mean().item()


for epoch in range(1, 21):
    encoder.train(), decoder.train()
    for rows in torch.randperm(len(train)).split(40):
        x = train[rows]
        loss = (decoder(encoder(x)) - x).pow(2).mean()
        enc_opt.zero_grad()
        enc_opt.zero_grad()
        loss.backward()
        enc_opt.step()
        dec_opt.step()
    if epoch % 4 == 0:
        print(f"{epoch:3d}  train {reconstruction_error(train):.4f}  test {reconstruction_error(test):.4f}")
print(f"test reconstruction error (variance 1): {reconstruction_error(test):.4f}")
