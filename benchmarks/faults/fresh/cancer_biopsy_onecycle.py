# fault: none
# near: overfitting
# note: Test accuracy .987, test loss .079; the loss on 40 validation patients wobbles (.094-.102) without a rise beyond noise.

"""Breast-cancer biopsies: small tanh network, one-cycle schedule, a validation set of 40 patients."""
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn


def split(seed=1):
    X, y = load_breast_cancer(return_X_y=True)
    X_rest, X_val, y_rest, y_val = train_test_split(X, y, test_size=40, stratify=y, random_state=seed)
    X_tr, X_te, y_tr, y_te = train_test_split(X_rest, y_rest, test_size=150, stratify=y_rest, random_state=seed)
    sc = StandardScaler().fit(X_tr)
    out = []
    for a, b in ((X_tr, y_tr), (X_val, y_val), (X_te, y_te)):
        out.append((torch.tensor(sc.transform(a), dtype=torch.float32), torch.tensor(b, dtype=torch.float32)))
    return out


def main(epochs=30, batch_size=16, max_lr=0.04):
    torch.manual_seed(1)
    (X, y), val, test = split()
    net = nn.Sequential(nn.Linear(30, 24), nn.Tanh(), nn.Dropout(0.2), nn.Linear(24, 1))
    opt = torch.optim.SGD(net.parameters(), lr=max_lr, momentum=0.9, weight_decay=2e-2)
    steps = epochs * ((len(X) + batch_size - 1) // batch_size)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=max_lr, total_steps=steps)
    lossf = nn.BCEWithLogitsLoss()

    def measure(data):
        net.eval()
        with torch.no_grad():
            z = net(data[0]).squeeze(1)
            return lossf(z, data[1]).item(), ((z > 0).float() == data[1]).float().mean().item()

    for epoch in range(epochs):
        net.train()
        for idx in torch.randperm(len(X)).split(batch_size):
            opt.zero_grad()
            loss = lossf(net(X[idx]).squeeze(1), y[idx])
            loss.backward()
            opt.step()
            sched.step()
        if epoch % 2 == 1:
            print("epoch %2d  lr %.4f  val loss %.4f  val acc %.3f" % (epoch + 1, sched.get_last_lr()[0], *measure(val)))
    print("test loss %.4f, test accuracy %.3f" % measure(test))


if __name__ == "__main__":
    main()
