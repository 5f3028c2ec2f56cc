"""Encoders as users write them into a file: a small network made on the spot, and ways to break the contract."""

from __future__ import annotations

from pathlib import Path

TINY_ENCODER = '''
"""An encoder with weights drawn from a seed."""
import torch
from torch import nn


class TinyEncoder(nn.Module):
    """Two strided convolutions on the waveform."""

    sample_rate = 4000
    frame_seconds = 0.1
    dimensions = 6
    pretrained_on = ["Noise"]
    licence = "CC0"

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(SEED)
        self.first = nn.Conv1d(1, 8, 20, stride=20)
        self.second = nn.Conv1d(8, 6, 20, stride=20)
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=generator) / 4

    def forward(self, waveforms):
        return self.second(torch.relu(self.first(waveforms[:, None]))).transpose(1, 2)
'''


def write_encoder(folder: Path, source: str = TINY_ENCODER, seed: int = 0, name: str = "tiny_encoder.py") -> str:
    """Write an encoder into a file; returns its reference."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(source.replace("SEED", str(seed)), encoding="utf-8")
    return f"{path}:TinyEncoder"
