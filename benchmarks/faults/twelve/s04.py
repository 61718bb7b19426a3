# fault: none
# near: step-without-backward
# note: LBFGS with strong Wolfe line search and a full closure, sum loss, five folds in one process; 97 % accuracy.

# Breast-cancer classifier fitted with L-BFGS (strong Wolfe line search), 5-fold cross validation.
import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)

X, y = load_breast_cancer(return_X_y=True)
HIDDEN, DECAY, OUTER = 24, 2e-3, 40


def fit(Xtr, ytr):
    net = torch.nn.Sequential(
        torch.nn.Linear(Xtr.shape[1], HIDDEN),
        torch.nn.Tanh(),
        torch.nn.Linear(HIDDEN, HIDDEN),
        torch.nn.Tanh(),
        torch.nn.Linear(HIDDEN, 1),
    )
    opt = torch.optim.LBFGS(net.parameters(), max_iter=4, history_size=12, line_search_fn="strong_wolfe")
    crit = torch.nn.BCEWithLogitsLoss(reduction="sum")

    def closure():
        opt.zero_grad()
        penalty = sum((p ** 2).sum() for p in net.parameters())
        loss = crit(net(Xtr).squeeze(1), ytr) + DECAY * len(Xtr) * penalty
        loss.backward()
        return loss

    trace = [opt.step(closure).item() / len(Xtr) for _ in range(OUTER)]
    return net, trace


accs, aucs = [], []
folds = StratifiedKFold(5, shuffle=True, random_state=0)
for k, (tr, te) in enumerate(folds.split(X, y)):
    scaler = StandardScaler().fit(X[tr])
    Xtr, Xte = torch.tensor(scaler.transform(X[tr])), torch.tensor(scaler.transform(X[te]))
    ytr = torch.tensor(y[tr], dtype=torch.float64)
    net, trace = fit(Xtr, ytr)
    with torch.no_grad():
        score = net(Xte).squeeze(1).numpy()
    accs.append(((score > 0) == y[te]).mean())
    aucs.append(roc_auc_score(y[te], score))
    print(f"fold {k}: objective {trace[0]:.4f} -> {trace[-1]:.4f}, accuracy {accs[-1]:.3f}, auc {aucs[-1]:.4f}")
print(f"mean accuracy {np.mean(accs):.3f}, mean auc {np.mean(aucs):.4f}")
