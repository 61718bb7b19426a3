# fault: input-not-normalized
# note: mean and std are computed but never applied; proline ~750 and magnesium ~100 go in raw beside 0.x features and pin the first tanh layer. Test accuracy 0.389 (majority class); standardised 0.963.

"""Which cultivar did this wine come from?  (UCI wine, 13 chemical measurements)"""
import pandas as pd
import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedShuffleSplit
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(21)


class WineTable(Dataset):
    def __init__(self, frame, features, target):
        self.x = torch.tensor(frame[features].values, dtype=torch.float32)
        self.y = torch.tensor(frame[target].values)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, k):
        return self.x[k], self.y[k]


raw = load_wine(as_frame=True)
df = raw.frame
features = list(raw.feature_names)
train_ix, test_ix = next(StratifiedShuffleSplit(1, test_size=0.3, random_state=21).split(df, df.target))
train_df, test_df = df.iloc[train_ix].copy(), df.iloc[test_ix].copy()

mu, sd = train_df[features].mean(), train_df[features].std()

train_set = WineTable(train_df, features, "target")
test_set = WineTable(test_df, features, "target")

clf = nn.Sequential(nn.Linear(13, 24), nn.Tanh(), nn.Linear(24, 12), nn.Tanh(), nn.Linear(12, 3))
opt = torch.optim.SGD(clf.parameters(), lr=0.03, momentum=0.9)
crit = nn.CrossEntropyLoss()
log = []
for epoch in range(40):
    clf.train()
    running = 0
    for xb, yb in DataLoader(train_set, batch_size=16, shuffle=True):
        opt.zero_grad()
        l = crit(clf(xb), yb)
        l.backward()
        opt.step()
        running += l.item() * len(xb)
    clf.eval()
    with torch.no_grad():
        out = clf(test_set.x)
        log.append(dict(epoch=epoch, train=running / len(train_set), test=crit(out, test_set.y).item(),
                        acc=(out.argmax(1) == test_set.y).float().mean().item()))

print(pd.DataFrame(log).iloc[::6].to_string(index=False))
print("final test accuracy", round(log[-1]["acc"], 3))
