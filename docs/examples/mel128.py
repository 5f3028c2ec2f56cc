"""A system that takes the waveform: 128 mel bands of its own, and a frame score every 20 ms."""

from typing import ClassVar

import librosa
import torch
from torch import nn

from remixbench.systems import Output


class Mel128(nn.Module):
    """Convolutions over 128 mel bands, computed from the waveform."""

    inputs = "waveform"
    training_defaults: ClassVar = {"optimizer": "adamw", "augment": ("mixup", "time-shift")}

    def __init__(self, classes: int, sample_rate: int, width: float) -> None:
        super().__init__()
        self.hop, self.n_fft = round(0.02 * sample_rate), round(0.08 * sample_rate)
        self.frame_seconds = self.hop / sample_rate
        bank = librosa.filters.mel(sr=sample_rate, n_fft=self.n_fft, n_mels=128)
        self.register_buffer("bank", torch.from_numpy(bank))
        self.register_buffer("window", torch.hann_window(self.n_fft))
        size = max(8, round(64 * width))
        self.layers = nn.Sequential(
            nn.BatchNorm1d(128), nn.Conv1d(128, size, 5, padding=2), nn.ReLU(), nn.Conv1d(size, classes, 5, padding=2)
        )

    def forward(self, x: torch.Tensor) -> Output:  # (batch, samples) in [-1, 1]
        spectrum = torch.stft(x.float(), self.n_fft, self.hop, window=self.window, return_complex=True)
        spectrum = spectrum[..., : x.shape[1] // self.hop].abs()  # (batch, bins, frames), without one at the very end
        frames = torch.sigmoid(self.layers(torch.log(self.bank @ spectrum + 1e-6)).float()).transpose(1, 2)
        return Output((frames**2).sum(1) / frames.sum(1), frames)  # linear softmax
