"""Train your own network in your own loop, write its predictions, and score them."""

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader

import remixbench

SNR, FOLD, EPOCHS = 20, 4, 5
dataset = remixbench.load_dataset("mini")
train, test = (remixbench.ClipDataset(dataset, snr=SNR, fold=FOLD, role=role) for role in ("train", "test"))
logmel = dataset.features(SNR)[train.rows]
mean, std = torch.from_numpy(logmel.mean(axis=(0, 1))), torch.from_numpy(logmel.std(axis=(0, 1)))


class Network(torch.nn.Module):
    def __init__(self, n_mels: int, classes: int) -> None:
        super().__init__()
        self.recurrent = torch.nn.GRU(n_mels, 32, batch_first=True, bidirectional=True)
        self.classify = torch.nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        frames = torch.sigmoid(self.classify(self.recurrent((x - mean) / std)[0]))
        return (frames**2).sum(1) / frames.sum(1), frames  # linear softmax


network = Network(logmel.shape[2], len(dataset.classes))
optimizer = torch.optim.Adam(network.parameters(), lr=0.003)
for _ in range(EPOCHS):
    for x, y in DataLoader(train, batch_size=16, shuffle=True):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy(network(x)[0], y).backward()
        optimizer.step()
with torch.no_grad():
    tags, frames = (scores.numpy() for scores in network(torch.stack([x for x, _ in test])))
pd.DataFrame(tags, pd.Index(test.filenames, name="filename"), dataset.classes).to_csv("tags.csv")
names = {"filename": np.array(test.filenames), "classes": np.array(dataset.classes)}
np.savez("frames.npz", scores=frames, frame_seconds=test.frame_seconds, **names)
print(remixbench.score("tags.csv", "frames.npz", dataset=dataset, name="My loop", snr=SNR, fold=FOLD))
