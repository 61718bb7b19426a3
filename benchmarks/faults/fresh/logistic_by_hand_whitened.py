# fault: none
# near: update-too-large
# note: Test accuracy 0.971, log-loss 0.109, gradient norm 6e-8 at the end. lr 4 is below the stability limit (8) for whitened inputs and the problem is convex; zero start is right for logistic regression. Full batch by design.

# Logistic regression by hand: whitened inputs, full-batch gradient descent.
# With whitened inputs the curvature is at most 1/4 (+ ridge), so any step size below 8 converges.
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

cancer = load_breast_cancer()
x_fit, x_new, t_fit, t_new = train_test_split(cancer.data, cancer.target, test_size=0.3, random_state=3,
                                              stratify=cancer.target)
whiten = make_pipeline(StandardScaler(), PCA(n_components=10, whiten=True)).fit(x_fit)
x = torch.tensor(whiten.transform(x_fit), dtype=torch.float64)
t = torch.tensor(t_fit, dtype=torch.float64)
x_test = torch.tensor(whiten.transform(x_new), dtype=torch.float64)

w = torch.zeros(10, dtype=torch.float64, requires_grad=True)
b = torch.zeros(1, dtype=torch.float64, requires_grad=True)
descent = torch.optim.SGD([w, b], lr=4.0)
ridge = 5e-3

for step in range(201):
    descent.zero_grad()
    score = x @ w + b
    # log(1 + e^s) - t s, written stably
    nll = (torch.clamp(score, min=0) + torch.log1p(torch.exp(-score.abs())) - t * score).mean()
    objective = nll + 0.5 * ridge * (w @ w)
    objective.backward()
    descent.step()
    if step % 40 == 0:
        print(f"step {step:3d}  objective {objective.item():.5f}  |grad| {w.grad.norm().item():.2e}")

with torch.no_grad():
    prob = torch.sigmoid(x_test @ w + b).numpy()
print("test log-loss %.4f" % log_loss(t_new, prob))
print("test accuracy %.4f" % ((prob > 0.5) == t_new).mean())
